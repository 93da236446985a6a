"""Adding and taking away: outcomes, counts and answers in one transaction, on both databases."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from sqlalchemy import Row, Table, func, select

from app.catalog.counts import refresh
from app.catalog.database import Catalog
from app.catalog.entry import entry
from app.catalog.holdings import Reference, documents, held_instances, totals
from app.catalog.models import document, file, instance, series, study
from app.catalog.register import Location, Outcome, forget_files, register
from app.dicom.scan import scan
from app.errors import NotFound
from tests.catalog.conftest import make_entry
from tests.factories import instance_bytes, uid


def counts(catalog: Catalog) -> dict[str, int]:
    """The totals as kept, after checking that they are what the tables hold."""
    with catalog.read() as connection:
        kept = totals(connection)
        tables = {"studies": study, "series": series, "instances": instance}
        for name, table in tables.items():
            assert connection.execute(select(func.count()).select_from(table)).scalar() == kept[name]
        assert connection.execute(select(func.count()).select_from(document)).scalar() == kept["instances"]
        size = select(func.coalesce(func.sum(file.c.size), 0)).join(instance, instance.c.file_id == file.c.id)
        assert connection.execute(size).scalar() == kept["bytes"]
        for row in connection.execute(
            select(study.c.answer, study.c.number_of_instances, study.c.number_of_series)
        ):
            answer = orjson.loads(row.answer.replace(b"\x01", b""))
            assert answer["00201208"]["Value"] == [row.number_of_instances]
            assert answer["00201206"]["Value"] == [row.number_of_series]
        return kept


def test_same_bytes_are_identical_and_other_bytes_a_conflict(registered, catalog: Catalog) -> None:
    assert registered({"name": "a"}) == [Outcome.STORED]
    assert registered({"name": "a"}) == [Outcome.IDENTICAL]
    assert registered({"name": "a", "PatientName": "Other"}) == [Outcome.CONFLICT]
    assert registered({"name": "b"}, {"name": "b"}, {"name": "b", "rows": 8}) == [
        Outcome.STORED,
        Outcome.IDENTICAL,
        Outcome.CONFLICT,
    ]
    assert counts(catalog) | {"bytes": 0} == {"studies": 1, "series": 1, "instances": 2, "bytes": 0}


def test_a_series_uid_in_two_studies_is_two_series(registered, catalog: Catalog) -> None:
    registered({"name": "a", "study": "A", "series": "S"}, {"name": "b", "study": "B", "series": "S"})
    assert counts(catalog)["series"] == 2
    with catalog.read() as connection:
        (held,) = held_instances(connection, Reference(str(uid("B")), str(uid("S"))))
    assert held.sop_instance_uid == uid("b")


def test_what_grew_is_what_is_counted_anew(registered, catalog: Catalog) -> None:
    registered({"name": "a", "study": "A", "series": "S"}, {"name": "b", "study": "A", "series": "S"})
    registered({"name": "c", "study": "A", "series": "S"}, {"name": "d", "study": "A", "Modality": "SR"})
    registered(
        {"name": "e", "study": "B", "series": "S"},
        {"name": "f", "study": "A", "series": "T", "Modality": "CT"},
    )
    grown = answers(catalog)
    with catalog.write() as connection:
        ids = [set(connection.execute(select(table.c.id)).scalars()) for table in (series, study)]
        refresh(connection, *ids)
    assert answers(catalog) == grown
    assert [row.number_of_instances for row in grown[study]] == [5, 1]
    assert sorted(row.number_of_instances for row in grown[series]) == [1, 1, 1, 3]


def answers(catalog: Catalog) -> dict[Table, Sequence[Row[Any]]]:
    """All rows of studies and series."""
    with catalog.read() as connection:
        return {
            table: connection.execute(select(table).order_by(table.c.id)).all() for table in (study, series)
        }


def test_forgetting_takes_empty_series_and_studies_along(registered, catalog: Catalog) -> None:
    registered(
        {"name": "a", "study": "A"},
        {"name": "b", "study": "B", "Modality": "SR"},
        {"name": "c", "study": "B"},
    )
    with catalog.write() as connection:
        ids = connection.execute(
            select(instance.c.file_id).where(instance.c.sop_instance_uid.in_([str(uid("a")), str(uid("b"))]))
        ).scalars()
        assert set(forget_files(connection, list(ids))) == {str(uid("a")), str(uid("b"))}
    assert counts(catalog) | {"bytes": 0} == {"studies": 1, "series": 1, "instances": 1, "bytes": 0}
    with catalog.read() as connection, pytest.raises(NotFound, match="study"):
        documents(connection, Reference(str(uid("A"))))


def test_a_failed_transaction_leaves_nothing(catalog: Catalog) -> None:
    class Interrupted(Exception):
        pass

    def interrupted() -> None:
        with catalog.write() as connection:
            register(connection, [(make_entry(name="a"), Location(None, "key"))])
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert counts(catalog)["instances"] == 0


def test_writers_take_turns(catalog: Catalog) -> None:
    entries = [make_entry(name=f"{n % 10}", study=f"{n % 3}") for n in range(40)]

    def store(number: int) -> Outcome:
        with catalog.write() as connection:
            return register(connection, [(entries[number], Location(None, f"{number}"))])[0]

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(store, range(40)))
    kept = counts(catalog)
    assert kept["instances"] == outcomes.count(Outcome.STORED) == 10
    catalog.close()


def test_documents_come_back_as_they_were(registered, catalog: Catalog) -> None:
    registered({"name": "a", "PatientComments": "x" * 2000})
    reference = Reference(str(uid("study")), str(uid("series")), str(uid("a")))
    with catalog.read() as connection:
        (text,) = documents(connection, reference)
    metadata = orjson.loads(text.replace(b"\x01", b"http://root"))
    assert metadata["00104000"]["Value"] == ["x" * 2000]
    assert metadata["7FE00010"]["BulkDataURI"].startswith(f"http://root/studies/{uid('study')}/series/")


@pytest.mark.parametrize("vr", [b"US", b"LO", b"IS", b"DA"])
def test_a_name_in_another_vr_is_held_and_is_no_name(catalog: Catalog, vr: bytes) -> None:
    """PS3.6 has PN for (0010,0010) and (0008,0090); some writers do not."""
    content = instance_bytes(PatientName="1234^5", ReferringPhysicianName="678901")
    for tag in (b"\x10\x00\x10\x00", b"\x08\x00\x90\x00"):
        assert tag + b"PN" in content
        content = content.replace(tag + b"PN", tag + vr)
    read = entry(scan(content), len(content), 0, hashlib.sha256(content).digest())
    assert (read.study["patient_name"], read.study["referring_physician_name"]) == ("", "")
    with catalog.write() as connection:
        assert register(connection, [(read, Location(None, read.sha256.hex()))]) == [Outcome.STORED]
    with catalog.read() as connection:
        (packed,) = documents(connection, Reference(str(uid("study"))))
    assert orjson.loads(packed.replace(b"\x01", b""))["00100010"]["vr"] == vr.decode()
