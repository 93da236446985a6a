"""The file of upstreams, and the credentials that it names."""

import asyncio
import base64
from pathlib import Path

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.errors import SettingsError
from app.proxy.client import Answer, UpstreamClient
from app.proxy.credentials import Authorization
from app.proxy.errors import UpstreamFailed
from app.proxy.upstreams import Upstream, Upstreams, load_upstreams
from tests.servers import PROJECT


def loaded(tmp_path: Path, text: str) -> Upstreams:
    path = tmp_path / "upstreams.toml"
    path.write_text(text)
    return load_upstreams(path, is_required=True)


def test_the_file_that_ships_names_none_and_its_examples_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = PROJECT / "config" / "upstreams.toml"
    assert load_upstreams(shipped, is_required=True) == Upstreams()
    monkeypatch.setenv("ORTHANC_PASSWORD", "secret")
    monkeypatch.setenv("OTHER_TOKEN", "secret")
    lines = shipped.read_text().splitlines()[3:]
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
    secret = tmp_path / "secret"
    secret.write_text("from the file\n")
    found = loaded(tmp_path, text.replace("/etc/dermzoo/dcm4chee-secret", str(secret)))
    assert [one.name for one in found.upstream] == ["orthanc", "dcm4chee", "google", "other"]
    default = Upstream(name="x", url="http://x")
    orthanc, dcm4chee = found.upstream[:2]
    chosen = {"name", "url", "allow_private", "ae_title", "credentials"}
    assert orthanc.model_dump(exclude=chosen) == default.model_dump(exclude=chosen)
    assert found.cache_bytes == Upstreams().cache_bytes
    assert dcm4chee.credentials.client_secret.get_secret_value() == "from the file"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[upstream]]\nname="UP"\nurl="http://x"', "upstream.0.name"),
        ('[[upstream]]\nname="a"\nurl="ftp://x"', "root of a DICOMweb service"),
        ('[[upstream]]\nname="a"\nurl="http://me:secret@x"', "not in the URL"),
        ('[[upstream]]\nname="a"\nurl="http://x?y=secret"', "root of a DICOMweb service"),
        ('[[upstream]]\nname="a"\nurl="http://x"\nmethods=["DELETE"]', "methods"),
        ('[[upstream]]\nname="a"\nurl="http://x"\nretries=3', "retries"),
        ('[[upstream]]\nname="a"\nurl="http://x"\n' * 2, "more than one is called a"),
        ('[[upstream]]\nname="a"\nurl="http://x"\ncredentials={type="bearer",token="env:NONE"}', "no NONE"),
        ('[[upstream]]\nname="a"\nurl="http://x"\ncredentials={type="basic",password="secret"}', "username"),
        ("= secret", "cannot read"),
    ],
)
def test_what_cannot_be_used_is_named_and_secrets_are_not(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


class Endpoint(UpstreamClient):
    """Takes what is sent to a token endpoint, and answers as it is told."""

    def __init__(self, upstream: Upstream, *answers: tuple[int, object]) -> None:
        super().__init__(upstream)
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, str]]] = []

    async def send(self, method: str, url: str, headers: object, content: object = None) -> Answer:
        assert isinstance(content, bytes)
        self.sent.append((url, dict(httpx.QueryParams(content.decode()))))
        status, body = self.answers.pop(0)
        import httpcore

        return Answer("up", httpcore.Response(status, content=orjson.dumps(body)))


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_token_is_fetched_once_and_again_before_it_ends(tmp_path: Path) -> None:
    upstream = Upstream.model_validate(
        {
            "name": "up",
            "url": "https://up.example",
            "credentials": {
                "type": "oauth2",
                "token_url": "https://sso.example/token",
                "client_id": "me",
                "client_secret": "hidden",
                "scope": "read",
            },
        }
    )
    assert "hidden" not in repr(upstream)
    endpoint = Endpoint(
        upstream,
        (200, {"access_token": "one", "expires_in": 300}),
        (200, {"access_token": "two", "expires_in": 300}),
        (400, {"error": "invalid_client"}),
    )
    clock = Clock()

    async def scenario() -> None:
        authorization = Authorization(upstream, endpoint, clock)
        both = await asyncio.gather(authorization.headers(), authorization.headers())
        assert both == [{"Authorization": "Bearer one"}] * 2
        assert endpoint.sent == [
            (
                "https://sso.example/token",
                {
                    "grant_type": "client_credentials",
                    "client_id": "me",
                    "client_secret": "hidden",
                    "scope": "read",
                },
            )
        ]
        clock.now_s += 250
        assert await authorization.headers() == {"Authorization": "Bearer two"}
        assert authorization.forget()
        with pytest.raises(UpstreamFailed, match="No token"):
            await authorization.headers()

    asyncio.run(scenario())


def test_the_assertion_of_a_service_account_is_signed(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "key.json"
    token_uri = "https://oauth2.googleapis.com/token"
    described = {"client_email": "me@p.iam", "token_uri": token_uri, "private_key": pem.decode()}
    file.write_bytes(orjson.dumps(described))
    upstream = Upstream.model_validate(
        {"name": "g", "url": "https://g.example", "credentials": {"type": "google", "key_file": str(file)}}
    )
    endpoint = Endpoint(upstream, (200, {"access_token": "one", "expires_in": 3600}))
    headers = asyncio.run(Authorization(upstream, endpoint, Clock()).headers())
    assert headers == {"Authorization": "Bearer one"}
    [(url, form)] = endpoint.sent
    assert (url, form["grant_type"]) == (token_uri, "urn:ietf:params:oauth:grant-type:jwt-bearer")
    head, claims, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in form["assertion"].split(".")
    )
    signed = form["assertion"].rpartition(".")[0].encode()
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert orjson.loads(head)["alg"] == "RS256"
    assert orjson.loads(claims) == {
        "iss": "me@p.iam",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": token_uri,
        "iat": 1000,
        "exp": 4600,
    }
    file.write_text("{}")
    with pytest.raises(SettingsError, match="no key of a service account"):
        Authorization(upstream, endpoint)
