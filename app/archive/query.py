"""Searching, for QIDO-RS and C-FIND alike."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.catalog.attributes import PATIENT_TAGS
from app.catalog.documents import Attributes, dump, parse
from app.catalog.holdings import Reference
from app.catalog.locating import located
from app.catalog.question import is_answered_at_once
from app.catalog.search import Page, search, search_within
from app.catalog.sop_classes import SOP_CLASSES_IN_STUDY, sop_classes_of
from app.dicom.matching import Level, Query, SingleValue

__all__ = [
    "is_answered_at_once",
    "locate_instances",
    "search_archive",
    "search_attributes",
    "search_patients",
]

Search = Callable[[Query], Iterator[Attributes]]

_FIRST_READ, _NEXT_READS = 20, 500
_PATIENT_ID, _PATIENT_NAME, _STUDY_INSTANCE_UID = "00100020", "00100010", "0020000D"
_RELATED_STUDIES = "00201200"
# Number of Patient Related Studies, Series, Instances, and what a study has that they are the sum of.
_COUNTED = {_RELATED_STUDIES: "", "00201202": "00201206", "00201204": "00201208"}


def search_archive(archive: Archive, query: Query) -> Page:
    """Return one page of results.

    A query below a named study or series may return all of it; any other is clamped to the server's limit,
    and the page says how many results remain.
    """
    most = archive.settings.search_limit
    if query.study_instance_uid is None and (query.limit is None or query.limit > most):
        query = replace(query, limit=most)
    return _page(archive, query)


def _page(archive: Archive, query: Query, *, counts: bool = True) -> Page:
    with archive.catalog.read() as connection:
        if is_answered_at_once(query):
            page = search(connection, query, archive.pages, counts=counts)
        else:
            work_s = archive.settings.search_work_s
            page = search_within(connection, query, archive.pages, work_s, counts=counts)
        keys = {tag for tag, _ in query.matches} | (query.include if query.include != "all" else set())
        is_asked = SOP_CLASSES_IN_STUDY in keys
        return _with_sop_classes(connection, query, page) if is_asked else page


def _with_sop_classes(connection: Connection, query: Query, page: Page) -> Page:
    """Return the page with SOP Classes in Study."""
    answers = list(map(parse, page.answers))
    uids = [str(_first(each, _STUDY_INSTANCE_UID)) for each in answers]
    found = sop_classes_of(connection, uids, query.scope)
    for uid, each in zip(uids, answers, strict=True):
        if uid in found:  # and was not withdrawn a moment ago
            each[SOP_CLASSES_IN_STUDY] = {"vr": "UI", "Value": found[uid]}
    return replace(page, answers=list(map(dump, answers)))


def search_attributes(archive: Archive, query: Query) -> Iterator[Attributes]:
    """Yield the attributes of everything that matches, as they are read: no limit, and the first at once."""
    query = replace(query, limit=_FIRST_READ)
    while True:
        page = _page(archive, query, counts=False)
        yield from map(parse, page.answers)
        if not page.remaining:
            return
        query = replace(query, offset=query.offset + len(page.answers), limit=_NEXT_READS)


def locate_instances(archive: Archive, query: Query) -> list[tuple[Reference, str, str]]:
    """Return each instance that unique keys address, with its SOP class and transfer syntax."""
    with archive.catalog.read() as connection:
        found = located(connection, query, archive.settings.search_work_s)
    return [(Reference(*row[:3], scope=query.scope), row[3], row[4]) for row in found]


def search_patients(find: Search, query: Query) -> Iterator[Attributes]:
    """Yield one patient for each Patient ID and name that the matching studies have (PS3.4 C.6.1.1.2).

    `query` is one for studies, `find` what searches for them. Of a study's own attributes those alone are
    returned that were matched: of which study the others would be, nobody could tell.
    """
    kept = PATIENT_TAGS | {path[:8] for path, _ in query.matches}
    seen: set[tuple[object, object]] = set()
    for found in find(query):
        patient_id = _first(found, _PATIENT_ID)
        key = patient_id, str(_first(found, _PATIENT_NAME))
        if key not in seen:
            seen.add(key)
            own = {tag: value for tag, value in found.items() if tag in kept}
            yield own | _patient_counts(find, query, patient_id)


def _patient_counts(find: Search, query: Query, patient_id: object) -> Attributes:
    """Return what is asked of the numbers of all studies of a Patient ID, their series and instances."""
    asked = _COUNTED.keys() & (query.include if query.include != "all" else _COUNTED.keys())
    if not asked or not patient_id:
        return {}
    of_patient = Query(Level.STUDY, matches=((_PATIENT_ID, SingleValue(str(patient_id))),))
    studies = list(find(of_patient))
    totals = {
        tag: sum(int(str(_first(study, part) or 0)) for study in studies) for tag, part in _COUNTED.items()
    }
    totals[_RELATED_STUDIES] = len(studies)
    return {tag: {"vr": "IS", "Value": [totals[tag]]} for tag in asked}


def _first(attributes: Attributes, tag: str) -> object:
    return next(iter(attributes.get(tag, {}).get("Value", ())), None)
