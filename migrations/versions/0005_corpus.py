"""The dermatology corpus: facts, terms, images, what is shown beside the file, collections, fingerprints."""

import sqlalchemy as sa
from alembic import op

from app.catalog.documents import parse, unpack
from app.catalog.facts import add_facts
from app.dicom.private_block import facts_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")
Id = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

DOCUMENTS_AT_ONCE = 1000


def upgrade():
    op.create_table(
        "terms",
        sa.Column("id", Id, nullable=False),
        sa.Column("licence_id", DicomText, nullable=True),
        sa.Column("attribution", DicomText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms")),
    )
    _index("terms", "licence_id", "attribution")
    op.create_table(
        "fact",
        sa.Column("attribute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", DicomText, nullable=False),
        sa.Column("instance_id", Id, nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_fact_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attribute", "value", "instance_id", name=op.f("pk_fact")),
        sqlite_with_rowid=False,
    )
    _index("fact", "instance_id", "attribute")
    op.create_table(
        "overlay",
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("shown", sa.LargeBinary(), nullable=False),
        sa.Column("replaced", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_overlay")),
    )
    op.create_table(
        "image",
        sa.Column("isic_id", DicomText, nullable=False),
        sa.Column("sop_instance_uid", DicomText, nullable=True),
        sa.Column("is_public", sa.Integer(), nullable=False),
        sa.Column("public_from", sa.String(length=10), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("known", sa.LargeBinary(), nullable=False),
        sa.Column("published", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("isic_id", name=op.f("pk_image")),
    )
    _index("image", "sop_instance_uid")
    _index("image", "is_public", "isic_id")
    _create_collections()
    op.create_table(
        "fingerprint",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pixels_sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("perceptual", sa.LargeBinary(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_fingerprint")),
    )
    _index("fingerprint", "pixels_sha256")
    op.add_column("instance", sa.Column("terms_id", Id, nullable=True))
    op.add_column("instance", sa.Column("is_bound", sa.Integer(), server_default="0", nullable=False))
    _fill(op.get_bind())


def _create_collections():
    op.create_table(
        "collection",
        sa.Column("id", Id, nullable=False),
        sa.Column("slug", DicomText, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("parent_id", Id, nullable=True),
        sa.Column("is_public", sa.Integer(), nullable=False),
        sa.Column("is_pinned", sa.Integer(), nullable=False),
        sa.Column("is_locked", sa.Integer(), nullable=False),
        sa.Column("requires_licence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
        sa.UniqueConstraint("slug", name=op.f("uq_collection_slug")),
    )
    _index("collection", "parent_id")
    op.create_table(
        "member",
        sa.Column("collection_id", Id, nullable=False),
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("study_id", Id, nullable=True),
        sa.Column("series_id", Id, nullable=True),
        sa.Column("instance_id", Id, nullable=True),
        sa.Column("is_own", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name=op.f("fk_member_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_member_instance_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("collection_id", "sop_instance_uid", name=op.f("pk_member")),
    )
    _index("member", "collection_id", "study_id", "series_id", "instance_id")
    _index("member", "collection_id", "series_id", "instance_id")
    _index("member", "collection_id", "instance_id")
    _index("member", "instance_id")
    _index("member", "sop_instance_uid")


def _index(table, *columns):
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, [*columns], unique=False)


def _fill(connection):
    documents = sa.table("document", sa.column("instance_id", Id), sa.column("packed", sa.LargeBinary))
    statement = (
        sa.select(documents.c.instance_id, documents.c.packed)
        .order_by(documents.c.instance_id)
        .limit(DOCUMENTS_AT_ONCE)
    )
    last = 0
    while held := connection.execute(statement.where(documents.c.instance_id > last)).all():
        found = [(instance_id, facts_of(parse(unpack(packed)))) for instance_id, packed in held]
        add_facts(connection, [each for each in found if each[1]])
        last = held[-1].instance_id


def downgrade():
    op.drop_column("instance", "is_bound")
    op.drop_column("instance", "terms_id")
    for table in ("fingerprint", "member", "collection", "image", "overlay", "fact", "terms"):
        op.drop_table(table)
