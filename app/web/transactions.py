"""What each endpoint takes and gives, for the capabilities (PS3.18 8.9): an entry for each of the resources.

Media types of pixels are all of Table 8.7.3-3; which of them there are depends on what is held.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.archive.thumbnails import THUMBNAIL_TYPES
from app.catalog.attributes import ATTRIBUTES, matched_from
from app.dicom.matching import Level
from app.dicom.media_types import OCTET_STREAM, TRANSFER_SYNTAXES
from app.dicom.rendered_kinds import RENDERED_TYPES
from app.web import (
    bulk_data,
    changes,
    commitment,
    frames,
    metadata,
    qido,
    rendered,
    stow,
    thumbnail,
    uri_service,
    wado,
    withdraw,
)
from app.web.archive_zip import ZIP
from app.web.media_ranges import DICOM, DICOM_JSON, DICOM_XML
from app.web.rendered_parameters import NAMES as RENDERED_PARAMETERS
from app.web.search_parameters import SINGLE
from app.web.store_body import STORED_TYPES
from app.web.terms import PARAMETERS as TERMS
from app.web.uri_parameters import OPTIONAL, REQUIRED


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction: its name in the standard, or that of an extension; parameters and media types."""

    name: str
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()


def multipart(media_type: str) -> str:
    """Return the multipart with parts of a media type."""
    return f'multipart/related; type="{media_type}"'


_NEGOTIATED = ("accept", "charset")
_MODEL = (DICOM_JSON, multipart(DICOM_XML))
_PIXELS = tuple(dict.fromkeys((OCTET_STREAM, *TRANSFER_SYNTAXES)))
_BULK = (*(multipart(one) for one in _PIXELS), *_PIXELS)
_ALONE = tuple(dict.fromkeys(one for types in RENDERED_TYPES.values() for one in types))
_SHOWN = (*_ALONE, *(multipart(one) for one in _ALONE))
_SMALL = (*THUMBNAIL_TYPES, *(multipart(one) for one in THUMBNAIL_TYPES))


def _search(name: str, level: Level) -> Transaction:
    keys = tuple(one.name for one in ATTRIBUTES if matched_from(one.tag) <= level)
    return Transaction(name, (*_NEGOTIATED, "includefield", *sorted(SINGLE), *TERMS, *keys), gives=_MODEL)


TRANSACTIONS: dict[Callable[[Request], Awaitable[Response]], Transaction] = {
    qido.search_for_studies: _search("Search for Studies", Level.STUDY),
    qido.search_for_series: _search("Search for Series", Level.SERIES),
    qido.search_for_instances: _search("Search for Instances", Level.INSTANCE),
    wado.retrieve_dicom: Transaction(
        "Retrieve DICOM instances", (*_NEGOTIATED, *TERMS), gives=(multipart(DICOM), DICOM, ZIP)
    ),
    metadata.retrieve_metadata: Transaction("Retrieve metadata", (*_NEGOTIATED, *TERMS), gives=_MODEL),
    frames.retrieve_frames: Transaction("Retrieve frames", (*_NEGOTIATED, *TERMS), gives=_BULK),
    bulk_data.retrieve_bulk_data: Transaction("Retrieve bulk data", (*_NEGOTIATED, *TERMS), gives=_BULK),
    bulk_data.retrieve_all_bulk_data: Transaction("Retrieve bulk data", (*_NEGOTIATED, *TERMS), gives=_BULK),
    bulk_data.retrieve_pixel_data: Transaction("Retrieve pixel data", (*_NEGOTIATED, *TERMS), gives=_BULK),
    rendered.retrieve_rendered: Transaction(
        "Retrieve rendered", (*_NEGOTIATED, *RENDERED_PARAMETERS, *TERMS), gives=_SHOWN
    ),
    thumbnail.retrieve_thumbnail: Transaction(
        "Retrieve thumbnail", (*_NEGOTIATED, "viewport", *TERMS), gives=_SMALL
    ),
    stow.store_instances: Transaction(
        "Store instances",
        _NEGOTIATED,
        takes=(*(multipart(one) for one in STORED_TYPES), *STORED_TYPES),
        gives=(DICOM_JSON, DICOM_XML, multipart(DICOM_XML)),
    ),
    commitment.request_storage_commitment: Transaction(
        "Request storage commitment", takes=(DICOM_JSON, DICOM_XML), gives=(DICOM_JSON, DICOM_XML)
    ),
    commitment.check_storage_commitment: Transaction(
        "Check storage commitment", gives=(DICOM_JSON, DICOM_XML)
    ),
    changes.follow_changes: Transaction(
        "Follow changes (extension)",
        tuple(sorted(changes.PARAMETERS)),
        gives=tuple(changes.MEDIA_TYPES),
    ),
    withdraw.withdraw_instances: Transaction(
        "Withdraw instances (extension)",
        ("reason",),
        takes=("application/json",),
        gives=("application/json",),
    ),
    uri_service.retrieve_by_uri: Transaction(
        "URI Service: retrieve an instance", (*OPTIONAL, *TERMS), REQUIRED, gives=(*_ALONE, DICOM, DICOM_JSON)
    ),
}
