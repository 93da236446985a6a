"""Presentation states (PS3.3 C.11.10): which held images one is about, by its stored DICOM JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from app.archive.archive import Archive
from app.archive.retrieve import retrieve_licensed_instance, retrieve_metadata
from app.catalog.holdings import Held, Reference
from app.dicom.scan import ROOT
from app.errors import NotFound, NotLicensed

_REFERENCED_SERIES, _REFERENCED_IMAGES = "00081115", "00081140"
_SERIES_UID, _SOP_INSTANCE_UID, _FRAMES = "0020000E", "00081155", "00081160"
_MOST_REFERENCES = 1000


@dataclass(frozen=True, slots=True)
class Presented:
    """A frame (from 1) of a held image that a state says how to show."""

    image: Held
    number: int


def presented_images(archive: Archive, state: Held) -> tuple[list[Presented], int]:
    """Return what a state shows, and how many images it names; NotFound or NotLicensed without any."""
    study, scope = state.study_instance_uid, state.scope
    reference = Reference(study, state.series_instance_uid, state.sop_instance_uid)
    document = orjson.loads(retrieve_metadata(archive, reference)[0].replace(ROOT, b""))
    found, named, withheld = [], 0, None
    for series, instance, number in _references(document):
        named += 1
        if named > _MOST_REFERENCES:
            break
        try:
            image = retrieve_licensed_instance(archive, Reference(study, series, instance, scope=scope))
        except NotFound:
            continue
        except NotLicensed as error:
            withheld = error
            continue
        if image.frames:
            found.append(Presented(image, number))
    if not found and withheld:
        raise withheld
    if not found:
        raise NotFound(
            f"The presentation state {state.sop_instance_uid} names {named} images; none of them is "
            "held here, so there is nothing to apply it to."
        )
    return found, named


def _references(document: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    for series in _items(document, _REFERENCED_SERIES):
        for image in _items(series, _REFERENCED_IMAGES):
            series_uid, instance_uid = _first(series, _SERIES_UID), _first(image, _SOP_INSTANCE_UID)
            number = _first(image, _FRAMES)
            if isinstance(series_uid, str) and isinstance(instance_uid, str):
                yield series_uid, instance_uid, number if isinstance(number, int) and number > 0 else 1


def _items(attributes: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [item for item in attributes.get(tag, {}).get("Value", []) if isinstance(item, dict)]


def _first(attributes: dict[str, Any], tag: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    values = attributes.get(tag, {}).get("Value") or [None]
    try:
        return int(values[0]) if tag == _FRAMES else values[0]
    except (TypeError, ValueError):
        return None
