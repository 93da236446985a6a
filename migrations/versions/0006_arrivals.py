"""What was taken in and answered, and waits to be registered with others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")
Id = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade():
    op.create_table(
        "arrival",
        sa.Column("id", Id, nullable=False),
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("said", sa.LargeBinary(), nullable=False),
        sa.Column("study_attributes", sa.LargeBinary(), nullable=False),
        sa.Column("series_attributes", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.LargeBinary(), nullable=True),
        sa.Column("frames", sa.LargeBinary(), nullable=False),
        sa.Column("bulk", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrival")),
    )


def downgrade():
    arrival = sa.table("arrival", sa.column("id", Id))
    if op.get_bind().execute(sa.select(arrival.c.id).limit(1)).first():
        raise RuntimeError("Instances that arrived wait to be registered. Run: dermzoo verify")
    op.drop_table("arrival")
