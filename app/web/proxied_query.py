"""What of a query another server is asked with, and its answer kept by: nothing that means nothing there."""

from urllib.parse import unquote_plus

from starlette.requests import Request

from app.proxy.asked import Kind
from app.web.rendered_parameters import NAMES as RENDERED
from app.web.search_parameters import NEGOTIATED
from app.web.terms import PARAMETERS as TERMS

_OF_RETRIEVALS = frozenset({*NEGOTIATED, *RENDERED, *TERMS})


def proxied_query(request: Request, kind: Kind) -> str:
    """Return the query of a request, of a retrieval without parameters that retrievals do not have.

    Else anybody could have the same object fetched again and again, and kept under as many names. Searches
    have attributes for parameters; what is named by a BulkDataURI has those that the other server gave it.
    """
    query = request.url.query
    if not query or kind == "search" or "path" in request.path_params:
        return query
    return "&".join(
        pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) in _OF_RETRIEVALS
    )
