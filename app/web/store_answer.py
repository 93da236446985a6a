"""The answer to a store (PS3.18 10.5.3, Annex I.2): what became of each instance."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from app.archive.store import Result
from app.dicom.data_set import as_written
from app.dicom.tags import keyword
from app.dicom.xml_model import xml_document
from app.errors import (
    ArchiveError,
    CagedFailure,
    DuplicateInstance,
    Gone,
    NotPublic,
    StorageFailed,
    StorageFull,
    Unaddressable,
    Unreadable,
    UnsupportedSopClass,
    UnsupportedTransferSyntax,
)
from app.web.errors import RETRY_AFTER_S
from app.web.model_answer import ModelForm
from app.web.multipart import Part, multipart_response
from app.web.negotiation import DICOM_JSON, DICOM_XML

Attribute = dict[str, Any]


class OtherStudy(ArchiveError):
    """The instance belongs to another study than the one that the URL names."""


# Failure Reason (0008,1197): PS3.18 Table I.2-2; PS3.7 Annex C for the numbers that it leaves open.
FAILURE_REASON: dict[type[ArchiveError], int] = {
    StorageFull: 0xA700,  # out of resources
    OtherStudy: 0xA900,  # the data set does not match what was announced
    Unreadable: 0xC000,  # cannot understand
    UnsupportedTransferSyntax: 0xC122,  # referenced transfer syntax not supported
    UnsupportedSopClass: 0x0122,  # referenced SOP Class not supported
    DuplicateInstance: 0x0111,  # duplicate SOP Instance
    NotPublic: 0x0124,  # not authorized: it is not to be here, whoever brings it
    Gone: 0x0124,  # not authorized: only restoring it makes it welcome again
    Unaddressable: 0x0117,  # invalid object instance: its UIDs break the rules
    CagedFailure: 0x0110,  # processing failure
    StorageFailed: 0x0110,
}
# Warning Reason (0008,1196): PS3.18 Annex I.2; what comes first is told where several are true.
COERCED, DISCARDED, DOES_NOT_MATCH = 0xB000, 0xB006, 0xB007
WARNING_REASON = {
    COERCED: "An attribute did not agree with the picture that came as bulk data, or with the text it is "
    "written in, and was replaced; Original Attributes Sequence has it as it was.",
    DISCARDED: "Metadata held elements of the File Meta Information that are written anew for each file.",
    DOES_NOT_MATCH: "The data set is not what its SOP Class or its file say, or not what PS3.5 and PS3.10 "
    "ask for; it is kept as it is.",
}
MODIFYING_SYSTEM = "dermzoo"
COERCION = "COERCE"  # Reason for the Attribute Modification (0400,0565)

_WARNING_CHARACTERS = 800


def store_answer(
    results: Sequence[Result], service_root: str, form: ModelForm, status: HTTPStatus | None = None
) -> Response:
    """Return the Store Instances Response Module; `status` where it is not the results' own."""
    stored = [_stored(each, service_root) for each in results if each.entry and each.error is None]
    failures = [(_named(each), each.error) for each in results if each.error]
    failed = [_failed(named, error) for named, error in failures if named]
    others = [_failed({}, error) for named, error in failures if not named]
    studies = {each.entry.study_instance_uid for each in results if each.entry and each.error is None}
    answer: dict[str, Attribute] = {}
    if len(studies) == 1:
        answer["00081190"] = _value("UR", f"{service_root}/studies/{studies.pop()}")
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    response = _response(answer, form)
    response.status_code = status or _status(results)
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if warning := _warning(results):
        response.headers["Warning"] = f"299 {service_root}: {warning}"
    return response


def _response(answer: Mapping[str, Attribute], form: ModelForm) -> Response:
    # Exactly these media types: clients compare them as texts.
    if form == "json":
        return Response(orjson.dumps(answer), media_type=DICOM_JSON)
    content = xml_document(answer)
    if form == "xml":
        return Response(content, media_type=DICOM_XML)
    return multipart_response(DICOM_XML, [Part(DICOM_XML, [content], len(content))])


def _status(results: Sequence[Result]) -> HTTPStatus:
    """10.5.3.1: all stored, some stored or stored with warnings, none stored."""
    failures = sum(each.error is not None for each in results)
    if failures == len(results):
        return HTTPStatus.CONFLICT
    if failures or any(_warning_reason(each) for each in results):
        return HTTPStatus.ACCEPTED
    return HTTPStatus.OK


def _stored(result: Result, service_root: str) -> dict[str, Attribute]:
    entry, composed = result.entry, result.composed
    assert entry
    path = (
        f"/studies/{entry.study_instance_uid}/series/{entry.series_instance_uid}"
        f"/instances/{entry.sop_instance_uid}"
    )
    item = {**_named(result), "00081190": _value("UR", service_root + path)}
    if reason := _warning_reason(result):
        item["00081196"] = _value("US", reason)
    if composed and composed.replaced:
        item["04000561"] = {"vr": "SQ", "Value": [_original_attributes(composed.replaced)]}
    return dict(sorted(item.items()))


def _original_attributes(replaced: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return an item of Original Attributes Sequence (PS3.3 C.12.1.1.9)."""
    return {
        "04000550": {"vr": "SQ", "Value": [dict(sorted(replaced.items()))]},
        "04000562": _value("DT", datetime.now(UTC).strftime("%Y%m%d%H%M%S.%f+0000")),
        "04000563": _value("LO", MODIFYING_SYSTEM),
        "04000564": {"vr": "LO"},
        "04000565": _value("CS", COERCION),
    }


def _warning_reason(result: Result) -> int:
    composed = result.composed
    if composed and composed.replaced:
        return COERCED
    if composed and composed.discarded:
        return DISCARDED
    return DOES_NOT_MATCH if result.entry and result.entry.warnings else 0


def _failed(named: Mapping[str, Attribute], error: ArchiveError) -> dict[str, Attribute]:
    reason = next(FAILURE_REASON[kind] for kind in type(error).__mro__ if kind in FAILURE_REASON)
    return {**named, "00081197": _value("US", reason)}


def _named(result: Result) -> dict[str, Attribute]:
    """Return the references to the instance that a part was, if it is known which."""
    if result.entry:
        uids = (result.entry.instance["sop_class_uid"], result.entry.sop_instance_uid)
    elif result.composed and result.composed.reference:
        uids = result.composed.reference
    else:
        return {}
    return {"00081150": _value("UI", uids[0]), "00081155": _value("UI", uids[1])}


def _value(vr: str, value: str | int) -> Attribute:
    return {"vr": vr, "Value": [value]}


def _warning(results: Sequence[Result]) -> str:
    """Say in words what the numbers of the answer mean, as far as a header has room; ASCII, one line."""
    said = dict.fromkeys(words for each in results for words in _words(each))
    text = "; ".join(said).encode("ascii", "replace").decode()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _WARNING_CHARACTERS else text[:_WARNING_CHARACTERS] + "..."


def _words(result: Result) -> list[str]:
    if result.error:
        return [str(result.error)]
    composed = result.composed
    coerced = (
        [f"{keyword(tag)} {as_written(tag)} was replaced" for tag in composed.replaced] if composed else []
    )
    left_out = [f"{as_written(tag)} was left out" for tag in composed.discarded] if composed else []
    return [*coerced, *left_out, *(result.entry.warnings if result.entry else ())]
