"""The answer to a store (PS3.18 10.5.3, Annex I.2): what became of each instance."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from app.archive.store import Result
from app.catalog.entry import Entry
from app.errors import (
    ArchiveError,
    CagedFailure,
    DuplicateInstance,
    Gone,
    StorageFailed,
    StorageFull,
    Unaddressable,
    Unreadable,
)
from app.web.negotiation import DICOM_JSON

Attribute = Mapping[str, Any]


class OtherStudy(ArchiveError):
    """The instance belongs to another study than the one that the URL names."""


# Failure Reason (0008,1197): PS3.18 Table I.2-2; PS3.7 Annex C for the numbers that it leaves open.
FAILURE_REASON: dict[type[ArchiveError], int] = {
    StorageFull: 0xA700,  # out of resources
    OtherStudy: 0xA900,  # the data set does not match what was announced
    Unreadable: 0xC000,  # cannot understand
    DuplicateInstance: 0x0111,  # duplicate SOP Instance
    Gone: 0x0124,  # not authorized: only restoring it makes it welcome again
    Unaddressable: 0x0117,  # invalid object instance: its UIDs break the rules
    CagedFailure: 0x0110,  # processing failure
    StorageFailed: 0x0110,
}
DATA_SET_DOES_NOT_MATCH = 0xB007  # Warning Reason (0008,1196)

_WARNING_CHARACTERS = 800


def store_answer(results: Sequence[Result], service_root: str, status: HTTPStatus | None = None) -> Response:
    """Return the Store Instances Response Module as DICOM JSON; `status` where it is not the results' own."""
    stored = [_stored(each.entry, service_root) for each in results if each.entry and each.error is None]
    failed = [_failed(each.entry, each.error) for each in results if each.entry and each.error]
    others = [_failed(None, each.error) for each in results if each.entry is None and each.error]
    studies = {each.entry.study_instance_uid for each in results if each.entry and each.error is None}
    answer: dict[str, Attribute] = {}
    if len(studies) == 1:
        answer["00081190"] = _value("UR", f"{service_root}/studies/{studies.pop()}")
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    body = orjson.dumps(answer)
    # Exactly this media type: clients compare it as a text.
    response = Response(body, status or _status(results), media_type=DICOM_JSON)
    if warning := _warning(results):
        response.headers["Warning"] = f"299 {service_root}: {warning}"
    return response


def _status(results: Sequence[Result]) -> HTTPStatus:
    """10.5.3.1: all stored, some stored or stored with warnings, none stored."""
    failures = sum(each.error is not None for each in results)
    if failures == len(results):
        return HTTPStatus.CONFLICT
    if failures or any(each.entry and each.entry.warnings for each in results):
        return HTTPStatus.ACCEPTED
    return HTTPStatus.OK


def _stored(entry: Entry, service_root: str) -> dict[str, Attribute]:
    path = (
        f"/studies/{entry.study_instance_uid}/series/{entry.series_instance_uid}"
        f"/instances/{entry.sop_instance_uid}"
    )
    item = {**_reference(entry), "00081190": _value("UR", service_root + path)}
    if entry.warnings:
        item["00081196"] = _value("US", DATA_SET_DOES_NOT_MATCH)
    return dict(sorted(item.items()))


def _failed(entry: Entry | None, error: ArchiveError) -> dict[str, Attribute]:
    reason = next(FAILURE_REASON[kind] for kind in type(error).__mro__ if kind in FAILURE_REASON)
    return {**(_reference(entry) if entry else {}), "00081197": _value("US", reason)}


def _reference(entry: Entry) -> dict[str, Attribute]:
    return {
        "00081150": _value("UI", entry.instance["sop_class_uid"]),
        "00081155": _value("UI", entry.sop_instance_uid),
    }


def _value(vr: str, value: str | int) -> Attribute:
    return {"vr": vr, "Value": [value]}


def _warning(results: Sequence[Result]) -> str:
    """Say in words what the numbers of the answer mean, as far as a header has room; ASCII, one line."""
    said: dict[str, None] = {}
    for each in results:
        for words in [str(each.error)] if each.error else each.entry.warnings if each.entry else ():
            said[words] = None
    text = "; ".join(said).encode("ascii", "replace").decode()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _WARNING_CHARACTERS else text[:_WARNING_CHARACTERS] + "..."
