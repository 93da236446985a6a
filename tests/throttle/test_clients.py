"""Nobody chooses who pays (R4): what a client writes into a header changes nothing."""

import itertools
from ipaddress import IPv4Address, IPv6Address, ip_network
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.throttle.clients import Client, Clients
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, throttled

PROXIES = tuple(ip_network(text) for text in ("10.0.0.0/8", "2001:db8:ffff::/48"))
OUR_PROXY, OTHER_PROXY = "10.0.0.1", "10.9.9.9"


CLIENTS = Clients(PROXIES)


def key(peer, *lines, principal=None, clients=CLIENTS):
    scope = {"client": (peer, 1) if peer else None, "headers": [(b"x-forwarded-for", line) for line in lines]}
    if principal is not None:
        scope["dermzoo.principal"] = principal
    return clients.identify(scope).key


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        pytest.param("192.0.2.1", (), "ip:192.0.2.1", id="peer"),
        pytest.param("192.0.2.1", (b"198.51.100.7",), "ip:192.0.2.1", id="a stranger's header"),
        pytest.param(OUR_PROXY, (b"198.51.100.7",), "ip:198.51.100.7", id="behind our proxy"),
        pytest.param(OUR_PROXY, (b"1.1.1.1, 198.51.100.7",), "ip:198.51.100.7", id="forged left end"),
        pytest.param(OUR_PROXY, (b"198.51.100.7, 10.9.9.9",), "ip:198.51.100.7", id="two of our proxies"),
        pytest.param(OUR_PROXY, (b"1.1.1.1", b"198.51.100.7", b"10.9.9.9"), "ip:198.51.100.7", id="lines"),
        pytest.param(OUR_PROXY, (), "ip:10.0.0.1", id="the proxy itself"),
        pytest.param(OUR_PROXY, (b"10.9.9.9",), "ip:10.9.9.9", id="only proxies"),
        pytest.param(OUR_PROXY, (b"198.51.100.7, garbage",), "ip:10.0.0.1", id="garbage stops the walk"),
        pytest.param(OUR_PROXY, (b"198.51.100.7, ",), "ip:10.0.0.1", id="an empty hop is garbage"),
        pytest.param(OUR_PROXY, (b"198.51.100.7, unknown, 10.9.9.9",), "ip:10.9.9.9", id="behind garbage"),
        pytest.param(OUR_PROXY, (b"198.51.100.7:4711",), "ip:198.51.100.7", id="port"),
        pytest.param(OUR_PROXY, (b"[2001:db8::5]:4711",), "ip:2001:db8::/64", id="IPv6 and port"),
        pytest.param(OUR_PROXY, (b"010.0.0.1",), "ip:10.0.0.1", id="octal is garbage"),
        pytest.param("::ffff:10.0.0.1", (b"::ffff:198.51.100.7",), "ip:198.51.100.7", id="mapped"),
        pytest.param("2001:db8:ffff::1", (b"2001:db8::1",), "ip:2001:db8::/64", id="IPv6 proxy"),
        pytest.param("2001:db8:1:2:3:4:5:6", (), "ip:2001:db8:1:2::/64", id="IPv6 is a /64"),
        pytest.param("fe80::1%eth0", (), "ip:fe80::/64", id="zone"),
        pytest.param("", (b"198.51.100.7",), "local", id="Unix socket"),
        pytest.param("testclient", (b"198.51.100.7",), "local", id="no address"),
    ],
)
def test_who_is_asking(peer, lines, expected):
    assert key(peer, *lines) == expected


def test_without_trusted_proxies_the_header_is_not_read():
    assert key(OUR_PROXY, b"198.51.100.7", clients=Clients()) == "ip:10.0.0.1"


def test_a_token_is_a_client_wherever_it_comes_from():
    named = SimpleNamespace(token_id="abc")
    scope = {"client": ("192.0.2.1", 1), "headers": [], "dermzoo.principal": named}
    assert Clients().identify(scope) == Client("token:abc", has_token=True)
    assert key("192.0.2.1", principal=SimpleNamespace(token_id=None)) == "ip:192.0.2.1"


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))),
    st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number))),
    st.sampled_from([OUR_PROXY, OTHER_PROXY, "::ffff:10.0.0.1", "127.0.0.1", ""]),
    st.text(max_size=12),
)
forged_lines = st.lists(st.lists(addresses, max_size=4).map(", ".join), max_size=3)


@settings(deadline=None)
@given(forged_lines, st.booleans())
def test_nothing_that_a_client_writes_changes_who_pays(lines, behind_proxy):
    forged = [line.encode("utf-8", "replace") for line in lines]
    if behind_proxy:  # an honest proxy adds a line of its own, or to the last one
        assert key(OUR_PROXY, *forged, b"198.51.100.7") == "ip:198.51.100.7"
        joined = [*forged[:-1], b", ".join([*forged[-1:], b"198.51.100.7"])]
        assert key(OUR_PROXY, *joined) == "ip:198.51.100.7"
    else:
        assert key("198.51.100.7", *forged) == "ip:198.51.100.7"


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_all_of_one_64_are_one_client_and_no_other_is(network, interface):
    prefix = 0x2001_0DB8 << 96 | (network >> 32 << 64)
    first, second = IPv6Address(prefix), IPv6Address(prefix | interface)
    assert key(str(first)) == key(str(second)) != key(str(IPv6Address(prefix ^ 1 << 64)))


NAMES = (b"x-forwarded-for", b"forwarded", b"x_forwarded_for", b"x-real-ip", b"client-ip", b"true-client-ip")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), addresses), min_size=1, max_size=50))
def test_1000_forged_requests_get_not_one_more_than_one_client_may(forged):
    """R4: zero extra requests, whatever the header, from one address or from all over one /64."""
    time = VirtualTime()
    requests = {"per_second": 1e-6, "burst": 20}
    app = throttled(
        answering(b""), make_budget(time, client={"requests": requests}, hold={"longest_s": 0}), time
    )
    visits = [
        Visit(time, host=f"2001:db8::{number:x}", headers=((name, value.encode("utf-8", "replace")),))
        for number, (name, value) in enumerate(itertools.islice(itertools.cycle(forged), 1000))
    ]
    time.run(*(visit.ask(app) for visit in visits))
    assert [visit.status for visit in visits].count(200) == 20
