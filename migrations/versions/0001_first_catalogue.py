"""The first catalogue: folders, files, studies, series, instances, their documents, and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DicomText = sa.String().with_variant(sa.String(collation="C"), "postgresql")
Id = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade():
    op.create_table(
        "folder",
        sa.Column("id", Id, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folder")),
        sa.UniqueConstraint("path", name=op.f("uq_folder_path")),
    )
    op.create_table(
        "holding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("studies", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("series", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("instances", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holding")),
    )
    op.create_table(
        "study",
        sa.Column("id", Id, nullable=False),
        sa.Column("study_date", DicomText, nullable=True),
        sa.Column("study_time", DicomText, nullable=True),
        sa.Column("accession_number", DicomText, nullable=True),
        sa.Column("referring_physician_name", DicomText, nullable=True),
        sa.Column("study_description", DicomText, nullable=True),
        sa.Column("patient_name", DicomText, nullable=True),
        sa.Column("patient_id", DicomText, nullable=True),
        sa.Column("patient_birth_date", DicomText, nullable=True),
        sa.Column("patient_sex", DicomText, nullable=True),
        sa.Column("study_instance_uid", DicomText, nullable=False),
        sa.Column("study_id", DicomText, nullable=True),
        sa.Column("number_of_series", Id, server_default="0", nullable=False),
        sa.Column("number_of_instances", Id, server_default="0", nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("attributes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_study_instance_uid")),
    )
    op.create_index(op.f("ix_study_accession_number_id"), "study", ["accession_number", "id"], unique=False)
    op.create_index(op.f("ix_study_patient_id_id"), "study", ["patient_id", "id"], unique=False)
    op.create_index(op.f("ix_study_patient_name_id"), "study", ["patient_name", "id"], unique=False)
    op.create_index(op.f("ix_study_study_date_id"), "study", ["study_date", "id"], unique=False)
    op.create_table(
        "token",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("revoked_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
    )
    op.create_table(
        "file",
        sa.Column("id", Id, nullable=False),
        sa.Column("folder_id", Id, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folder.id"], name=op.f("fk_file_folder_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("folder_id", "name", name=op.f("uq_file_folder_id_name")),
    )
    op.create_table(
        "series",
        sa.Column("id", Id, nullable=False),
        sa.Column("study_id", Id, nullable=False),
        sa.Column("series_date", DicomText, nullable=True),
        sa.Column("series_time", DicomText, nullable=True),
        sa.Column("modality", DicomText, nullable=True),
        sa.Column("series_description", DicomText, nullable=True),
        sa.Column("series_instance_uid", DicomText, nullable=False),
        sa.Column("series_number", Id, nullable=True),
        sa.Column("body_part_examined", DicomText, nullable=True),
        sa.Column("procedure_step_start_date", DicomText, nullable=True),
        sa.Column("procedure_step_start_time", DicomText, nullable=True),
        sa.Column("scheduled_procedure_step_id", DicomText, nullable=True),
        sa.Column("requested_procedure_id", DicomText, nullable=True),
        sa.Column("number_of_instances", Id, server_default="0", nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("attributes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_series_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "study_id", "series_instance_uid", name=op.f("uq_series_study_id_series_instance_uid")
        ),
    )
    op.create_index(op.f("ix_series_modality_study_id"), "series", ["modality", "study_id"], unique=False)
    op.create_index(op.f("ix_series_series_instance_uid"), "series", ["series_instance_uid"], unique=False)
    op.create_table(
        "instance",
        sa.Column("id", Id, nullable=False),
        sa.Column("series_id", Id, nullable=False),
        sa.Column("file_id", Id, nullable=False),
        sa.Column("sop_class_uid", DicomText, nullable=False),
        sa.Column("sop_instance_uid", DicomText, nullable=False),
        sa.Column("transfer_syntax_uid", DicomText, nullable=False),
        sa.Column("instance_number", Id, nullable=True),
        sa.Column("samples_per_pixel", Id, nullable=True),
        sa.Column("photometric_interpretation", DicomText, nullable=True),
        sa.Column("number_of_frames", Id, nullable=True),
        sa.Column("rows", Id, nullable=True),
        sa.Column("columns", Id, nullable=True),
        sa.Column("bits_allocated", Id, nullable=True),
        sa.Column("prefix", sa.LargeBinary(), nullable=True),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("frames", sa.LargeBinary(), nullable=False),
        sa.Column("bulk", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_instance_file_id")),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_instance_series_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_instance_sop_instance_uid")),
    )
    op.create_index(op.f("ix_instance_file_id"), "instance", ["file_id"], unique=False)
    op.create_index(op.f("ix_instance_series_id_id"), "instance", ["series_id", "id"], unique=False)
    op.create_table(
        "document",
        sa.Column("instance_id", Id, nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_document_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_document")),
    )
    op.execute("insert into holding (id) values (1)")


def downgrade():
    op.drop_table("document")
    op.drop_index(op.f("ix_instance_series_id_id"), table_name="instance")
    op.drop_index(op.f("ix_instance_file_id"), table_name="instance")
    op.drop_table("instance")
    op.drop_index(op.f("ix_series_series_instance_uid"), table_name="series")
    op.drop_index(op.f("ix_series_modality_study_id"), table_name="series")
    op.drop_table("series")
    op.drop_table("file")
    op.drop_table("token")
    op.drop_index(op.f("ix_study_study_date_id"), table_name="study")
    op.drop_index(op.f("ix_study_patient_name_id"), table_name="study")
    op.drop_index(op.f("ix_study_patient_id_id"), table_name="study")
    op.drop_index(op.f("ix_study_accession_number_id"), table_name="study")
    op.drop_table("study")
    op.drop_table("holding")
    op.drop_table("folder")
