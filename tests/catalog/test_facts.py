"""Facts on both databases: found by value and by subtree, shown beside the file, and taken back."""

from collections.abc import Iterator
from itertools import product

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from sqlalchemy import select

from app.catalog import search as searching
from app.catalog import statements
from app.catalog.answering import plan
from app.catalog.changes import changes_after
from app.catalog.corpus_models import fact, image, member, overlay, terms
from app.catalog.database import Catalog
from app.catalog.documents import pack
from app.catalog.holdings import Reference, documents, held_instances
from app.catalog.models import instance
from app.catalog.overlays import overlays_of, show
from app.catalog.question import question
from app.catalog.register import Location, Outcome, forget_files, register
from app.catalog.search import PageMemory, search_within
from app.dicom.matching import Level, Query
from app.dicom.private_block import (
    CREATOR,
    GROUP,
    PRIVATE_ELEMENTS,
    TAG_BY_KEYWORD,
    block_of,
    facts_of,
    values_of,
)
from app.web.search_parameters import parse_search
from tests.catalog.conftest import make_entry
from tests.factories import make_instance, uid, with_facts

URL = {"ISICID": "I1", "LicenseURL": "https://creativecommons.org/publicdomain/zero/1.0/"}
NEVUS = ["Benign", "Benign melanocytic proliferations", "Nevus"]
PATIENCE_S = 20


def block(**facts: object) -> dict[str, dict[str, object]]:
    shown: dict[str, dict[str, object]] = {"00990010": {"vr": "LO", "Value": [CREATOR]}}
    for keyword, value in facts.items():
        tag = TAG_BY_KEYWORD[keyword]
        vr = PRIVATE_ELEMENTS[int(tag[6:], 16)].vr
        shown[tag] = {"vr": vr, "Value": value if isinstance(value, list) else [value]}
    return shown


def enter(catalog: Catalog, *instances: Dataset, folder: int | None = None) -> list[Outcome]:
    entries = [make_entry(each) for each in instances]
    with catalog.write() as connection:
        return register(connection, [(e, Location(folder, e.sha256.hex())) for e in entries])


def found(catalog: Catalog, *parameters: tuple[str, str], level: Level = Level.INSTANCE) -> set[str]:
    asked = parse_search(parameters)
    with catalog.read() as connection:
        query = Query(level, asked.matches, asked.include)
        page = search_within(connection, query, PageMemory(), PATIENCE_S)
    assert not page.unmatched
    return {orjson.loads(each.replace(b"\x01", b""))["00080018"]["Value"][0] for each in page.answers}


def document_of(
    catalog: Catalog, name: str, study: str = "study", series: str = "series"
) -> dict[str, object]:
    with catalog.read() as connection:
        (packed,) = documents(connection, Reference(uid("study"), uid("series"), uid(name)))
    read: dict[str, object] = orjson.loads(packed.replace(b"\x01", b"\\u0001"))
    return read


@pytest.fixture
def filled(catalog: Catalog) -> Iterator[Catalog]:
    """Two with facts in their files, one with them in another block, one with none."""
    elsewhere = make_instance("elsewhere")
    elsewhere.private_block(GROUP, "SOMEBODY ELSE", create=True).add_new(0x14, "LO", "female")
    enter(
        catalog,
        with_facts(make_instance("a"), DiagnosisLevels=NEVUS, ISICSex="female", LicenseID="CC-0", **URL),
        with_facts(make_instance("b"), DiagnosisLevels=[*NEVUS, "Spitz"], ISICSex="male", LicenseID="CC-BY"),
        with_facts(elsewhere, DiagnosisLevels=["Malignant"], ISICSex="male", ISICAge=45),
        make_instance("none"),
    )
    yield catalog
    with catalog.read() as connection:
        assert connection.execute(select(fact.c.instance_id)).all()


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ([("DiagnosisLevels", "Nevus")], ["a", "b"]),
        ([("DiagnosisLevels", "Spitz")], ["b"]),
        ([("DiagnosisLevels", "Ben*")], ["a", "b"]),
        ([("DiagnosisLevels", "*")], ["a", "b", "elsewhere", "none"]),
        ([("ISICSex", "male")], ["b", "elsewhere"]),
        ([("ISICSex", "male"), ("DiagnosisLevels", "Nevus")], ["b"]),
        ([("ISICSex", "*le"), ("DiagnosisLevels", "Malignant")], ["elsewhere"]),
        ([("ISICAge", "45")], ["elsewhere"]),
        ([("00991014", "male")], ["b", "elsewhere"]),
        ([("00990010", CREATOR), ("00991014", "male")], ["b", "elsewhere"]),
        ([("00990011", CREATOR), ("00991114", "male")], ["b", "elsewhere"]),
        ([("00990010", "SOMEBODY ELSE"), ("00991014", "female")], ["elsewhere"]),
        ([("ISICSex", '""'), ("emptyvaluematching", "true")], ["none"]),
        ([("DiagnosisLevels", "Nevus\\Spitz"), ("multiplevaluematching", "true")], ["b"]),
        ([("ISICSex", "nobody")], []),
        ([("LicenseURL", "https://*")], ["a"]),  # has no index: the documents are read
        ([("PatientID", "EXAMPLE_1"), ("ISICSex", "female")], ["a"]),
        ([("SOPClassUID", "1.2.3"), ("ISICSex", "female")], []),
    ],
    ids=str,
)
def test_found_by_value_and_subtree(
    filled: Catalog, parameters: list[tuple[str, str]], names: list[str]
) -> None:
    """PS3.4 C.2.2.2 (checklist 26)."""
    assert found(filled, *parameters) == {uid(name) for name in names}


OF_ONE_IMAGE: list[tuple[list[tuple[str, str]], list[str]]] = [
    ([("ISICSex", "female")], ["one", "two"]),
    ([("DiagnosisLevels", "Malig*")], ["one", "two"]),
    ([("ISICSex", "female"), ("DiagnosisLevels", "Malignant")], ["two"]),
    ([("ISICSex", "fe*"), ("license", "CC-0")], ["one"]),
    ([("ISICSex", '""'), ("emptyvaluematching", "true")], ["three"]),
    ([("ISICSex", "female"), ("PatientID", "EXAMPLE_1")], ["one", "two"]),
    ([("ISICSex", "nobody")], []),
    # An element of another creator belongs to a lower level still, and is passed over there.
    ([("00990010", "SOMEBODY ELSE"), ("00991014", "female")], ["one", "two", "three"]),
]


def test_a_study_or_series_is_found_by_one_image_of_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where many match, and the rows are read in their order."""
    for name, study, facts in (
        ("a", "one", {"ISICSex": "female", "DiagnosisLevels": NEVUS, "LicenseID": "CC-0"}),
        ("b", "one", {"ISICSex": "male", "DiagnosisLevels": ["Malignant"], "LicenseID": "CC-BY"}),
        ("c", "two", {"ISICSex": "female", "DiagnosisLevels": ["Malignant"], "LicenseID": "CC-BY"}),
        ("d", "three", {}),
    ):
        enter(catalog, with_facts(make_instance(name, study=study, series=study), **facts))
    for (parameters, names), level, few in product(OF_ONE_IMAGE, (Level.STUDY, Level.SERIES), (1000, 1)):
        monkeypatch.setattr(searching, "FEW", few)
        query = Query(level, parse_search(parameters).matches, limit=9)
        with catalog.read() as connection:
            page = search_within(connection, query, PageMemory(), PATIENCE_S)
        studies = {orjson.loads(each.replace(b"\x01", b""))["0020000D"]["Value"][0] for each in page.answers}
        assert studies == {uid(name) for name in names}, (parameters, level, few)


def test_terms_follow_from_the_block(filled: Catalog) -> None:
    with filled.read() as connection:
        rows = connection.execute(
            select(instance.c.sop_instance_uid, terms.c.licence_id, instance.c.is_bound).outerjoin(
                terms, terms.c.id == instance.c.terms_id
            )
        ).all()
    assert {tuple(row) for row in rows} == {
        (uid("a"), "CC-0", 1),  # it has an identifier of ISIC: it is of the corpus
        (uid("b"), "CC-BY", 0),
        (uid("elsewhere"), None, 0),
        (uid("none"), None, 0),
    }


def test_what_is_shown_is_found_and_the_file_keeps_what_it_said(filled: Catalog) -> None:
    before = {name: document_of(filled, name) for name in ("a", "elsewhere", "none")}
    shown = block(ISICSex="male", Diagnosis="Benign") | {"00204000": {"vr": "LT", "Value": ["beside"]}}
    with filled.write() as connection:
        last = changes_after(connection, 0, 100)[-1].sequence
        assert show(connection, {uid(name): shown for name in (*before, "unknown")}) == set(map(uid, before))
    assert found(filled, ("ISICSex", "male")) == {uid(name) for name in ("a", "b", "elsewhere", "none")}
    assert found(filled, ("ISICSex", "female")) == set()
    assert found(filled, ("DiagnosisLevels", "Malignant")) == set()  # hidden: the file says it
    assert found(filled, ("00990010", "SOMEBODY ELSE"), ("00991014", "female")) == {uid("elsewhere")}
    assert document_of(filled, "none")["00204000"] == {"vr": "LT", "Value": ["beside"]}
    with filled.write() as connection:
        told = [(each.action, each.sop_instance_uid) for each in changes_after(connection, last, 100)]
        assert sorted(told) == sorted(("updated", uid(name)) for name in before)
        show(connection, {uid(name): block(ISICSex="female") for name in before})
        show(connection, {uid(name): {} for name in before})
        assert overlays_of(connection, [uid(name) for name in before]) == {}
    assert {name: document_of(filled, name) for name in before} == before
    assert found(filled, ("ISICSex", "female")) == {uid("a")}


def test_it_is_shown_again_when_the_file_comes_again(filled: Catalog) -> None:
    with filled.write() as connection:
        show(connection, {uid("none"): block(ISICSex="female", LicenseID="CC-0")})
        (held,) = held_instances(connection, Reference(uid("study"), uid("series"), uid("none")))
        file_id = connection.execute(
            select(instance.c.file_id).where(instance.c.sop_instance_uid == held.sop_instance_uid)
        ).scalar_one()
        forget_files(connection, [file_id])
    assert found(filled, ("ISICSex", "female")) == {uid("a")}
    enter(filled, make_instance("none"))
    assert found(filled, ("ISICSex", "female")) == {uid("a"), uid("none")}
    with filled.write() as connection:
        show(connection, {uid("none"): {}})
    assert found(filled, ("ISICSex", "female")) == {uid("a")}


def test_a_member_is_one_again_when_its_file_comes_again(filled: Catalog) -> None:
    with filled.write() as connection:
        connection.exec_driver_sql(
            "insert into collection (id, slug, title, description, is_public, is_pinned, is_locked,"
            " requires_licence, created_at) values (1, 's', '', '', 1, 0, 0, 1, '')"
        )
        connection.execute(
            member.insert(),
            [{"collection_id": 1, "sop_instance_uid": uid(name), "is_own": 1} for name in ("new", "later")],
        )
    enter(filled, make_instance("new"))
    with filled.read() as connection:
        rows = connection.execute(
            select(member.c.sop_instance_uid, instance.c.sop_instance_uid, instance.c.is_bound).outerjoin(
                instance, instance.c.id == member.c.instance_id
            )
        ).all()
    assert sorted(map(tuple, rows), key=str) == sorted(
        [(uid("new"), uid("new"), 1), (uid("later"), None, None)], key=str
    )


@pytest.mark.parametrize("known_by", ["uid", "stated", "file name"])
def test_nothing_is_registered_of_an_image_that_is_not_public(catalog: Catalog, known_by: str) -> None:
    row = {"isic_id": "ISIC_0000007", "is_public": 0, "source": "test", "known": pack(b"{}")}
    row |= {"sop_instance_uid": uid("secret") if known_by == "uid" else None, "published": pack(b"{}")}
    with catalog.write() as connection:
        connection.execute(image.insert(), row)
    secret, other = make_instance("secret"), make_instance("other")
    if known_by == "stated":
        with_facts(secret, ISICID="ISIC_0000007")
    entries = [make_entry(each) for each in (secret, other)]
    names = ["train/ISIC_0000007.dcm" if known_by == "file name" else "a.dcm", "ISIC_0000008.dcm"]
    with catalog.write() as connection:
        located = [(e, Location(None, name)) for e, name in zip(entries, names, strict=True)]
        assert register(connection, located) == [Outcome.NOT_PUBLIC, Outcome.STORED]
        assert [each.sop_instance_uid for each in changes_after(connection, 0, 9)] == [uid("other")]
    assert found(catalog) == {uid("other")}
    with catalog.write() as connection:
        connection.execute(image.update().values(is_public=1))
        assert register(connection, located[:1]) == [Outcome.STORED]


def test_the_index_forgets_with_the_instance(filled: Catalog) -> None:
    with filled.write() as connection:
        ids = connection.execute(select(instance.c.file_id)).scalars().all()
        forget_files(connection, ids)
        assert connection.execute(select(fact.c.value)).all() == []
        assert connection.execute(select(overlay.c.shown)).all() == []
    enter(filled, with_facts(make_instance("a"), ISICSex="female"))


VALUES = st.lists(st.text(max_size=12) | st.integers() | st.none(), max_size=4)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(TAG_BY_KEYWORD.values())), VALUES), st.integers(0x10, 0xFF))
def test_facts_are_those_of_our_block_wherever_it_is(elements: dict[str, list[object]], number: int) -> None:
    """PS3.5 7.8.1: the block that a creator reserved differs from data set to data set."""
    block_number = f"{number:02X}"
    document: dict[str, object] = {
        f"0099{block_number}{tag[6:]}": {"vr": "LO", "Value": values} for tag, values in elements.items()
    }
    assert facts_of(document) == ()
    document[f"009900{block_number}"] = {"vr": "LO", "Value": [CREATOR]}
    assert block_of(document) == block_number
    said = facts_of(document)
    assert len(set(said)) == len(said)
    for attribute, value in said:
        assert value
        assert "\0" not in value
        given_values = elements[f"{attribute:08X}"]
        assert value in {str(each).replace("\0", "") for each in given_values}
        assert values_of(document, attribute & 0xFF)


@pytest.mark.parametrize("skips", [False, True])
def test_a_page_of_a_common_fact_is_read_in_order_and_no_further(catalog, skips):
    """SQLite sorts all that match before the first page, unless the order is that of the index itself."""
    if not catalog.is_sqlite:
        pytest.skip("the planner of SQLite")
    asked = parse_search([("ISICSex", "female"), ("LicenseID", "CC-0")])
    query = Query(Level.INSTANCE, asked.matches, asked.include, limit=25)
    shape = question(query, is_sqlite=True).shape
    with catalog.read() as connection:
        wanted = statements.page(
            connection.dialect, query.level, shape, plan(query), skips, True, False, None
        )
        values = {"p0": "female", "p1": "CC-0", "limit": 26, "after": 100}
        cursor = connection.connection.dbapi_connection.cursor()
        parameters = [values.get(name, wanted._fixed.get(name)) for name in wanted._order]
        steps = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {wanted._sql}", parameters)]
    assert not [step for step in steps if "TEMP B-TREE" in step]
    assert steps[0].startswith("SEARCH fact_0 USING PRIMARY KEY (attribute=? AND value=?")
