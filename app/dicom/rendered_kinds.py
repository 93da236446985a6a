"""What is to be seen of an instance, by its SOP class: a picture, a film, a text (PS3.18 Table 8.7.4-1)."""

from typing import Literal

from app.dicom.rendering_options import PICTURE_TYPES
from app.dicom.uids import VIDEO

Kind = Literal["image", "video", "presentation", "report", "pdf", "cda", "none"]

HTML, PLAIN, XML, PDF = "text/html", "text/plain", "text/xml", "application/pdf"

_CLASSES = "1.2.840.10008.5.1.4.1.1."
_REPORTS = f"{_CLASSES}88."
_ENCAPSULATED: dict[str, Kind] = {f"{_CLASSES}104.1": "pdf", f"{_CLASSES}104.2": "cda"}

GRAYSCALE_STATE, COLOUR_STATE = f"{_CLASSES}11.1", f"{_CLASSES}11.2"
STATES = frozenset({GRAYSCALE_STATE, COLOUR_STATE})

# By kind, in the order in which the server prefers them; the first is the default.
RENDERED_TYPES: dict[Kind, tuple[str, ...]] = {
    "image": PICTURE_TYPES,
    "presentation": PICTURE_TYPES,
    "video": ("video/mp4", "video/mpeg"),
    "report": (HTML, PLAIN, XML),
    "pdf": (PDF,),
    "cda": (XML,),
    "none": (),
}

# What a placeholder says.
LABELS: dict[Kind, str] = {
    "image": "Image",
    "presentation": "View",
    "video": "Video",
    "report": "Report",
    "pdf": "PDF",
    "cda": "Document",
    "none": "Data",
}


def kind_of(sop_class_uid: str, transfer_syntax_uid: str, *, has_frames: bool) -> Kind:
    """Return the kind of an instance."""
    if has_frames:
        return "video" if transfer_syntax_uid in VIDEO else "image"
    if sop_class_uid in STATES:
        return "presentation"
    if sop_class_uid.startswith(_REPORTS):
        return "report"
    return _ENCAPSULATED.get(sop_class_uid, "none")
