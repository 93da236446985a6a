"""The changes of the catalogue: one numbered row for each thing that happened, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from app.catalog.changes import changes_after, last_sequence
from app.catalog.database import Catalog
from app.catalog.models import file
from app.catalog.register import Location, forget_files, register
from tests.catalog.conftest import make_entry
from tests.factories import uid


def feed(catalog: Catalog, since: int = 0, limit: int = 1000) -> list[tuple[int, str, str]]:
    with catalog.read() as connection:
        return [(c.sequence, c.action, c.sop_instance_uid) for c in changes_after(connection, since, limit)]


def test_what_is_registered_is_a_change_and_what_is_known_is_none(registered, catalog: Catalog) -> None:
    registered({"name": "a"}, {"name": "b"}, {"name": "a"})
    registered({"name": "a"}, {"name": "b", "rows": 8}, {"name": "c"})
    assert feed(catalog) == [
        (1, "created", uid("a")),
        (2, "created", uid("b")),
        (3, "created", uid("c")),
    ]
    assert feed(catalog, since=1, limit=1) == [(2, "created", uid("b"))]
    with catalog.read() as connection:
        (first, *_) = changes_after(connection, 0, 1)
        assert (first.study_instance_uid, first.series_instance_uid) == (uid("study"), uid("series"))
        assert first.sha256 == make_entry(name="a").sha256
        assert first.time.endswith("+00:00")


def test_what_is_forgotten_is_withdrawn_and_what_comes_again_is_updated(registered, catalog: Catalog) -> None:
    registered({"name": "a"}, {"name": "b"})
    with catalog.write() as connection:
        ids = list(connection.execute(select(file.c.id).order_by(file.c.id)).scalars())
        gone = forget_files(connection, ids, returning={str(uid("b"))})
        assert set(gone) == {uid("a"), uid("b")}
        register(connection, [(make_entry(name="b", rows=8), Location(None, "other"))], frozenset(gone))
    assert feed(catalog, since=2) == [(3, "withdrawn", uid("a")), (4, "updated", uid("b"))]


def test_a_transaction_that_fails_leaves_no_change(catalog: Catalog) -> None:
    class Interrupted(Exception):
        pass

    def interrupted() -> None:
        with catalog.write() as connection:
            register(connection, [(make_entry(name="a"), Location(None, "key"))])
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert feed(catalog) == []


def test_a_reader_never_misses_a_change(catalog: Catalog) -> None:
    """The numbers rise in the order of commits: what a follower has passed, nothing appears below."""
    entries = [make_entry(name=f"{n}", study=f"{n % 3}") for n in range(30)]
    seen: list[int] = []

    def store(number: int) -> None:
        with catalog.write() as connection:
            register(connection, [(entries[number], Location(None, f"{number}"))])

    def follow() -> None:
        while len(seen) < len(entries):
            seen.extend(sequence for sequence, *_ in feed(catalog, since=seen[-1] if seen else 0, limit=7))
        catalog.close()  # the connection of this thread

    with ThreadPoolExecutor(5) as threads:
        following = threads.submit(follow)
        list(threads.map(store, range(30)))
        following.result(timeout=60)
    assert seen == list(range(1, 31))
    with catalog.read() as connection:
        assert last_sequence(connection) == 30
    catalog.close()
