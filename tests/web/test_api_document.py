"""What the API document allows is asked, and what it does not allow: the answers are those that it tells."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.settings import SERVICE_PATH
from app.web.collection_resources import COLLECTION_RESOURCES
from app.web.dicomweb import READ, RESOURCES, URI_SERVICE
from app.web.relations import RELATIONS
from tests.web.conftest import Archive

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@schemathesis.serializer("multipart/related", "application/dicom", "application/dicom+xml")
def as_bytes(_context: object, value: object) -> bytes:
    """A body of a media type that is not about JSON: whatever the strategy has drawn."""
    return value if isinstance(value, bytes) else str(value).encode()


MOST_EXAMPLES = int(os.environ.get("API_EXAMPLES", "12"))
OPERATIONS = [
    *((SERVICE_PATH + one.path.replace(":path", ""), method) for one in RESOURCES for method in one.methods),
    *((URI_SERVICE.path, method) for method in URI_SERVICE.methods),
    *((one.path, method) for one in COLLECTION_RESOURCES for method in one.methods),
    *((path, method) for path in RELATIONS for method in READ),
    *((path, "GET") for path in ("/livez", "/readyz", "/metrics", "/quota")),
]


@pytest.fixture(scope="session")
def document(archive: Archive) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{archive.server.url}/openapi.json")


def test_every_operation_is_asked(document: schemathesis.BaseSchema) -> None:
    described = {(one.ok().path, one.ok().method.upper()) for one in document.get_all_operations()}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda one: one)
def test_answers_are_as_documented(
    document: schemathesis.BaseSchema, archive: Archive, path: str, method: str
) -> None:
    """PS3.18 8.5, 8.6.3 (checklist 14, 15)."""
    held = archive.held["p1"]
    places = {"study": held.study, "series": held.series, "instance": held.sop}
    places |= {"studyUID": held.study, "seriesUID": held.series, "objectUID": held.sop, "requestType": "WADO"}

    @settings(
        max_examples=MOST_EXAMPLES,
        derandomize="API_EXAMPLES" not in os.environ,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=document[path][method].as_strategy(), is_held=strategies.booleans())
    def ask(case: Case, is_held: bool) -> None:
        if is_held:
            for given_values in (case.path_parameters, case.query):
                given_values.update((name, places[name]) for name in given_values if name in places)
        case.call_and_validate(checks=CHECKS, timeout=60)

    ask()
