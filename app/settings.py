"""Every setting, typed; read once, passed down.

Environment `DERMZOO_*` over `config/dermzoo.toml` over the defaults below.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

DEFAULT_CONFIG = Path("config/dermzoo.toml")
CONFIG_VARIABLE = "DERMZOO_CONFIG_FILE"  # how `dermzoo serve` tells its worker processes which file to read
SERVICE_PATH = "/dicom-web"
COLLECTIONS_PATH = "/collections"  # each is a service of its own, at COLLECTIONS_PATH/NAME + SERVICE_PATH

Network = IPv4Network | IPv6Network
AeTitle = Annotated[  # PS3.5 6.2
    str, StringConstraints(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")
]


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        ip_address(text.removeprefix("[").removesuffix("]"))
    return text


HostName = Annotated[str, AfterValidator(_host_name)]
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 what is listened on, and where it is then


class Settings(BaseSettings):
    """What an operator may choose; docs/reference/settings.md is generated from these descriptions."""

    model_config = SettingsConfigDict(env_prefix="DERMZOO_", extra="forbid", frozen=True)

    data_dir: Path = Field(Path("data"), description="Catalogue, managed files, caches, budget state.")
    database_url: str = Field(
        "", description="`sqlite:///…` (default: `{data_dir}/catalog.db`) or `postgresql+psycopg://…`."
    )
    storage_url: str = Field("", description="`file://…` (default: `{data_dir}/objects`).")
    public_url: str = Field(
        "",
        description="Base of every absolute URL in answers (default: from host and port); "
        "never taken from the Host header.",
    )
    allowed_hosts: Annotated[tuple[HostName, ...], NoDecode] = Field(
        (),
        description="Further names and addresses, comma separated and without ports, that requests may have "
        "in `Host`, besides those of `public_url` and `host`, localhost, and the address connected to.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(2, ge=1, le=64, description="Web server processes.")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="Addresses or networks whose X-Forwarded-For is believed, comma separated; "
        "on the DICOM network they must speak the PROXY protocol, version 2.",
    )
    throttle: Literal["on", "off"] = Field(
        "on", description="`off` lets everything through (benchmarks, private networks)."
    )
    throttle_url: str = Field(
        "",
        description="`mmap:PATH` (default: `mmap:{data_dir}/budget`), `memory:`, or for several hosts "
        "`redis://…`, `rediss://…` or `unix:///…`.",
    )
    throttle_file: Path = Field(Path("config/throttle.toml"), description="Rates and bursts of the budget.")
    allow_anonymous_store: bool = Field(
        default=False,
        description="`true` lets anyone store; for tests and private networks; warned of at start.",
    )
    dimse: bool = Field(
        default=False, description="Whether `dermzoo serve` listens on the DICOM network too."
    )
    dimse_port: int = Field(11112, ge=1, le=65535, description="Port of the DICOM network, on `host`.")
    dimse_ae_title: str = Field("DERMZOO", min_length=1, max_length=16, description="Our AE title.")
    dimse_collections: dict[AeTitle, str] = Field(
        {},
        description="AE titles that find and send what a public collection holds, each with its slug; in the "
        "environment an object of JSON.",
    )
    dimse_check_called_ae_title: bool = Field(
        default=True, description="Whether associations that call another AE title are rejected."
    )
    dimse_processes: int = Field(
        1, ge=1, le=64, description="Processes that listen on the DICOM network; one for two processors."
    )
    dimse_associations: int = Field(32, ge=1, le=4096, description="Associations at a time, in all.")
    dimse_associations_per_client: int = Field(4, ge=1, description="Associations at a time of one address.")
    dimse_private_sop_classes: bool = Field(
        default=False, description="Whether instances of private SOP classes may be stored."
    )
    dimse_tls_certificate: Path | None = Field(
        None, description="PEM file with our certificate; with it the DICOM network speaks TLS alone."
    )
    dimse_tls_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    dimse_tls_ca: Path | None = Field(
        None, description="PEM file with the authorities of callers' certificates; with it each needs one."
    )
    peers_file: Path = Field(
        Path("config/peers.toml"), description="Known AE titles: who may C-STORE, where C-MOVE may send."
    )
    upstreams_file: Path = Field(
        Path("config/upstreams.toml"),
        description="Other DICOMweb servers, served at `/proxy/NAME/dicom-web`.",
    )
    require_license: bool = Field(
        default=False,
        description="Whether pixels are served of those instances alone whose licence, and whom to name, is "
        "known. Of the corpus they always are; `true` asks it of everything.",
    )
    store_max_bytes: int = Field(
        16 * 2**30, ge=1, description="The largest body of one STOW-RS request, in bytes."
    )
    search_limit: int = Field(
        1000, ge=1, description="The most results of one search, and the number without `limit`."
    )
    search_work_s: float = Field(
        2.0, gt=0, description="Seconds of work for a search that no index answers; then 413."
    )
    empty_search_status: Annotated[Literal[200, 204], BeforeValidator(int)] = Field(
        200, description="The answer to a search that finds nothing: 200 with `[]`, or 204 without a body."
    )
    thumbnails_max_bytes: int = Field(
        2 * 2**30, ge=2**20, description="Room for thumbnails, in bytes; the longest unused go first."
    )
    caged_processes: int = Field(2, ge=1, le=32, description="Child processes that read and decode files.")
    caged_memory_bytes: int = Field(2**30, description="Memory that one such process may use.")
    caged_cpu_s: int = Field(10, ge=1, description="Processor seconds that one file may take there.")
    http_head_bytes: int = Field(
        32 * 2**10, ge=1024, le=2**20, description="The largest request line and headers, in bytes."
    )
    http_head_s: float = Field(
        10, ge=1, le=3600, description="Seconds in which the request line and headers must be here."
    )
    http_body_s: float = Field(
        10, ge=1, le=3600, description="In any so many seconds of waiting for a body …"
    )
    http_body_bytes_per_second: float = Field(
        16_000, ge=0, le=1e9, description="… so many bytes a second must arrive; 0 waits for ever."
    )
    http_reader_s: float = Field(
        30, ge=1, le=3600, description="In any so many seconds of waiting for a reader …"
    )
    http_reader_bytes_per_second: float = Field(
        8_000, ge=0, le=1e9, description="… it must take so many bytes a second; 0 waits for ever."
    )
    http_idle_s: float = Field(
        5, ge=1, le=3600, description="Seconds that a connection is kept between two requests."
    )
    shutdown_grace_s: int = Field(30, ge=0, description="How long a stop waits for bodies to finish.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if "*" in value:
            raise ValueError("'*' would believe everybody's X-Forwarded-For: name the proxies' addresses")
        return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _separate_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("public_url")
    @classmethod
    def _whole_url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
            raise ValueError("the public base is http(s)://NAME[:PORT][/PATH]")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("a catalogue is at sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME")
        return value

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, value: str) -> str:
        if value and not value.startswith("file://"):
            raise ValueError("managed files are kept in a folder: file:///PATH")
        return value

    @property
    def catalog_url(self) -> str:
        """The SQLAlchemy URL of the catalogue."""
        return self.database_url or f"sqlite:///{self.data_dir / 'catalog.db'}"

    @property
    def objects_dir(self) -> Path:
        """The folder of the managed files."""
        return (
            Path(self.storage_url.removeprefix("file://")) if self.storage_url else self.data_dir / "objects"
        )

    @property
    def budget_url(self) -> str:
        """Where the state of the token buckets lives."""
        return self.throttle_url or f"mmap:{self.data_dir / 'budget'}"

    @property
    def base_url(self) -> str:
        """The public base of every absolute URL, without a slash at the end."""
        host = EVERYWHERE.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names and addresses that requests are for, as they were written."""
        return *self.allowed_hosts, urlsplit(self.base_url).hostname or "", self.host

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, file."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, settings_cls.model_config.get("toml_file"))
        return init_settings, env_settings, toml


def load_settings(config: Path | None = None, **overrides: object) -> Settings:
    """Read the settings; `config` names the TOML file, `overrides` win over everything."""

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=config or DEFAULT_CONFIG)

    return FileSettings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
