"""Where connections may go: a name is resolved here, its addresses are looked at, and one of those is called.

What a name means is not asked a second time, so it cannot mean something else by then.
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore

_NAT64 = ip_network("64:ff9b::/96")
_MOST_ADDRESSES = 4

Address = IPv4Address | IPv6Address
# What httpcore hands down; the type of it is its own.
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class ForbiddenAddress(httpcore.ConnectError):
    """A name leads into a network that must not be reached through here."""


def may_call(text: str, *, allow_private: bool) -> bool:
    """Whether an address may be called: a public one, or a private one where the operator says so.

    Link-local addresses, where clouds keep the credentials of their machines, never.
    """
    address = _inner(ip_address(text.partition("%")[0]))
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if address.is_reserved and not address.is_loopback:
        return False
    return allow_private or address.is_global


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Makes the connections of a client; httpcore asks it for each."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the library's interface
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a name that answers, of those that may be called."""
        allowed = await self._allowed(host, port)
        for number, address in enumerate(allowed, 1):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(allowed):
                    raise
        raise ForbiddenAddress(f"{host} has no address that may be called")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 the library's interface
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no upstream is a file."""
        del timeout, socket_options
        raise ForbiddenAddress(f"{path} is no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _allowed(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be found: {error}") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        return [one for one in addresses if may_call(one, allow_private=self._allow_private)][
            :_MOST_ADDRESSES
        ]
