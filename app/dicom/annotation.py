"""Text burned into a picture: who, and how it was made (PS3.18 8.3.5.1.1); and the pictures that are text."""

from collections.abc import Collection

from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from app.dicom.rendering_options import Annotation

_SMALLEST_TEXT, _LARGEST_TEXT = 9, 64  # pixels
_LINES_A_PICTURE = 36
_MOST_CHARACTERS = 64
_PATIENT = (("PatientName", ""), ("PatientID", "ID "), ("PatientBirthDate", "Born "), ("PatientSex", "Sex "))
_TECHNIQUE = (
    ("Modality", ""),
    ("Manufacturer", ""),
    ("ManufacturerModelName", ""),
    ("BodyPartExamined", ""),
    ("ViewPosition", "View "),
    ("KVP", "kVp "),
    ("ExposureTime", "ms "),
    ("XRayTubeCurrent", "mA "),
    ("EchoTime", "TE "),
    ("RepetitionTime", "TR "),
    ("SliceThickness", "mm "),
    ("MagnificationFactor", "x "),
    ("StudyDate", ""),
)


def annotated(picture: Image.Image, header: Dataset, annotations: Collection[Annotation]) -> Image.Image:
    """Burn in `patient` at the top left and `technique` at the bottom left."""
    size = text_size(picture)
    if "patient" in annotations:
        write_text(picture, (size // 2, size // 2), _lines(header, _PATIENT), size)
    if "technique" in annotations:
        lines = _lines(header, _TECHNIQUE)
        top = picture.height - (len(lines) + 1) * (size + size // 4)
        write_text(picture, (size // 2, max(top, 0)), lines, size)
    return picture


def text_size(picture: Image.Image) -> int:
    """Return the height of a line that suits a picture, in pixels."""
    return min(max(picture.height // _LINES_A_PICTURE, _SMALLEST_TEXT), _LARGEST_TEXT)


def write_text(picture: Image.Image, place: tuple[float, float], lines: list[str], size: int) -> None:
    """Write white lines with a dark edge, so that they are read on any ground."""
    white, black = (255, 0) if picture.mode == "L" else ((255, 255, 255), (0, 0, 0))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    text = "\n".join(legible(line) for line in lines)
    edge = max(size // 12, 1)
    draw.multiline_text(
        place, text, fill=white, font=font, spacing=size // 4, stroke_width=edge, stroke_fill=black
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
    font = ImageFont.load_default(max(side / 7, 4))
    draw.text((side / 2, side / 2), legible(label), fill=32, font=font, anchor="mm")
    return picture


def _lines(header: Dataset, fields: tuple[tuple[str, str], ...]) -> list[str]:
    lines = []
    for keyword, before in fields:
        value = header.get(keyword)
        if value not in (None, ""):
            lines.append(before + _first_group(str(value)))
    return lines


def _first_group(value: str) -> str:
    # A person name has up to three representations; the alphabetic one comes first (PS3.5 6.2.1.1).
    return value.split("=", maxsplit=1)[0].replace("^", " ").strip()
