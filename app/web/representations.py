"""In which form a held instance or frame is sent (PS3.18 8.7.3)."""

from collections.abc import Sequence
from typing import Literal

from app.catalog.holdings import Held
from app.dicom.frames import needs_decoding
from app.dicom.media_types import (
    DECODABLE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    LOSSY,
    NEVER_SENT,
    OCTET_STREAM,
    pixel_media_type,
)
from app.web.negotiation import MediaRange

DICOM = "application/dicom"

Form = Literal["stored", "explicit", "explicit or stored"]
FrameForm = Literal["stored", "explicit"]


def instance_form(held: Held, ranges: Sequence[MediaRange]) -> Form | None:
    """Return the best form of an instance, as `application/dicom`, that the client accepts."""
    forms = (_instance_form(held, media_range) for media_range in ranges if media_range.covers(DICOM))
    return next((form for form in forms if form), None)


def _instance_form(held: Held, media_range: MediaRange) -> Form | None:
    stored = held.transfer_syntax_uid
    is_sendable = stored not in NEVER_SENT
    is_convertible = stored in DECODABLE or not held.frames
    match media_range.transfer_syntax:
        case "*":
            return "stored" if is_sendable else "explicit"
        case None if stored == EXPLICIT_VR_LITTLE_ENDIAN:
            return "stored"
        case None if is_sendable and (
            not is_convertible or (stored in LOSSY and media_range.content_type != DICOM)
        ):
            # 8.7.3.5.2: held only in lossy form, or not decodable here, it goes as stored. A client that
            # names application/dicom and no syntax gets the default, which every client reads.
            return "stored"
        case None:
            return "explicit or stored" if is_sendable else "explicit"
        case syntax if syntax == stored and is_sendable:
            return "stored"
        case syntax if syntax == EXPLICIT_VR_LITTLE_ENDIAN and is_convertible:
            return "explicit"
    return None


def frame_form(held: Held, media_range: MediaRange) -> FrameForm | None:
    """Return the form of frames that a media range asks for, None where it cannot be had."""
    media_type, syntax = stored_frame_type(held), media_range.transfer_syntax
    names_octets = media_range.content_type == OCTET_STREAM
    if not needs_decoding(held.frames):
        if syntax in {"*", frame_syntax(held)} and (names_octets or media_range.covers(media_type)):
            return "stored"
        # `*/*`, `image/*` and `image/jpeg` without a syntax get the stored frames, named in the part: that
        # is what browsers draw. Octets without a syntax are native ones.
        if syntax is None and media_range.covers(media_type):
            return "stored"
    if media_range.covers(OCTET_STREAM) and syntax in {None, "*", EXPLICIT_VR_LITTLE_ENDIAN}:
        return "explicit" if held.transfer_syntax_uid in DECODABLE else None
    return None


def frame_syntax(held: Held) -> str:
    """Return the transfer syntax of frames cut out of the file: native ones are Explicit VR Little Endian."""
    stored = held.transfer_syntax_uid
    return (
        EXPLICIT_VR_LITTLE_ENDIAN
        if pixel_media_type(stored) == OCTET_STREAM and stored in NEVER_SENT
        else stored
    )


def stored_frame_type(held: Held) -> str:
    """Return the media type of frames cut out of the file."""
    return pixel_media_type(held.transfer_syntax_uid)
