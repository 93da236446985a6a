"""On which terms an instance is published, as its private block says (corpus/isic/private.py)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.catalog.documents import Attributes, parse
from app.corpus.licences import LICENCES, Licence
from app.dicom.private_block import ATTRIBUTION, CREATOR, GROUP, LICENCE_ID, LICENCE_URL

ANONYMOUS = "Anonymous"

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


def rights_files(files: Mapping[Rights, Sequence[str]]) -> dict[str, str]:
    """Return the texts that go with copies of files, by name: ISIC's, and one that tells which is whose."""
    texts = {"LICENSE.txt": licence_text(files)}
    if named := attribution_text({rights: len(names) for rights, names in files.items()}):
        texts["attribution.txt"] = named
    stated = {rights.licence_id for rights in files}
    return texts | {f"licenses/{one.id}.txt": _terms_of(one) for one in LICENCES if one.id in stated}


def attribution_text(counts: Mapping[Rights, int]) -> str:
    """Return whom to name: who made most comes first, and last who is not to be named."""
    images: dict[str, int] = {}
    for rights, count in counts.items():
        if rights.attribution:
            images[rights.attribution] = images.get(rights.attribution, 0) + count
    ordered = sorted(images, key=lambda name: (name == ANONYMOUS, -images[name], name))
    return "".join(f"{name}\n\n" for name in ordered)


def _terms_of(licence: Licence) -> str:
    asks = [
        "Who made the images must be named with every copy, with this licence and its URL, a link to where "
        "they come from, and a note of what was changed: attribution.txt names them."
        if licence.needs_attribution
        else "Nobody has to be named; good practice is to keep the identifiers of the images.",
        "Commercial use is allowed."
        if licence.allows_commercial_use
        else "The images may not be used for commercial purposes.",
    ]
    head = f"Creative Commons {licence.title} ({licence.spdx_id})\n{licence.url}"
    return "\n\n".join([head, *asks, f"The legal code is at {licence.url}legalcode"]) + "\n"


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
