"""Orthanc under an AE title of ours, when it fails, breaks off, or takes its time."""

import threading
from pathlib import Path

import pytest

from app.dimse.commands import Kind
from app.proxy import client as proxy_client
from app.throttle.budget import Budget
from app.throttle.policy import Allowance, Holding, Policy, Upstream
from app.throttle.stores import MemoryStore
from tests.dimse.conftest import Listening, Start
from tests.dimse.stage import cancel, comment, counts, failed_list, identifier, status
from tests.factories import uid
from tests.proxy.conftest import PICTURES
from tests.proxy.titled import (
    FIND,
    GET,
    P,
    answered,
    ask_find,
    ask_get,
    associated,
    command,
    listed,
    listening,
    no_pauses,
    recording,
    start,
)

__all__ = ["answered", "listed", "listening", "no_pauses", "recording", "start"]


@pytest.mark.parametrize("fault", ["reset", "500", "429"])
def test_an_upstream_that_fails(listening: Listening, recording, fault: str) -> None:
    """PS3.4 Tables C.4-1 to C.4-3: not our fault, nor the caller's quota, and the comment says whose."""
    recording.misbehave = lambda _: fault
    for answers, code in ((ask_find(listening), 0xA700), (ask_get(listening), 0xA701)):
        assert status(answers) == code
        assert "server 'orthanc' " in comment(answers)
    assert len(recording.taken()) == 6


def test_an_upstream_that_only_fails_is_left_alone(listening: Listening, recording) -> None:
    recording.misbehave = lambda _: "500"
    for _ in range(5):
        assert status(ask_find(listening)) == 0xA700
    recording.taken()
    answers = ask_find(listening)
    assert (status(answers), recording.taken()) == (0xA700, [])
    assert "failed again and again" in comment(answers)


def test_what_was_found_before_is_no_answer_while_the_upstream_fails(
    start: Start, listed: Path, recording
) -> None:
    listed.write_text(f"{listed.read_text()}\n[upstream.cache]\nsearch_s = 0\n")
    listening = start(upstreams_file=listed)
    assert status(ask_find(listening)) == 0x0000
    recording.misbehave = lambda _: "500"
    assert status(ask_find(listening)) == 0xA700


@pytest.mark.parametrize("fault", ["cut", "500", "reset"])
def test_an_instance_that_does_not_come_is_a_failed_suboperation(
    listening: Listening, recording, fault: str
) -> None:
    """PS3.4 C.4.3: the others arrive, whole; of this one nothing."""
    lost = uid("p2")
    recording.misbehave = lambda path: fault if path.endswith(lost) else ""
    answers = ask_get(listening)
    assert (status(answers), counts(answers), failed_list(answers)) == (0xB000, (None, 2, 1, 0), {lost})
    whole = [encoded_pixels(PICTURES[name]) for name in ("p1", "p3")]
    assert sorted(whole) == sorted(stored[-len(whole[0]) :] for stored in listening.stored)  # type: ignore[attr-defined]
    recording.misbehave = lambda _: ""
    assert status(ask_get(listening)) == 0x0000


def test_another_instance_than_was_asked_for_is_not_sent(listening: Listening, recording) -> None:
    other = f"/dicom-web/studies/{uid('p')}/series/{uid('s')}/instances/{uid('p1')}"
    recording.misbehave = lambda path: other if path.endswith(uid("p2")) else ""
    answers = ask_get(listening)
    assert (status(answers), failed_list(answers)) == (0xB000, {uid("p2")})
    assert len(listening.stored) == 2  # type: ignore[attr-defined]


def encoded_pixels(file: bytes) -> bytes:
    return file[file.index(b"\xe0\x7f\x10\x00") :]


def test_an_instance_that_broke_off_once_is_whole(
    listening: Listening, recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_client, "SMALL_BYTES", 0)  # as a large one: some of it has come by then
    faults = ["cut"]
    recording.misbehave = lambda path: faults.pop() if faults and path.endswith(uid("p1")) else ""
    assert (status(ask_get(listening)), faults) == (0x0000, [])


def test_the_whole_upstream_is_gone(listening: Listening, recording) -> None:
    recording.misbehave = lambda path: "reset" if "/instances/" in path else ""
    answers = ask_get(listening)
    assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))


def test_the_budget_of_the_upstream_is_not_the_callers(start: Start, listed: Path, recording) -> None:
    """Requests to it are drawn from its bucket, whichever door they come through."""
    allowed = Upstream(requests=Allowance(per_second=0.001, burst=1))
    budget = Budget(Policy(upstream=allowed, hold=Holding(longest_s=0)), MemoryStore())
    listening = start(upstreams_file=listed, budget=budget)
    assert status(ask_find(listening)) == 0x0000
    answers = ask_get(listening)
    assert (status(answers), comment(answers)) == (0xA701, "The budget of the server 'orthanc' is used up.")
    assert len(recording.taken()) == 1


@pytest.fixture
def waiting(recording) -> threading.Event:
    """Set when Orthanc was asked; it does not answer until it is let go."""
    asked = threading.Event()

    def hold(_: str) -> str:
        asked.set()
        return "hold"

    recording.misbehave = hold
    return asked


@pytest.mark.parametrize(("kind", "model"), [(Kind.C_FIND_RQ, FIND), (Kind.C_GET_RQ, GET)])
def test_a_caller_that_cancels_does_not_wait_for_the_upstream(
    listening: Listening, recording, waiting: threading.Event, kind: int, model: str
) -> None:
    """PS3.7 9.3.2.3."""
    with associated(listening, model) as peer:
        peer.ask(1, command(kind, model), identifier(**P))
        assert waiting.wait(20)
        cancel(peer)
        assert status(peer.answers()) == 0xFE00
        recording.misbehave = lambda _: ""
        recording.let_go.set()
        peer.ask(1, command(kind, model), identifier(**P))
        assert status(peer.answers()) == 0x0000


def test_a_listener_that_stops_does_not_wait_for_the_upstream(
    listening: Listening, waiting: threading.Event
) -> None:
    """PS3.8 9.3.8: A-ABORT."""
    with associated(listening, FIND) as peer:
        peer.ask(1, command(Kind.C_FIND_RQ, FIND), identifier(**P))
        assert waiting.wait(20)
        listening.listener.stopping.set()
        kind, _ = peer.read()
        assert kind == 7


def test_a_response_that_comes_while_the_next_is_fetched_is_heeded(listening: Listening, recording) -> None:
    """The next instance is asked for while the caller answers to this one."""
    answered_first = threading.Event()

    def slow(path: str) -> str:
        return "hold" if path.endswith(uid("p2")) and not answered_first.is_set() else ""

    recording.misbehave = slow

    def store(_: object) -> int:
        answered_first.set()
        threading.Timer(0.6, recording.let_go.set).start()
        return 0

    answers = ask_get(listening, store=store)
    assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))
