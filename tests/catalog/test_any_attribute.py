"""Matching beyond columns: any attribute, sequences, names that sound alike, emptiness, lists, order."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from app.catalog.database import Catalog
from app.catalog.migrate import migrate
from app.catalog.register import Location, register
from app.catalog.scanning import within
from app.catalog.search import PageMemory, search_within
from app.catalog.statements import matching_rows
from app.dicom.matching import Level, Query
from app.errors import InvalidQuery, SearchTooBroad
from app.web.search_parameters import parse_search
from tests.catalog.conftest import make_entry
from tests.catalog.test_search import PATIENCE_S, ask, results, value
from tests.conftest import new_database
from tests.factories import make_instance, uid


def items(*contents: dict[str, object]) -> Sequence:
    sequence = []
    for content in contents:
        item = Dataset()
        for keyword, one in content.items():
            setattr(item, keyword, one)
        sequence.append(item)
    return Sequence(sequence)


def with_private(name: str, block: int, number: str, **attributes: object) -> Dataset:
    """An instance whose creator reserved a block that differs from instance to instance (PS3.5 7.8.1)."""
    instance = make_instance(name, **attributes)
    instance.add_new((0x0029, block), "LO", "ACME 1.0")
    instance.add_new((0x0029, block * 0x100 + 0x05), "LO", number)
    return instance


INSTANCES = (
    make_instance(
        "a1",
        study="A",
        series="A1",
        PatientName="Müller^Anna",
        PatientID="1",
        StudyDate="20190115",
        ImageType=["DERIVED", "PRIMARY", "AXIAL"],
        ContentDate="20200101",
        ContentTime="1030",
        AcquisitionDateTime="20200101103000.5+0100",
        PixelSpacing=[0.5, 0.25],
        PatientComments="shows a [mole]*",
        WindowCenter=40,
        LossyImageCompressionRatio=None,
        RequestAttributesSequence=items(
            {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"},
            {"ScheduledProcedureStepID": "S2", "RequestedProcedureID": "R2"},
        ),
        AcquisitionContextSequence=items(
            {
                "ConceptNameCodeSequence": items({"CodeValue": "C1", "CodeMeaning": "Site"}),
                "ConceptCodeSequence": items({"CodeValue": "V1"}, {"CodeValue": "V2"}),
            }
        ),
        OperatorsName=["Doe^Jane", "Roe^Richard"],
    ),
    with_private(
        "b1",
        0x10,
        "B-7",
        study="B",
        series="B1",
        PatientName="Smyth^John",
        PatientID="2",
        StudyDate="20210501",
        AcquisitionDateTime="20200101",
        Modality="CT",
    ),
    with_private(
        "c1",
        0x42,
        "C-7",
        study="C",
        series="C1",
        PatientName="Yamada^Tarou=山田^太郎",
        PatientID="3",
        StudyDate="",
        ContentDate="20200102",
        ContentTime="",
        Modality="PT",
    ),
    make_instance(
        "d1",
        study="C",
        series="C2",
        PatientID="3",
        Modality="CT",
        InstanceNumber=9,
        ContentDate="20200102",
        ContentTime="0800",
        ImageType="",
    ),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def holdings_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """The instances above on each database; only read from, so once for all tests."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'catalog.db'}"
        else:
            url = stack.enter_context(new_database(request.getfixturevalue("postgres_server")))
        catalog = Catalog(url)
        stack.callback(catalog.close)
        migrate(catalog)
        entries = [make_entry(instance) for instance in INSTANCES]
        with catalog.write() as connection:
            register(connection, [(one, Location(None, one.sha256.hex())) for one in entries])
        yield catalog


def found(catalog: Catalog, level: Level, query: str) -> str:
    """What a query string finds, as the letters and numbers of its objects."""
    parameters = [tuple(part.split("=", 1)) for part in query.split("&")]
    tag = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}[level]
    names = {str(uid(name)): name for name in ("A", "B", "C", "A1", "B1", "C1", "C2", "a1", "b1", "c1", "d1")}
    return " ".join(names[value(one, tag)] for one in results(ask(catalog, level, *parameters)))


INSTANCE_QUESTIONS = {
    # PS3.4 C.2.2.2.1, any value of several (checklist 20, 21)
    "ImageType=DERIVED": "a1",
    "ImageType=AXIAL": "a1",
    "00080008=PRIMARY": "a1 b1 c1",
    "ImageType=primary": "",
    "ImageType=DERIVED\\PRIMARY\\AXIAL": "a1",
    "PixelSpacing=0.25": "a1",
    "PixelSpacing=0.250": "a1",
    "WindowCenter=40": "a1",
    "WindowCenter=41": "",
    "OperatorsName=roe^richard": "a1",
    # wild cards (C.2.2.2.4, checklist 24), on what columns know nothing of
    "PatientComments=*[mole]*": "a1",
    "PatientComments=shows ? *": "a1",
    "PatientComments=Shows*": "",
    "ImageType=AX*": "a1",
    "OperatorsName=D?e*": "a1",
    # ranges (C.2.2.2.5, checklist 23)
    "ContentDate=20200101": "a1",
    "ContentDate=20200101-20200101": "a1",
    "ContentDate=20200102-": "c1 d1",
    "ContentTime=10-11": "a1",
    "ContentTime=1030": "a1",
    "ContentDate=20200101-20200102&ContentTime=1000-0900": "a1 c1 d1",
    "ContentDate=20200101-20200102&ContentTime=1100-0700": "c1",
    "AcquisitionDateTime=2020": "a1 b1",
    "AcquisitionDateTime=202001010900-202001010959": "",
    "AcquisitionDateTime=20200101093000+0000-20200101094000+0000": "a1",
    "AcquisitionDateTime=20200101093001 0000-": "",
    "AcquisitionDateTime=2020010109-": "a1",
    # sequences, item by item (C.2.2.2.6, checklist 21)
    "RequestAttributesSequence.ScheduledProcedureStepID=S2": "a1",
    "00400275.00401001=R1": "a1",
    "RequestAttributesSequence.00400009=S?&00400275.RequestedProcedureID=R2": "a1",
    "RequestAttributesSequence.ScheduledProcedureStepID=S1"
    "&RequestAttributesSequence.RequestedProcedureID=R2": "",
    "RequestAttributesSequence.ScheduledProcedureStepID=S*2": "a1",
    "AcquisitionContextSequence.ConceptCodeSequence.CodeValue=V2": "a1",
    "AcquisitionContextSequence.ConceptNameCodeSequence.CodeValue=C1"
    "&00400555.ConceptCodeSequence.CodeValue=V1": "a1",
    "AcquisitionContextSequence.ConceptNameCodeSequence.CodeValue=V1": "",
    # private attributes by their creator, whichever block it has (checklist 29)
    "00291005=B-7&00290010=ACME 1.0": "b1",
    "00291005=?-7&00290010=ACME 1.0": "b1 c1",
    "00291005=B-7&00290010=OTHER": "",
    "00290010=ACME 1.0": "b1 c1",
    # indexed keys and others together
    "ImageType=PRIMARY&PatientID=2": "b1",
    "ImageType=PRIMARY&Modality=PT": "c1",
    "ImageType=": "a1 b1 c1 d1",
    # nothing to compare: returned alone
    "PixelData=abc": "a1 b1 c1 d1",
    # emptiness (C.2.2.2.7, checklist 20)
    'emptyvaluematching=true&ImageType=""': "d1",
    'emptyvaluematching=true&ContentTime=""': "b1 c1",
    'emptyvaluematching=true&ContentDate=""&Modality=CT': "b1",
    'emptyvaluematching=true&StudyDate=""': "c1 d1",
    'emptyvaluematching=true&OperatorsName=""&PatientID=3': "c1 d1",
    'emptyvaluematching=true&RequestAttributesSequence.ScheduledProcedureStepID=""': "",
    'ImageType=""': "",
    # lists (C.2.2.2.8, checklist 22): all of them, in any order, where the VM allows several
    "multiplevaluematching=true&ImageType=AXIAL,DERIVED": "a1",
    "multiplevaluematching=true&ImageType=AXIAL\\ORIGINAL": "",
    "multiplevaluematching=true&OperatorsName=roe^richard\\doe^jane": "a1",
    "ImageType=AXIAL,DERIVED": "",
    "multiplevaluematching=true&PatientID=1,2": "",
    "multiplevaluematching=true&ModalitiesInStudy=CT\\PT": "c1 d1",
}


@pytest.mark.parametrize(("query", "expected"), INSTANCE_QUESTIONS.items())
def test_instances_by_anything(holdings_once: Catalog, query: str, expected: str) -> None:
    assert found(holdings_once, Level.INSTANCE, query) == expected


STUDY_QUESTIONS = {
    "fuzzymatching=true&PatientName=muller": "A",
    "fuzzymatching=true&PatientName=Mueller": "A",
    "fuzzymatching=true&PatientName=mul": "A",
    "fuzzymatching=true&PatientName=anna muller": "A",
    "fuzzymatching=true&PatientName=smith^jon": "B",
    "fuzzymatching=true&PatientName=smith^anna": "",
    "fuzzymatching=true&PatientName=山田": "C",
    "fuzzymatching=true&PatientName=TARŌU": "C",
    "fuzzymatching=true&PatientName=*ller*": "A",
    "fuzzymatching=true&PatientName=*Smi*": "",
    "fuzzymatching=true&PatientName=*": "A B C",
    "fuzzymatching=true&PatientName=mül*&PatientID=1": "A",
    "fuzzymatching=true&PatientName=mül*&PatientID=2": "",
    "fuzzymatching=false&PatientName=muller": "",
    "PatientName=*tar*": "C",
    "PatientName=*^*": "A B C",
    "multiplevaluematching=true&ModalitiesInStudy=CT,PT": "C",
    "multiplevaluematching=true&ModalitiesInStudy=CT,XC": "",
    'emptyvaluematching=true&StudyDate=""': "C",
    'emptyvaluematching=true&ModalitiesInStudy=""': "",
    # what OHIF sends where two modalities are chosen in its list
    "ModalitiesInStudy=PT,SR": "C",
    "ModalitiesInStudy=CT\\PT&orderby=PatientID": "B C",
    'emptyvaluematching=true&NumberOfStudyRelatedSeries=""': "",
    'emptyvaluematching=true&PatientComments=""': "B C",
    "PatientComments=shows*": "A",
    "orderby=PatientID": "A B C",
    "orderby=-PatientID": "C B A",
    "orderby=StudyDate": "C A B",
    "orderby=-StudyDate": "B A C",
    "orderby=PatientSex,-PatientName": "C B A",
    "orderby=-NumberOfStudyRelatedInstances": "C A B",
    "orderby=-PatientID&PatientComments=*": "C B A",
    "orderby=-PatientID&ModalitiesInStudy=CT": "C B",
    "orderby=-StudyDate&limit=1&offset=1": "A",
}


@pytest.mark.parametrize(("query", "expected"), STUDY_QUESTIONS.items())
def test_studies_by_name_emptiness_and_order(holdings_once: Catalog, query: str, expected: str) -> None:
    """PS3.4 C.2.2.2.1.1 and C.2.2.2.7, PS3.18 8.3.4 (checklist 20, 22, 31)."""
    assert found(holdings_once, Level.STUDY, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("RequestAttributesSequence.ScheduledProcedureStepID=S1", "A1"),
        ("Manufacturer=x", ""),
        ("PatientComments=shows*", "A1"),
        ("orderby=-PatientID,Modality", "C2 C1 B1 A1"),
        ("fuzzymatching=true&PatientName=smith", "B1"),
        ("fuzzymatching=true&OperatorsName=row", "A1"),
        ("fuzzymatching=true&OperatorsName=jayne", "A1"),
    ],
)
def test_series_by_anything(holdings_once: Catalog, query: str, expected: str) -> None:
    assert found(holdings_once, Level.SERIES, query) == expected


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("00291005=B-7", "00290010=CREATOR"),
        ("orderby=ImageType", "no column"),
        ("orderby=ModalitiesInStudy", "no column"),
        ("multiplevaluematching=true&ImageType=A*\\B", "wild cards"),
    ],
)
def test_what_cannot_be_asked(holdings_once: Catalog, query: str, says: str) -> None:
    with pytest.raises(InvalidQuery, match=says.replace("*", r"\*")):
        found(holdings_once, Level.INSTANCE, query)


def test_an_order_by_a_lower_level_is_refused(holdings_once: Catalog) -> None:
    with pytest.raises(InvalidQuery, match="lower level"):
        found(holdings_once, Level.STUDY, "orderby=Modality")


@pytest.mark.parametrize(
    "query", ["ImageType=PRIMARY", "orderby=-PatientID,InstanceNumber", "PatientName=*a*"]
)
def test_pages_of_slow_searches_are_the_whole(holdings_once: Catalog, query: str) -> None:
    """PS3.18 8.3.4.4 (checklist 32): limit, offset and what remains are exact."""
    parsed = parse_search([tuple(part.split("=", 1)) for part in query.split("&")])
    whole_query = Query(Level.INSTANCE, parsed.matches, order=parsed.order)
    memory = PageMemory()
    with holdings_once.read() as connection:
        whole = search_within(connection, whole_query, memory, PATIENCE_S).answers
        assert len(whole) >= 3
        for offset in range(len(whole) + 1):
            page = search_within(connection, replace(whole_query, limit=2, offset=offset), memory, PATIENCE_S)
            assert page.answers == whole[offset : offset + 2]
            assert page.remaining == max(0, len(whole) - offset - 2)
        nothing = search_within(connection, replace(whole_query, limit=0), memory, PATIENCE_S)
        assert (nothing.answers, nothing.remaining) == ([], len(whole))


def test_matched_attributes_are_returned_with_their_sequences(holdings_once: Catalog) -> None:
    """PS3.18 10.6.3.3 (checklist 29)."""
    (one,) = results(
        ask(holdings_once, Level.INSTANCE, ("RequestAttributesSequence.ScheduledProcedureStepID", "S1"))
    )
    assert len(one["00400275"]["Value"]) == 2
    (one,) = results(ask(holdings_once, Level.INSTANCE, ("00291005", "B-7"), ("00290010", "ACME 1.0")))
    assert {"00290010", "00291005"} <= one.keys()
    (one,) = results(ask(holdings_once, Level.INSTANCE, ("PatientID", "2"), ("includefield", "00291005")))
    assert one["00290010"]["Value"] == ["ACME 1.0"]


def test_a_search_without_time_is_refused_with_what_would_help(holdings_once: Catalog) -> None:
    query = Query(Level.INSTANCE, parse_search([("ImageType", "PRIMARY")]).matches)
    with holdings_once.read() as connection:
        with pytest.raises(SearchTooBroad, match=r"attributes that have an index .*PatientID"):
            search_within(connection, query, PageMemory(), 1e-9)
        # The connection serves the next search, without the bound.
        assert len(search_within(connection, query, PageMemory(), PATIENCE_S).answers) == 3


def test_the_database_itself_is_stopped(holdings_once: Catalog) -> None:
    """A statement that takes long ends when the time is up, before it returns its first row."""
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{}) SELECT count(*) FROM n"
    endless, long = counting.format(""), counting.format(" WHERE i < 50000")
    with (
        holdings_once.read() as connection,
        pytest.raises(SearchTooBroad),
        within(connection, 0.05),
    ):
        connection.exec_driver_sql(endless)
    with holdings_once.read() as connection:  # the bound was that search's alone
        assert connection.exec_driver_sql(long).scalar() == 50_000


def test_more_candidates_than_can_be_compared_are_refused_at_once(
    holdings_once: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.catalog.scanning.MOST_CANDIDATES", 3)
    with pytest.raises(SearchTooBroad):
        found(holdings_once, Level.INSTANCE, "ImageType=PRIMARY")
    assert found(holdings_once, Level.INSTANCE, "ImageType=PRIMARY&PatientID=2") == "b1"


def test_the_sort_is_by_columns(holdings_once: Catalog) -> None:
    parsed = parse_search([("orderby", "StudyDate")])
    with holdings_once.read() as connection:
        statement = matching_rows(connection.dialect, Level.STUDY, (), parsed.order)
        assert len(statement.rows(connection, {"limit": 9, "offset": 0})) == 3
