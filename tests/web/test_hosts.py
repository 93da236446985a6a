"""T8: the names that a request may be for (RFC 9110 7.4, RFC 9112 3.2)."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.settings import Settings
from app.web.hosts import OPERATORS_PATHS, Hosts, named
from tests.web.conftest import Archive

PORT = b":4711"


def status(
    settings: Settings, *hosts: bytes, path: str = "/quota", server: object = None, version: str = "1.1"
) -> int:
    """What a request with these Host fields is answered; 200 if it is passed on."""

    async def passed(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    said: list[int] = []

    async def send(message):
        if message["type"] == "http.response.start":
            said.append(message["status"])

    headers = [(b"host", host) for host in hosts]
    scope = {"type": "http", "http_version": version, "path": path, "headers": headers, "server": server}
    asyncio.run(Hosts(passed, settings)(scope, None, send))
    return said[0]


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"LocalHost.", b"127.0.0.1", b"127.8.8.8", b"[::1]", b"[0:0::0001]"),
        *(b"[::ffff:127.0.0.1]", b"dicom.example.org", b"DICOM.Example.ORG.", b"pacs.lan", b"192.0.2.7"),
        *(b"192.0.2.1", b"[2001:db8::7]"),
    ],
)
def test_t8_it_goes_by_its_own_names_at_any_port(host):
    settings = Settings(
        public_url="https://Dicom.example.org/x", host="192.0.2.1", allowed_hosts="pacs.lan, [2001:DB8::0007]"
    )
    for spelled in (host, host + PORT, host + b":"):
        assert status(settings, spelled, server=("192.0.2.7", 8080)) == 200


@pytest.mark.parametrize(
    "host",
    [
        *(b"evil.example", b"dicom.example.org.evil.example", b"xdicom.example.org", b"example.org"),
        *(b"localhost.evil.example", b"192.0.2.9", b"[2001:db8::9]", b"0.0.0.0", b"127.1", b"2130706433"),
    ],
)
def test_t8_it_goes_by_no_other_name(host):
    settings = Settings(public_url="https://dicom.example.org")
    assert status(settings, host, server=("192.0.2.7", 8080)) == 421
    assert status(settings, host + PORT) == 421


@pytest.mark.parametrize(
    "hosts",
    [
        *((), (b"localhost", b"localhost"), (b"",), (b"localhost, evil.example",), (b"a@localhost",)),
        *((b"localhost/x",), (b"localhost:x",), (b" localhost",), (b"[localhost]",), (b"[::1",)),
        *((b"local\xffhost",), (b"a" * 301,), (b"localhost:123456",)),
    ],
)
def test_t8_a_host_field_that_names_none(hosts):
    assert status(Settings(), *hosts) == 400


def test_before_http_1_1_nobody_names_a_host():
    assert status(Settings(), version="1.0") == 200
    assert status(Settings(), b"evil.example", version="1.0") == 421


@pytest.mark.parametrize("path", sorted(OPERATORS_PATHS))
@pytest.mark.parametrize("hosts", [(), (b"any_name:1",), (b"10.1.2.3",), (b"a", b"b"), (b"?",)])
def test_who_looks_after_servers_names_them_as_it_likes(path, hosts):
    assert status(Settings(), *hosts, path=path) == 200


@given(st.binary(max_size=40))
def test_a_host_field_is_read_or_is_none(field):
    name = named(field)
    assert name is None or named(f"[{name}]".encode() if ":" in name else name.encode()) == name


@pytest.mark.parametrize("text", ["*", "a/b", "http://a", "a:80", "a b", "evil@a"])
def test_what_is_no_name_is_no_setting(text):
    with pytest.raises(ValidationError, match="allowed_hosts"):
        Settings(allowed_hosts=text)


@pytest.mark.parametrize("text", ["dicom.example.org", "ftp://a", "https://", "//a"])
def test_a_public_url_names_a_host(text):
    with pytest.raises(ValidationError, match="public_url"):
        Settings(public_url=text)


def test_where_it_is_when_it_listens_everywhere():
    assert Settings(host="0.0.0.0").base_url == "http://127.0.0.1:8080"
    assert Settings(host="::").base_url == "http://[::1]:8080"


def test_the_refusal_says_what_to_set(archive: Archive):
    """In the form that the client reads, from any origin; a target may name the host (RFC 9112 3.2.2)."""
    answer = archive.client.get("/studies", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "DERMZOO_ALLOWED_HOSTS" in answer.json()["detail"]
    assert archive.server.url in answer.json()["detail"]
    for target, expected in (("http://evil.example/quota", b"421"), ("http://localhost:1/quota", b"200")):
        with socket.create_connection(("127.0.0.1", archive.server.port), timeout=30) as connection:
            host = "localhost" if expected == b"421" else "evil.example"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert connection.recv(4096).split()[1] == expected
