"""One budget for both networks: what is spent over HTTP is missing for DICOM, and the other way."""

import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dimse.toll import Toll
from app.throttle.budget import Budget
from app.throttle.policy import Allowance, PerClient, Policy
from app.throttle.stores import MemoryStore
from tests.dimse.raw_peer import RawPeer, association_request
from tests.dimse.served import Served

REQUESTS = 200  # too few for any process to take some ahead
REJECTED_TRANSIENT = (3, bytes([0, 2, 3, 2]))  # by the presentation layer: local limit exceeded
# Requests do not come back within the test, and nobody waits for its turn.
POLICY = f"""
[client]
requests = {{ per_second = 0.001, burst = {REQUESTS} }}
[hold]
longest_s = 0
"""


@pytest.fixture
def served(tmp_path):
    policy = tmp_path / "throttle.toml"
    policy.write_text(POLICY)
    served = Served(tmp_path, "", throttle_file=str(policy), dimse_associations_per_client="32")
    served.server.start()
    yield served
    served.server.stop()


def associate(served):
    """Type and body of the answer to a request for an association."""
    with RawPeer(served.port) as peer:
        peer.send(association_request())
        return peer.read()


@pytest.fixture
def search(served):
    """Search once; return the status."""
    with httpx.Client(base_url=served.server.dicomweb_url) as client:
        yield lambda: client.get("/studies").status_code


def test_spent_over_http_and_refused_on_the_dicom_network(served, search):
    assert associate(served)[0] == 2
    while search() == 200:
        pass
    assert associate(served) == REJECTED_TRANSIENT


def test_spent_on_the_dicom_network_and_refused_over_http(served, search):
    assert search() == 200
    while associate(served)[0] == 2:
        pass
    assert associate(served) == REJECTED_TRANSIENT
    assert search() == 429


class Clock:
    """Time that passes while somebody waits for a stop that does not come."""

    def __init__(self):
        self.now_s = 1000.0

    def wait(self, seconds):
        self.now_s += seconds
        return False

    def is_set(self):
        return False


@given(st.lists(st.integers(1, 5000), max_size=20))
def test_what_goes_out_is_paced_by_the_callers_address(sizes):
    clock = Clock()
    client = PerClient(bytes=Allowance(per_second=100, burst=1000))
    budget = Budget(Policy(client=client), MemoryStore(), lambda: clock.now_s)
    toll = Toll(budget, "192.0.2.1", clock)
    sent = 0
    for size in sizes:
        toll.pay(size)
        sent += size
        assert sent <= 1000 + 100 * (clock.now_s - 1000) + 1e-3
    assert toll.waited_s == pytest.approx(clock.now_s - 1000)
    # another address has its own, the same address on another association has not
    before = clock.now_s
    Toll(budget, "192.0.2.2", clock).pay(1000)
    assert clock.now_s == before
    if sent >= 1000:
        Toll(budget, "192.0.2.1", clock).pay(100)
        assert clock.now_s > before


def test_a_stop_ends_the_wait():
    stopping = threading.Event()
    stopping.set()
    budget = Budget(Policy(client=PerClient(bytes=Allowance(per_second=1, burst=1))), MemoryStore())
    Toll(budget, "192.0.2.1", stopping).pay(10**6)
