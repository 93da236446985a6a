"""Registrations that wait are committed together, and each hears of its own."""

from contextlib import contextmanager
from threading import Barrier, Event, Thread

import pytest

from app.archive.registrar import Registrar
from app.catalog.register import Outcome
from app.errors import CatalogUnavailable

WAITING = 5


class FakeCatalog:
    """Lets nobody commit before `go`; counts the transactions."""

    is_sqlite = False  # each is registered at once

    def __init__(self):
        self.transactions, self.go, self.entered = 0, Event(), Event()

    @contextmanager
    def write(self):
        self.transactions += 1
        self.entered.set()
        self.go.wait(30)
        yield self


@pytest.fixture
def catalog(monkeypatch):
    def register(_connection, located):
        for entry, _ in located:
            if isinstance(entry, Exception):
                raise entry
        return [Outcome.STORED if entry == "new" else Outcome.IDENTICAL for entry, _ in located]

    monkeypatch.setattr("app.archive.registrar.register", register)
    return FakeCatalog()


def register_while_one_commits(catalog, *others):
    """Have one commit begin, the others wait for it, and then all go on; return what each got."""
    registrar, got = Registrar(), {}

    def work(name, located):
        try:
            got[name] = registrar.register(catalog, located)
        except Exception as error:  # noqa: BLE001 looked at by the tests
            got[name] = error

    threads = [Thread(target=work, args=("first", [("new", None)]))]
    threads[0].start()
    catalog.entered.wait(30)
    for number, located in enumerate(others):
        threads.append(Thread(target=work, args=(number, located)))
        threads[-1].start()
    while len(registrar._waiting) < len(others):
        assert all(thread.is_alive() for thread in threads)
        Barrier(1).wait()
    catalog.go.set()
    for thread in threads:
        thread.join(30)
    return got


def test_all_who_wait_share_one_transaction_and_get_their_own_outcomes(catalog):
    others = [[("new" if number % 2 else "known", None)] * (number + 1) for number in range(WAITING)]
    got = register_while_one_commits(catalog, *others)
    assert catalog.transactions == 2
    for number, located in enumerate(others):
        wanted = Outcome.STORED if number % 2 else Outcome.IDENTICAL
        assert got[number] == [wanted] * len(located)


def test_what_is_wrong_with_one_keeps_nobody_else_out(catalog):
    wrong = ValueError("a row that cannot be")
    got = register_while_one_commits(catalog, [("new", None)], [(wrong, None)], [("known", None)])
    assert got == {"first": [Outcome.STORED], 0: [Outcome.STORED], 1: wrong, 2: [Outcome.IDENTICAL]}


def test_a_catalogue_that_is_away_is_not_asked_again_for_each(catalog):
    away = CatalogUnavailable("away")
    got = register_while_one_commits(catalog, [(away, None)], [("new", None)])
    assert (got[0], got[1], catalog.transactions) == (away, away, 2)
