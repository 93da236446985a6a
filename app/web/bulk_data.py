"""Bulk data: the values that metadata name by a BulkDataURI (PS3.18 10.4.1.1.5)."""

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import open_stored, retrieve_instance
from app.catalog.holdings import Held
from app.dicom.frames import bulk_segment, count_frames
from app.dicom.media_types import OCTET_STREAM
from app.errors import NotFound
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.frames import decoded_frames, frame_forms, range_part, stored_frames
from app.web.locations import location_of
from app.web.multipart import multipart_response, single_part_response
from app.web.negotiation import accepted, not_acceptable
from app.web.representations import frame_form

PIXEL_DATA = "7FE00010"


async def retrieve_bulk_data(request: Request) -> Response:
    """Retrieve the value that a BulkDataURI of the metadata names (10.4.1.1.5)."""
    path = request.path_params["path"]
    archive = archive_of(request)
    held = await run_read(request, retrieve_instance, archive, required_reference(request))
    ranges = [media_range for media_range in accepted(request) if media_range.covers(OCTET_STREAM)]
    location = f"{location_of(service_root(request), held)}/bulkdata/{path}"
    if path == PIXEL_DATA and held.frames:
        return await _pixel_data(request, archive, held, location)
    segment = bulk_segment(held.bulk, path)
    if segment is None:
        raise NotFound(f"The instance {held.sop_instance_uid} has no bulk data at {path}.")
    if not ranges:
        raise not_acceptable(f"There is {OCTET_STREAM}, alone or in multipart/related.")
    part = range_part(OCTET_STREAM, open_stored(archive, held), (segment,), location)
    return multipart_response(OCTET_STREAM, [part]) if ranges[0].is_multipart else single_part_response(part)


async def _pixel_data(request: Request, archive: Archive, held: Held, location: str) -> Response:
    """Return all frames, one in a part: 8.7.3 allows no fragments between them."""
    numbers = list(range(1, count_frames(held.frames) + 1))
    form = next((form for r in accepted(request) if (form := frame_form(held, r))), None)
    if form is None:
        raise not_acceptable(frame_forms(held))
    if form == "stored":
        parts = stored_frames(archive, held, numbers, f"{location}#")
    else:
        await count_conversion(request)
        parts = await decoded_frames(archive, held, numbers, f"{location}#")
    return multipart_response(parts[0].content_type.partition(";")[0], parts)
