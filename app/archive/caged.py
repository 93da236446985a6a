"""What runs in the cage. The codecs are imported there alone: they take more memory than a whole server."""

from collections.abc import Sequence

from app.dicom.dicom_file import DicomFile
from app.dicom.parts import BulkPart, Composed, Elsewhere, MetadataPart, Picture
from app.dicom.rendering_options import Rendering


def transcode(file: DicomFile, transfer_syntax_uid: str, target_path: str) -> int:
    """Write an instance in another transfer syntax; see dicom/transcoding.py."""
    from app.dicom import transcoding

    return transcoding.transcode(file, transfer_syntax_uid, target_path)


def transcode_frames(
    file: DicomFile, numbers: Sequence[int], transfer_syntax_uid: str, target_path: str
) -> list[int]:
    """Write frames in another transfer syntax; see dicom/transcoding.py."""
    from app.dicom import transcoding

    return transcoding.transcode_frames(file, numbers, transfer_syntax_uid, target_path)


def render(file: DicomFile, numbers: Sequence[int], rendering: Rendering) -> bytes:
    """Make a picture of frames; see dicom/rendering.py."""
    from app.dicom import rendering as pictures

    return pictures.render(file, numbers, rendering)


def thumbnail(file: DicomFile, number: int, width: int, height: int, media_type: str) -> bytes:
    """Make a thumbnail; see dicom/rendering.py."""
    from app.dicom import rendering as pictures

    return pictures.thumbnail(file, number, width, height, media_type)


def placeholder(label: str, width: int, height: int, media_type: str) -> bytes:
    """Make the picture that stands for what has none; see dicom/rendering.py."""
    from app.dicom import rendering as pictures

    return pictures.placeholder(label, width, height, media_type)


def render_presented(
    state: DicomFile, image: DicomFile, sop_instance_uid: str, number: int, rendering: Rendering
) -> bytes:
    """Return a frame as a presentation state has it; see dicom/presented.py."""
    from app.dicom import presented

    return presented.render_presented(state, image, sop_instance_uid, number, rendering)


def report_text(file: DicomFile, media_type: str) -> bytes:
    """Return a structured report as text; see dicom/report_text.py."""
    from app.dicom.report_text import report_text as text_of

    return text_of(file, media_type)


def read_picture(path: str, place: Elsewhere, media_type: str, target_path: str) -> Picture:
    """Look into a picture that came as bulk data; see dicom/consumer_media.py."""
    from app.dicom import consumer_media

    return consumer_media.read_picture(path, place.offset, place.length, media_type, target_path)


def compose(
    path: str, documents: Sequence[MetadataPart], parts: Sequence[BulkPart], target_path: str
) -> list[Composed]:
    """Compose files of metadata and bulk data; see dicom/composing.py."""
    from app.dicom import composing

    return composing.compose(path, documents, parts, target_path)


def fingerprint(file: DicomFile) -> tuple[bytes, bytes]:
    """Return what the pixels of an image look like; see dicom/fingerprint.py."""
    from app.dicom import fingerprint as looking

    return looking.fingerprint(file)


def enrich(file: DicomFile, shown: bytes, target_path: str) -> int:
    """Write a copy of a file with more attributes; see dicom/enriching.py."""
    from app.dicom import enriching

    return enriching.enrich(file, shown, target_path)
