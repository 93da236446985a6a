"""One question, two doors: SQL on a column finds what the comparison of the stored document finds."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.database import Catalog
from app.catalog.documents import Attributes, dump
from app.catalog.entry import _columns
from app.catalog.migrate import migrate
from app.catalog.models import name_term, series, study
from app.catalog.names import name_rows
from app.catalog.search import PageMemory, search_within
from app.dicom.document_matching import document_test
from app.dicom.matching import Level, Query, Semantics, parse_match
from app.dicom.person_names import GROUPS
from app.dicom.tags import parse_attribute, value_representation
from app.errors import InvalidQuery

TEXTS = ["", "A", "a", "AB", "a*b", "100%", "a_b", "[x]", "A\\B", "ÄÖ", "ab cd", "B A", "\u0142"]
NAMES = ["", "Müller^Anna", "MULLER^Bert", "Smith^John", "Smyth^Jon=史密斯", "O'Brien^Pat", "^", "Ærø^Å"]
NAMES += ["=山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Jirou==やまだ^じろう", "Anna=ANNA"]
DATES = ["", "20190115", "20200630", "20200701", "19991231"]
TIMES = ["", "10", "1030", "103015", "235959.5", "000000.000001"]
NUMBERS = [None, 0, 1, 7, -3, 2**31 - 1]
VALUES = {
    "StudyDate": DATES,
    "StudyTime": TIMES,
    "AccessionNumber": TEXTS,
    "PatientName": NAMES,
    "ReferringPhysicianName": NAMES,
    "PatientID": TEXTS,
    "PatientSex": ["", "F", "M"],
    "Modality": ["", "XC", "CT"],
    "SeriesDescription": TEXTS,
    "SeriesNumber": NUMBERS,
    "SeriesDate": DATES,
    "SeriesTime": TIMES,
    "PerformedProcedureStepStartDate": DATES,
    "PerformedProcedureStepStartTime": TIMES,
}
INSIDE = ("ScheduledProcedureStepID", "RequestedProcedureID")
STUDIES = 150


def attribute(keyword: str, value: object) -> dict[str, object]:
    vr = value_representation(parse_attribute(keyword))
    if value in {"", None}:
        return {"vr": vr}
    if vr == "PN":
        parts = zip(GROUPS, str(value).split("="), strict=False)
        return {"vr": vr, "Value": [{group: text for group, text in parts if text}]}
    # A backslash divides values, of which these attributes have one: the column holds the whole.
    return {"vr": vr, "Value": [value]}


def one_object(random: Random, number: int) -> Attributes:
    held = {
        parse_attribute(keyword): attribute(keyword, random.choice(values))
        for keyword, values in VALUES.items()
        if random.random() < 0.9
    }
    requests = [
        {parse_attribute(inside): {"vr": "SH", "Value": [random.choice("ABC")]} for inside in INSIDE}
        for _ in range(random.choice((0, 1, 2)))
    ]
    if requests:
        held["00400275"] = {"vr": "SQ", "Value": requests}
    held["0020000D"] = {"vr": "UI", "Value": [f"1.2.{number}"]}
    held["0020000E"] = {"vr": "UI", "Value": [f"1.3.{number}"]}
    return held


class Doors:
    """The same objects in a catalogue and as they are; a plain class is not printed by a failure."""

    def __init__(self, catalog: Catalog, objects: list[Attributes]) -> None:
        self.catalog = catalog
        self.objects = objects


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder: Path = tmp_path_factory.mktemp("doors")
    catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}")
    migrate(catalog)
    random = Random(1)
    objects = [one_object(random, number) for number in range(STUDIES)]
    with catalog.write() as connection:
        for number, attributes in enumerate(objects, 1):
            stored = {"answer": dump(attributes), "attributes": dump(attributes), "id": number}
            connection.execute(study.insert().values(_columns(Level.STUDY, attributes) | stored))
            in_study = {"study_id": number}
            connection.execute(series.insert().values(_columns(Level.SERIES, attributes) | stored | in_study))
            if rows := name_rows(number, attributes):
                connection.execute(name_term.insert(), rows)
    yield Doors(catalog, objects)
    catalog.close()


pieces = st.text(alphabet="AaB*?_%[]^\\ ä1", max_size=4)
dates = st.sampled_from([date for date in DATES if date])
times = st.sampled_from([time for time in TIMES if time])
groups = st.sampled_from(
    [
        "",
        "*",
        "yamada^*",
        "Yamada^Tarou",
        "山田*",
        "山田^太郎",
        "*太郎",
        "史密?",
        "や*",
        "やまだ^たろう",
        "anna",
        "*a*",
    ]
)
key_values = {
    "DA": st.one_of(dates, st.tuples(dates | st.just(""), dates | st.just("")).map("-".join)),
    "TM": st.one_of(times, st.tuples(times | st.just(""), times | st.just("")).map("-".join)),
    "IS": st.sampled_from([str(number) for number in NUMBERS if number is not None]) | st.integers().map(str),
    "PN": st.sampled_from(
        ["müll*", "*ER*", "smith", "smyth^john", "anna", "obrien", "a*", "史*", "pat o'brien"]
    )
    | groups
    | st.lists(groups, min_size=2, max_size=3).map("=".join)
    | pieces,
}
asked = st.sampled_from([*VALUES, *(f"RequestAttributesSequence.{inside}" for inside in INSIDE)]).flatmap(
    lambda keyword: st.tuples(
        st.just(parse_attribute(keyword)),
        key_values.get(value_representation(parse_attribute(keyword)), st.sampled_from(TEXTS) | pieces)
        | st.just('""'),
    )
)


@settings(deadline=None, max_examples=200)
@given(pairs=st.lists(asked, min_size=1, max_size=3), fuzzy=st.booleans())
def test_columns_and_documents_agree(doors: Doors, pairs: list[tuple[str, str]], fuzzy: bool) -> None:
    semantics = Semantics(fuzzy=fuzzy, empty_values=True)
    try:
        matches = tuple((tag, parse_match(tag, text, semantics)) for tag, text in dict(pairs).items())
    except InvalidQuery:
        return
    with doors.catalog.read() as connection:
        page = search_within(connection, Query(Level.SERIES, matches), PageMemory(), 60)
    by_columns = {
        answer.split(b'"0020000E":{"vr":"UI","Value":["1.3.')[1].split(b'"')[0] for answer in page.answers
    }
    test = document_test(matches)
    by_documents = {str(number).encode() for number, one in enumerate(doors.objects) if test(one)}
    assert by_columns == by_documents
