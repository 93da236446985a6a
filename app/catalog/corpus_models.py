"""The tables of the corpus: facts, terms, images, what is shown beside the file, collections."""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from app.catalog.models import DicomText, Id, metadata

# On which terms instances are published: a licence, and who must be named; either may be unknown.
terms = Table(
    "terms",
    metadata,
    Column("id", Id, primary_key=True),
    Column("licence_id", DicomText),
    Column("attribution", DicomText),
    Index(None, "licence_id", "attribution"),
)

# The values of the private block of an instance (dicom/private_block.py) that are searched for; `attribute`
# is the number of the tag.
fact = Table(
    "fact",
    metadata,
    Column("attribute", Integer, primary_key=True, autoincrement=False),
    Column("value", DicomText, primary_key=True),
    Column("instance_id", ForeignKey("instance.id", ondelete="CASCADE"), primary_key=True),
    Index(None, "instance_id", "attribute"),
    sqlite_with_rowid=False,
)

# What is shown of an instance beside what its file says, and what the file says there; DICOM JSON, packed. By
# UID, so that it outlives the file's place and its row.
overlay = Table(
    "overlay",
    metadata,
    Column("sop_instance_uid", DicomText, primary_key=True),
    Column("shown", LargeBinary, nullable=False),
    Column("replaced", LargeBinary),
)

# An image of the corpus as its metadata tell of it: `known` are its fields in canonical form, `published` its
# row as it came; JSON, packed. While it `is_public` not, nobody is shown an instance of it; `public_from` is
# the day (ISO 8601) on which that ends, null if it does not.
image = Table(
    "image",
    metadata,
    Column("isic_id", DicomText, primary_key=True),
    Column("sop_instance_uid", DicomText),
    Column("is_public", Integer, nullable=False),
    Column("public_from", String(10)),
    Column("source", Text, nullable=False),
    Column("known", LargeBinary, nullable=False),
    Column("published", LargeBinary, nullable=False),
    Index(None, "sop_instance_uid"),
    Index(None, "is_public", "isic_id"),
)

# A named selection of instances; `parent_id` is the collection that it is a part of.
collection = Table(
    "collection",
    metadata,
    Column("id", Id, primary_key=True),
    Column("slug", DicomText, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("parent_id", Id),
    Column("is_public", Integer, nullable=False),
    Column("is_pinned", Integer, nullable=False),
    Column("is_locked", Integer, nullable=False),
    Column("requires_licence", Integer, nullable=False),
    Column("created_at", String(32), nullable=False),
    Index(None, "parent_id"),
)

# A member by UID, so that it stays one while its file moves; the numbers are those of its rows, and where
# `instance_id` is null it is not held. A collection has the members of its parts too, which are not its own.
member = Table(
    "member",
    metadata,
    Column("collection_id", ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", DicomText, primary_key=True),
    Column("study_id", Id),
    Column("series_id", Id),
    Column("instance_id", ForeignKey("instance.id", ondelete="SET NULL")),
    Column("is_own", Integer, nullable=False),
    # One for each level: what is found lies in its order, and is counted, in the index alone.
    Index(None, "collection_id", "study_id", "series_id", "instance_id"),
    Index(None, "collection_id", "series_id", "instance_id"),
    Index(None, "collection_id", "instance_id"),
    Index(None, "instance_id"),
    Index(None, "sop_instance_uid"),
)

# What the pixels of an instance look like, to find others alike: SHA-256 of the decoded samples, and a
# perceptual hash; by the SHA-256 of the file, so that it is computed once.
fingerprint = Table(
    "fingerprint",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("pixels_sha256", LargeBinary(32)),
    Column("perceptual", LargeBinary),
    Column("problem", Text),
    Index(None, "pixels_sha256"),
)
