"""Storage commitment over HTTP (PS3.18 chapter 13 and Annex J): the request, and the check for its result."""

import asyncio
import re
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.archive.commitment import Commitments, commitment_of, request_commitment
from app.catalog.commitments import Assessed, Commitment, SopReference
from app.dicom.media_type import parse_media_type
from app.dicom.xml_reader import read_xml
from app.errors import InvalidQuery, Unreadable
from app.web.dependencies import UID, archive_of, require_scope, run_read
from app.web.errors import RequestError
from app.web.model_answer import ModelForm, accepted_form, model_answer
from app.web.negotiation import DICOM_JSON, DICOM_XML

MOST_BODY_BYTES = 32 * 2**20
PATIENCE_S = 2.0  # a request that is settled within is answered at once, others by the result check
RETRY_AFTER_S = 5

REFERENCED_SOP_SEQUENCE, FAILED_SOP_SEQUENCE = "00081199", "00081198"
SOP_CLASS, SOP_INSTANCE, FAILURE_REASON = "00081150", "00081155", "00081197"

_NAME = "The result of a request for storage commitment"


async def request_storage_commitment(request: Request) -> Response:
    """Request storage commitment for instances: each file is read and compared first (13.4)."""
    principal = require_scope(request, "store")
    form = accepted_form(request, name=_NAME, is_one=True)
    transaction_uid = _transaction_uid(request)
    archive = archive_of(request)
    references = read_references(await _module(request))
    by = f"token {principal.token_id}"
    await asyncio.to_thread(request_commitment, archive, transaction_uid, references, by)
    settled = asyncio.wrap_future(_commitments(request).settle(transaction_uid))
    await asyncio.wait([settled], timeout=PATIENCE_S)
    if settled.done():
        settled.result()  # what went wrong is told now
    return await _answer(request, form, await asyncio.to_thread(commitment_of, archive, transaction_uid))


async def check_storage_commitment(request: Request) -> Response:
    """Retrieve the result of a request for storage commitment, 202 while there is none yet (13.5)."""
    require_scope(request, "store")
    form = accepted_form(request, name=_NAME, is_one=True)
    found = await run_read(request, commitment_of, archive_of(request), _transaction_uid(request))
    if found.result is None:
        _commitments(request).settle(found.transaction_uid)  # a process that ended may have left it
    return await _answer(request, form, found)


def read_references(content: Any) -> list[SopReference]:  # noqa: ANN401 whatever a stranger sends
    """Read a Storage Commitment Request Module, as DICOM JSON has it (Table J.1-1); raises InvalidQuery."""
    if isinstance(content, list) and len(content) == 1:
        content = content[0]  # as Annex F has it
    sequence = content.get(REFERENCED_SOP_SEQUENCE) if isinstance(content, dict) else None
    items = sequence.get("Value") if isinstance(sequence, dict) else None
    if not isinstance(items, list) or not items:
        raise InvalidQuery(
            "The body has no Referenced SOP Sequence (0008,1199) with the instances to commit to; a "
            "Referenced Study Sequence is not supported."
        )
    return [SopReference(_uid(item, SOP_CLASS), _uid(item, SOP_INSTANCE)) for item in items]


def _uid(item: object, tag: str) -> str:
    attribute = item.get(tag) if isinstance(item, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    if not (isinstance(values, list) and len(values) == 1 and isinstance(values[0], str)):
        raise InvalidQuery(f"An item of the Referenced SOP Sequence has no single value for {tag}.")
    if not UID.fullmatch(values[0]):
        raise InvalidQuery(f"{tag}: digits and dots, at most 64 characters, make a UID (PS3.5 9.1).")
    return values[0]


async def _answer(request: Request, form: ModelForm, found: Commitment) -> Response:
    """13.4.3, 13.5.3: the result, or when to ask for it."""
    if found.result is None:
        return Response(
            status_code=HTTPStatus.ACCEPTED,
            headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"},
        )
    answer = {}
    for tag, failed in ((FAILED_SOP_SEQUENCE, True), (REFERENCED_SOP_SEQUENCE, False)):
        items = [_item(each) for each in found.result if (each.failure_reason is not None) == failed]
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    body = orjson.dumps(answer)
    if form != "json":
        return await model_answer(request, form, [body])
    return Response(body, media_type=DICOM_JSON, headers={"Cache-Control": "no-store"})


def _item(assessed: Assessed) -> dict[str, dict[str, object]]:
    reference = assessed.reference
    item: dict[str, dict[str, object]] = {
        SOP_CLASS: {"vr": "UI", "Value": [reference.sop_class_uid]},
        SOP_INSTANCE: {"vr": "UI", "Value": [reference.sop_instance_uid]},
    }
    if assessed.failure_reason is not None:
        item[FAILURE_REASON] = {"vr": "US", "Value": [assessed.failure_reason]}
    return item


def _transaction_uid(request: Request) -> str:
    uid: str = request.path_params["transaction"]
    if not re.fullmatch(UID, uid):
        raise RequestError(
            HTTPStatus.BAD_REQUEST,
            "The transaction is not named by a UID: digits and dots, at most 64 characters (PS3.5 9.1).",
        )
    return uid


async def _module(request: Request) -> Any:  # noqa: ANN401 whatever a stranger sends
    """Return the body, JSON or XML, as DICOM JSON has it."""
    media_type, _ = parse_media_type(request.headers.get("content-type", ""))
    if media_type not in {DICOM_JSON, "application/json", DICOM_XML}:
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"A request for storage commitment is sent as {DICOM_JSON} or {DICOM_XML}.",
            {"Connection": "close"},
        )
    body = await _body(request)
    try:
        if media_type == DICOM_XML:
            return await asyncio.to_thread(archive_of(request).cage.run, read_xml, body)
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidQuery(f"The body is not JSON: {error}") from error
    except Unreadable as error:
        raise InvalidQuery(f"The body is not a Native DICOM Model: {error}") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A request for storage commitment has at most {MOST_BODY_BYTES} bytes.",
                {"Connection": "close"},
            )
    return bytes(body)


def _commitments(request: Request) -> Commitments:
    commitments: Commitments = request.app.state.commitments
    return commitments
