"""The words and sounds of person names, for fuzzy matching; filled for the studies that are held."""

import sqlalchemy as sa
from alembic import op

from app.catalog.documents import parse
from app.catalog.names import name_rows

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")
Id = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

STUDIES_AT_ONCE = 1000


def upgrade():
    table = op.create_table(
        "name_term",
        sa.Column("attribute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", DicomText, nullable=False),
        sa.Column("study_id", Id, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_name_term_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attribute", "term", "study_id", name=op.f("pk_name_term")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_name_term_study_id"), "name_term", ["study_id"], unique=False)
    _fill(op.get_bind(), table)


def _fill(connection, table):
    studies = sa.table("study", sa.column("id", Id), sa.column("attributes", sa.LargeBinary))
    last = 0
    statement = sa.select(studies.c.id, studies.c.attributes).order_by(studies.c.id).limit(STUDIES_AT_ONCE)
    while held := connection.execute(statement.where(studies.c.id > last)).all():
        rows = [row for study_id, attributes in held for row in name_rows(study_id, parse(attributes))]
        if rows:
            connection.execute(table.insert(), rows)
        last = held[-1].id


def downgrade():
    op.drop_index(op.f("ix_name_term_study_id"), table_name="name_term")
    op.drop_table("name_term")
