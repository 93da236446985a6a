"""Which stored JSON answers a query, and putting it together where one piece is not enough."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import ColumnElement

from app.catalog.answers import RETRIEVE_URL, SERIES_INSTANCE_UID, STUDY_INSTANCE_UID, instance_attributes
from app.catalog.attributes import ATTRIBUTES, RETURNED, level_of
from app.catalog.documents import Attributes, dump, parse, unpack
from app.catalog.models import document, instance, series, study
from app.dicom.matching import Level, Query

INSTANCE_COLUMNS = tuple(instance.c[a.column] for a in ATTRIBUTES if a.level == Level.INSTANCE and a.returned)
# In every result of a level, whatever is asked for; viewers need the UIDs of the levels above.
LINKS = {
    Level.STUDY: frozenset({RETRIEVE_URL}),
    Level.SERIES: frozenset({RETRIEVE_URL, STUDY_INSTANCE_UID}),
    Level.INSTANCE: frozenset({RETRIEVE_URL, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID}),
}

Piece = Literal["answer", "attributes"]
Include = frozenset[str] | Literal["all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read of each level: its required `answer`, all its `attributes`, nothing; and what to keep."""

    study: Piece | None
    series: Piece | None
    instance: Piece | None
    kept: Include

    def columns(self, level: Level) -> list[ColumnElement[Any]]:
        """Return what to select."""
        columns: list[ColumnElement[Any]] = []
        if self.study:
            columns.append(study.c[self.study].label("study"))
        if self.series:
            columns.append(series.c[self.series].label("series"))
        if level == Level.INSTANCE:
            columns += [study.c.study_instance_uid, series.c.series_instance_uid, *INSTANCE_COLUMNS]
        if self.instance == "attributes":
            columns.append(document.c.packed)
        own = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}[level]
        return [own.c.id, *columns]


def plan(query: Query) -> Plan:
    """Decide what to read; the keys used for matching are returned too (PS3.18 10.6.3.3)."""
    include = query.include
    if include != "all":
        include = include | {tag[:8] for tag, _ in query.matches}
    returned = {query.level}
    if query.study_instance_uid is None:
        returned.add(Level.STUDY)
    if query.series_instance_uid is None and query.level == Level.INSTANCE:
        returned.add(Level.SERIES)
    return _plan(query.level, include, frozenset(returned))


@lru_cache(maxsize=1024)
def _plan(own: Level, include: Include, returned: frozenset[Level]) -> Plan:
    pieces: dict[Level, Piece | None] = dict.fromkeys(Level)
    kept: Include = "all"
    if include == "all":
        pieces |= dict.fromkeys(returned, "attributes")
    else:
        for level in Level:
            asked = {tag for tag in include if level_of(tag) == level} - LINKS[own]
            if level <= own and asked - RETURNED[level]:
                pieces[level] = "attributes"
            elif level <= own and (asked or level in returned):
                pieces[level] = "answer"
        kept = (
            include
            | _creators(include)
            | LINKS[own]
            | frozenset().union(*(RETURNED[level] for level in returned))
        )
    return Plan(pieces[Level.STUDY], pieces[Level.SERIES], pieces[Level.INSTANCE], kept)


def _creators(include: frozenset[str]) -> frozenset[str]:
    """Return the private creators of the private attributes (PS3.5 7.8.1)."""
    return frozenset(f"{tag[:4]}00{tag[4:6]}" for tag in include if int(tag[3], 16) % 2)


def answer(level: Level, wanted: Plan, row: Any) -> bytes:  # noqa: ANN401 a row of the plan's columns
    """Return one result as a DICOM JSON object."""
    if level == Level.STUDY and wanted.study == "answer":
        study_answer: bytes = row.study
        return study_answer
    if level == Level.SERIES and wanted.series == "answer" and not wanted.study:
        series_answer: bytes = row.series
        return series_answer
    attributes: Attributes = {}
    if wanted.study:
        attributes |= parse(row.study)
    if wanted.series:
        attributes |= parse(row.series)
    if level == Level.INSTANCE:
        if wanted.instance == "attributes":
            attributes |= parse(unpack(row.packed))
        attributes |= instance_attributes(row._asdict(), row.study_instance_uid, row.series_instance_uid)
    if wanted.kept == "all":
        return dump({tag: value for tag, value in attributes.items() if not tag.startswith("7FE0")})
    return dump({tag: value for tag, value in attributes.items() if tag in wanted.kept})
