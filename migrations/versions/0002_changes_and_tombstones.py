"""Changes that others follow, tombstones of what was withdrawn, and storage commitments."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")
Id = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

# Whoever reads the changes from the first on learns of everything that was held before there were any.
_HELD_ALREADY = """
insert into change
    (sequence, action, time, study_instance_uid, series_instance_uid, sop_instance_uid, sha256)
select row_number() over (order by instance.id), 'created', :now, study.study_instance_uid,
    series.series_instance_uid, instance.sop_instance_uid, file.sha256
from instance
join series on series.id = instance.series_id
join study on study.id = series.study_id
join file on file.id = instance.file_id
"""


def upgrade():
    op.create_table(
        "change",
        sa.Column("sequence", Id, autoincrement=False, nullable=False),
        sa.Column("action", sa.String(length=9), nullable=False),
        sa.Column("time", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", DicomText, nullable=False),
        sa.Column("series_instance_uid", DicomText, nullable=False),
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_change")),
    )
    op.create_table(
        "tombstone",
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("series_instance_uid", DicomText, nullable=False),
        sa.Column("study_instance_uid", DicomText, nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.String(length=32), nullable=False),
        sa.Column("withdrawn_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_tombstone")),
    )
    op.create_index(
        op.f("ix_tombstone_study_instance_uid_series_instance_uid"),
        "tombstone",
        ["study_instance_uid", "series_instance_uid"],
        unique=False,
    )
    op.create_table(
        "commitment",
        sa.Column("transaction_uid", DicomText, nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.String(length=32), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("completed_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitment")),
    )
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    op.get_bind().execute(sa.text(_HELD_ALREADY), {"now": now})


def downgrade():
    op.drop_table("commitment")
    op.drop_index(op.f("ix_tombstone_study_instance_uid_series_instance_uid"), table_name="tombstone")
    op.drop_table("tombstone")
    op.drop_table("change")
