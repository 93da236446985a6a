"""Reports of storage commitment that are delivered later (PS3.4 J.3.3), on SQLite and on PostgreSQL."""

import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from app.archive.archive import Archive
from app.archive.commitment import Commitments, request_commitment
from app.catalog.commitments import SopReference
from app.catalog.database import Catalog
from app.catalog.models import report
from app.catalog.reports import Report, next_due
from app.dimse import reports
from app.dimse.errors import Stopping
from app.dimse.peers import Peer, Peers
from app.dimse.reports import CLAIM_S, LOOK_S, RETRY_AFTER_S, Courier, deliver_next, hand_over, run_courier
from app.dimse.requestor import Unreachable
from app.dimse.status import PROCESSING_FAILURE, SUCCESS
from app.errors import CatalogUnavailable
from app.settings import Settings
from app.storage.local import LocalStorage

PEERS = Peers(tuple(Peer(ae_title=ae_title, host="127.0.0.1") for ae_title in ("PEER", "OTHER")))


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self):
        self.now = self.begun = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)

    @property
    def passed_s(self):
        return (self.now - self.begun).total_seconds()


class Post:
    """An archive with reports to deliver, and what stands for the peers that get them."""

    def __init__(self, archive, commitments):
        self.archive, self.commitments, self.clock = archive, commitments, Clock()
        self.answer = lambda _peer, _uid: SUCCESS.code
        self.sent = []
        self._lock = threading.Lock()

    def courier(self):
        courier = Courier(self.archive, self.commitments, PEERS, threading.Event())
        courier.now = self.clock
        return courier

    def request(self, uid, ae_title="PEER"):
        """Ask for a commitment whose report is due at once."""
        request_commitment(self.archive, uid, [SopReference("1.2", "1.3")], ae_title, report_due=self.clock())

    def deliver(self, peer, _ae_title, found, _stopping):
        with self._lock:
            self.sent.append(found.transaction_uid)
        return self.answer(peer.ae_title, found.transaction_uid)

    def kept(self):
        """The reports that are kept: by UID, attempts, and in how many seconds they are due."""
        with self.archive.catalog.read() as connection:
            return {
                row.transaction_uid: (
                    row.attempts,
                    (datetime.fromisoformat(row.due) - self.clock()).total_seconds(),
                )
                for row in connection.execute(select(report))
            }

    @contextmanager
    def running(self):
        """A courier that runs, until the end."""
        courier = self.courier()
        thread = threading.Thread(target=run_courier, args=(courier,))
        thread.start()
        try:
            yield courier
        finally:
            courier.stopping.set()
            courier.wake.set()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def post(tmp_path, catalog_url, monkeypatch):
    settings = Settings(data_dir=tmp_path / "data", database_url=catalog_url)
    with closing(Catalog(settings.catalog_url)) as catalog:
        archive = Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), None)
        with closing(Commitments(archive)) as commitments:
            post = Post(archive, commitments)
            monkeypatch.setattr(reports, "report_to", post.deliver)
            yield post


def refused(*_):
    return PROCESSING_FAILURE.code


def away(peer, _uid):
    if peer == "PEER":
        raise Unreachable("PEER is away")
    return SUCCESS.code


def said(caplog, what):
    return [record.facts["transaction_uid"] for record in caplog.records if record.message == what]


def test_what_the_peer_has_got_is_kept_no_longer(post):
    post.request("1.1")
    courier = post.courier()
    assert deliver_next(courier) == 0
    assert (post.sent, post.kept()) == (["1.1"], {})
    assert deliver_next(courier) == LOOK_S


def test_what_is_claimed_is_nobody_elses_until_the_claim_ends(post):
    post.request("1.1")
    first, second = post.courier(), post.courier()

    def meanwhile(*_):
        post.answer = lambda *_: SUCCESS.code
        assert deliver_next(second) > 0
        assert post.sent == ["1.1"]
        assert post.kept() == {"1.1": (1, CLAIM_S)}
        post.clock.advance(CLAIM_S)  # the first is as good as dead
        post.answer = lambda *_: lagging()
        assert deliver_next(second) == 0
        assert post.kept() == {"1.1": (2, RETRY_AFTER_S[1])}
        raise Unreachable("the first fails at last")

    def lagging():
        raise Unreachable("so does the second")

    post.answer = meanwhile
    assert deliver_next(first) == 0
    assert post.sent == ["1.1", "1.1"]
    assert post.kept() == {"1.1": (2, RETRY_AFTER_S[1])}  # what the first says counts no more


def test_many_couriers_deliver_each_report_once(post):
    uids = [f"1.{number}" for number in range(1, 13)]
    for uid in uids:
        post.request(uid)
    at_once = threading.Barrier(2, timeout=20)

    def together(_, uid):
        if post.sent.index(uid) < 2:
            at_once.wait()  # the first two are under way at a time
        return SUCCESS.code

    def work():
        courier = post.courier()
        while deliver_next(courier) == 0:
            pass

    post.answer = together
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(post.sent) == sorted(uids)
    assert post.kept() == {}


@pytest.mark.parametrize("answer", [refused, away])
def test_it_is_given_up_after_the_last_retry(post, caplog, answer):
    caplog.set_level("WARNING", "dermzoo.dimse")
    post.request("1.1")
    post.answer = answer
    courier = post.courier()
    courier.retry_after_s = (5.0, 30.0)
    attempted = []
    while post.kept():
        before = len(post.sent)
        post.clock.advance(deliver_next(courier))
        attempted += [post.clock.passed_s] * (len(post.sent) - before)
    assert attempted == [0, 5, 35]
    assert said(caplog, "a storage commitment was not reported") == ["1.1"] * 2
    assert said(caplog, "a storage commitment is reported no more") == ["1.1"]


def test_a_peer_that_is_away_holds_up_no_other(post):
    for uid, ae_title in (("1.1", "PEER"), ("1.2", "PEER"), ("1.3", "PEER"), ("1.4", "OTHER")):
        post.request(uid, ae_title)
        post.clock.advance(1)
    post.answer = away
    courier = post.courier()
    for _ in range(2):
        assert deliver_next(courier) == 0
    assert post.sent == ["1.1", "1.4"]
    assert post.kept() == dict.fromkeys(("1.1", "1.2", "1.3"), (1, RETRY_AFTER_S[0]))


def test_one_that_refuses_a_report_gets_the_others(post):
    post.request("1.1")
    post.clock.advance(1)
    post.request("1.2")
    post.answer = lambda _, uid: PROCESSING_FAILURE.code if uid == "1.1" else SUCCESS.code
    courier = post.courier()
    for _ in range(2):
        assert deliver_next(courier) == 0
    assert list(post.kept()) == ["1.1"]


def test_a_peer_that_is_known_no_more_is_told_of_once(post, caplog):
    post.request("1.1", "STRANGER")
    courier = post.courier()
    assert deliver_next(courier) == 0
    assert deliver_next(courier) == LOOK_S
    assert (post.sent, post.kept()) == ([], {})
    hand_over(courier, Report("1.2", "STRANGER", 0))
    assert said(caplog, "a storage commitment cannot be reported") == ["1.1", "1.2"]


def test_a_stop_in_the_middle_counts_as_no_attempt(post):
    def stopping(*_):
        raise Stopping("the listener stops")

    post.request("1.1")
    post.answer = stopping
    deliver_next(post.courier())
    assert post.kept() == {"1.1": (0, 0)}


def test_what_nobody_foresaw_is_tried_again_too(post, caplog):
    def broken(*_):
        raise ValueError("a defect")

    post.request("1.1")
    post.answer = broken
    deliver_next(post.courier())
    assert post.kept() == {"1.1": (1, RETRY_AFTER_S[0])}
    assert "ValueError: a defect" in caplog.text


def test_it_waits_until_it_is_woken_and_ends_when_it_is_told(post, monkeypatch):
    looked, arrived = threading.Event(), threading.Event()
    monkeypatch.setattr(reports, "LOOK_S", 3600.0)
    monkeypatch.setattr(reports, "next_due", lambda connection: (next_due(connection), looked.set())[0])
    post.answer = lambda *_: arrived.set() or SUCCESS.code
    with post.running() as courier:
        assert looked.wait(20)
        post.request("1.1")
        hand_over(courier, Report("1.1", "PEER", 0))
        assert arrived.wait(60)


def test_a_catalogue_that_is_away_ends_neither_courier_nor_association(post, caplog, monkeypatch):
    looked = threading.Event()

    def unavailable(_):
        looked.set()
        raise CatalogUnavailable("it is away")

    monkeypatch.setattr(reports, "LOOK_S", 3600.0)
    monkeypatch.setattr(reports, "next_due", unavailable)
    monkeypatch.setattr(reports, "put_off", lambda *_: unavailable(None))
    with post.running() as courier:
        assert looked.wait(20)
        hand_over(courier, Report("1.1", "PEER", 0))
    assert "reports of storage commitment have to wait" in caplog.text
    assert said(caplog, "a report of storage commitment was not noted") == ["1.1"]
