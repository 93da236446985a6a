"""Keys that few rows have, or most: found by an index or come upon in order, with the same answers."""

from array import array
from dataclasses import replace

import pytest

from app.catalog import scanning
from app.catalog import search as searching
from app.catalog.answering import plan
from app.catalog.database import Catalog
from app.catalog.pages import PageMemory
from app.catalog.question import question
from app.catalog.search import Page, search_within
from app.catalog.statements import page
from app.dicom.matching import Level, Query
from app.web.search_parameters import parse_search
from tests.catalog.test_search import PATIENCE_S, STUDIES

QUESTIONS = [
    (Level.INSTANCE, "Modality=XC"),
    (Level.INSTANCE, "Modality=SR"),
    (Level.INSTANCE, "Modality=?R"),
    (Level.INSTANCE, "Modality=QQ"),
    (Level.INSTANCE, "ModalitiesInStudy=XC"),
    (Level.INSTANCE, "ModalitiesInStudy=XC\\SR"),
    (Level.INSTANCE, "PatientSex=F&Modality=XC"),
    (Level.INSTANCE, "StudyDate=20190101-20191231&StudyTime=1000-1100"),
    (Level.INSTANCE, "NumberOfStudyRelatedInstances=3"),
    (Level.INSTANCE, "PatientName=*^b*"),
    (Level.INSTANCE, "fuzzymatching=true&PatientName=muller"),
    (Level.SERIES, "Modality=XC"),
    (Level.SERIES, "PatientSex=F"),
    (Level.SERIES, "ModalitiesInStudy=SR"),
    (Level.STUDY, "ModalitiesInStudy=XC"),
    (Level.STUDY, "ModalitiesInStudy=X*"),
]


@pytest.fixture
def holdings(registered, catalog: Catalog) -> Catalog:
    registered(*STUDIES)
    return catalog


def asked(level: Level, text: str, **more: object) -> Query:
    parsed = parse_search([tuple(part.split("=", 1)) for part in text.split("&")])
    return Query(level, parsed.matches, parsed.include, **more)


def answers(catalog: Catalog, query: Query, memory: PageMemory | None = None) -> list[bytes]:
    """All answers, page by page."""
    found: list[bytes] = []
    memory = memory or PageMemory()
    with catalog.read() as connection:
        while True:
            offset = replace(query, offset=len(found))
            one = search_within(connection, offset, memory, PATIENCE_S, counts=False)
            found += one.answers
            if not one.remaining:
                return found


def test_both_ways_find_the_same_in_the_same_order(
    holdings: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for level, text in QUESTIONS:
        few = answers(holdings, asked(level, text))
        assert question(asked(level, text), is_sqlite=True).is_broad
        for size in (1, 2, 100):
            with monkeypatch.context() as patch:
                patch.setattr(searching, "FEW", 1)
                patch.setattr(searching, "MOST_LISTED", 0)
                assert answers(holdings, asked(level, text, limit=size)) == few, (level, text)
            assert answers(holdings, asked(level, text, limit=size)) == few


def test_where_many_match_the_rows_are_read_in_their_order(holdings: Catalog) -> None:
    """The first of them need not wait for the last to be sorted."""
    if not holdings.is_sqlite:  # PostgreSQL's planner knows how many rows have a value
        return
    for level, text in QUESTIONS:
        query = asked(level, text)
        one = question(query, is_sqlite=True)
        if one.is_listed:
            continue
        with holdings.read() as connection:
            statement = page(connection.dialect, level, one.shape, plan(query), False, True, True)
            parameters = {**one.values, "limit": 1}
            if statement._is_expanding:
                continue
            steps = connection.connection.dbapi_connection.execute(
                f"EXPLAIN QUERY PLAN {statement._sql}",
                [{**statement._fixed, **parameters}[name] for name in statement._order or ()],
            ).fetchall()
        assert steps[0][3] == f"SCAN {level.name.lower()}", (text, steps)
        assert not any("TEMP B-TREE" in step[3] for step in steps)


def test_many_are_counted_out_once(holdings: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    listed = searching._Search.listed

    def noting(self: object, most: int) -> "array[int]":
        looked.append(most)
        return listed(self, most)

    monkeypatch.setattr(searching, "FEW", 2)
    monkeypatch.setattr(searching._Search, "listed", noting)
    memory = PageMemory()
    assert len(answers(holdings, asked(Level.INSTANCE, "Modality=XC", limit=1), memory)) == 3
    assert looked == [2]
    assert len(answers(holdings, asked(Level.INSTANCE, "Modality=SR", limit=1), memory)) == 1
    assert looked == [2, 2]


@pytest.mark.parametrize("text", ["BitsStored=8", "BitsStored=8&Modality=XC", "BitsStored=9"])
def test_what_documents_decide_is_answered_before_the_last_is_compared(
    holdings: Catalog, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    whole = _whole(holdings, text).answers
    compared: list[int] = []

    def noting(values: list[int]) -> list[list[int]]:
        compared.extend(values)
        return [values]

    for window in (1, 2, 100):
        for size in (1, 2, 3, 100):
            monkeypatch.setattr(scanning, "WINDOW", window)
            assert answers(holdings, asked(Level.INSTANCE, text, limit=size)) == whole
    monkeypatch.setattr(scanning, "chunks", noting)
    monkeypatch.setattr(scanning, "WINDOW", 2)
    with holdings.read() as connection:
        search_within(
            connection, asked(Level.INSTANCE, text, limit=20), PageMemory(), PATIENCE_S, counts=False
        )
    assert len(compared) == (2 if whole else len(STUDIES))


def _whole(holdings: Catalog, text: str) -> Page:
    with holdings.read() as connection:
        return search_within(connection, asked(Level.INSTANCE, text), PageMemory(), PATIENCE_S)


def test_where_it_was_forgotten_how_far_documents_were_compared_all_are_compared_anew(
    holdings: Catalog,
) -> None:
    whole = _whole(holdings, "BitsStored=8").answers
    with holdings.read() as connection:
        for offset in range(len(whole) + 1):
            query = asked(Level.INSTANCE, "BitsStored=8", limit=2, offset=offset)
            page = search_within(connection, query, PageMemory(), PATIENCE_S, counts=False)
            assert page.answers == whole[offset : offset + 2]


def test_what_is_remembered_is_bounded_in_searches_and_in_rows() -> None:
    memory = PageMemory(searches=3, rows=10)
    for number in range(5):
        memory.put_found(number, array("q"))
    assert [memory.found(number) is not None for number in range(5)] == [False, False, True, True, True]
    memory.put_found("long", array("q", range(9)))
    memory.put_found("longer", array("q", range(10)))
    assert memory.found("long") is None
    assert memory.found("longer") is not None
