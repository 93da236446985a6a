"""On which terms an instance is published, as its private block says (corpus/isic/private.py)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.catalog.documents import Attributes, parse
from app.corpus.licences import LICENCES
from app.dicom.private_block import ATTRIBUTION, CREATOR, GROUP, LICENCE_ID, LICENCE_URL

_TITLES = {licence.id: f"{licence.id}: Creative Commons {licence.title}" for licence in LICENCES}


class Rights(NamedTuple):
    """What one instance says; None where it does not."""

    licence_id: str | None = None
    licence_url: str | None = None
    attribution: str | None = None


def rights_of(document: bytes) -> Rights:
    """Read the rights out of the DICOM JSON of an instance."""
    attributes = parse(document)
    for block in range(0x10, 0x100):  # PS3.5 7.8.1
        if _text(attributes, block) == CREATOR:
            return Rights(
                *(_text(attributes, block << 8 | number) for number in (LICENCE_ID, LICENCE_URL, ATTRIBUTION))
            )
    return Rights()


def _text(attributes: Attributes, element: int) -> str | None:
    values = attributes.get(f"{GROUP:04X}{element:04X}", {}).get("Value", [])
    return str(values[0]) if values and values[0] else None


def licence_text(files: Mapping[Rights, Sequence[str]]) -> str:
    """Return the text that goes with copies of files: their terms, and which files each holds for."""
    paragraphs = ["On which terms the files of this archive are published, as each of them says itself."]
    for rights, names in sorted(files.items(), key=lambda item: tuple(text or "~" for text in item[0])):
        if rights.licence_id is None:
            head = ["No licence is recorded in these files:"]
        else:
            head = [_TITLES.get(rights.licence_id, rights.licence_id)]
        if rights.licence_url:
            head.append(rights.licence_url)
        if rights.attribution:
            head.append(f"Attribution: {rights.attribution}")
        paragraphs.append("\n".join([*head, *(f"    {name}" for name in names)]))
    return "\n\n".join(paragraphs) + "\n"
