"""Pixel Data made of parts, and Image Pixel attributes that the pictures in them tell (PS3.18 10.5.1)."""

import struct
from collections.abc import Sequence

from app.dicom.json_model import Attribute
from app.dicom.media_types import OCTET_STREAM
from app.dicom.parts import BulkPart, Elsewhere, Picture, Piece
from app.errors import Unreadable

NUMBER_OF_FRAMES = "00280008"
_PHOTOMETRIC_INTERPRETATION, _LOSSY = "00280004", "00282110"
_BITS = ("00280100", "00280101", "00280102")
_OF_LOSSY = ("00282112", "00282114")
# Samples per Pixel, Photometric Interpretation, Rows, Columns, Bits Allocated, Bits Stored, High Bit, Pixel
# Representation: type 1 of the Image Pixel Module (PS3.3 C.7.6.3).
_IMAGE_PIXEL = ("00280002", _PHOTOMETRIC_INTERPRETATION, "00280010", "00280011", *_BITS, "00280103")
# How many of the bits mean something, and whether there is a sign, is not for a picture to tell.
_MUST_AGREE = frozenset({*_IMAGE_PIXEL[:5], "00280006", _LOSSY})
_PIXEL_DATA = struct.Struct("<HH2s2xI").pack
_ITEM = struct.Struct("<HHI").pack
_LONGEST, _UNDEFINED = 0xFFFFFFFE, 0xFFFFFFFF


def take_picture(attributes: dict[str, Attribute], frames: Sequence[BulkPart]) -> dict[str, Attribute]:
    """Complete the description of the pixels; return what did not agree with them, as it was.

    Raises Unreadable for frames that differ, and for what is missing and cannot be known.
    """
    pictures = [frame.picture for frame in frames if isinstance(frame.picture, Picture)]
    replaced = _describe(attributes, pictures[0]) if pictures else {}
    if any(_shape(one) != _shape(pictures[0]) for one in pictures):
        raise Unreadable("the frames differ in their size or samples")
    if len(frames) > 1:
        held = attributes.setdefault(NUMBER_OF_FRAMES, {"vr": "IS", "Value": [len(frames)]})
        if [str(value) for value in held.get("Value", ())] != [str(len(frames))]:
            raise Unreadable(f"Number of Frames (0028,0008) is not {len(frames)}, as many as have come")
    missing = [tag for tag in _IMAGE_PIXEL if not attributes.get(tag, {}).get("Value")]
    if missing:
        media_type = frames[0].media_type
        what = "of pixels" if media_type == OCTET_STREAM else f"of {media_type}"
        raise Unreadable(
            f"({missing[0][:4]},{missing[0][4:]}) is missing: what the bulk data {what} are cannot be told "
            "without; those of image/jpeg, image/png and video/mp4 can"
        )
    return replaced


def _describe(attributes: dict[str, Attribute], picture: Picture) -> dict[str, Attribute]:
    replaced: dict[str, Attribute] = {}
    true = dict(picture.attributes)
    if attributes.get(_LOSSY, {}).get("Value") == ["01"]:
        for tag in _OF_LOSSY:  # the sender knows of earlier compressions too
            true.pop(tag, None)
    for tag, attribute in true.items():
        held = attributes.get(tag, {})
        if len(held) <= 1:  # a VR alone
            attributes[tag] = attribute
        elif tag in _MUST_AGREE and not _agrees(tag, held, picture):
            replaced[tag] = held
            attributes[tag] = attribute
    if _BITS[0] in replaced:
        for tag in _BITS[1:]:
            if attributes[tag] != true[tag]:
                replaced[tag], attributes[tag] = attributes[tag], true[tag]
    return replaced


def _agrees(tag: str, held: Attribute, picture: Picture) -> bool:
    if tag == _PHOTOMETRIC_INTERPRETATION:
        return held.get("Value") in [[one] for one in picture.photometric]
    same: bool = held.get("Value") == picture.attributes[tag]["Value"]
    return same


def _shape(picture: Picture) -> list[Attribute | None]:
    return [picture.attributes.get(tag) for tag in _IMAGE_PIXEL]


def native_pieces(vr: str, frames: Sequence[Elsewhere]) -> list[Piece]:
    """Return Pixel Data of frames that follow one another without a gap (PS3.5 8.1)."""
    length = sum(frame.length for frame in frames)
    if length > _LONGEST:
        raise Unreadable(f"Pixel Data of {length} bytes are too long to be uncompressed")
    padding = [b"\0"] if length % 2 else []
    return [_PIXEL_DATA(0x7FE0, 0x0010, vr.encode(), length + length % 2), *frames, *padding]


def encapsulated_pieces(frames: Sequence[Elsewhere]) -> list[Piece]:
    """Return Pixel Data with a Basic Offset Table, each frame a fragment of even length (PS3.5 A.4)."""
    offsets, offset = [], 0
    items: list[Piece] = []
    for frame in frames:
        if frame.length > _LONGEST:
            raise Unreadable(f"a frame of {frame.length} bytes is too long for a fragment")
        offsets.append(offset)
        padding = frame.length % 2
        items += [_ITEM(0xFFFE, 0xE000, frame.length + padding), frame, *([b"\0"] if padding else [])]
        offset += 8 + frame.length + padding
    # An empty table is allowed too: so where the offsets do not fit.
    table = struct.pack(f"<{len(offsets)}I", *offsets) if offsets[-1] <= _UNDEFINED else b""
    head = _PIXEL_DATA(0x7FE0, 0x0010, b"OB", _UNDEFINED) + _ITEM(0xFFFE, 0xE000, len(table)) + table
    return [head, *items, _ITEM(0xFFFE, 0xE0DD, 0)]
