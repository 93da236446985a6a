"""In which form a held instance or frame is sent (PS3.18 8.7.3)."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.catalog.holdings import Held
from app.dicom.frames import needs_decoding
from app.dicom.media_types import (
    DECODABLE,
    ENCODABLE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    LOSSY,
    NEVER_SENT,
    OCTET_STREAM,
    TRANSFER_SYNTAXES,
    pixel_media_type,
    supplied_syntaxes,
    unsuited_pixels,
)
from app.web.negotiation import MediaRange

DICOM = "application/dicom"

# A form is one of these two, or the UID of the transfer syntax to convert to.
STORED: Final = "stored"
EXPLICIT_OR_STORED: Final = "explicit or stored"
Form = str


def converted_syntax(form: Form) -> str:
    """Return the transfer syntax that a form other than the stored one is converted to."""
    return EXPLICIT_VR_LITTLE_ENDIAN if form == EXPLICIT_OR_STORED else form


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
            return STORED if is_sendable else EXPLICIT_VR_LITTLE_ENDIAN
        case None if stored == EXPLICIT_VR_LITTLE_ENDIAN:
            return STORED
        case None if is_sendable and (
            not is_convertible or (stored in LOSSY and media_range.content_type != DICOM)
        ):
            # 8.7.3.5.2: held only in lossy form, or not decodable here, it goes as stored. A client that
            # names application/dicom and no syntax gets the default, which every client reads.
            return STORED
        case None:
            return EXPLICIT_OR_STORED if is_sendable else EXPLICIT_VR_LITTLE_ENDIAN
        case syntax if syntax == stored and is_sendable:
            return STORED
        case syntax if syntax == EXPLICIT_VR_LITTLE_ENDIAN and is_convertible:
            return syntax
        case syntax if held.frames and _can_be_encoded(held, syntax):
            return syntax
    return None


def frame_form(held: Held, media_range: MediaRange) -> Form | None:
    """Return the form of frames that a media range asks for, None where it cannot be had."""
    media_type, syntax, stored = stored_frame_type(held), media_range.transfer_syntax, frame_syntax(held)
    names_octets = media_range.content_type == OCTET_STREAM
    if not needs_decoding(held.frames):
        if syntax in {"*", stored} and (names_octets or media_range.covers(media_type)):
            return STORED
        # `*/*`, `image/*` and `image/jpeg` without a syntax get the stored frames, named in the part: that
        # is what browsers draw. Octets without a syntax are native ones.
        is_native_or_named = not names_octets or stored == EXPLICIT_VR_LITTLE_ENDIAN
        if syntax is None and media_range.covers(media_type) and is_native_or_named:
            return STORED
    return next((uid for uid in _syntaxes(media_range) if _can_be_encoded(held, uid)), None)


def _syntaxes(media_range: MediaRange) -> Iterator[str]:
    """Yield what frames that are not sent as stored may be converted to: the one named, or the defaults."""
    syntax = media_range.transfer_syntax
    if media_range.covers(OCTET_STREAM) and syntax in {None, "*"}:
        yield EXPLICIT_VR_LITTLE_ENDIAN
    if syntax is None:
        yield from (uids[0] for name, uids in TRANSFER_SYNTAXES.items() if media_range.covers(name))
    elif syntax in ENCODABLE and media_range.covers(pixel_media_type(syntax)):
        yield syntax


def available_syntaxes(held: Held) -> list[str]:
    """Return the transfer syntaxes in which an instance, or its frames, can be had: what a refusal names."""
    stored = held.transfer_syntax_uid
    supplied = supplied_syntaxes(stored, has_pixels=bool(held.frames))
    return [uid for uid in supplied if uid == stored or not held.frames or _can_be_encoded(held, uid)]


def _can_be_encoded(held: Held, transfer_syntax_uid: str) -> bool:
    unsuited = unsuited_pixels(transfer_syntax_uid, held.bits_allocated, held.photometric_interpretation)
    return held.transfer_syntax_uid in DECODABLE and unsuited is None


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
