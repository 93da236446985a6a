"""What arrives is answered before it is registered, and nobody sees the difference."""

import sqlite3
from contextlib import ExitStack, closing
from threading import Event, Thread

import pytest
from sqlalchemy import func, insert, select, update

from app.archive.registrar import SETTLE_AFTER, Registrar
from app.archive.store import read_staged, store_received, sweep, taking_in
from app.archive.verify import verify
from app.catalog import arrivals, database
from app.catalog.corpus_models import image
from app.catalog.database import Catalog
from app.catalog.models import arrival, change, file, instance, metadata, tombstone
from app.catalog.register import Located, Location, Outcome, register
from app.errors import CatalogUnavailable
from tests.catalog.conftest import make_entry
from tests.factories import instance_bytes, make_instance, uid, with_facts
from tests.migrated import migrate_at

FULL = sqlite3.OperationalError("database or disk is full")


def located(name: str, study: str = "study", **attributes: object) -> Located:
    made = make_instance(name, study=study, **attributes)
    entry = make_entry(with_facts(made, ISICID="ISIC_0000001", ISICSex="female", LicenseID="CC-0"))
    return entry, Location(None, entry.sha256.hex())


def arrive(catalog: Catalog, *several: Located) -> list[Outcome]:
    """Have each arrive alone, through a registrar that never catches up."""
    return [Registrar().register(catalog, [each], is_followed=True)[0] for each in several]


def rows(catalog: Catalog, table: object) -> int:
    """How many rows a table has, asked behind the catalogue's back."""
    with catalog.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def contents(catalog: Catalog) -> dict[str, list[tuple]]:
    """All rows of all tables, but for the times of changes."""
    with catalog.read() as connection:
        return {
            table.name: connection.execute(
                select(*(column for column in table.c if column is not change.c.time)).order_by(*table.c)
            ).all()
            for table in metadata.sorted_tables
        }


def test_what_arrived_becomes_what_it_would_have_become_at_once(archive, tmp_path):
    several = [
        located(f"{study}-{number}", study, series=f"{study}-{number % 2}", PatientName=f"Ä^{number}")
        for study in ("a", "b")
        for number in range(5)
    ]
    assert arrive(archive.catalog, *several) == [Outcome.STORED] * 10
    assert (rows(archive.catalog, arrival), rows(archive.catalog, instance)) == (10, 0)
    migrate_at(f"sqlite:///{tmp_path}/other.db")
    with closing(Catalog(f"sqlite:///{tmp_path}/other.db")) as other:
        with other.write() as connection:
            register(connection, several)
        wanted = contents(other)
    assert contents(archive.catalog) == wanted
    assert len(wanted["instance"]) == 10


def test_whoever_reads_finds_it_registered(archive):
    arrive(archive.catalog, located("a"))
    with closing(Catalog(archive.settings.catalog_url)) as another, another.read() as connection:
        assert connection.execute(select(instance.c.sop_instance_uid)).scalars().all() == [uid("a")]
    assert rows(archive.catalog, arrival) == 0


def test_whoever_writes_finds_it_registered(archive):
    arrive(archive.catalog, located("a"))
    with archive.catalog.write() as connection:
        assert connection.execute(select(instance.c.sop_instance_uid)).scalars().all() == [uid("a")]


def test_it_is_known_while_it_waits(archive):
    first, other = located("a", PatientID="1"), located("a", PatientID="2")
    with archive.catalog.write() as connection:
        connection.execute(
            insert(tombstone).values(
                sop_instance_uid=uid("withdrawn"),
                series_instance_uid="1.2",
                study_instance_uid="1.3",
                reason="",
                withdrawn_at="",
                withdrawn_by="",
            )
        )
        hidden = {"isic_id": "ISIC_0000009", "sop_instance_uid": uid("hidden"), "is_public": 0}
        connection.execute(insert(image).values(**hidden, source="test", known=b"", published=b""))
    outcomes = arrive(archive.catalog, first, first, other, located("withdrawn"), located("hidden"))
    assert outcomes == ["stored", "identical", "conflict", "withdrawn", "not public"]
    assert rows(archive.catalog, arrival) == 1


def test_a_long_transaction_keeps_no_reader_waiting(archive):
    arrive(archive.catalog, located("a"))
    begun, go = Event(), Event()

    def write() -> None:
        with archive.catalog.write():
            begun.set()
            go.wait(30)

    writer = Thread(target=write)
    writer.start()
    begun.wait(30)
    with archive.catalog.read() as connection:  # would wait for `go`, in vain
        assert connection.execute(select(func.count()).select_from(instance)).scalar_one() == 1
    go.set()
    writer.join()


class TestCatchingUp:
    def test_when_it_is_many(self, archive):
        registrar = Registrar()
        for number in range(SETTLE_AFTER):
            assert rows(archive.catalog, arrival) == number
            registrar.register(archive.catalog, [located(str(number))], is_followed=True)
            registrar.catch_up(archive.catalog)
        assert (rows(archive.catalog, arrival), rows(archive.catalog, instance)) == (0, SETTLE_AFTER)

    def test_at_the_end(self, archive):
        registrar = Registrar()
        registrar.register(archive.catalog, [located("a")], is_followed=True)
        registrar.catch_up(archive.catalog, after=1)
        assert (rows(archive.catalog, arrival), rows(archive.catalog, instance)) == (0, 1)

    def test_nothing_waits_that_comes_with_many_or_that_nothing_follows(self, archive):
        Registrar().register(archive.catalog, [located(str(n)) for n in range(9)], is_followed=True)
        Registrar().register(archive.catalog, [located("alone")])
        assert (rows(archive.catalog, arrival), rows(archive.catalog, instance)) == (0, 10)


class TestTrouble:
    def test_one_that_stands_still_while_it_registers_stops_no_reader(self, archive, monkeypatch):
        arrive(archive.catalog, located("a"))
        monkeypatch.setattr(database, "SETTLING_PATIENCE_S", 0.02)
        monkeypatch.setattr(database, "SETTLE_AGAIN_S", 1000)
        with closing(Catalog(archive.settings.catalog_url)) as another, another.arriving() as connection:
            arrivals.settle(connection)
            with archive.catalog.read() as reader:
                assert reader.execute(select(func.count()).select_from(instance)).scalar_one() == 0
            monkeypatch.setattr(database, "SETTLING_PATIENCE_S", 1000)
            with archive.catalog.read() as reader:  # and none waits again at once
                assert reader.execute(select(func.count()).select_from(instance)).scalar_one() == 0
        with archive.catalog.write() as connection:
            assert connection.execute(select(func.count()).select_from(instance)).scalar_one() == 1

    def test_one_that_cannot_be_registered_keeps_no_other_out_and_loses_no_file(
        self, archive, monkeypatch, caplog
    ):
        def fail_for_b(connection, entries):
            done = register(connection, entries)
            if any(entry.sop_instance_uid == uid("b") for entry, _ in entries):
                raise ValueError("a row that cannot be")
            return done

        monkeypatch.setattr(arrivals, "register", fail_for_b)
        with taking_in(archive) as staging:
            received = []
            for name in "abc":
                staged = staging.new()
                staged.write(instance_bytes(name=name))
                staged.finish()
                received.append(read_staged(archive, staging, staged))
            store_received(archive, staging, received, is_followed=True)
        with archive.catalog.read() as connection:
            held = connection.execute(select(instance.c.sop_instance_uid)).scalars().all()
            problems = (
                connection.execute(select(file.c.problem).where(file.c.problem.is_not(None))).scalars().all()
            )
        assert (held, problems) == ([uid("a"), uid("c")], ["it cannot be registered: a row that cannot be"])
        assert len(list(archive.storage.keys())) == 3
        assert uid("b") in caplog.records[-1].facts["sop_instance_uid"]
        assert verify(archive, contents=True).is_sound

    def test_one_that_cannot_be_read_back_stands_in_nobodys_way(self, archive):
        arrive(archive.catalog, located("a"), located("b"))
        with archive.catalog.engine.begin() as connection:
            connection.execute(update(arrival).where(arrival.c.id == 1).values(said=b'{"half":'))
        with archive.catalog.read() as connection:
            held = connection.execute(select(instance.c.sop_instance_uid)).scalars().all()
            (problem,) = connection.execute(
                select(file.c.problem).where(file.c.problem.is_not(None))
            ).scalars()
        assert (held, problem.startswith("it cannot be registered: ")) == ([uid("b")], True)

    @pytest.mark.parametrize("is_placed", [False, True])
    def test_no_file_goes_whose_arrival_cannot_be_registered_now(self, archive, monkeypatch, is_placed):
        def no_room(*_given, **_named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(database, "SETTLING_PATIENCE_S", 0.02)
        monkeypatch.setattr(database, "SETTLE_AGAIN_S", 0)
        with closing(Catalog(archive.settings.catalog_url)) as another, ExitStack() as stack:
            with taking_in(archive) as staging:
                staged = staging.new()
                staged.write(instance_bytes())
                staged.finish()
                received = read_staged(archive, staging, staged)
                store_received(archive, staging, [received], is_followed=True)
                stack.enter_context(another.arriving())
                if not is_placed:
                    monkeypatch.setattr("os.rename", no_room)
            monkeypatch.undo()
            monkeypatch.setattr(database, "SETTLING_PATIENCE_S", 0.02)
            monkeypatch.setattr(database, "SETTLE_AGAIN_S", 0)
            assert sweep(archive) == 0
            assert verify(archive, contents=True).is_sound
        report = verify(archive, contents=True)
        assert (report.is_sound, report.files) == (True, 1)

    def test_a_full_disk_lets_readers_read_and_lets_nothing_more_wait(self, archive, monkeypatch):
        monkeypatch.setattr(database, "SETTLE_AGAIN_S", 0)
        registrar = Registrar()
        registrar.register(archive.catalog, [located("before")])
        registrar.register(archive.catalog, [located("waits")], is_followed=True)

        def full(_connection, _entries):
            raise FULL

        with monkeypatch.context() as patched:
            patched.setattr(arrivals, "register", full)
            registrar.catch_up(archive.catalog, after=1)
            with archive.catalog.read() as connection:
                assert connection.execute(select(instance.c.sop_instance_uid)).scalars().all() == [
                    uid("before")
                ]
            with pytest.raises(CatalogUnavailable, match="full"):
                registrar.register(archive.catalog, [located("after")], is_followed=True)
        assert rows(archive.catalog, arrival) == 1
        registrar.register(archive.catalog, [located("after")], is_followed=True)
        assert (rows(archive.catalog, arrival), rows(archive.catalog, instance)) == (0, 3)
