"""What is shown of an instance, and how it is made: pictures, films, texts (PS3.18 10.4.1.1.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.archive.archive import Archive
from app.archive.caged import render_presented, report_text
from app.archive.presentation_states import presented_images
from app.archive.render import is_rendered_as_stored, rendered_animation, rendered_frame
from app.archive.retrieve import file_of, image_of, open_file, open_stored
from app.catalog.holdings import Held
from app.dicom.frames import Segment, bulk_segment, count_frames, frame_segments
from app.dicom.rendered_kinds import RENDERED_TYPES, Kind, kind_of
from app.dicom.rendering_options import GIF, Rendering
from app.errors import NotConvertible
from app.storage.interface import StoredFile

_ENCAPSULATED_DOCUMENT = "00420011"
_PDF_START = b"%PDF-"
_MPEG_STARTS = (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x47")  # program, elementary and transport stream
_MP4_BOX = b"ftyp"
_START_BYTES = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """Frames (from 1) of an instance, perhaps as a presentation state has them; or its text."""

    held: Held
    kind: Kind
    numbers: tuple[int, ...] = (1,)
    state: Held | None = None


def held_kind(held: Held) -> Kind:
    """Return what an instance is to a viewer."""
    return kind_of(held.sop_class_uid, held.transfer_syntax_uid, has_frames=bool(held.frames))


def shown_of(archive: Archive, held: Held) -> tuple[list[Shown], int]:
    """Return what there is to show of an instance, and how much is missing; NotFound when that is all."""
    kind = held_kind(held)
    if kind != "presentation":
        return [Shown(held, kind)], 0
    found, named = presented_images(archive, held)
    return [Shown(one.image, kind, (one.number,), held) for one in found], named - len(found)


def media_types_of(archive: Archive, held: Held) -> tuple[str, ...]:
    """Return the media types in which an instance can be rendered, the default first; none if it cannot be.

    Films and documents are sent as they are: how they begin decides, not what the data set calls them.
    """
    kind = held_kind(held)
    if kind == "video":
        start = _start(archive, held, frame_segments(held.frames, 1)[0])
        if start[4:8] == _MP4_BOX:
            return ("video/mp4",)
        return ("video/mpeg",) if start.startswith(_MPEG_STARTS) else ()
    if kind in {"pdf", "cda"}:
        place = bulk_segment(held.bulk, _ENCAPSULATED_DOCUMENT)
        if place is None or (kind == "pdf" and not _start(archive, held, place).startswith(_PDF_START)):
            return ()
    return RENDERED_TYPES[kind]


def all_frames(shown: Shown, media_type: str) -> Shown:
    """Return all frames of an image where the media type can show them one after another, else the first."""
    if shown.kind == "image" and media_type == GIF:
        return Shown(shown.held, shown.kind, tuple(range(1, count_frames(shown.held.frames) + 1)))
    return shown


def stored_content(
    archive: Archive, shown: Shown, rendering: Rendering
) -> tuple[StoredFile, Sequence[Segment]] | None:
    """Open what can be sent as it lies in the file: photograph, film, encapsulated document; else None."""
    held = shown.held
    if shown.kind == "video" or (shown.kind == "image" and is_rendered_as_stored(held, rendering)):
        segments: Sequence[Segment] = frame_segments(held.frames, shown.numbers[0])
        return open_stored(archive, held), segments
    if shown.kind not in {"pdf", "cda"}:
        return None
    place = bulk_segment(held.bulk, _ENCAPSULATED_DOCUMENT)
    if place is None:
        raise NotConvertible("The encapsulated document is no range of the file; retrieve the instance.")
    opened = open_stored(archive, held)
    # The byte that makes the length even (PS3.5 8.2) is left out: XML must not end in it.
    is_padded = place.length > 0 and opened.read(place.offset + place.length - 1, 1) == b"\0"
    return opened, (Segment(place.offset, place.length - is_padded),)


def made(archive: Archive, shown: Shown, rendering: Rendering) -> bytes:
    """Make a picture or a text in the cage; blocks. Errors as of rendered_frame."""
    if shown.state is not None:
        (number,) = shown.numbers
        state, image = file_of(archive, shown.state), file_of(archive, shown.held)
        return archive.cage.run(
            render_presented, state, image, shown.held.sop_instance_uid, number, rendering
        )
    if shown.kind == "report":
        return archive.cage.run(report_text, file_of(archive, shown.held), rendering.media_type)
    image_file = image_of(archive, shown.held)
    if rendering.media_type == GIF and len(shown.numbers) > 1:
        return rendered_animation(archive.cage, image_file, shown.numbers, rendering)
    return rendered_frame(archive.cage, image_file, shown.numbers[0], rendering)


def _start(archive: Archive, held: Held, place: Segment) -> bytes:
    """Read how a film or a document begins."""
    opened = open_file(archive, held)
    try:
        return opened.read(place.offset, min(_START_BYTES, place.length))
    finally:
        opened.close()
