"""Looking up what is held: instances with the place of their bytes, and their documents."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from app.catalog.corpus_models import terms
from app.catalog.documents import unpack
from app.catalog.models import document, file, folder, holding, instance, series, study
from app.catalog.prepared import as_list, listed, prepared
from app.catalog.scope import Sieve, is_within
from app.catalog.tombstones import tombstones_told
from app.dicom.matching import Level
from app.errors import Gone, NotFound


@dataclass(frozen=True, slots=True)
class Reference:
    """A study, a series or an instance, as a resource names it.

    `scope` is the number of the collection that it is looked for in, None for everything that is held.
    """

    study_instance_uid: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    scope: int | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        """Return its name for a person."""
        if self.sop_instance_uid:
            return f"instance {self.sop_instance_uid}"
        return (
            f"series {self.series_instance_uid}"
            if self.series_instance_uid
            else f"study {self.study_instance_uid}"
        )

    def parameters(self) -> dict[str, str]:
        """Return the values that name it in a statement."""
        named = {
            "study": self.study_instance_uid,
            "series": self.series_instance_uid,
            "instance": self.sop_instance_uid,
        }
        return {name: uid for name, uid in named.items() if uid is not None}


@dataclass(frozen=True, slots=True)
class Held:
    """A held instance: how it is encoded, and where its bytes are.

    `folder` is None for a managed file, whose key is `name`. A reader sends `prefix`, then the file from
    `offset` on; `data_set` is the file's first byte after the File Meta Information, None where that was not
    noted. `frames` and `bulk` are packed ranges of the file (dicom/frames.py). `rows`, `columns`,
    `bits_allocated` and the like are as the file says, None where it does not. `licence_id` and `attribution`
    are the terms on which it is published, None where they are not known; where it `is_bound` its pixels are
    served on complete terms alone (archive/terms.py).
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    photometric_interpretation: str | None
    samples_per_pixel: int | None
    bits_allocated: int | None
    rows: int | None
    columns: int | None
    prefix: bytes | None
    offset: int
    data_set: int | None
    frames: bytes
    bulk: bytes
    folder: str | None
    name: str
    size: int
    mtime_ns: int
    sha256: bytes
    is_bound: int
    licence_id: str | None
    attribution: str | None
    scope: int | None = field(default=None, kw_only=True)  # the collection in which it was found


_HELD = (
    study.c.study_instance_uid,
    series.c.series_instance_uid,
    *(
        instance.c[name]
        for name in (
            "sop_instance_uid",
            "sop_class_uid",
            "transfer_syntax_uid",
            "photometric_interpretation",
            "samples_per_pixel",
            "bits_allocated",
            "rows",
            "columns",
            "prefix",
            "offset",
            "data_set",
            "frames",
            "bulk",
        )
    ),
    folder.c.path,
    file.c.name,
    file.c.size,
    file.c.mtime_ns,
    file.c.sha256,
    instance.c.is_bound,
    terms.c.licence_id,
    terms.c.attribution,
)


def held_instances(connection: Connection, reference: Reference) -> list[Held]:
    """Return the instances of a study or series, or the one instance, in the order of registration.

    Raises Gone when they were withdrawn, NotFound when there never were any, or none is in the scope.
    """
    parameters = reference.parameters()
    if reference.scope is None:
        rows = _held(connection.dialect, len(parameters)).rows(connection, parameters)
        if rows:
            return [Held(*row) for row in rows]
        raise absence(connection, reference)
    within = parameters | {"scope": reference.scope}
    rows = _held_within(connection.dialect, len(parameters)).rows(connection, within)
    if not rows:
        raise _not_here(reference)
    return [Held(*row, scope=reference.scope) for row in rows]


def held_named(connection: Connection, sop_instance_uids: Iterable[str]) -> list[Held]:
    """Return those of these instances that are held."""
    rows = _named(connection.dialect).rows(connection, {"uids": as_list(sop_instance_uids)})
    return [Held(*row) for row in rows]


def documents(
    connection: Connection, reference: Reference, licences: Collection[str] | None = None
) -> list[bytes]:
    """Return the DICOM JSON of the instances of a resource, in order; errors as of held_instances().

    With `licences` those alone that are under one of them, which may be none.
    """
    parameters = reference.parameters()
    statement = _documents(
        connection.dialect, len(parameters), reference.scope is not None, licences is not None
    )
    values = {**parameters, "scope": reference.scope, "licences": sorted(licences or ())}
    rows = statement.rows(connection, values)
    if not rows and licences is not None:
        held_instances(connection, reference)
    elif not rows:
        raise absence(connection, reference) if reference.scope is None else _not_here(reference)
    return [unpack(row.packed) for row in rows]


def absence(connection: Connection, reference: Reference) -> NotFound:
    """Return the error that says why nothing of a resource is held: withdrawn, or never seen."""
    found = tombstones_told(connection, reference.parameters())
    if not found:
        return _not_here(reference)
    return Gone(f"The {reference} was withdrawn on {found[0].withdrawn_at[:10]}: {found[0].reason}")


def _not_here(reference: Reference) -> NotFound:
    return NotFound(f"There is no {reference} here.")


def references_named(connection: Connection, uid: str) -> list[Reference]:
    """Return what is held under a UID, of whatever level; a series UID may be in several studies."""
    uids = (study.c.study_instance_uid, series.c.series_instance_uid, instance.c.sop_instance_uid)
    below: dict[int, Select[Any]] = {
        1: select(uids[0]),
        2: select(*uids[:2]).join_from(series, study),
        3: select(*uids).join_from(instance, series).join(study, series.c.study_id == study.c.id),
    }
    for depth, statement in below.items():
        rows = connection.execute(statement.where(uids[depth - 1] == uid)).all()
        if rows:
            return [Reference(*row) for row in rows]
    return []


def totals(connection: Connection) -> dict[str, int]:
    """Return how many studies, series, instances and bytes are held."""
    row = connection.execute(select(holding)).one()
    return {"studies": row.studies, "series": row.series, "instances": row.instances, "bytes": row.bytes}


@prepared
def _held(depth: int) -> Select[Any]:
    return _below(_with_files(), depth)


@prepared
def _named() -> Select[Any]:
    statement = _with_files().join(series, instance.c.series_id == series.c.id)
    statement = statement.join(study, series.c.study_id == study.c.id)
    return statement.where(listed(instance.c.sop_instance_uid, "uids")).order_by(instance.c.id)


@prepared
def _held_within(depth: int) -> Select[Any]:
    return _below(_with_files(), depth).where(is_within(Level.INSTANCE, Sieve.EACH))


def _with_files() -> Select[Any]:
    statement = select(*_HELD).join_from(instance, file, instance.c.file_id == file.c.id)
    statement = statement.outerjoin(folder, file.c.folder_id == folder.c.id)
    return statement.outerjoin(terms, instance.c.terms_id == terms.c.id)


@prepared
def _documents(depth: int, is_scoped: bool, is_on_terms: bool) -> Select[Any]:  # noqa: FBT001 keys of the cache
    found = _below(select(document.c.packed).join_from(document, instance), depth)
    if is_on_terms:
        found = found.join(terms, instance.c.terms_id == terms.c.id)
        found = found.where(terms.c.licence_id.in_(bindparam("licences", expanding=True)))
    return found.where(is_within(Level.INSTANCE, Sieve.EACH)) if is_scoped else found


def _below(statement: Select[Any], depth: int) -> Select[Any]:
    statement = (
        statement.join(series, instance.c.series_id == series.c.id)
        .join(study, series.c.study_id == study.c.id)
        .where(study.c.study_instance_uid == bindparam("study"))
    )
    if depth > 1:
        statement = statement.where(series.c.series_instance_uid == bindparam("series"))
    if depth > 2:
        return statement.where(instance.c.sop_instance_uid == bindparam("instance"))
    return statement.order_by(series.c.id, instance.c.id)
