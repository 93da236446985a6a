"""The metadata of held instances, as DICOM JSON or as XML (PS3.18 10.4.1.1.2)."""

from starlette.requests import Request
from starlette.responses import Response

from app.archive.retrieve import retrieve_metadata as stored_metadata
from app.web.dependencies import archive_of, required_reference, run_read
from app.web.model_answer import accepted_form, model_answer
from app.web.terms import none_under, wanted_licences


async def retrieve_metadata(request: Request) -> Response:
    """Retrieve the metadata of all instances of a study, series or instance (10.4.1.1.2)."""
    reference = required_reference(request)
    form = accepted_form(request, name="Metadata", is_one=reference.sop_instance_uid is not None)
    wanted = wanted_licences(request.query_params.multi_items())
    documents = await run_read(request, stored_metadata, archive_of(request), reference, wanted)
    if wanted is not None and not documents:
        raise none_under(wanted)
    return await model_answer(request, form, documents)
