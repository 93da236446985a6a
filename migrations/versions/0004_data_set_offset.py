"""Where the data set of a file begins: what the DICOM network sends of it, from there to the end."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("instance", sa.Column("data_set", sa.Integer()))


def downgrade():
    op.drop_column("instance", "data_set")
