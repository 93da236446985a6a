"""Who is known on the DICOM network: `config/peers.toml`, read at start.

An AE title is a label that anybody can write; a caller counts as a peer only if it also calls from that
peer's address or, where the entry names one, has shown that certificate.
"""

import socket
import ssl
import tomllib
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import SettingsError
from app.throttle.clients import parse_address

May = Literal["echo", "find", "get", "move", "store", "commit"]
ANYONE: frozenset[May] = frozenset({"echo", "find", "get"})


class Peer(BaseModel):
    """One AE: where C-MOVE may send, and what its calls may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ae_title: str = Field(
        min_length=1, max_length=16, description="Its AE title; several entries may share one."
    )
    host: str = Field(description="Its address or name: where it calls from, and where C-MOVE sends.")
    port: int = Field(104, ge=1, le=65535, description="Where it listens.")
    may: frozenset[May] = Field(ANYONE, description="What its calls may ask for.")
    tls: bool = Field(default=False, description="Whether we speak TLS to it.")
    tls_ca: Path | None = Field(
        None, description="PEM file with the authorities of its certificate, if those are not the system's."
    )
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate that we show it.")
    tls_key: Path | None = Field(None, description="PEM file with that certificate's private key.")
    certificate_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of its certificate, in hexadecimal: then that counts in place of the address.",
    )

    def addresses(self) -> frozenset[str]:
        """Return the addresses that the host has now; none if it cannot be found."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            return frozenset()
        return frozenset(str(parse_address(str(each[4][0]))) for each in found)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return our side of TLS to it, None if we speak none; raises OSError for files that are no PEM."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls_certificate is not None:
            context.load_cert_chain(self.tls_certificate, self.tls_key)
        return context


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    peer: tuple[Peer, ...] = ()


@dataclass(frozen=True)
class Peers:
    """The known AEs by title; several addresses may share one."""

    known: tuple[Peer, ...] = ()
    anonymous_may: frozenset[May] = ANYONE
    _by_title: dict[str, list[Peer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for peer in self.known:
            self._by_title.setdefault(peer.ae_title, []).append(peer)

    def may(self, ae_title: str, address: str, certificate_sha256: str | None = None) -> frozenset[May]:
        """Return what a caller may ask for: what its entry says, else what anybody may."""
        caller = str(parse_address(address) or ip_address("0.0.0.0"))  # noqa: S104 stands for no address
        for peer in self._by_title.get(ae_title, ()):
            if peer.certificate_sha256 is not None:
                is_caller = peer.certificate_sha256 == certificate_sha256
            else:
                is_caller = caller in peer.addresses()
            if is_caller:
                return peer.may
        return self.anonymous_may

    def destination(self, ae_title: str) -> Peer | None:
        """Return where C-MOVE sends for a title; None if it is unknown (status A801)."""
        return next(iter(self._by_title.get(ae_title, ())), None)


def load_peers(path: Path, *, is_required: bool, anyone_may_store: bool) -> Peers:
    """Read the peers file; raises SettingsError and says what is wrong with it."""
    anonymous: frozenset[May] = ANYONE | {"store", "commit"} if anyone_may_store else ANYONE
    if not path.exists():
        if is_required:
            raise SettingsError(f"DERMZOO_PEERS_FILE is {path}, which does not exist")
        return Peers(anonymous_may=anonymous)
    try:
        read = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {place}: {first['msg']}") from error
    for peer in read.peer:
        try:
            peer.tls_context()
        except OSError as error:
            raise SettingsError(f"{path}: TLS to {peer.ae_title} cannot be spoken: {error}") from error
    return Peers(read.peer, anonymous)
