"""Media types of pixel data by transfer syntax (PS3.18 8.7.3)."""

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

# 8.7.3.5.2: neither is sent over DICOMweb.
NEVER_SENT = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})

OCTET_STREAM = "application/octet-stream"

# Table 8.7.3-2 and following; the rest is octets.
BY_TRANSFER_SYNTAX = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.100": "video/mpeg",
    "1.2.840.10008.1.2.4.101": "video/mpeg",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/mp4",
    "1.2.840.10008.1.2.4.108": "video/mp4",
}

# Names that older clients use.
ALIASES = {"image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle"}

LOSSY = frozenset(
    f"1.2.840.10008.1.2.4.{last}"
    for last in (50, 51, 81, 91, 93, 100, 101, 102, 103, 104, 105, 106, 107, 108, 112, 203)
)

# What dicom/decoding.py has a decoder for; here, so that the server need not load the codecs to know.
DECODABLE = frozenset(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        "",
        ".1",
        ".2",
        ".1.99",
        ".5",
        ".8.1",
        *(f".4.{last}" for last in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203, 110, 111, 112)),
    )
)


def pixel_media_type(transfer_syntax_uid: str) -> str:
    """Return the media type of a frame in a transfer syntax."""
    return BY_TRANSFER_SYNTAX.get(transfer_syntax_uid, OCTET_STREAM)
