"""Media types of pixel data by transfer syntax, and which can be supplied of what is held (PS3.18 8.7.3)."""

from functools import lru_cache

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

# 8.7.3: neither is sent over DICOMweb.
NEVER_SENT = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"

OCTET_STREAM = "application/octet-stream"


def _uids(*endings: str) -> tuple[str, ...]:
    return tuple(f"1.2.840.10008.1.2.{ending}" for ending in endings)


# Table 8.7.3-5 (and its later additions); the first is the default of the media type. The rest is octets.
# The fragmentable variants of MPEG-2 and MPEG-4 AVC (`.1`) hold the same stream.
TRANSFER_SYNTAXES = {
    "image/jpeg": _uids("4.70", "4.50", "4.51", "4.57", "4.53", "4.55"),
    "image/dicom-rle": _uids("5"),
    "image/jls": _uids("4.80", "4.81"),
    "image/jp2": _uids("4.90", "4.91"),
    "image/jpx": _uids("4.92", "4.93"),
    "image/jphc": _uids("4.201", "4.202", "4.203"),
    "image/jxl": _uids("4.110", "4.111", "4.112"),
    "video/mpeg": _uids("4.101", "4.100", "4.101.1", "4.100.1"),
    "video/mp4": _uids(
        *("4.102", "4.103", "4.104", "4.105", "4.106", "4.107", "4.108"),
        *("4.102.1", "4.103.1", "4.104.1", "4.105.1", "4.106.1"),
    ),
}

BY_TRANSFER_SYNTAX = {uid: media_type for media_type, uids in TRANSFER_SYNTAXES.items() for uid in uids}

# Names that older clients and editions use (8.7.3.3.2, note 8).
ALIASES = {
    "image/x-jls": "image/jls",
    "image/x-dicom-rle": "image/dicom-rle",
    "image/dicom+rle": "image/dicom-rle",
    "image/jpg": "image/jpeg",
    "image/dicom+jpeg": "image/jpeg",
    "image/dicom+jpeg-jls": "image/jls",
    "image/dicom+jp2": "image/jp2",
    "image/dicom+jpx": "image/jpx",
    "image/jph": "image/jphc",
    "video/mpeg2": "video/mpeg",
    "video/h265": "video/mp4",
}

LOSSY = frozenset(
    uid
    for uid in BY_TRANSFER_SYNTAX
    if uid in _uids("4.50", "4.51", "4.53", "4.55", "4.81", "4.91", "4.93", "4.112", "4.203")
    or BY_TRANSFER_SYNTAX[uid].startswith("video/")
)

# What dicom/decoding.py has a decoder for; here, so that the server need not load the codecs to know.
DECODABLE = frozenset(
    (
        IMPLICIT_VR_LITTLE_ENDIAN,
        *_uids("1", "2", "1.98", "1.99", "5", "8.1", "4.50", "4.51", "4.53", "4.55", "4.57", "4.70", "4.80"),
        *_uids("4.81", "4.90", "4.91", "4.92", "4.93", "4.201", "4.202", "4.203", "4.110", "4.111", "4.112"),
    )
)

# What dicom/transcoding.py turns decoded pixels into, with the Bits Allocated that suit it (PS3.5 8.2). All
# of them keep every sample as it is, those too whose transfer syntax allows loss; but for JPEG Baseline.
_BYTES = frozenset({8})
_BYTES_AND_WORDS = frozenset({8, 16})
_SUITED_BITS = {
    EXPLICIT_VR_LITTLE_ENDIAN: frozenset({1, 8, 16, 32, 64}),
    "1.2.840.10008.1.2.5": frozenset({8, 16, 32}),
    JPEG_BASELINE: _BYTES,
    **dict.fromkeys(_uids("4.57", "4.70", "4.80", "4.81", "4.90", "4.91"), _BYTES_AND_WORDS),
    **dict.fromkeys(_uids("4.201", "4.202", "4.203", "4.110", "4.112"), _BYTES_AND_WORDS),
}
ENCODABLE = frozenset(_SUITED_BITS)
_UNSIGNED = frozenset(_uids("4.50", "4.110", "4.112"))


def pixel_media_type(transfer_syntax_uid: str) -> str:
    """Return the media type of a frame in a transfer syntax."""
    return BY_TRANSFER_SYNTAX.get(transfer_syntax_uid, OCTET_STREAM)


def unsuited_pixels(
    transfer_syntax_uid: str,
    bits_allocated: int | None,
    photometric_interpretation: str | None,
    *,
    is_signed: bool = False,
) -> str | None:
    """Say why such pixels cannot be encoded in a transfer syntax; None if they can."""
    suited = _SUITED_BITS.get(transfer_syntax_uid)
    if suited is None:
        return "there is no encoder"
    if bits_allocated is not None and bits_allocated not in suited:
        return f"it does not hold samples of {bits_allocated} bits"
    if is_signed and transfer_syntax_uid in _UNSIGNED:
        return "it does not hold signed samples"
    if transfer_syntax_uid == JPEG_BASELINE and photometric_interpretation == "PALETTE COLOR":
        return "indices of a palette do not survive a lossy compression"
    return None


@lru_cache(maxsize=256)
def supplied_syntaxes(stored: str, *, has_pixels: bool = True) -> tuple[str, ...]:
    """Return the transfer syntaxes in which an instance stored in one can be had, the kindest first.

    As stored, then Explicit VR Little Endian, then what else can be encoded. A data set without pixels is
    only written anew. Whether one instance's pixels suit an encoder is known when it tries.
    """
    first = () if stored in NEVER_SENT else (stored,)
    if not has_pixels:
        return tuple(dict.fromkeys((*first, EXPLICIT_VR_LITTLE_ENDIAN)))
    if stored not in DECODABLE:
        return first
    return tuple(dict.fromkeys((*first, EXPLICIT_VR_LITTLE_ENDIAN, *sorted(ENCODABLE))))
