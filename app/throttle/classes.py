"""Classes of clients: who has more, less, everything or nothing, by network or by token."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.throttle.clients import Client, Network, parse_address

Treatment = Literal["limited", "unlimited", "denied"]
SUBNET_BITS = {4: 24, 6: 48}
CLIENT_BITS = {4: 32, 6: 64}


def _network(value: object) -> Network:
    if not isinstance(value, str):
        raise ValueError("a network is written in quotes, as in '192.0.2.0/24'")  # noqa: TRY004 pydantic's way
    network = ip_network(value)
    if network.prefixlen > CLIENT_BITS[network.version]:
        raise ValueError("an IPv6 client is a /64: no smaller network can be told apart")
    return network


class ClientClass(BaseModel):
    """One class: whom it holds, and how they are treated. The first that holds a client counts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    treatment: Treatment = "limited"
    factor: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1
    networks: Annotated[
        tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], Field(strict=False)
    ] = ()
    tokens: Annotated[tuple[str, ...], Field(strict=False)] = ()  # names or ids

    @model_validator(mode="after")
    def _says_whom(self) -> "ClientClass":
        if not self.networks and not self.tokens:
            raise ValueError("a class needs networks, tokens, or both")
        if self.treatment != "limited" and self.factor != 1:
            raise ValueError("a factor is for the treatment 'limited' alone")
        return self

    def holds(self, client: Client) -> bool:
        """Whether a client is of this class; who shows a token is known by that, wherever it comes from."""
        if client.has_token:
            return client.name in self.tokens or client.key.removeprefix("token:") in self.tokens
        address = parse_address(_address(client))
        return address is not None and any(address in network for network in self.networks)


def class_of(client: Client, classes: Iterable[ClientClass]) -> ClientClass | None:
    """Return the first class that holds a client; None for the ordinary ones."""
    return next((each for each in classes if each.holds(client)), None)


def subnet_of(client: Client) -> str | None:
    """Return the IPv4 /24 or IPv6 /48 of a client; None without an address, or where a token names it."""
    address = None if client.has_token else parse_address(_address(client))
    if address is None:
        return None
    return str(ip_network((address, SUBNET_BITS[address.version]), strict=False))


def _address(client: Client) -> str:
    return client.key.removeprefix("ip:").removesuffix("/64")
