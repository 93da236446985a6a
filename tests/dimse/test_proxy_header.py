"""PROXY protocol, version 2: whom our proxies speak for, and that nobody else may (R4)."""

import json
import logging
import struct
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dimse.errors import ProtocolError
from app.dimse.proxy_header import HEADER_BYTES, LONGEST_BYTES, SIGNATURE, client_address, following_bytes
from tests.dimse.conftest import Start
from tests.dimse.raw_peer import RawPeer, association_request

HERE = ip_network("127.0.0.1/32")


def header(source="192.0.2.7", command=0x21, family=None, extensions=b"", ports=(4711, 104)):
    if ":" in source:
        family, packed = family or 0x21, IPv6Address(source).packed
    else:
        family, packed = 0x11 if family is None else family, IPv4Address(source).packed
    addresses = packed * 2 + struct.pack(">HH", *ports) + extensions
    return SIGNATURE + struct.pack(">BBH", command, family, len(addresses)) + addresses


def read(whole):
    assert following_bytes(whole[:HEADER_BYTES]) == len(whole) - HEADER_BYTES
    return client_address(whole)


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.binary(max_size=300))
def test_an_ipv4_client(address, extensions):
    assert read(header(str(address), extensions=extensions)) == str(address)
    assert read(header(f"::ffff:{address}", extensions=extensions)) == str(address)


@given(st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda address: address.ipv4_mapped is None))
def test_an_ipv6_client(address):
    assert read(header(str(address))) == str(address)


@pytest.mark.parametrize(("command", "family"), [(0x20, 0x11), (0x20, 0), (0x21, 0), (0x21, 0x31)])
def test_a_proxy_that_speaks_for_itself(command, family):
    assert read(header(command=command, family=family)) is None


@given(st.binary(max_size=64), st.integers(0, 27), st.booleans())
def test_anything_is_an_address_or_a_protocol_error(noise, kept, is_signed):
    """The parser has two ends, and reads no byte that is not there."""
    whole = (header()[:kept] if is_signed else b"") + noise
    whole = whole.ljust(HEADER_BYTES, b"\0")
    try:
        length = following_bytes(whole[:HEADER_BYTES])
        assert 0 <= length <= LONGEST_BYTES
        address = client_address((whole + bytes(length))[: HEADER_BYTES + length])
    except ProtocolError:
        return
    assert address is None or IPv4Address(address) or IPv6Address(address)


@pytest.mark.parametrize(
    "wrong",
    [
        association_request(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 104\r\n",
        header(command=0x11),
        header(command=0x22),
        header(family=0x12),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, LONGEST_BYTES + 1),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x21, 12) + bytes(12),
    ],
    ids=["no header", "version 1", "version", "command", "datagrams", "length", "cut short"],
)
def test_a_proxy_that_begins_otherwise_is_refused(start_listener: Start, wrong):
    listening = start_listener(trusted_proxies=(HERE,))
    with RawPeer(listening.port) as proxy:
        proxy.send(wrong)
        assert proxy.read()[0] in {7, None}
        assert proxy.read() == (None, b"")


def test_nobody_else_may_begin_so(start_listener: Start):
    listening = start_listener()
    with RawPeer(listening.port) as stranger:
        stranger.send(header() + association_request())
        assert stranger.read()[0] == 7
        assert stranger.read() == (None, b"")


def test_the_client_of_a_proxy_is_who_is_counted_and_logged(start_listener: Start, caplog):
    """Its slots are its own: those of the proxy would be used up after one association."""
    listening = start_listener(trusted_proxies=(HERE,), dimse_associations_per_client=1)
    with caplog.at_level(logging.INFO, "dermzoo.dimse"):
        with RawPeer(listening.port) as first, RawPeer(listening.port) as second:
            whole = header("192.0.2.7", extensions=b"\x04\0\1\0") + association_request()
            for at in range(0, len(whole), 7):  # in pieces, as networks like it
                first.send(whole[at : at + 7])
            assert first.read()[0] == 2
            second.send(header("::ffff:192.0.2.7") + association_request())
            assert second.read()[0] == 3
        with RawPeer(listening.port) as third:
            third.send(header("2001:db8::1") + association_request())
            assert third.read()[0] == 2
        listening.listener.stopping.set()
    clients = [record.facts["client"] for record in caplog.records if hasattr(record, "facts")]
    assert "192.0.2.7" in clients, json.dumps(clients)
    assert "127.0.0.1" not in clients
