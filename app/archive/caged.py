"""What runs in the cage. The codecs are imported there alone: they take more memory than a whole server."""

from collections.abc import Sequence

from app.dicom.dicom_file import DicomFile


def transcode(file: DicomFile, transfer_syntax_uid: str, target_path: str) -> int:
    """Write an instance in another transfer syntax; see dicom/transcoding.py."""
    from app.dicom import transcoding  # noqa: PLC0415 see above

    return transcoding.transcode(file, transfer_syntax_uid, target_path)


def transcode_frames(
    file: DicomFile, numbers: Sequence[int], transfer_syntax_uid: str, target_path: str
) -> list[int]:
    """Write frames in another transfer syntax; see dicom/transcoding.py."""
    from app.dicom import transcoding  # noqa: PLC0415 see above

    return transcoding.transcode_frames(file, numbers, transfer_syntax_uid, target_path)
