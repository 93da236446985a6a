"""A JPEG file read marker by marker (ISO/IEC 10918-1 Annex B), and the same without what identifies.

Nothing is decoded here: entropy-coded data are only stepped over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from app.corpus.isic.exif import read_orientation
from app.corpus.isic.rights import keep_iptc_rights, keep_xmp_rights
from app.errors import NotImportable

MAX_PIXELS = 100_000_000

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
APP0, APP1, APP2, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
# Annex B.1.1.3: the sixteen start-of-frame codes less DHT, JPG and DAC.
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BASELINE = 0xC0
# After a scan: any marker but a stuffed zero, a restart and a fill byte.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EXIF = b"Exif\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_PHOTOSHOP = b"Photoshop 3.0\0"


class Segment(NamedTuple):
    """One marker segment of the file; a start of scan takes its entropy-coded data with it."""

    marker: int
    start: int  # of the marker
    body: int  # after the length
    body_end: int
    end: int


@dataclass(frozen=True, slots=True)
class Jpeg:
    """What the headers say of one picture."""

    data: bytes
    segments: tuple[Segment, ...]
    end: int  # just after EOI
    process: int  # the start-of-frame marker
    precision: int
    rows: int
    columns: int
    component_ids: bytes
    sampling: tuple[tuple[int, int], ...]  # horizontal, vertical, per component
    adobe_transform: int | None
    has_jfif: bool
    orientation: int  # EXIF, 1 when upright or not said
    icc_profile: bytes | None

    @property
    def components(self) -> int:
        """Samples per pixel."""
        return len(self.sampling)

    @property
    def is_baseline(self) -> bool:
        """Whether JPEG Baseline (Process 1) can carry it: 8 bits, grey or three components."""
        return self.process == BASELINE and self.precision == 8 and self.components in {1, 3}

    @property
    def can_be_embedded(self) -> bool:
        """Whether a VL image can hold it as it is: the module has no RGB for lossy JPEG (C.8.12.1.1.1)."""
        return self.is_baseline and not self.is_rgb

    @property
    def is_rgb(self) -> bool:
        """Whether three components are stored without the YCbCr transformation, as decoders guess it."""
        if self.components != 3 or self.has_jfif:
            return False
        if self.adobe_transform is not None:
            return self.adobe_transform == 0
        return self.component_ids == b"RGB"

    @property
    def photometric_interpretation(self) -> str:
        """The value that agrees with the bitstream (PS3.3 C.7.6.3.1.2).

        The VL Image module has one for YCbCr in lossy JPEG (C.8.12.1.1.1), YBR_FULL_422, however far the
        chroma is subsampled: decoders take that from the bitstream, and the transformation is the same.
        """
        if self.components == 1:
            return "MONOCHROME2"
        return "RGB" if self.is_rgb else "YBR_FULL_422"


def read_jpeg(data: bytes) -> Jpeg:
    """Walk the markers of a whole file; NotImportable says what is wrong with it."""
    if data[:2] != b"\xff\xd8":
        raise NotImportable("image", "is not a JPEG file")
    segments, end = _walk(data)
    frames = [segment for segment in segments if segment.marker in SOF]
    if len(frames) != 1 or not any(segment.marker == SOS for segment in segments):
        raise NotImportable("image", f"is a JPEG file with {len(frames)} frame headers, not one picture")
    precision, rows, columns, components = _frame_header(data, frames[0])
    adobe = _first(data, segments, APP14, b"Adobe")
    jpeg = Jpeg(
        data=data,
        segments=segments,
        end=end,
        process=frames[0].marker,
        precision=precision,
        rows=rows,
        columns=columns,
        component_ids=bytes(entry[0] for entry in components),
        sampling=tuple((entry[1] >> 4, entry[1] & 15) for entry in components),
        adobe_transform=adobe[11] if adobe and len(adobe) >= 12 else None,
        has_jfif=_first(data, segments, APP0, b"JFIF\0") is not None,
        orientation=read_orientation((_first(data, segments, APP1, _EXIF) or b"")[6:]),
        icc_profile=_icc_profile(data, segments),
    )
    _check_size(jpeg)
    return jpeg


def _walk(data: bytes) -> tuple[tuple[Segment, ...], int]:
    segments: list[Segment] = []
    position = 2
    while True:
        start = position
        if data[position : position + 1] != b"\xff":
            raise NotImportable("image", f"is a damaged or cut JPEG file: no marker at byte {position}")
        while data[position : position + 1] == b"\xff":  # B.1.1.2: any number of fill bytes
            position += 1
        marker = data[position] if position < len(data) else 0
        position += 1
        if marker == EOI:
            return tuple(segments), position
        length = int.from_bytes(data[position : position + 2], "big")
        body_end = position + length
        if length < 2 or marker in {0, 1, SOI} or 0xD0 <= marker <= 0xD7 or body_end > len(data):
            raise NotImportable("image", f"is a damaged or cut JPEG file: bad segment at byte {start}")
        end = _scan_end(data, body_end) if marker == SOS else body_end
        segments.append(Segment(marker, start, position + 2, body_end, end))
        position = end


def _scan_end(data: bytes, start: int) -> int:
    found = _NEXT_MARKER.search(data, start)
    if found is None:
        raise NotImportable("image", "is a cut JPEG file: it ends before its end marker")
    end = found.start()
    while data[end - 1] == 0xFF and end > start:  # fill bytes belong to the marker
        end -= 1
    return end


def _frame_header(data: bytes, segment: Segment) -> tuple[int, int, int, list[bytes]]:
    body = data[segment.body : segment.body_end]
    count = body[5] if len(body) > 5 else 0
    if not count or len(body) != 6 + 3 * count:
        raise NotImportable("image", "has a damaged frame header")
    rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    components = [body[6 + 3 * index : 9 + 3 * index] for index in range(count)]
    if any(not (1 <= entry[1] >> 4 <= 4 and 1 <= entry[1] & 15 <= 4) for entry in components):
        raise NotImportable("image", "has a damaged frame header")
    return body[0], rows, columns, components


def _check_size(jpeg: Jpeg) -> None:
    pixels = jpeg.rows * jpeg.columns
    if not pixels:
        raise NotImportable("image", f"says that it is {jpeg.columns} x {jpeg.rows} pixels")
    if pixels > MAX_PIXELS:
        raise NotImportable(
            "image", f"is {jpeg.columns} x {jpeg.rows} pixels; the most is {MAX_PIXELS // 10**6} megapixels"
        )
    # A block costs two bits at the least, one for DC and one for AC: fewer bytes cannot fill the picture.
    coded = sum(segment.end - segment.body_end for segment in jpeg.segments if segment.marker == SOS)
    if jpeg.process == BASELINE and coded * 8 < 2 * (pixels // 64):
        raise NotImportable("image", f"has {coded} bytes of picture for {jpeg.columns} x {jpeg.rows} pixels")


def _first(data: bytes, segments: tuple[Segment, ...], marker: int, prefix: bytes) -> bytes | None:
    return next(
        (
            data[segment.body : segment.body_end]
            for segment in segments
            if segment.marker == marker and data.startswith(prefix, segment.body, segment.body_end)
        ),
        None,
    )


def _icc_profile(data: bytes, segments: tuple[Segment, ...]) -> bytes | None:
    """Join the chunks (ICC.1 B.4: number and count follow the signature); None unless all are there."""
    chunks = {
        data[segment.body + 12]: data[segment.body + 14 : segment.body_end]
        for segment in segments
        if segment.marker == APP2
        and data.startswith(_ICC, segment.body, segment.body_end)
        and segment.body_end - segment.body > 14
    }
    profile = b"".join(chunks[number] for number in sorted(chunks))
    whole = sorted(chunks) == list(range(1, len(chunks) + 1))
    # ICC.1 7.2: the size stands first, the signature at 36.
    sound = profile[36:40] == b"acsp" and int.from_bytes(profile[:4], "big") == len(profile)
    return profile if whole and sound else None


def kept_segments(jpeg: Jpeg) -> Iterator[bytes]:
    """Yield the metadata that stay: JFIF, Adobe, ICC and the rights; never EXIF, thumbnails, comments."""
    for segment in jpeg.segments:
        if APP0 <= segment.marker <= APP15 or segment.marker == COM:
            kept = _kept(segment.marker, jpeg.data[segment.body : segment.body_end])
            if kept is not None:
                yield bytes((0xFF, segment.marker)) + (len(kept) + 2).to_bytes(2, "big") + kept


def _kept(marker: int, body: bytes) -> bytes | None:
    if marker == APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return body[:12] + b"\0\0"  # JFIF 1.02: width and height of the thumbnail, which then ends
    if marker == APP14 and body.startswith(b"Adobe"):
        return body[:12]
    if marker == APP2 and body.startswith(_ICC):
        return body
    if marker == APP1 and body.startswith(_XMP):
        packet = keep_xmp_rights(body[len(_XMP) :])
        return _XMP + packet if packet else None
    if marker == APP13 and body.startswith(_PHOTOSHOP):
        resources = keep_iptc_rights(body[len(_PHOTOSHOP) :])
        return _PHOTOSHOP + resources if resources else None
    return None


def clean(jpeg: Jpeg) -> bytes:
    """Return the same picture, tables and scans untouched, with only the metadata that may stay, to EOI."""
    parts = [b"\xff\xd8"]
    parts.extend(kept_segments(jpeg))
    parts.extend(
        jpeg.data[segment.start : segment.end]
        for segment in jpeg.segments
        if not (APP0 <= segment.marker <= APP15 or segment.marker == COM)
    )
    return b"".join((*parts, b"\xff\xd9"))
