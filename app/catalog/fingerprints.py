"""Fingerprints of images: which instances have none yet, and which are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from app.catalog.corpus_models import fact, fingerprint
from app.catalog.holdings import Reference
from app.catalog.models import file, folder, instance, series, study
from app.catalog.prepared import insert_rows
from app.dicom import private_block
from app.dicom.private_block import tag_of_element

_ISIC_ID, _PATIENT_ID, _LESION_ID = (
    int(tag_of_element(number), 16)
    for number in (private_block.ISIC_ID, private_block.PATIENT_ID, private_block.LESION_ID)
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the pixels of a file look like, or the `problem` that kept them from being looked at."""

    sha256: bytes
    pixels_sha256: bytes | None
    perceptual: bytes | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Pictured:
    """An instance with pixels: who it is of, and what it looks like if that is known."""

    instance_id: int
    sop_instance_uid: str
    isic_id: str | None
    patient_id: str | None
    lesion_id: str | None
    pixels_sha256: bytes | None
    perceptual: bytes | None
    is_looked_at: bool

    @property
    def name(self) -> str:
        """What people call it."""
        return self.isic_id or self.sop_instance_uid


_WITHOUT = (
    select(
        study.c.study_instance_uid, series.c.series_instance_uid, instance.c.sop_instance_uid, instance.c.id
    )
    .select_from(instance)
    .join(series, instance.c.series_id == series.c.id)
    .join(study, series.c.study_id == study.c.id)
    .join(file, instance.c.file_id == file.c.id)
    .outerjoin(fingerprint, fingerprint.c.sha256 == file.c.sha256)
    .where(fingerprint.c.sha256.is_(None), instance.c.frames != b"")
)


def count_without(connection: Connection) -> int:
    """Return how many images have no fingerprint."""
    return connection.execute(select(func.count()).select_from(_WITHOUT.subquery())).scalar_one()


def without_fingerprint(connection: Connection, after: int, limit: int) -> list[tuple[int, Reference]]:
    """Return the first images without a fingerprint after this row, with the numbers of their rows."""
    page = _WITHOUT.where(instance.c.id > after).order_by(instance.c.id).limit(limit)
    return [(row.id, Reference(*row[:3])) for row in connection.execute(page)]


def add_fingerprints(connection: Connection, found: Sequence[Fingerprint]) -> None:
    """Keep fingerprints, within the caller's transaction."""
    known = set(
        connection.execute(
            select(fingerprint.c.sha256).where(fingerprint.c.sha256.in_([one.sha256 for one in found]))
        ).scalars()
    )
    names = Fingerprint.__slots__
    fresh = {one.sha256: one for one in found if one.sha256 not in known}
    insert_rows(
        connection, fingerprint, [{name: getattr(one, name) for name in names} for one in fresh.values()]
    )


def stood_back(connection: Connection, beginning: str) -> list[tuple[str, str]]:
    """Return the files whose problem begins so, with the SOP Instance UID that has the same bytes."""
    holder = file.alias("holder")
    rows = connection.execute(
        select(folder.c.path, file.c.name, instance.c.sop_instance_uid)
        .select_from(file)
        .join(folder, file.c.folder_id == folder.c.id)
        .join(holder, holder.c.sha256 == file.c.sha256)
        .join(instance, instance.c.file_id == holder.c.id)
        .where(file.c.problem.startswith(beginning, autoescape=True))
        .order_by(folder.c.path, file.c.name)
    )
    return [(f"{row.path}/{row.name}", row.sop_instance_uid) for row in rows]


def pictured(connection: Connection) -> list[Pictured]:
    """Return every instance that has pixels, in the order of registration."""
    isic, patient, lesion = (fact.alias(name) for name in ("isic", "patient", "lesion"))
    statement = (
        select(
            instance.c.id,
            instance.c.sop_instance_uid,
            isic.c.value,
            patient.c.value,
            lesion.c.value,
            fingerprint.c.pixels_sha256,
            fingerprint.c.perceptual,
            fingerprint.c.sha256.is_not(None),
        )
        .select_from(instance)
        .join(file, instance.c.file_id == file.c.id)
        .outerjoin(fingerprint, fingerprint.c.sha256 == file.c.sha256)
        .where(instance.c.frames != b"")
        .order_by(instance.c.id)
    )
    for rows, attribute in ((isic, _ISIC_ID), (patient, _PATIENT_ID), (lesion, _LESION_ID)):
        of_instance = and_(rows.c.instance_id == instance.c.id, rows.c.attribute == attribute)
        statement = statement.outerjoin(rows, of_instance)
    return [Pictured(*row) for row in connection.execute(statement)]
