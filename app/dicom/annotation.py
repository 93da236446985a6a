"""Text burned into a picture: who, and how it was made (PS3.18 8.3.5.1.1); and the pictures that are text."""

from collections.abc import Collection

from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from app.dicom.rendering_options import Annotation

_SMALLEST_TEXT, _LARGEST_TEXT = 11, 64  # pixels
_LINES_A_PICTURE = 34
_MOST_CHARACTERS = 64
# Keyword, what stands before its value, and after.
_PATIENT = (
    ("PatientName", "", ""),
    ("PatientID", "ID ", ""),
    ("PatientBirthDate", "Born ", ""),
    ("PatientSex", "Sex ", ""),
)
_TECHNIQUE = (
    ("Modality", "", ""),
    ("Manufacturer", "", ""),
    ("ManufacturerModelName", "", ""),
    ("BodyPartExamined", "", ""),
    ("ViewPosition", "View ", ""),
    ("KVP", "", " kV"),
    ("XRayTubeCurrent", "", " mA"),
    ("ExposureTime", "", " ms"),
    ("EchoTime", "TE ", " ms"),
    ("RepetitionTime", "TR ", " ms"),
    ("SliceThickness", "Slice ", " mm"),
    ("MagnificationFactor", "", " x"),
    ("StudyDate", "", ""),
)


def annotated(picture: Image.Image, header: Dataset, annotations: Collection[Annotation]) -> Image.Image:
    """Burn in `patient` at the top left and `technique` at the bottom left."""
    size = text_size(picture)
    margin = size // 2
    if "patient" in annotations:
        write_text(picture, (margin, margin), _lines(header, _PATIENT), size)
    if "technique" in annotations:
        bottom = (margin, picture.height - margin)
        write_text(picture, bottom, _lines(header, _TECHNIQUE), size, anchor="ld")
    return picture


def text_size(picture: Image.Image) -> int:
    """Return the height of a line that suits a picture, in pixels."""
    side = int((picture.width * picture.height) ** 0.5)
    return min(max(side // _LINES_A_PICTURE, _SMALLEST_TEXT), _LARGEST_TEXT)


def write_text(
    picture: Image.Image, place: tuple[float, float], lines: list[str], size: int, anchor: str = "la"
) -> None:
    """Write white lines with a dark edge, so that they are read on any ground; `anchor` as of Pillow."""
    white, black = (255, 0) if picture.mode == "L" else ((255, 255, 255), (0, 0, 0))
    text = "\n".join(legible(line) for line in lines)
    ImageDraw.Draw(picture).multiline_text(
        place,
        text,
        fill=white,
        font=ImageFont.load_default(size),
        anchor=anchor,
        spacing=size // 4,
        stroke_width=max(size / 14, 0.6),
        stroke_fill=black,
    )


def legible(text: str) -> str:
    """Return a line that the font can show: what it has no letters for becomes a question mark."""
    text = " ".join(text.split())[:_MOST_CHARACTERS]
    return "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "?" for letter in text)


def icon(label: str, width: int, height: int) -> Image.Image:
    """Draw a sheet of paper with a word on it: it stands for what has no picture, or may show none."""
    side = max(min(width, height), 1)
    picture = Image.new("L", (side, side), 48)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = side * 0.22, side * 0.1, side * 0.78, side * 0.9
    fold = side * 0.16
    sheet = [(left, top), (right - fold, top), (right, top + fold), (right, bottom), (left, bottom)]
    draw.polygon(sheet, fill=208)
    draw.polygon([(right - fold, top), (right, top + fold), (right - fold, top + fold)], fill=144)
    font = ImageFont.load_default(max(side * 0.9 / max(len(label), 6), 4))
    draw.text((side / 2, side / 2), legible(label), fill=32, font=font, anchor="mm")
    return picture


def _lines(header: Dataset, fields: tuple[tuple[str, str, str], ...]) -> list[str]:
    values = ((header.get(keyword), before, after) for keyword, before, after in fields)
    return [
        f"{before}{_shown(str(value))}{after}" for value, before, after in values if value not in (None, "")
    ]


def _shown(value: str) -> str:
    # A person name has up to three representations; the alphabetic one comes first (PS3.5 6.2.1.1).
    return value.partition("=")[0].replace("^", " ").strip()
