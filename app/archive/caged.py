"""What runs in the cage. The codecs are imported there alone: they take more memory than a whole server."""

from collections.abc import Sequence

from app.dicom.dicom_file import DicomFile


def explicit_vr_little_endian(file: DicomFile, target_path: str) -> int:
    """Write an instance with native pixels; see dicom/transcoding.py."""
    from app.dicom import transcoding  # noqa: PLC0415 see above

    return transcoding.explicit_vr_little_endian(file, target_path)


def decode_frames(file: DicomFile, numbers: Sequence[int], target_path: str) -> list[int]:
    """Write decoded frames; see dicom/transcoding.py."""
    from app.dicom import transcoding  # noqa: PLC0415 see above

    return transcoding.decode_frames(file, numbers, target_path)
