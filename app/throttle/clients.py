"""Who is asking: the identity whose buckets pay.

The socket's peer, unless that is one of our own proxies: then the nearest address in X-Forwarded-For that
is not. That field grows to the right, one hop per proxy, and whoever asks writes its left end; so it is
read from the right, and no further than the first address that we do not operate. Other such fields
(Forwarded, X-Real-IP) are not read at all.
"""

from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# Where the people who run a server ask from: its own host, and networks that no provider bills (RFC 6890).
INSIDE = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "::/64",  # of which ::1 is
        "fc00::/7",
        "fe80::/10",
    )
)

PRINCIPAL = "dermzoo.principal"  # set by the layer that checks tokens: an object with token_id: str | None
REMEMBERED_PEERS = 16384


class Client(NamedTuple):
    """Whose buckets pay; `key` is `ip:…`, `token:…` or `local`, and never empty."""

    key: str
    has_token: bool = False
    name: str = ""  # of the token


class Clients:
    """Tells clients apart."""

    def __init__(self, trusted_proxies: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted_proxies)
        self._peer = lru_cache(REMEMBERED_PEERS)(self._examine)

    def identify(self, scope: MutableMapping[str, Any]) -> Client:
        """Return the client of an ASGI request."""
        principal = scope.get(PRINCIPAL)
        token_id = getattr(principal, "token_id", None)
        if token_id is not None:
            return Client(f"token:{token_id}", True, getattr(principal, "token_name", ""))  # noqa: FBT003
        peer = scope.get("client")
        client, is_proxy = self._peer(peer[0] if peer else "")
        return self._behind(client, scope["headers"]) if is_proxy else client

    def is_inside(self, client: Client) -> bool:
        """Say whether a client is on this host, on a network of its own, or one of our proxies itself."""
        address = parse_address(client.key.removeprefix("ip:").removesuffix("/64"))
        if address is None:
            return client.key == "local"
        return is_within(address, INSIDE) or self._is_proxy(address)

    def _examine(self, host: str) -> tuple[Client, bool]:
        address = parse_address(host)
        if address is None:  # a Unix socket, or a server that does not tell: all of them are one client
            return Client("local"), False
        return Client(network_key(address)), self._is_proxy(address)

    def _is_proxy(self, address: Address) -> bool:
        return is_within(address, self._trusted)

    def _behind(self, nearest: Client, headers: Iterable[tuple[bytes, bytes]]) -> Client:
        """Walk X-Forwarded-For from the right, starting at our own proxy `nearest`."""
        # Several lines mean one list (RFC 9110, 5.3).
        rest = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
        while rest:
            rest, _, hop = rest.rpartition(",")
            address = parse_address(_without_port(hop.strip()))
            if address is None:  # no honest proxy wrote this: do not look behind it
                break
            nearest = Client(network_key(address))
            if not self._is_proxy(address):
                break
        return nearest


def parse_address(text: str) -> Address | None:
    """Parse an address; an IPv4 address written as IPv6 (RFC 4291, 2.5.5.2) is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Say whether one of the networks holds the address."""
    return any(address in network for network in networks)


def network_key(address: Address) -> str:
    """Return the key of a client: an IPv4 address, or the /64 that one IPv6 subscriber has at least."""
    if isinstance(address, IPv4Address):
        return f"ip:{address}"
    return f"ip:{IPv6Address(int(address) >> 64 << 64)}/64"


def _without_port(hop: str) -> str:
    """Return the address of a hop; some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
