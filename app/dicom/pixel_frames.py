"""Which bytes are which frame of an image (PS3.3 C.7.6.3, PS3.5 8.2 and A.4)."""

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from mmap import mmap

from app.dicom.data_set import Findings, PixelData
from app.dicom.encoding import EXTENDED_OFFSET_TABLE, PIXEL_DATA
from app.dicom.frames import Segment, pack_decoded, pack_frames, pack_uniform
from app.dicom.json_model import Attribute
from app.dicom.uids import DEFLATED, UNCOMPRESSED, VIDEO, is_standard
from app.errors import Unreadable

Attributes = Mapping[str, Attribute]

_BITS = frozenset({1, 8, 16, 32, 64})  # PS3.5 8.1.1: 1 or a multiple of 8
_BYTE_PAIRS = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})  # chrominance for every second pixel
# Where a compressed frame begins: JPEG and JPEG-LS, JPEG 2000, JP2, JPEG XL and its container.
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL ")


def locate_frames(
    buffer: bytes | mmap, attributes: Attributes, transfer_syntax_uid: str, findings: Findings
) -> bytes:
    """Pack where the frames of the image lie in the file: nothing if there are none to be told apart."""
    pixels = findings.pixels
    if pixels is None:
        return b""
    uncompressed = transfer_syntax_uid in UNCOMPRESSED or transfer_syntax_uid in DEFLATED
    if pixels.fragments is not None:
        if uncompressed:
            findings.note("the pixel data are encapsulated, but the transfer syntax is an uncompressed one")
        return _encapsulated(buffer, attributes, transfer_syntax_uid, pixels.fragments, findings)
    if pixels.tag == PIXEL_DATA and not uncompressed and is_standard(transfer_syntax_uid):
        findings.note("the pixel data are not encapsulated, but the transfer syntax is a compressed one")
        return b""
    return _native(attributes, pixels, findings, addressable=transfer_syntax_uid not in DEFLATED)


def number_of_frames(attributes: Attributes, findings: Findings) -> int:
    """Read Number of Frames (0028,0008): 1 where it is absent or no number."""
    values = attributes.get("00280008", {}).get("Value", (1,))
    number = values[0]
    if isinstance(number, int) and number > 0:
        return number
    findings.note(f"Number of Frames (0028,0008) is {str(number)[:32]!r}, taken as 1")
    return 1


def _integer(attributes: Attributes, tag: str) -> int:
    values = attributes.get(tag, {}).get("Value", (0,))
    return values[0] if isinstance(values[0], int) else 0


def _bits_of_a_frame(attributes: Attributes) -> int:
    """Size of an uncompressed frame in bits (PS3.3 C.7.6.3.1); 0 if the attributes do not describe one."""
    bits = _integer(attributes, "00280100")
    if bits not in _BITS:
        return 0
    samples = _integer(attributes, "00280002") or 1
    photometric = attributes.get("00280004", {}).get("Value", ("",))[0]
    if samples == 3 and str(photometric) in _BYTE_PAIRS:
        samples = 2
    return max(_integer(attributes, "00280010") * _integer(attributes, "00280011") * samples * bits, 0)


def _native(attributes: Attributes, pixels: PixelData, findings: Findings, *, addressable: bool) -> bytes:
    """Frames of uncompressed pixel data, all of one length (PS3.5 8.2)."""
    if not pixels.declared:
        return b""
    length = pixels.place.length
    frame_bits = _bits_of_a_frame(attributes)
    declared = number_of_frames(attributes, findings)
    whole = min(declared, length * 8 // frame_bits) if frame_bits else 0
    if not whole and length < pixels.declared:
        raise Unreadable(f"the file ends within its pixel data, after {length} of {pixels.declared} bytes")
    if not frame_bits:
        findings.note("Rows, Columns, Samples per Pixel or Bits Allocated do not describe the pixel data")
        return b""
    expected = (declared * frame_bits + 7) // 8
    if whole < declared:
        findings.note(
            f"the pixel data are shorter than Rows x Columns x Number of Frames: "
            f"{length} of {expected} bytes, {whole} of {declared} frames"
        )
    elif length > expected + 1:
        findings.note(f"the pixel data are longer than their description: {length} of {expected} bytes")
    swapped = pixels.big_endian and pixels.vr != "OB"
    if not addressable or swapped or (frame_bits % 8 and declared > 1):
        return pack_decoded(whole)
    return pack_uniform(pixels.place.offset, (frame_bits + 7) // 8, whole)


def _encapsulated(
    buffer: bytes | mmap,
    attributes: Attributes,
    transfer_syntax_uid: str,
    places: Sequence[Segment],
    findings: Findings,
) -> bytes:
    if len(places) < 2:
        findings.note("the encapsulated pixel data hold no fragment")
        return b""
    table, fragments = places[0], places[1:]
    declared = number_of_frames(attributes, findings)
    if transfer_syntax_uid in VIDEO or declared == 1:
        return pack_frames([fragments])
    if len(fragments) == declared:
        return pack_frames([[fragment] for fragment in fragments])
    if len(fragments) < declared:
        findings.note(f"Number of Frames is {declared}, but there are {len(fragments)} fragments")
        return pack_frames([[fragment] for fragment in fragments])
    for starts in (_listed_starts(buffer, table, fragments, findings), _found_starts(buffer, fragments)):
        if len(starts) == declared:
            return pack_frames([fragments[a:b] for a, b in pairwise([*starts, len(fragments)])])
    findings.note(f"{len(fragments)} fragments cannot be told apart as {declared} frames")
    return b""


def _listed_starts(
    buffer: bytes | mmap, table: Segment, fragments: Sequence[Segment], findings: Findings
) -> list[int]:
    """Index of the first fragment of each frame, by the Extended or the Basic Offset Table (PS3.5 A.4)."""
    extended = findings.offset_tables.get(EXTENDED_OFFSET_TABLE)
    code, size, place = ("Q", 8, extended) if extended else ("I", 4, table)
    offsets = struct.unpack_from(f"<{place.length // size}{code}", buffer, place.offset)
    # Offsets count from the item tag of the first fragment.
    first = fragments[0].offset
    index_of = {fragment.offset - first: index for index, fragment in enumerate(fragments)}
    starts = [index_of.get(offset, -1) for offset in offsets]
    in_order = starts[:1] == [0] and all(a < b for a, b in pairwise(starts))
    return starts if in_order else []


def _found_starts(buffer: bytes | mmap, fragments: Sequence[Segment]) -> list[int]:
    """Index of each fragment that begins like a compressed image."""
    return [
        index
        for index, (offset, length) in enumerate(fragments)
        if buffer[offset : offset + min(length, 8)].startswith(_BEGINNINGS)
    ]
