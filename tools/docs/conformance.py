"""The tables of the conformance statement."""

from pydicom.uid import UID

from app.archive.thumbnails import MOST_THUMBNAIL_SIZE, THUMBNAIL_SIZE
from app.catalog.attributes import ATTRIBUTES, Attribute
from app.dicom import multipart_reader
from app.dicom.image_pixel import PIXEL_BUDGET_BYTES
from app.dicom.matching import NUMBER_VRS, RANGE_VRS, WILDCARD_VRS
from app.dicom.media_types import (
    BY_TRANSFER_SYNTAX,
    DECODABLE,
    ENCODABLE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_BASELINE,
    LOSSY,
    NEVER_SENT,
    pixel_media_type,
    unsuited_pixels,
)
from app.dicom.part10 import INFLATED, INFLATION
from app.dicom.rendering_options import MOST_ANIMATED_FRAMES, MOST_ANIMATED_PIXELS
from app.dicom.scaling import MOST_PIXELS as MOST_SCALED_PIXELS
from app.dicom.uids import DEFLATED
from app.settings import Settings
from app.web import cors
from app.web.errors import STATUS
from app.web.protocol import DEADLINES
from app.web.rendered_limits import MOST_ITEMS, MOST_MADE_PIXELS
from app.web.rendered_parameters import MOST_PIXELS
from app.web.store_answer import FAILURE_REASON, WARNING_REASON
from tools.docs.tables import code, sentence, table

# Names of PS3.6 that the pydicom we use does not have yet.
_NOT_IN_PYDICOM = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}


def attributes_table() -> str:
    """Return one row for each attribute that can be searched."""
    return table(
        ("attribute", "tag", "VR", "level", "matching", "returned"),
        ((_name(a), _tag(a.tag), a.vr, a.level.name.lower(), _matching(a), _returned(a)) for a in ATTRIBUTES),
    )


def _name(attribute: Attribute) -> str:
    return code(attribute.name)


def _tag(path: str) -> str:
    return " > ".join(f"({tag[:4]},{tag[4:]})" for tag in path.split("."))


def _matching(attribute: Attribute) -> str:
    if attribute.vr == "UI":
        return "single value, list of UIDs"
    if attribute.vr in RANGE_VRS:
        return "single value, range"
    if attribute.vr == "PN":
        return "single value, wild card; case is ignored"
    if attribute.vr in WILDCARD_VRS:
        return "single value, wild card"
    return "single value (number)" if attribute.vr in NUMBER_VRS else "single value"


def _returned(attribute: Attribute) -> str:
    return {"always": "always", "known": "when it has a value", "": "when asked for or matched"}[
        attribute.returned
    ]


def transfer_syntaxes_table() -> str:
    """Return one row for each transfer syntax that is known."""
    known = DECODABLE | BY_TRANSFER_SYNTAX.keys() | LOSSY | NEVER_SENT | DEFLATED
    return table(
        (
            "transfer syntax",
            "UID",
            "lossy",
            "frames as stored",
            "instance as stored",
            "decoded here",
            "made here",
        ),
        (
            (
                _NOT_IN_PYDICOM.get(uid) or UID(uid).name,
                code(uid),
                _yes(uid in LOSSY),
                "no" if uid in DEFLATED else code(pixel_media_type(uid)),
                _yes(uid not in NEVER_SENT),
                _yes(uid in DECODABLE),
                _made(uid),
            )
            for uid in sorted(known, key=lambda uid: [int(part) for part in uid.split(".")])
        ),
    )


def _made(uid: str) -> str:
    """Say whether other pixels can be brought into a transfer syntax: which, or why not."""
    if uid == IMPLICIT_VR_LITTLE_ENDIAN:
        return "in the core; never sent over DICOMweb"
    if uid == EXPLICIT_VR_LITTLE_ENDIAN:
        return "yes"
    if uid not in ENCODABLE:
        return "no"
    bits = [str(bits) for bits in (1, 8, 16, 32, 64) if not unsuited_pixels(uid, bits, None)]
    limit = f"{', '.join(bits)} bits"
    if unsuited_pixels(uid, None, None, is_signed=True):
        limit += " unsigned"
    return f"{limit}; with loss" if uid == JPEG_BASELINE else f"{limit}; without loss"


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def statuses_table() -> str:
    """Return one row for each thing that can go wrong in the archive."""
    return table(
        ("what went wrong", "status"),
        ((sentence(kind.__doc__), f"{status.value} {status.phrase}") for kind, status in STATUS.items()),
    )


def failure_reasons_table() -> str:
    """Return one row for each reason why an instance was not stored."""
    return table(
        ("Failure Reason (0008,1197)", "decimal", "meaning"),
        (
            (code(f"{reason:04X}H"), str(reason), sentence(kind.__doc__))
            for kind, reason in FAILURE_REASON.items()
        ),
    )


def warning_reasons_table() -> str:
    """Return one row for each reason of a warning about an instance that was stored."""
    return table(
        ("Warning Reason (0008,1196)", "decimal", "meaning"),
        ((code(f"{reason:04X}H"), str(reason), sentence(text)) for reason, text in WARNING_REASON.items()),
    )


def bounds_table() -> str:
    """Return what one request or one file may take."""
    return table(
        ("what", "bound"),
        (
            (
                "request line and headers",
                f"{DEADLINES.head_bytes >> 10} KiB (414, 431), within {DEADLINES.head_s:g} s (408)",
            ),
            (
                "how slow a body may arrive",
                f"{_rate(DEADLINES.body_bytes_per_second, DEADLINES.body_s)} in which we wait for it (408)",
            ),
            (
                "how slow an answer may be read",
                f"{_rate(DEADLINES.reader_bytes_per_second, DEADLINES.reader_s)} of waiting for it",
            ),
            ("pause between two requests", f"{DEADLINES.idle_s:g} s"),
            (
                "body of a store",
                f"`DERMZOO_STORE_MAX_BYTES`, {_default('store_max_bytes') >> 30} GiB unless set (413)",
            ),
            ("parts of a store", f"{multipart_reader.PARTS} (400)"),
            (
                "results of one search",
                f"`DERMZOO_SEARCH_LIMIT`, {_default('search_limit')} unless set; none below a named study",
            ),
            ("reading or decoding one file", _cage()),
            ("decoded pixels of one conversion", f"{PIXEL_BUDGET_BYTES >> 20} MiB (406)"),
            ("a deflated data set", f"{INFLATED >> 20} MiB, and {INFLATION} times its size"),
            ("side of a viewport", f"{MOST_PIXELS} pixels (400)"),
            ("pixels of a scaled picture", f"{MOST_SCALED_PIXELS} (400)"),
            ("items of one rendered study or series", f"{MOST_ITEMS} (413)"),
            (
                "pixels to decode for them",
                f"{MOST_MADE_PIXELS}, JPEGs sent as stored aside (413)",
            ),
            ("an animated GIF", f"{MOST_ANIMATED_FRAMES} frames, {MOST_ANIMATED_PIXELS} pixels in all (406)"),
            ("side of a thumbnail", f"{MOST_THUMBNAIL_SIZE} pixels; a larger viewport is taken for this"),
            ("thumbnail, where no viewport is named", f"{THUMBNAIL_SIZE} x {THUMBNAIL_SIZE} pixels"),
        ),
    )


def _rate(bytes_per_second: float, window_s: float) -> str:
    return f"{bytes_per_second:g} bytes a second, over any {window_s:g} s"


def _default(name: str) -> int:
    return int(Settings.model_fields[name].default)


def _cage() -> str:
    memory, cpu_s = _default("caged_memory_bytes") >> 30, _default("caged_cpu_s")
    return f"`DERMZOO_CAGED_MEMORY_BYTES`, {memory} GiB; `DERMZOO_CAGED_CPU_S`, {cpu_s} s"


def cors_table() -> str:
    """Return the CORS fields of every answer."""
    return table(
        ("field", "value"),
        (
            (
                "`Access-Control-Allow-Origin`",
                "`*`, on every answer, errors included; credentials are not allowed",
            ),
            ("`Access-Control-Allow-Methods`", code(cors.ALLOWED_METHODS)),
            ("`Access-Control-Allow-Headers`", code(cors.ALLOWED_HEADERS)),
            ("`Access-Control-Expose-Headers`", code(cors.EXPOSED_HEADERS)),
        ),
    )
