"""What a retrieval tells of its sub-operations, and that the next is ready while one is answered."""

from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.holdings import Reference
from app.dimse.association import Message
from app.dimse.commands import Element, Kind
from app.dimse.errors import Aborted, Cancelled
from app.dimse.negotiation import Agreement, Context
from app.dimse.sending import PIECE_BYTES, Destination, send_each
from app.dimse.sources import DataSet, Selected
from app.dimse.status import PENDING, PROCESSING_FAILURE, SOP_CLASS_NOT_SUPPORTED, SUCCESS, Status
from app.dimse.suboperations import PENDING_EVERY_S, send_selected
from app.errors import InstanceUnavailable

SOP_CLASS, SYNTAX = "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.840.10008.1.2.1"
CONTEXT = Context(1, SOP_CLASS, SYNTAX, peer_asks=False, we_ask=True)
WARNING, FAILURE = Status(0xB007, ""), Status(0xA700, "")


def selection_of(number):
    return [Selected(Reference("1", "2", f"3.{one}"), SOP_CLASS, SYNTAX) for one in range(number)]


class File:
    """What is sent of an instance."""

    def __init__(self, content):
        self.content, self.size, self.is_open = content, len(content), True

    def read(self, offset, length):
        assert self.is_open
        if offset + length > len(self.content):
            raise InstanceUnavailable("it ends before")
        return self.content[offset : offset + length]

    def close(self):
        self.is_open = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Exchange:
    """A source and the association that its instances go out on: each notes what is done, in one list."""

    def __init__(self, contents, codes):
        self.files, self.codes = [File(content) for content in contents], codes
        self.done, self.sent, self.sending = [], [], 0
        self.agreement = Agreement("A", "B", {1: CONTEXT}, {}, 16384, "")

    def open(self, selected, accepted, is_cancelled):
        number = int(selected.reference.sop_instance_uid.partition(".")[2])
        self.done.append(("open", number))
        if is_cancelled():
            raise Cancelled
        if self.files[number].content is None:
            raise InstanceUnavailable("it is gone")
        return DataSet(self.files[number], 0, next(iter(accepted)))

    def send(self, context_id, command, pieces):
        number = command[Element.MESSAGE_ID] - 1
        self.done.append(("send", number))
        self.sending = number
        self.sent.append(b"".join(pieces))
        if self.codes[number] is None:
            raise Aborted("it went away")

    def receive(self, *, is_under_way=False):
        number = self.sending
        self.done.append(("response", number))
        command = {
            Element.COMMAND_FIELD: Kind.C_STORE_RQ | 0x8000,
            Element.MESSAGE_ID_BEING_RESPONDED_TO: number + 1,
            Element.STATUS: self.codes[number],
        }
        return Message(CONTEXT, command)

    def outcomes(self, *, is_callers=False, is_cancelled=lambda: False):
        destination = Destination(self, is_callers=is_callers)
        return send_each(self, destination, selection_of(len(self.files)), is_cancelled)


def test_the_next_is_opened_while_one_is_answered():
    exchange = Exchange([b"one", b"two", b"three"], [0, 0xA700, 0xB007])
    assert [outcome.code for outcome in exchange.outcomes()] == [0, 0xA700, 0xB007]
    assert exchange.sent == [b"one", b"two", b"three"]
    assert exchange.done == [
        ("open", 0),
        ("send", 0),
        ("open", 1),
        ("response", 0),
        ("send", 1),
        ("open", 2),
        ("response", 1),
        ("send", 2),
        ("response", 2),
    ]
    assert not any(file.is_open for file in exchange.files)


@given(st.lists(st.integers(0, 3 * PIECE_BYTES), min_size=1, max_size=3))
def test_every_byte_is_sent_and_every_file_closed(sizes):
    contents = [bytes([number]) * size for number, size in enumerate(sizes)]
    exchange = Exchange(contents, [0] * len(sizes))
    assert list(exchange.outcomes()) == [SUCCESS] * len(sizes)
    assert exchange.sent == contents
    assert not any(file.is_open for file in exchange.files)


def test_an_association_of_ours_that_ends_fails_all_that_follow_and_no_file_stays_open():
    exchange = Exchange([b"x" * (PIECE_BYTES + 1)] * 4, [0, None, 0, 0])
    assert list(exchange.outcomes()) == [SUCCESS] + [PROCESSING_FAILURE] * 3
    assert len(exchange.sent) == 2
    assert not any(file.is_open for file in exchange.files[:2])
    exchange = Exchange([b"x" * (PIECE_BYTES + 1)] * 3, [0, None, 0])
    with pytest.raises(Aborted):
        list(exchange.outcomes(is_callers=True))


def test_whoever_cancels_is_told_of_what_is_under_way_and_gets_nothing_more():
    exchange, asked = Exchange([b"x" * (PIECE_BYTES + 1)] * 3, [0, 0, 0]), Counter()

    def is_cancelled():
        asked.update("x")
        return asked["x"] > 3  # while the second is opened, the first not yet answered

    assert list(exchange.outcomes(is_cancelled=is_cancelled)) == [SUCCESS]
    assert exchange.done[-1] == ("response", 0)
    exchange = Exchange([b"x" * (PIECE_BYTES + 1)] * 3, [0, 0, 0])
    answered = exchange.outcomes()
    next(answered)
    answered.close()
    assert not exchange.files[1].is_open


def test_what_cannot_be_opened_or_is_too_short_is_a_failure_and_the_rest_is_sent():
    exchange = Exchange([b"one", b"two", b"three", b"four"], [0] * 4)
    exchange.files[1].size = 5
    exchange.files[2].content = None
    outcomes = list(exchange.outcomes())
    failed = PROCESSING_FAILURE.code
    assert [status.code for status in outcomes] == [SUCCESS.code, failed, failed, SUCCESS.code]
    assert exchange.sent == [b"one", b"four"]
    assert not any(file.is_open for file in (*exchange.files[:2], exchange.files[3]))
    exchange.agreement.contexts.clear()
    assert list(exchange.outcomes()) == [SOP_CLASS_NOT_SUPPORTED] * 4


@contextmanager
def telling(outcomes, steps_s, monkeypatch):
    """A session whose sub-operations end so, each after so many seconds; the responses it sends."""
    clock, responses = SimpleNamespace(now_s=5.0), []

    def each(*_):
        for outcome, step_s in zip(outcomes, steps_s, strict=True):
            clock.now_s += step_s
            yield outcome

    def respond(_message, status, *, more, later=False, identifier=None, comment=""):
        del later, identifier, comment
        numbers = [
            more.get(element)
            for element in (
                Element.REMAINING_SUBOPERATIONS,
                Element.COMPLETED_SUBOPERATIONS,
                Element.FAILED_SUBOPERATIONS,
                Element.WARNING_SUBOPERATIONS,
            )
        ]
        responses.append((clock.now_s, status, numbers))

    monkeypatch.setattr("app.dimse.suboperations.send_each", each)
    agreement = Agreement("A", "B", {}, {}, 16384, "")
    association = SimpleNamespace(respond=respond, note=lambda _: None, agreement=agreement)
    session = SimpleNamespace(
        association=association,
        title=SimpleNamespace(source=None),
        counts=Counter(),
        clock=lambda: clock.now_s,
        toll=SimpleNamespace(had_its_time=False),
    )
    yield session, responses


@given(
    st.lists(
        st.tuples(st.sampled_from([SUCCESS, WARNING, FAILURE]), st.sampled_from([0.0, 0.004, 0.019, 0.05])),
        max_size=40,
    )
)
def test_pending_responses_come_at_an_interval_and_every_count_is_exact(ends):
    # PS3.4 C.4.2.3.1, C.4.3.3.1: pending ones are optional; each says how all sub-operations stand
    outcomes, steps_s = [outcome for outcome, _ in ends], [step_s for _, step_s in ends]
    with pytest.MonkeyPatch.context() as patch, telling(outcomes, steps_s, patch) as (session, responses):
        message = Message(CONTEXT, {})
        destination = Destination(session.association, is_callers=False)
        send_selected(session, message, selection_of(len(ends)), destination, lambda: False)
    *pending, (_, _, last) = responses
    assert all(status is PENDING for _, status, _ in pending)
    assert last == [None, *(outcomes.count(one) for one in (SUCCESS, FAILURE, WARNING))]
    for _, _, (remaining, *numbers) in pending:
        ended = outcomes[: len(outcomes) - remaining]
        assert numbers == [ended.count(one) for one in (SUCCESS, FAILURE, WARNING)]
        assert 0 < remaining < len(outcomes)
    assert [one[0] for _, _, one in pending] == sorted((one[0] for _, _, one in pending), reverse=True)
    times = [at_s for at_s, _, _ in pending]
    assert all(after - before >= PENDING_EVERY_S for before, after in pairwise(times))
    # whoever watches is told of the first, and as soon as the interval has passed
    if len(outcomes) > 1:
        assert pending[0][2][0] == len(outcomes) - 1
    untold_s = max(0.0, *steps_s) if steps_s else 0.0
    for before, after in pairwise(times):
        assert after - before <= PENDING_EVERY_S + untold_s
