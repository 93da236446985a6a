"""A search within a collection finds and counts what a catalogue of the members alone would."""

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orjson
import pytest

from app.catalog.collections import all_collections, insert_collection, lineage
from app.catalog.database import Catalog
from app.catalog.entry import Entry
from app.catalog.holdings import Reference, documents, held_instances
from app.catalog.locating import located
from app.catalog.members import add_own, remove_own
from app.catalog.migrate import migrate
from app.catalog.register import Location, register
from app.catalog.search import PageMemory, search_within
from app.dicom.matching import Level, Query
from app.errors import NotFound
from app.web.search_parameters import parse_search
from tests.catalog.conftest import make_entry
from tests.factories import VL_PHOTOGRAPHIC, make_instance, uid, with_facts

PATIENCE_S = 60
ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1"
MODALITIES = ("XC", "SR", "DMS")
NAMES = [f"{study}{series}{instance}" for study in "abcdefgh" for series in "12" for instance in "xyz"]

QUESTIONS = (
    [
        (level, keys)
        for level in Level
        for keys in (
            "",
            "limit=3",
            "limit=2&offset=1",
            "limit=2&offset=3",
            "limit=3&offset=99",
            "includefield=all",
            "includefield=NumberOfStudyRelatedInstances,NumberOfSeriesRelatedInstances,ModalitiesInStudy",
            "PatientID=b",
            "PatientID=b&limit=1",
            "PatientID=*",
            "PatientName=an?a*",
            "PatientName=ana&fuzzymatching=true",
            "StudyDate=20200101-20200105&limit=2",
            "ModalitiesInStudy=SR",
            "ModalitiesInStudy=XC&limit=2&offset=1",
            f"SOPClassesInStudy={ENDOSCOPIC}",
            f"SOPClassesInStudy={ENDOSCOPIC},1.2.3&limit=2&offset=1",
            "NumberOfStudyRelatedInstances=1",
            "NumberOfStudyRelatedSeries=2",
            "orderby=-NumberOfStudyRelatedInstances,StudyInstanceUID&limit=4",
            "orderby=PatientID&limit=3&offset=1",
            "InstitutionName=Clinic c",
            "ISICSex=female",
            "ISICSex=female&limit=3&offset=2",
            f"StudyInstanceUID={uid('c')}",
        )
    ]
    + [
        (level, keys)
        for level in (Level.SERIES, Level.INSTANCE)
        for keys in (
            "Modality=SR",
            "NumberOfSeriesRelatedInstances=2",
            "orderby=-NumberOfSeriesRelatedInstances,SeriesInstanceUID",
        )
    ]
    + [
        (Level.INSTANCE, keys)
        for keys in ("ISICSex=female", "ISICSex=female&limit=3&offset=2", "ISICSex=*e", "InstanceNumber=2")
    ]
)


def attributes(name: str) -> dict[str, object]:
    study, series, instance = name
    number = ord(study) - ord("a")
    return {
        "study": study,
        "series": name[:2],
        "PatientID": study,
        "PatientName": "Ana^Example" if number % 2 else "Berta^Example",
        "StudyDate": f"2020010{number + 1}",
        "InstitutionName": f"Clinic {study}",
        "SOPClassUID": ENDOSCOPIC if instance == "z" else VL_PHOTOGRAPHIC,
        "Modality": MODALITIES[(number + int(series)) % 3],
        "InstanceNumber": "xyz".index(instance) + 1,
    }


@cache
def entry_of(name: str) -> Entry:
    sex = "female" if sum(map(ord, name)) % 2 else "male"
    return make_entry(with_facts(make_instance(name, rows=2, columns=2, **attributes(name)), ISICSex=sex))


def fill(catalog: Catalog, names: list[str]) -> None:
    with catalog.write() as connection:
        register(connection, [(one, Location(None, one.sha256.hex())) for one in map(entry_of, names)])


def ask(catalog: Catalog, level: Level, keys: str, scope: int | None) -> tuple[list[object], int]:
    parsed = parse_search([tuple(pair.split("=", 1)) for pair in keys.split("&") if pair])
    query = Query(
        level, parsed.matches, parsed.include, None, None, parsed.limit, parsed.offset, parsed.order, scope
    )  # fmt: skip
    with catalog.read() as connection:
        page = search_within(connection, query, PageMemory(), PATIENCE_S)
    return [orjson.loads(one.replace(b"\1", b"")) for one in page.answers], page.remaining


def make_collection(
    catalog: Catalog, slug: str, parent: int | None = None, names: list[str] | None = None
) -> int:
    with catalog.write() as connection:
        flags = dict.fromkeys(("is_public", "is_pinned", "is_locked", "requires_licence"), False)
        values = {
            "slug": slug,
            "title": slug,
            "description": "",
            "parent_id": parent,
            "created_at": "",
            **flags,
        }
        number = insert_collection(connection, values)
        change(connection, number, names or [], add_own)
    return number


def change(connection, number: int, names: list[str], what) -> None:
    what(connection, lineage(all_collections(connection), number), [uid(name) for name in names])


@pytest.fixture(params=range(3))
def both(
    request: pytest.FixtureRequest, catalog: Catalog, tmp_path: Path
) -> Iterator[tuple[Catalog, int, Catalog, list[str]]]:
    """Everything with a collection, and a catalogue of its members alone."""
    chosen = random.Random(request.param)
    count = (4, 20, len(NAMES))[request.param]
    names = sorted(chosen.sample(NAMES, count), key=NAMES.index)
    fill(catalog, NAMES)
    make_collection(catalog, "other", names=chosen.sample(NAMES, 9))
    number = make_collection(catalog, "asked", names=names)
    alone = Catalog(f"sqlite:///{tmp_path / 'alone.db'}")
    migrate(alone)
    fill(alone, names)
    yield catalog, number, alone, names
    alone.close()


def test_a_collection_is_searched_as_if_nothing_else_were_held(both) -> None:
    catalog, number, alone, names = both
    for level, keys in QUESTIONS:
        assert ask(catalog, level, keys, number) == ask(alone, level, keys, None), (level, keys)

    pages_follow_one_another(catalog, number)
    only_members_are_retrieved(catalog, number, names)


def pages_follow_one_another(catalog: Catalog, number: int) -> None:
    memory = PageMemory()
    with catalog.read() as connection:
        for level in Level:
            whole = search_within(connection, Query(level, scope=number, limit=1000), memory, PATIENCE_S)
            pages, offset = [], 0
            while True:
                page = search_within(
                    connection, Query(level, scope=number, limit=3, offset=offset), memory, PATIENCE_S
                )
                pages += page.answers
                offset += len(page.answers)
                assert page.remaining == len(whole.answers) - offset
                if not page.remaining:
                    break
            assert pages == whole.answers


def only_members_are_retrieved(catalog: Catalog, number: int, names: list[str]) -> None:
    with catalog.read() as connection:
        for name in NAMES:
            reference = Reference(uid(name[0]), uid(name[:2]), uid(name), scope=number)
            if name in names:
                assert held_instances(connection, reference)[0].sop_instance_uid == uid(name)
                assert len(documents(connection, reference)) == 1
            else:
                for retrieve in (held_instances, documents):
                    with pytest.raises(NotFound):
                        retrieve(connection, reference)
        for study in "abcdefgh":
            reference = Reference(uid(study), scope=number)
            members = {uid(name) for name in names if name[0] == study}
            if members:
                assert {held.sop_instance_uid for held in held_instances(connection, reference)} == members
                assert len(documents(connection, reference)) == len(members)
            else:
                with pytest.raises(NotFound):
                    held_instances(connection, reference)
            query = Query(
                Level.INSTANCE, parse_search([("StudyInstanceUID", uid(study))]).matches, scope=number
            )
            assert {row[2] for row in located(connection, query, PATIENCE_S)} == members


def test_a_whole_has_what_its_parts_have(catalog: Catalog) -> None:
    fill(catalog, NAMES)
    whole = make_collection(catalog, "whole", names=["a1x"])
    part = make_collection(catalog, "part", whole, names=["b1x", "a1x"])
    inner = make_collection(catalog, "inner", part, names=["c1x", "b1x"])

    def held(number: int) -> set[str]:
        found, _ = ask(catalog, Level.INSTANCE, "", number)
        return {name for name in NAMES if uid(name) in {one["00080018"]["Value"][0] for one in found}}

    assert (held(whole), held(part), held(inner)) == (
        {"a1x", "b1x", "c1x"}, {"a1x", "b1x", "c1x"}, {"b1x", "c1x"}
    )  # fmt: skip
    with catalog.write() as connection:
        change(connection, part, ["a1x", "b1x"], remove_own)
    assert (held(whole), held(part), held(inner)) == ({"a1x", "b1x", "c1x"}, {"b1x", "c1x"}, {"b1x", "c1x"})
    with catalog.write() as connection:
        change(connection, inner, ["b1x", "c1x"], remove_own)
    assert (held(whole), held(part), held(inner)) == ({"a1x"}, set(), set())
