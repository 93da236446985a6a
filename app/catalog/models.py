"""The tables. Columns of searchable attributes come from the one table in attributes.py."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from app.catalog.attributes import ATTRIBUTES
from app.dicom.matching import Level

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# PostgreSQL: compared byte by byte, as SQLite does, so that ranges and prefixes use the index.
DicomText = String().with_variant(String(collation="C"), "postgresql")
Id = Integer().with_variant(BigInteger(), "postgresql")


def _attribute_columns(level: Level) -> list[Column[int] | Column[str]]:
    return [
        Column(
            a.column, Id, nullable=a.source == "column", server_default=None if a.source == "column" else "0"
        )
        if a.is_integer
        else Column(a.column, DicomText, nullable=a.vr != "UI")
        for a in ATTRIBUTES
        if a.level == level and a.source in {"column", "count"}
    ]


# A folder that is indexed in place; its files are never moved or changed.
folder = Table(
    "folder",
    metadata,
    Column("id", Id, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
)

# Where the bytes are: in a folder under `name`, or managed (folder_id null) under the key `name`.
# A file that was refused keeps its row and the `problem`, so that a later run need not read it again.
file = Table(
    "file",
    metadata,
    Column("id", Id, primary_key=True),
    Column("folder_id", ForeignKey("folder.id", ondelete="CASCADE")),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32)),
    Column("problem", Text),
    UniqueConstraint("folder_id", "name"),
)

# `answer` is the ready QIDO-RS result with the required attributes and counts, DICOM JSON with the byte 0x01
# for the service root (dicom/scan.py); `attributes` is all that is known at the level.
study = Table(
    "study",
    metadata,
    Column("id", Id, primary_key=True),
    *_attribute_columns(Level.STUDY),
    Column("answer", LargeBinary, nullable=False),
    Column("attributes", LargeBinary, nullable=False),
    UniqueConstraint("study_instance_uid"),
)

series = Table(
    "series",
    metadata,
    Column("id", Id, primary_key=True),
    Column("study_id", ForeignKey("study.id", ondelete="CASCADE"), nullable=False),
    *_attribute_columns(Level.SERIES),
    Column("answer", LargeBinary, nullable=False),
    Column("attributes", LargeBinary, nullable=False),
    UniqueConstraint("study_id", "series_instance_uid"),
    Index(None, "series_instance_uid"),
    Index(None, "modality", "study_id"),
)

# `frames` and `bulk` hold offsets and lengths in the file (dicom/frames.py); `prefix` is what must be sent
# before the file, from `offset` on, to make it a Part 10 file; `data_set` is where its data set begins, null
# for an instance that was registered before this was noted. `terms_id`: on which terms it is published; where
# `is_bound`, its pixels are served on complete terms alone.
instance = Table(
    "instance",
    metadata,
    Column("id", Id, primary_key=True),
    Column("series_id", ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("file_id", ForeignKey("file.id"), nullable=False),
    *_attribute_columns(Level.INSTANCE),
    Column("prefix", LargeBinary),
    Column("offset", Integer, nullable=False),
    Column("data_set", Integer),
    Column("terms_id", Id),
    Column("is_bound", Integer, nullable=False, server_default="0"),
    Column("frames", LargeBinary, nullable=False),
    Column("bulk", LargeBinary, nullable=False),
    UniqueConstraint("sop_instance_uid"),
    Index(None, "series_id", "id"),
    Index(None, "file_id"),
)

# What was taken in and answered, and waits to be registered (arrivals.py): the entry of a managed file under
# the key `name`; `said` is what of it is no bytes, JSON.
arrival = Table(
    "arrival",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sop_instance_uid", DicomText, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("said", LargeBinary, nullable=False),
    Column("study_attributes", LargeBinary, nullable=False),
    Column("series_attributes", LargeBinary, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("prefix", LargeBinary),
    Column("frames", LargeBinary, nullable=False),
    Column("bulk", LargeBinary, nullable=False),
)

# The words of the person names of a study and how they sound (dicom/person_names.py), for fuzzy matching;
# `attribute` is the number of the tag.
name_term = Table(
    "name_term",
    metadata,
    Column("attribute", Integer, primary_key=True, autoincrement=False),
    Column("term", DicomText, primary_key=True),
    Column("study_id", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Index(None, "study_id"),
    sqlite_with_rowid=False,
)

# The DICOM JSON of an instance, packed (documents.py); apart, so that searches read narrow rows.
document = Table(
    "document",
    metadata,
    Column("instance_id", ForeignKey("instance.id", ondelete="CASCADE"), primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)

# One row. `generation` grows with every change, and tells remembered pages from stale ones.
holding = Table(
    "holding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("studies", BigInteger, nullable=False, server_default="0"),
    Column("series", BigInteger, nullable=False, server_default="0"),
    Column("instances", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("generation", BigInteger, nullable=False, server_default="0"),
)

# What happened, in the order of commits: writers take turns, and each numbers its rows from the last one on.
change = Table(
    "change",
    metadata,
    Column("sequence", Id, primary_key=True, autoincrement=False),
    Column("action", String(9), nullable=False),
    Column("time", String(32), nullable=False),
    Column("study_instance_uid", DicomText, nullable=False),
    Column("series_instance_uid", DicomText, nullable=False),
    Column("sop_instance_uid", DicomText, nullable=False),
    Column("sha256", LargeBinary(32)),
)

# An instance that was held and withdrawn: it stays away until somebody restores it.
tombstone = Table(
    "tombstone",
    metadata,
    Column("sop_instance_uid", DicomText, primary_key=True),
    Column("series_instance_uid", DicomText, nullable=False),
    Column("study_instance_uid", DicomText, nullable=False),
    Column("sha256", LargeBinary(32)),
    Column("reason", Text, nullable=False),
    Column("withdrawn_at", String(32), nullable=False),
    Column("withdrawn_by", Text, nullable=False),
    Index(None, "study_instance_uid", "series_instance_uid"),
)

# A request for storage commitment and, once the files were looked at, its result; both JSON.
commitment = Table(
    "commitment",
    metadata,
    Column("transaction_uid", DicomText, primary_key=True),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", String(32), nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("completed_at", String(32)),
)

# The report of a commitment that its requestor is to be sent, and has not answered; `due` sorts as a text,
# and is moved ahead by whoever claims the report (reports.py).
report = Table(
    "report",
    metadata,
    Column("transaction_uid", ForeignKey("commitment.transaction_uid", ondelete="CASCADE"), primary_key=True),
    Column("ae_title", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", String(32), nullable=False),
    Index(None, "due"),
)

# A bearer token; only the hash of its secret is kept.
token = Table(
    "token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("revoked_at", String(32)),
)

for _attribute in ATTRIBUTES:
    # The UIDs and Modality have theirs above, and facts their own table.
    if (
        _attribute.indexed
        and _attribute.source != "fact"
        and _attribute.vr != "UI"
        and _attribute.column != "modality"
    ):
        _table = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}[_attribute.level]
        Index(None, _table.c[_attribute.column], _table.c.id)
