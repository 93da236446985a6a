"""Asking the catalogue whether it agrees with itself, and for every file that it promises."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from app.catalog.models import document, file, folder, holding, instance, series, study

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class CataloguedFile:
    """A file that an instance is served from; `folder` is None for a managed one, whose key is `name`."""

    id: int
    folder: str | None
    name: str
    size: int
    mtime_ns: int
    sha256: bytes
    sop_instance_uid: str


def catalogued_files(connection: Connection) -> Iterator[CataloguedFile]:
    """Yield every file that an instance names, a page at a time."""
    statement = (
        select(
            file.c.id,
            folder.c.path,
            file.c.name,
            file.c.size,
            file.c.mtime_ns,
            file.c.sha256,
            instance.c.sop_instance_uid,
        )
        .join(instance, instance.c.file_id == file.c.id)
        .outerjoin(folder, file.c.folder_id == folder.c.id)
        .order_by(file.c.id)
        .limit(_PAGE)
    )
    last = 0
    while page := connection.execute(statement.where(file.c.id > last)).all():
        for row in page:
            yield CataloguedFile(*row)
        last = page[-1].id


def disagreements(connection: Connection) -> list[str]:
    """Return a sentence for each count that is not the number of its rows, and each row lacking another."""
    found = [
        f"Study {row.study_instance_uid} counts {row.number_of_series} series and {row.number_of_instances} "
        f"instances, but has {row.real_series} and {row.real}."
        for row in connection.execute(_wrong_studies())
    ]
    found += [
        f"Series {row.series_instance_uid} counts {row.number_of_instances} instances, but has {row.real}."
        for row in connection.execute(_wrong_series())
    ]
    found += [
        f"Instance {row.sop_instance_uid} has no document."
        for row in connection.execute(
            select(instance.c.sop_instance_uid)
            .outerjoin(document, document.c.instance_id == instance.c.id)
            .where(document.c.instance_id.is_(None))
        )
    ]
    found += [
        f"Managed file {row.name} has a row and no instance."
        for row in connection.execute(
            select(file.c.name)
            .outerjoin(instance, instance.c.file_id == file.c.id)
            .where(instance.c.id.is_(None), file.c.folder_id.is_(None), file.c.problem.is_(None))
        )
    ]
    return found + _wrong_totals(connection)


def _wrong_studies() -> Select[str, int, int, int, int]:
    below = (
        select(
            series.c.study_id,
            func.count(series.c.id.distinct()).label("series"),
            func.count(instance.c.id).label("instances"),
        )
        .outerjoin(instance, instance.c.series_id == series.c.id)
        .group_by(series.c.study_id)
        .subquery()
    )
    real_series: ColumnElement[int] = func.coalesce(below.c.series, 0)
    real: ColumnElement[int] = func.coalesce(below.c.instances, 0)
    return (
        select(
            study.c.study_instance_uid,
            study.c.number_of_series,
            study.c.number_of_instances,
            real_series.label("real_series"),
            real.label("real"),
        )
        .outerjoin(below, below.c.study_id == study.c.id)
        .where(or_(study.c.number_of_series != real_series, study.c.number_of_instances != real, real == 0))
    )


def _wrong_series() -> Select[str, int, int]:
    count = func.count(instance.c.id)
    return (
        select(series.c.series_instance_uid, series.c.number_of_instances, count.label("real"))
        .outerjoin(instance, instance.c.series_id == series.c.id)
        .group_by(series.c.id, series.c.series_instance_uid, series.c.number_of_instances)
        .having(or_(series.c.number_of_instances != count, count == 0))
    )


def _wrong_totals(connection: Connection) -> list[str]:
    size = select(func.coalesce(func.sum(file.c.size), 0)).join(instance, instance.c.file_id == file.c.id)
    real = {
        "studies": select(func.count()).select_from(study),
        "series": select(func.count()).select_from(series),
        "instances": select(func.count()).select_from(instance),
        "bytes": size,
    }
    # One statement, so that all numbers are of one moment.
    counts = [count.scalar_subquery().label(f"real_{name}") for name, count in real.items()]
    row = connection.execute(select(*(holding.c[name] for name in real), *counts)).mappings().one()
    return [
        f"The catalogue counts {row[name]} {name} in all, but has {row[f'real_{name}']}."
        for name in real
        if row[name] != row[f"real_{name}"]
    ]
