"""Every kind of matching of PS3.4 C.2.2.2, on both databases."""

from dataclasses import replace

import orjson
import pytest

from app.catalog.database import Catalog
from app.catalog.search import Page, PageMemory, search, search_within
from app.dicom.matching import Level, Query
from app.web.search_parameters import parse_search
from tests.factories import VL_PHOTOGRAPHIC, uid

PATIENCE_S = 60

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
STUDIES = [
    {
        "name": "a1",
        "study": "A",
        "series": "A1",
        "PatientID": "IP_1",
        "PatientName": "Müller^Anna",
        "StudyDate": "20190115",
        "StudyTime": "1030",
        "AccessionNumber": "100%",
        "InstanceNumber": 1,
    },
    {"name": "a2", "study": "A", "series": "A1", "PatientID": "IP_1", "InstanceNumber": 2, "rows": 8},
    {
        "name": "a3",
        "study": "A",
        "series": "A2",
        "PatientID": "IP_1",
        "SOPClassUID": BASIC_TEXT_SR,
        "Modality": "SR",
        "InstanceNumber": 1,
    },
    {
        "name": "b1",
        "study": "B",
        "series": "B1",
        "PatientID": "IP_22",
        "PatientName": "MULLER^Bert",
        "StudyDate": "20200630",
        "StudyTime": "235959.5",
        "AccessionNumber": "1000",
        "InstanceNumber": 7,
    },
    {
        "name": "c1",
        "study": "C",
        "series": "C1",
        "PatientID": "ip[1]",
        "PatientName": "",
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "a*b",
        "InstanceNumber": None,
        "Modality": "DMS",
    },
]


@pytest.fixture
def holdings(registered, catalog: Catalog) -> Catalog:
    registered(*STUDIES)
    return catalog


def ask(catalog: Catalog, level: Level, *parameters: tuple[str, str], **parents: str) -> Page:
    parsed = parse_search(list(parameters))
    query = Query(
        level,
        parsed.matches,
        parsed.include,
        limit=parsed.limit,
        offset=parsed.offset,
        order=parsed.order,
        **parents,
    )
    with catalog.read() as connection:
        return search_within(connection, query, PageMemory(), PATIENCE_S)


def results(page: Page) -> list[dict]:
    return [orjson.loads(answer.replace(b"\x01", b"http://root")) for answer in page.answers]


def value(result: dict, tag: str) -> object:
    return result[tag]["Value"][0]


def studies_found(catalog: Catalog, *parameters: tuple[str, str]) -> set[str]:
    names = {str(uid(name)): name for name in "ABC"}
    return {names[value(result, "0020000D")] for result in results(ask(catalog, Level.STUDY, *parameters))}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        pytest.param([], "ABC", id="universal"),
        pytest.param([("PatientID", "")], "ABC", id="universal-empty-C.2.2.2.3"),
        pytest.param([("PatientID", "*")], "ABC", id="universal-star-matches-empty-too"),
        pytest.param([("PatientID", "IP_1")], "A", id="single-value-C.2.2.2.1"),
        pytest.param([("00100020", "IP_1")], "A", id="key-as-tag"),
        pytest.param([("PatientID", "ip_1")], "", id="single-value-heeds-case"),
        pytest.param([("PatientID", "IP_?")], "A", id="wildcard-one-character"),
        pytest.param([("PatientID", "IP_*")], "AB", id="wildcard-any-characters"),
        pytest.param([("PatientID", "*_2*")], "B", id="wildcard-infix-underscore-is-literal"),
        pytest.param([("PatientID", "ip*")], "C", id="wildcard-heeds-case"),
        pytest.param([("PatientID", "ip[1]*")], "C", id="bracket-is-literal"),
        pytest.param([("AccessionNumber", "100%")], "A", id="percent-is-literal"),
        pytest.param([("AccessionNumber", "100%*")], "A", id="percent-is-literal-in-wildcard"),
        pytest.param([("AccessionNumber", "1*0?")], "AB", id="star-then-question-mark"),
        pytest.param([("PatientName", "müller^anna")], "A", id="person-name-without-regard-to-case"),
        pytest.param([("PatientName", "MÜLL*")], "A", id="person-name-wildcard-folds-umlauts-case"),
        pytest.param([("PatientName", "*^b*")], "B", id="person-name-infix"),
        pytest.param([("StudyDate", "20190115")], "A", id="date"),
        pytest.param([("StudyDate", "20190101-20191231")], "A", id="range-C.2.2.2.5"),
        pytest.param([("StudyDate", "20190115-20200630")], "AB", id="range-is-inclusive"),
        pytest.param([("StudyDate", "20190116-")], "B", id="range-open-end"),
        pytest.param([("StudyDate", "-20190115")], "A", id="range-open-start-leaves-out-empty"),
        pytest.param([("StudyTime", "1030")], "A", id="time"),
        pytest.param([("StudyTime", "10-11")], "A", id="time-range-of-less-precision"),
        pytest.param([("StudyTime", "2359-")], "B", id="time-range-open"),
        pytest.param(
            [("StudyDate", "20190115-20200630"), ("StudyTime", "1100-2300")],
            "",
            id="date-and-time-are-one-range",
        ),
        pytest.param(
            [("StudyDate", "20190115-20200701"), ("StudyTime", "1000-0100")],
            "AB",
            id="date-and-time-are-one-range-over-midnight",
        ),
        pytest.param([("StudyInstanceUID", f"{uid('A')},{uid('C')}")], "AC", id="uid-list-comma"),
        pytest.param([("StudyInstanceUID", f"{uid('A')}\\{uid('B')}")], "AB", id="uid-list-backslash"),
        pytest.param([("StudyInstanceUID", "1.2.3")], "", id="uid-unknown"),
        pytest.param([("ModalitiesInStudy", "SR")], "A", id="modalities-in-study"),
        pytest.param([("ModalitiesInStudy", "?R")], "A", id="modalities-in-study-wildcard"),
        pytest.param([("SOPClassesInStudy", BASIC_TEXT_SR)], "A", id="sop-classes-in-study"),
        pytest.param([("SOPClassesInStudy", VL_PHOTOGRAPHIC)], "ABC", id="sop-classes-in-study-one-of-two"),
        pytest.param([("SOPClassesInStudy", f"1.2.3\\{BASIC_TEXT_SR}")], "A", id="sop-classes-in-study-list"),
        pytest.param([("SOPClassesInStudy", "1.2.3")], "", id="sop-classes-in-study-unknown"),
        pytest.param(
            [("SOPClassesInStudy", '""'), ("emptyvaluematching", "true")], "", id="sop-classes-in-no-study"
        ),
        pytest.param([("ModalitiesInStudy", "XC"), ("PatientSex", "F")], "AB", id="keys-are-anded"),
        pytest.param([("NumberOfStudyRelatedInstances", "3")], "A", id="count"),
        pytest.param([("PatientID", "' OR 1=1 --")], "", id="sql-is-only-text"),
        pytest.param([("NumberOfStudyRelatedInstances", "9" * 30)], "", id="number-beyond-any-column"),
    ],
)
def test_matching(holdings: Catalog, parameters: list[tuple[str, str]], found: str) -> None:
    assert studies_found(holdings, *parameters) == set(found)


def test_sop_classes_in_study_are_asked_of_the_study_at_the_levels_below(holdings: Catalog) -> None:
    for level, tag, found in (
        (Level.SERIES, "0020000E", {uid("A1"), uid("A2")}),
        (Level.INSTANCE, "00080018", {uid("a1"), uid("a2"), uid("a3")}),
    ):
        page = ask(holdings, level, ("SOPClassesInStudy", BASIC_TEXT_SR))
        assert {value(one, tag) for one in results(page)} == found
        assert page.unmatched == ()


def test_study_answer_has_the_required_attributes_and_counts(holdings: Catalog) -> None:
    (study,) = results(ask(holdings, Level.STUDY, ("PatientID", "IP_1")))
    assert list(study) == sorted(study)
    assert study["00080061"] == {"vr": "CS", "Value": ["SR", "XC"]}
    assert study["00201206"] == {"vr": "IS", "Value": [2]}
    assert study["00201208"] == {"vr": "IS", "Value": [3]}
    assert study["00081190"] == {"vr": "UR", "Value": [f"http://root/studies/{uid('A')}"]}
    assert study["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Anna"}]}
    assert study["00200010"] == {"vr": "SH"}
    required = (
        "00080020 00080030 00080050 00080061 00080090 00100010 00100020 00100030 00100040 0020000D 00200010"
    )
    assert set(required.split()) <= study.keys()


def test_series_of_a_study_and_of_all(holdings: Catalog) -> None:
    below = results(ask(holdings, Level.SERIES, study_instance_uid=str(uid("A"))))
    assert [value(one, "00080060") for one in below] == ["XC", "SR"]
    assert [value(one, "00201209") for one in below] == [2, 1]
    assert {value(one, "0020000D") for one in below} == {str(uid("A"))}
    assert "00100020" not in below[0]
    everywhere = results(ask(holdings, Level.SERIES, ("PatientID", "IP_22")))
    assert [value(one, "00100020") for one in everywhere] == ["IP_22"]
    assert value(everywhere[0], "00081190") == f"http://root/studies/{uid('B')}/series/{uid('B1')}"


def test_instances_below_and_everywhere(holdings: Catalog) -> None:
    series = {"study_instance_uid": str(uid("A")), "series_instance_uid": str(uid("A1"))}
    first, second = results(ask(holdings, Level.INSTANCE, **series))
    assert (value(first, "00280010"), value(second, "00280010")) == (16, 8)
    assert value(first, "00083002") == "1.2.840.10008.1.2.1"
    assert "00080060" not in first
    (below_study,) = results(
        ask(holdings, Level.INSTANCE, ("Modality", "SR"), study_instance_uid=str(uid("A")))
    )
    assert value(below_study, "00080060") == "SR"
    (anywhere,) = results(ask(holdings, Level.INSTANCE, ("InstanceNumber", "7"), ("PatientID", "IP_22")))
    assert value(anywhere, "00100020") == "IP_22"
    path = f"/studies/{uid('B')}/series/{uid('B1')}/instances/{uid('b1')}"
    assert value(anywhere, "00081190") == f"http://root{path}"


def test_includefield_adds_and_never_from_below(holdings: Catalog) -> None:
    (study,) = results(
        ask(holdings, Level.STUDY, ("PatientID", "IP_1"), ("includefield", "Modality,ImageType,PatientAge"))
    )
    assert not {"00080060", "00080008"} & study.keys()
    (instance,) = results(
        ask(holdings, Level.INSTANCE, ("InstanceNumber", "7"), ("includefield", "ImageType,StudyDate"))
    )
    assert instance["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]}
    (in_series,) = results(
        ask(
            holdings,
            Level.INSTANCE,
            ("includefield", "PatientID"),
            study_instance_uid=str(uid("B")),
            series_instance_uid=str(uid("B1")),
        )
    )
    assert value(in_series, "00100020") == "IP_22"
    assert "00100010" not in in_series


def test_includefield_all(holdings: Catalog) -> None:
    (instance,) = results(ask(holdings, Level.INSTANCE, ("InstanceNumber", "7"), ("includefield", "all")))
    assert {"00080008", "00280002", "00100020", "00081190", "00080060"} <= instance.keys()
    assert "7FE00010" not in instance
    assert list(instance) == sorted(instance)


def test_a_key_of_a_lower_level_is_neither_matched_nor_returned(holdings: Catalog) -> None:
    """PS3.18 10.6.1.2, 10.6.3.3 (checklist 29, 30)."""
    page = ask(holdings, Level.STUDY, ("ImageType", "DERIVED"), ("Modality", "SR"))
    assert page.unmatched == ("00080008", "00080060")
    assert len(page.answers) == 3
    assert not any({"00080008", "00080060"} & result.keys() for result in results(page))


@pytest.mark.parametrize("level", list(Level))
def test_pages_are_the_whole_in_a_stable_order(holdings: Catalog, level: Level) -> None:
    whole = ask(holdings, level).answers
    memory = PageMemory()
    with holdings.read() as connection:
        for size in (1, 2, 3, 7):
            query = Query(level, limit=size)
            seen: list[bytes] = []
            for offset in range(0, len(whole) + size, size):
                page = search(connection, replace(query, offset=offset), memory)
                seen += page.answers
                assert page.remaining == max(0, len(whole) - offset - size)
            assert seen == whole
            backwards = [
                search(connection, replace(query, offset=n), PageMemory()).answers for n in (4, 2, 1)
            ]
            assert [page[:1] for page in backwards] == [whole[n : n + 1] for n in (4, 2, 1)]


def test_a_page_that_is_streamed_counts_nothing(holdings: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.catalog.search.statements.total", None)
    query = Query(
        Level.INSTANCE, parse_search([("StudyDate", "20190115"), ("Modality", "XC")]).matches, limit=1
    )
    with holdings.read() as connection:
        for offset, remaining in ((0, 1), (1, 0)):
            page = search_within(
                connection, replace(query, offset=offset), PageMemory(), PATIENCE_S, counts=False
            )
            assert (len(page.answers), page.remaining) == (1, remaining)


def test_a_remembered_page_is_forgotten_when_the_catalogue_changes(registered, catalog: Catalog) -> None:
    registered(*STUDIES)
    memory = PageMemory()
    query = Query(Level.INSTANCE, parse_search([("PatientID", "IP_1")]).matches, limit=1, offset=1)
    with catalog.read() as connection:
        assert search(connection, query, memory).remaining == 1
    registered({"name": "a4", "study": "A", "series": "A1", "PatientID": "IP_1"})
    with catalog.read() as connection:
        assert search(connection, query, memory).remaining == 2
