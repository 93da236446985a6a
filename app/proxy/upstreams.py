"""Which other servers there are: `config/upstreams.toml`, read at start."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from app.errors import SettingsError
from app.settings import Settings

Seconds = Annotated[float, Field(gt=0, le=86400 * 365, allow_inf_nan=False)]
Method = Literal["GET", "POST"]


def _secret(value: object) -> object:
    """Read `env:NAME` and `file:PATH`, so that the file itself need not be a secret."""
    if not isinstance(value, str):
        return value
    scheme, _, place = value.partition(":")
    if scheme == "env":
        if place not in os.environ:
            raise ValueError(f"there is no {place} in the environment")
        return os.environ[place]
    if scheme == "file":
        try:
            return Path(place).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"{place} cannot be read: {error.strerror}") from None
    return value


Secret = Annotated[SecretStr, BeforeValidator(_secret)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoCredentials(_Section):
    """The server asks for none."""

    type: Literal["none"] = "none"


class Basic(_Section):
    """A name and a password (RFC 7617)."""

    type: Literal["basic"]
    username: str
    password: Secret


class Bearer(_Section):
    """A token that does not change (RFC 6750)."""

    type: Literal["bearer"]
    token: Secret


class ClientCredentials(_Section):
    """A token fetched with a client's credentials (RFC 6749 4.4)."""

    type: Literal["oauth2"]
    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""


class GoogleServiceAccount(_Section):
    """A token fetched with an assertion that a service account's key signs (RFC 7523)."""

    type: Literal["google"]
    key_file: Path
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


Credentials = Annotated[
    NoCredentials | Basic | Bearer | ClientCredentials | GoogleServiceAccount, Field(discriminator="type")
]


class Keeping(_Section):
    """For how long answers are taken as they are before the server is asked again."""

    search_s: Annotated[float, Field(ge=0)] = 30
    metadata_s: Annotated[float, Field(ge=0)] = 300
    object_s: Annotated[float, Field(ge=0)] = 86400
    stale_s: Annotated[float, Field(ge=0)] = 86400
    most_object_bytes: Annotated[int, Field(ge=0)] = 2**30


class Upstream(_Section):
    """One other server."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    url: str
    also_at: tuple[str, ...] = ()
    ae_title: str | None = Field(None, pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")
    methods: frozenset[Method] = frozenset({"GET"})
    credentials: Credentials = NoCredentials()
    allow_private: bool = False
    decodes_queries: bool = True
    ca_file: Path | None = None
    connections: Annotated[int, Field(ge=1, le=1024)] = 16
    connect_s: Seconds = 5
    read_s: Seconds = 30
    retries: Annotated[int, Field(ge=0, le=2)] = 2
    cache: Keeping = Keeping()

    @field_validator("url", "also_at")
    @classmethod
    def _is_base(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, tuple):
            return tuple(str(cls._is_base(one)) for one in value)
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the root of a DICOMweb service is http(s)://HOST[:PORT]/PATH")
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials stand in [upstream.credentials], not in the URL")
        return value.rstrip("/")


class Upstreams(_Section):
    """The whole file."""

    cache_bytes: Annotated[int, Field(ge=0)] = 10 * 2**30
    upstream: tuple[Upstream, ...] = ()

    @field_validator("upstream")
    @classmethod
    def _named_once(cls, value: tuple[Upstream, ...]) -> tuple[Upstream, ...]:
        names = [one.name for one in value]
        titles = [one.ae_title for one in value if one.ae_title]
        for called in (names, titles):
            if repeated := sorted({name for name in called if called.count(name) > 1}):
                raise ValueError(f"more than one is called {', '.join(repeated)}")
        return value


def load_upstreams(path: Path, *, is_required: bool) -> Upstreams:
    """Read the upstreams file; one that is not there means that there are none.

    Raises SettingsError naming the file and the key, and never a secret.
    """
    if not path.exists():
        if is_required:
            raise SettingsError(f"DERMZOO_UPSTREAMS_FILE is {path}, which does not exist")
        return Upstreams()
    try:
        return Upstreams.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the upstreams in {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {place}: {first['msg']}") from None


def read_upstreams(settings: Settings) -> Upstreams:
    """Read the upstreams file that the settings name; raises SettingsError."""
    is_chosen = settings.upstreams_file != type(settings).model_fields["upstreams_file"].default
    return load_upstreams(settings.upstreams_file, is_required=is_chosen)
