"""One budget for both networks: what is spent over HTTP is missing for DICOM, and the other way."""

import os
import socket
import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import JPEGBaseline8Bit
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.archive.store import store_staged, taking_in
from app.dimse.commands import Kind
from app.dimse.errors import Aborted
from app.dimse.pdu import Wire
from app.dimse.toll import Toll
from app.throttle.budget import Budget
from app.throttle.clients import Client, Clients
from app.throttle.exchange import SLICE_BYTES
from app.throttle.policy import Allowance, Holding, PerClient, Policy, Routes, Shared
from app.throttle.refusals import told_to_wait_s
from app.throttle.stores import MemoryStore
from tests.dimse.raw_peer import RawPeer, association_request
from tests.dimse.served import Served
from tests.dimse.stage import FIND, GET, STUDY, Stage, comment, counts, identifier, status
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes

REQUESTS = 200  # too few for any process to take some ahead
REJECTED_TRANSIENT = (3, bytes([0, 2, 3, 2]))  # by the presentation layer: local limit exceeded
# Requests do not come back within the test, and nobody waits for its turn.
POLICY = f"""
[client]
requests = {{ per_second = 0.001, burst = {REQUESTS} }}
[hold]
longest_s = 0
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget")
    policy = folder / "throttle.toml"
    policy.write_text(POLICY)
    served = Served(folder, "", throttle_file=str(policy), dimse_associations_per_client="32")
    served.server.start()
    yield served
    served.server.stop()


class Caller:
    """Who spends: an address that no other test has."""

    def __init__(self, served):
        self.address = f"127.{os.urandom(1)[0]}.{os.urandom(1)[0]}.9"
        self._port = served.port
        transport = httpx.HTTPTransport(local_address=self.address)
        self.client = httpx.Client(base_url=served.server.dicomweb_url, transport=transport)

    def associate(self):
        """Type and body of the answer to a request for an association."""
        with RawPeer(self._port, source=self.address) as peer:
            peer.send(association_request())
            return peer.read()

    def search(self):
        """Search once; return the status."""
        return self.client.get("/studies").status_code


@pytest.fixture
def caller(served):
    caller = Caller(served)
    with caller.client:
        yield caller


def test_spent_over_http_and_refused_on_the_dicom_network(caller):
    assert caller.associate()[0] == 2
    while caller.search() == 200:
        pass
    assert caller.associate() == REJECTED_TRANSIENT


def test_spent_on_the_dicom_network_and_refused_over_http(caller):
    assert caller.search() == 200
    while caller.associate()[0] == 2:
        pass
    assert caller.associate() == REJECTED_TRANSIENT
    assert caller.search() == 429


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


@pytest.fixture
def stage(listening, monkeypatch):
    """A listener that holds two photographs in JPEG, and costly requests that are few: two of each kind."""
    with taking_in(listening.listener.archive) as staging:
        staged = []
        for number in range(2):
            file = staging.new()
            file.write(instance_bytes(name=f"photo {number}", jpeg=True))
            file.finish()
            staged.append(file)
        assert not any(result.error for result in store_staged(listening.listener.archive, staging, staged))
    few = Allowance(per_second=0.001, burst=2)
    policy = Policy(routes=Routes(search=few, transcode=few), hold=Holding(longest_s=0))
    monkeypatch.setattr(listening.listener, "budget", Budget(policy, MemoryStore()))
    return Stage(listening, monkeypatch)


def spend(stage, kind):
    """Spend over HTTP what the caller of this host has of a kind."""
    budget = stage.listening.listener.budget
    account = budget.account(Clients().identify({"client": ("127.0.0.1", 4711), "headers": []}))
    while budget.admit_route(account, kind) == 0.0:
        pass


def test_queries_are_searches_whatever_association_they_come_on(stage):
    with stage.peer(FIND) as peer:
        said = []
        for _ in range(3):
            peer.ask(1, stage.command(Kind.C_FIND_RQ, FIND), identifier(**STUDY))
            said.append(peer.answers())
    assert [status(answers) for answers in said] == [0x0000, 0x0000, 0xA700]
    assert comment(said[2]).startswith("Your budget is used up; ask again in ")
    assert len(said[2]) == 1
    assert status(stage.find()) == 0xA700
    assert status(stage.get()) != 0xA700  # which is no search


def test_what_was_searched_over_http_is_missing_for_queries(stage):
    spend(stage, "search")
    assert status(stage.find()) == 0xA700


def test_retrievals_that_convert_are_conversions_and_others_are_not(stage):
    with stage.destination():
        for answers in (stage.get(), stage.move()):  # of what is JPEG, neither side takes any but native
            assert (status(answers), counts(answers)) == (0x0000, (None, 2, 0, 0))
        for answers in (stage.get(), stage.move()):
            assert status(answers) == 0xA700
            assert comment(answers).startswith("Your budget is used up; ask again in ")
            assert len(answers) == 1
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = VL_PHOTOGRAPHIC, False, True
    with RawPeer(stage.listening.port) as peer:
        peer.associate(GET, (VL_PHOTOGRAPHIC, [JPEGBaseline8Bit]), extra=[role])
        peer.ask(1, stage.command(Kind.C_GET_RQ, GET), identifier(**STUDY))
        answers = peer.answers()
    assert (status(answers), counts(answers)) == (0x0000, (None, 2, 0, 0))


def test_what_was_converted_over_http_is_missing_for_retrievals(stage):
    spend(stage, "transcode")
    assert status(stage.get()) == 0xA700
    assert status(stage.find()) == 0x0000


def test_a_retrieval_that_had_its_time_when_all_is_spent_ends_with_what_it_has_sent(stage):
    """As over HTTP, where the connection is ended: else it would hold all others back while it goes on."""
    nothing = Shared(bytes=Allowance(per_second=1e6, burst=1), finish_s=0)
    stage.patch.setattr(stage.listening.listener, "budget", Budget(Policy(shared=nothing), MemoryStore()))
    with stage.destination():
        answers = stage.move()
    assert (status(answers), counts(answers)) == (0xB000, (None, 1, 1, 0))
    assert comment(answers) == "The budget of all callers is used up; ask for the rest later"


def test_the_time_of_a_request_begins_anew_with_the_next():
    clock = Clock()
    shared = Shared(bytes=Allowance(per_second=100, burst=100), finish_s=5)
    toll = Toll(Budget(Policy(shared=shared), MemoryStore(), lambda: clock.now_s), "192.0.2.1", clock)
    told = []
    for _ in range(8):
        toll.pay(100)
        told.append(toll.had_its_time)
    assert told == [False] * 6 + [True] * 2
    clock.now_s += 1
    assert toll.refusal() is None
    assert not toll.had_its_time


def test_r5_who_is_refused_for_all_waits_as_long_as_over_http():
    """R5: else whoever asks at once again would have all that there is, and who heeds Retry-After nothing."""
    clock = Clock()
    shared = Shared(bytes=Allowance(per_second=1000, burst=1e6))
    budget = Budget(Policy(shared=shared), MemoryStore(), lambda: clock.now_s)
    budget.owe(budget.account(Client("ip:192.0.2.9")), 1_002_000)  # two seconds more than there is
    toll = Toll(budget, "192.0.2.1", clock, lambda: 0.5)
    before_s, refusal = clock.now_s, toll.refusal()
    assert refusal is not None
    assert refusal.is_shared
    assert clock.now_s - before_s == told_to_wait_s(refusal, lambda: 0.5) > refusal.retry_after_s


def test_who_is_refused_does_not_hold_up_a_stop():
    clock = Clock()
    budget = Budget(Policy(shared=Shared(bytes=Allowance(per_second=1, burst=1))), MemoryStore())
    budget.owe(budget.account(Client("ip:192.0.2.9")), 1000)
    toll = Toll(budget, "192.0.2.1", clock, is_closing=lambda: clock.now_s > 1000)
    assert toll.refusal() is not None
    assert clock.now_s == 1001


def test_who_is_refused_for_itself_is_told_so_at_once():
    clock = Clock()
    policy = Policy(client=PerClient(requests=Allowance(per_second=0.001, burst=1)))
    toll = Toll(Budget(policy, MemoryStore(), lambda: clock.now_s), "192.0.2.1", clock, lambda: 0.5)
    assert toll.refusal() is None
    assert toll.refusal() is not None
    assert clock.now_s == 1000


def test_r5_who_must_wait_pays_for_a_slice_at_a_time_as_over_http():
    """R5: debts are paid in their order, so whoever owes more at a time would have more."""
    shared = Shared(bytes=Allowance(per_second=1e6, burst=1e5))
    toll = Toll(Budget(Policy(shared=shared), MemoryStore()), "192.0.2.1", Clock())
    assert toll.pay(90_000) == 90_000
    assert toll.pay(2**20) == SLICE_BYTES
    here, there = socket.socketpair()
    with here, there:
        wire = Wire(here, idle_s=1, pdu_s=1, pay=lambda size: min(size, 7))
        wire.write(b"in pieces ", bytearray(b"that are "), memoryview(b"paid for one by one"))
        assert there.recv(100) == b"in pieces that are paid for one by one"


def test_what_was_begun_and_not_paid_for_is_cut_off():
    here, there = socket.socketpair()
    over = threading.Event()

    def pay(_size):
        there.close()
        return 7

    with here:
        wire = Wire(here, idle_s=1, pdu_s=1, pay=lambda _: 7, over=over)
        wire.pay = lambda size: 7 if size == 20 else pay(size)
        with pytest.raises(Aborted):
            wire.write(bytes(20))
        with pytest.raises(Aborted, match="not sent whole"):
            wire.write(bytes(5))
