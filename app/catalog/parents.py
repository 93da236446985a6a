"""The studies and series above new instances: added, or grown, with their counts and answers.

Nothing below is read for it: what is new is counted here, and what was there is in the rows that it joins.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from app.catalog.answers import MODALITIES_IN_STUDY
from app.catalog.counts import Values, more_instances, series_values, study_values, update_rows
from app.catalog.documents import parse
from app.catalog.entry import Entry
from app.catalog.known import Numbers
from app.catalog.models import name_term, series, study
from app.catalog.names import name_rows
from app.catalog.prepared import as_list, insert_rows, listed, prepared
from app.dicom.matching import Level

Key = tuple[str, str]  # Study Instance UID, Series Instance UID


@dataclass(frozen=True, slots=True)
class Parents:
    """Where new instances go, and what was added for them."""

    series_ids: dict[Key, int]
    new_studies: int
    new_series: int


@dataclass(slots=True)
class _News:
    """What is new in one study."""

    first: Entry
    series: int = 0
    instances: int = 0
    modalities: set[str] = field(default_factory=set)


def parents_of(connection: Connection, entries: Sequence[Entry], numbers: Numbers) -> Parents:
    """Add or grow the studies and series of these new instances, within the caller's transaction."""
    counted = Counter((entry.study_instance_uid, entry.series_instance_uid) for entry in entries)
    first: dict[Key, Entry] = {}
    for entry in entries:  # what the first says of a study or a series stays
        first.setdefault((entry.study_instance_uid, entry.series_instance_uid), entry)
    known_series = _known_series(connection, first)
    known_studies = _known_studies(connection, first, known_series)
    news: dict[str, _News] = {}
    for key, entry in first.items():
        new = news.setdefault(key[0], _News(entry))
        new.instances += counted[key]
        if key not in known_series:
            new.series += 1
            new.modalities.update(filter(None, [entry.series["modality"]]))
    study_ids = _write_studies(connection, news, known_studies, numbers.study + 1)
    series_ids = _write_series(connection, counted, first, study_ids, known_series, numbers.series + 1)
    return Parents(series_ids, len(study_ids) - len(known_studies), len(first) - len(known_series))


class _Study(NamedTuple):
    id: int
    study_instance_uid: str
    number_of_series: int
    number_of_instances: int
    answer: bytes
    attributes: bytes


def _known_series(connection: Connection, keys: dict[Key, Entry]) -> dict[Key, Any]:
    uids = {uid for _, uid in keys}
    rows = _series(connection.dialect).rows(connection, {"uids": as_list(uids)})
    # The same Series Instance UID may stand in another study too.
    found = {(row.study_instance_uid, row.series_instance_uid): row for row in rows}
    return {key: row for key, row in found.items() if key in keys}


def _known_studies(
    connection: Connection, keys: dict[Key, Entry], known_series: dict[Key, Any]
) -> dict[str, _Study]:
    """Return the studies that are there: those of known series came with these."""
    found = {
        uid: _Study(
            row.study_id,
            uid,
            row.number_of_series,
            row.number_of_instances_of_study,
            row.answer_of_study,
            row.attributes_of_study,
        )
        for (uid, _), row in known_series.items()
    }
    if others := {uid for uid, _ in keys} - found.keys():
        rows = _studies(connection.dialect).rows(connection, {"uids": as_list(others)})
        found |= {row.study_instance_uid: _Study(*row) for row in rows}
    return found


@prepared
def _studies() -> Select[Any]:
    return select(*(study.c[name] for name in _Study._fields)).where(
        listed(study.c.study_instance_uid, "uids")
    )


@prepared
def _series() -> Select[Any]:
    return (
        select(
            series.c.id,
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            series.c.number_of_instances,
            series.c.answer,
            series.c.attributes,
            study.c.id.label("study_id"),
            study.c.number_of_series,
            study.c.number_of_instances.label("number_of_instances_of_study"),
            study.c.answer.label("answer_of_study"),
            study.c.attributes.label("attributes_of_study"),
        )
        .join(study, series.c.study_id == study.c.id)
        .where(listed(series.c.series_instance_uid, "uids"))
    )


def _write_studies(
    connection: Connection, news: dict[str, _News], known: dict[str, _Study], number: int
) -> dict[str, int]:
    """Return the number of each study; `number` is that of the next."""
    ids = {uid: row.id for uid, row in known.items()}
    added: list[Values] = []
    named: list[Values] = []
    grown: list[Values] = []
    for uid, new in news.items():
        row = known.get(uid)
        if row is None:
            attributes = parse(new.first.study_attributes)
            values = study_values(attributes, new.modalities, new.series, new.instances)
            ids[uid] = number + len(added)
            added.append(new.first.study | values | {"id": ids[uid]})
            named += name_rows(ids[uid], attributes)
        else:
            grown.append(_grown(row, new) | {"row_id": row.id})
    insert_rows(connection, study, added)
    insert_rows(connection, name_term, named)
    update_rows(connection, study, grown)
    return ids


def _grown(row: _Study, new: _News) -> Values:
    """Return the columns of a study that has more in it."""
    if not new.series and (values := more_instances(Level.STUDY, row, new.instances)):
        return {"number_of_series": row.number_of_series} | values
    attributes = parse(row.attributes)
    modalities = new.modalities.union(attributes[MODALITIES_IN_STUDY].get("Value", ()))
    series_count = row.number_of_series + new.series
    return study_values(attributes, modalities, series_count, row.number_of_instances + new.instances)


def _write_series(
    connection: Connection,
    counted: Counter[Key],
    first: dict[Key, Entry],
    study_ids: dict[str, int],
    known: dict[Key, Any],
    number: int,
) -> dict[Key, int]:
    """Return the number of each series; `number` is that of the next."""
    ids = {key: row.id for key, row in known.items()}
    added: list[Values] = []
    grown: list[Values] = []
    for key, entry in first.items():
        if row := known.get(key):
            values = more_instances(Level.SERIES, row, counted[key]) or series_values(
                parse(row.attributes), key[0], row.number_of_instances + counted[key]
            )
            grown.append(values | {"row_id": row.id})
        else:
            ids[key] = number + len(added)
            values = series_values(parse(entry.series_attributes), key[0], counted[key])
            added.append(entry.series | values | {"id": ids[key], "study_id": study_ids[key[0]]})
    insert_rows(connection, series, added)
    update_rows(connection, series, grown)
    return ids
