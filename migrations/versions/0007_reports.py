"""Reports of storage commitment that are still to be delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade():
    op.create_table(
        "report",
        sa.Column("transaction_uid", DicomText, nullable=False),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_uid"],
            ["commitment.transaction_uid"],
            name=op.f("fk_report_transaction_uid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_report")),
    )
    op.create_index(op.f("ix_report_due"), "report", ["due"], unique=False)


def downgrade():
    op.drop_table("report")
