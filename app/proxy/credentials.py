"""What we show to an upstream: kept here, never told to a client, and never one that a client sent."""

import asyncio
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import urlencode

import orjson

from app.errors import SettingsError
from app.proxy.client import UpstreamClient
from app.proxy.errors import UpstreamFailed
from app.proxy.upstreams import Basic, Bearer, ClientCredentials, GoogleServiceAccount, Upstream

_EARLY_S = 60.0  # before a token ends, another is fetched
_ASSERTION_S = 3600
_MOST_BYTES = 64 * 1024
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Form = dict[str, str]


class Authorization:
    """The Authorization field of the requests to one upstream."""

    def __init__(
        self, upstream: Upstream, client: UpstreamClient, clock: Callable[[], float] = time.time
    ) -> None:
        """Read what the settings name; raises SettingsError for a key that cannot be used."""
        self._client, self._clock = client, clock
        self._fixed: str | None = None
        self._grant: Callable[[], tuple[str, Form]] | None = None
        self._token, self._until_s = "", 0.0
        self._fetching = asyncio.Lock()
        match upstream.credentials:
            case Basic() as basic:
                pair = f"{basic.username}:{basic.password.get_secret_value()}"
                self._fixed = f"Basic {b64encode(pair.encode()).decode()}"
            case Bearer() as bearer:
                self._fixed = f"Bearer {bearer.token.get_secret_value()}"
            case ClientCredentials() as granted:
                self._grant = lambda: _client_grant(granted)
            case GoogleServiceAccount() as account:
                self._grant = _google_grant(account, clock)

    async def headers(self) -> dict[str, str]:
        """Return the field, or nothing; fetch a token where there is none. Raises UpstreamError."""
        if self._fixed is not None:
            return {"Authorization": self._fixed}
        if self._grant is None:
            return {}
        async with self._fetching:
            if self._clock() >= self._until_s:
                await self._fetch(*self._grant())
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> bool:
        """Forget a token that was refused; say whether another can be had."""
        self._until_s = 0.0
        return self._grant is not None

    async def _fetch(self, url: str, form: Form) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        body = urlencode(form).encode()
        answer = await self._client.send("POST", url, {**headers, "Content-Length": str(len(body))}, body)
        try:
            content = await answer.read(_MOST_BYTES)
        finally:
            await answer.close()
        try:
            granted = orjson.loads(content)
            token, lasts_s = granted["access_token"], float(granted.get("expires_in", 300))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            token, lasts_s = None, 0.0
        if answer.status != 200 or not isinstance(token, str):
            raise UpstreamFailed(f"No token is to be had for the server {self._client.upstream.name!r}.")
        self._token, self._until_s = token, self._clock() + max(lasts_s - _EARLY_S, 1.0)


def _client_grant(granted: ClientCredentials) -> tuple[str, Form]:
    form = {
        "grant_type": "client_credentials",
        "client_id": granted.client_id,
        "client_secret": granted.client_secret.get_secret_value(),
    }
    return granted.token_url, form | ({"scope": granted.scope} if granted.scope else {})


def _google_grant(
    account: GoogleServiceAccount, clock: Callable[[], float]
) -> Callable[[], tuple[str, Form]]:
    # Loaded where it is needed alone: it takes 5 MB and 30 ms.
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    try:
        read = orjson.loads(account.key_file.read_bytes())
        issuer, url = str(read["client_email"]), str(read["token_uri"])
        key = serialization.load_pem_private_key(read["private_key"].encode(), password=None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{account.key_file} is no key of a service account") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"{account.key_file} holds no RSA key")

    def grant() -> tuple[str, Form]:
        now = int(clock())
        claims = {"iss": issuer, "scope": account.scope, "aud": url, "iat": now, "exp": now + _ASSERTION_S}
        signed = b".".join(_base64url(part) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        assertion = signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")
        return url, {"grant_type": _JWT_BEARER, "assertion": assertion.decode()}

    return grant


def _base64url(part: object) -> bytes:
    return urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=")
