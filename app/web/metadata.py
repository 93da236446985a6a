"""The metadata of held instances as DICOM JSON (PS3.18 10.4.1.1.2)."""

from starlette.requests import Request
from starlette.responses import Response

from app.archive.retrieve import retrieve_metadata
from app.web.conditional import content_answer
from app.web.dependencies import archive_of, required_reference, run_read, service_root
from app.web.locations import asked_location
from app.web.negotiation import DICOM_JSON, require_json


async def retrieve_metadata_json(request: Request) -> Response:
    """Retrieve the metadata of all instances of a study, series or instance as DICOM JSON (10.4.1.1.2)."""
    require_json(request, name="Metadata")
    documents = await run_read(request, retrieve_metadata, archive_of(request), required_reference(request))
    body = b"[" + b",".join(documents).replace(b"\x01", service_root(request).encode()) + b"]"
    return content_answer(request, body, DICOM_JSON, asked_location(request))
