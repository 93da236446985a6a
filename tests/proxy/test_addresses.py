"""Where the proxy may call (T7): what is resolved is looked at, and that is what is called."""

import asyncio
import socket

import httpcore
import pytest

from app.proxy.addresses import CheckedBackend, ForbiddenAddress, may_call

PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "100.64.0.1",
]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
]


def test_which_addresses_may_be_called() -> None:
    assert [one for one in PUBLIC if not may_call(one, allow_private=False)] == []
    assert [one for one in PRIVATE + NEVER if may_call(one, allow_private=False)] == []
    assert [one for one in PUBLIC + PRIVATE if not may_call(one, allow_private=True)] == []
    assert [one for one in NEVER if may_call(one, allow_private=True)] == []


class Called(httpcore.AsyncMockBackend):
    """Notes who is called."""

    def __init__(self) -> None:
        super().__init__([])
        self.addresses: list[str] = []

    async def connect_tcp(self, host: str, *arguments: object) -> httpcore.AsyncNetworkStream:
        self.addresses.append(host)
        if host == "8.8.4.4":
            raise httpcore.ConnectError("not today")
        return await super().connect_tcp(host, 443)


def connected(monkeypatch: pytest.MonkeyPatch, *addresses: str, allow_private: bool = False) -> list[str]:
    """What is called for a name that has these addresses the first time, and the worst the second time."""
    answers = [addresses, ("169.254.169.254",)]

    async def scenario() -> list[str]:
        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(2, 1, 6, "", (one, 443)) for one in answers.pop(0)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        backend, called = CheckedBackend(allow_private=allow_private), Called()
        backend._inner = called
        try:
            await backend.connect_tcp("name.example", 443, 1.0)
        except ForbiddenAddress:
            assert called.addresses == []
            raise
        return called.addresses

    return asyncio.run(scenario())


def test_the_address_that_was_looked_at_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connected(monkeypatch, "8.8.8.8") == ["8.8.8.8"]
    assert connected(monkeypatch, "127.0.0.1", "8.8.8.8") == ["8.8.8.8"]
    assert connected(monkeypatch, "8.8.4.4", "8.8.8.8") == ["8.8.4.4", "8.8.8.8"]
    assert connected(monkeypatch, "127.0.0.1", allow_private=True) == ["127.0.0.1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "10.0.0.1"])
def test_nothing_is_sent_to_a_forbidden_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(ForbiddenAddress):
        connected(monkeypatch, address)


@pytest.mark.parametrize("name", ["127.1", "0x7f000001", "2130706433", "localhost"])
def test_other_spellings_of_this_machine(name: str) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            backend = CheckedBackend(allow_private=False)
            with pytest.raises(httpcore.ConnectError):
                await backend.connect_tcp(name, listening.getsockname()[1], 1.0)

    asyncio.run(scenario())
