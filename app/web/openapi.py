"""The API document: FastAPI's own for the operator's routes, and the DICOMweb resources from their table."""

from collections.abc import Iterable
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.archive.collections import SLUG
from app.archive.licences import LICENCE_IDS
from app.dicom.rendering_options import IccProfile
from app.web.collection_resources import COLLECTION_RESOURCES
from app.web.collection_resources import TRANSACTIONS as OF_COLLECTIONS
from app.web.dependencies import UID
from app.web.dicomweb import READ, RESOURCES, URI_SERVICE, Resource
from app.web.problem_forms import FORMS, PROBLEM_JSON
from app.web.relations import RELATIONS, Related
from app.web.search_parameters import FLAGS
from app.web.terms import COMMERCIAL_SAFE, LICENCE
from app.web.terms import PARAMETERS as TERMS
from app.web.transactions import TRANSACTIONS, Transaction

_PROBLEM = {
    "description": "What is wrong and what to do",
    "content": {one: {"schema": {}} for one in (PROBLEM_JSON, *FORMS)},
}
_TEXT = {"type": "string"}
_JSON: dict[str, Any] = {"schema": {}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
# What stands in a path, and in a few parameters; any other is text.
_UID = {"type": "string", "pattern": f"^{UID.pattern}$", "example": "1.2.840.10008.1.2.1"}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_LICENCES = "|".join(LICENCE_IDS)
_SCHEMAS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("study", "series", "instance", "transaction"), _UID),
    "frames": {"type": "string", "pattern": r"^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*$", "example": "1"},
    "path": {"type": "string", "example": "7FE00010"},
    "collection": {"type": "string", "pattern": f"^{SLUG.pattern}$", "example": "melanoma"},
    **dict.fromkeys(("limit", "offset", "since"), _COUNT),
    **dict.fromkeys((*FLAGS, COMMERCIAL_SAFE), _FLAG),
    LICENCE: {"type": "string", "pattern": f"^({_LICENCES})(,({_LICENCES}))*$", "example": "CC-0,CC-BY"},
    "quality": {"type": "integer", "minimum": 1, "maximum": 100},
    "iccprofile": {"type": "string", "enum": list(get_args(IccProfile))},
}
# Beside 200; those of a problem document are 4XX and 5XX.
_SUCCESSES = {
    "201": "Made",
    "202": "Accepted, or stored in part; the body says what",
    "204": "Nothing was found, or there is nothing to say",
    "206": "A part of it: the range asked for, or what can be sent",
    "304": "What the client has is current",
}


def describe(app: FastAPI, prefix: str) -> None:
    """Have the application's API document name the DICOMweb resources below `prefix`."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            for resource in (*RESOURCES, URI_SERVICE):
                below = "" if resource is URI_SERVICE else prefix
                operations = schema["paths"].setdefault(below + resource.path.replace(":path", ""), {})
                for method in resource.methods:
                    transaction = TRANSACTIONS[resource.endpoint]
                    operations[method.lower()] = _operation(resource, method, transaction, "DICOMweb")
            for resource in COLLECTION_RESOURCES:
                operations = schema["paths"].setdefault(resource.path, {})
                for method in resource.methods:
                    transaction = OF_COLLECTIONS[resource.endpoint]
                    operations[method.lower()] = _operation(resource, method, transaction, "Collections")
            for path, related in RELATIONS.items():
                schema["paths"][path] = {method.lower(): _relation(path, related, method) for method in READ}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way


def _operation(resource: Resource, method: str, transaction: Transaction, tag: str) -> dict[str, Any]:
    text = resource.endpoint.__doc__ or ""
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": text.partition(".")[0],
        "description": text,
        "operationId": f"{resource.endpoint.__name__}_{method}_{resource.path}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _SCHEMAS[name]}
            for name in resource.path_parameters
        ]
        + [_query(name, is_required=True) for name in transaction.required]
        + [_query(name, is_required=False) for name in transaction.parameters],
        "responses": _responses(transaction, method),
    }
    if transaction.takes:
        operation["requestBody"] = {"required": method == "POST", "content": _content(transaction.takes)}
    return operation


def _relation(path: str, related: Related, method: str) -> dict[str, Any]:
    text = related.__doc__ or ""
    name = path[path.index("{") + 1 : -1]
    content = {"content": _content(["application/json"])} if method != "HEAD" else {}
    return {
        "tags": ["Corpus"],
        "summary": text.partition(".")[0],
        "operationId": f"{related.__name__}_{method}",
        "parameters": [{"name": name, "in": "path", "required": True, "schema": _TEXT}]
        + [_query(name, is_required=False) for name in TERMS],
        "responses": {
            "200": {"description": "What belongs together", **content},
            "304": {"description": _SUCCESSES["304"]},
            "4XX": _PROBLEM,
            "5XX": _PROBLEM,
        },
    }


def _responses(transaction: Transaction, method: str) -> dict[str, Any]:
    given: dict[str, Any] = {"description": "The resource"}
    partial: dict[str, Any] = {"description": _SUCCESSES["206"]}
    if method != "HEAD":
        given["content"] = _content(transaction.gives)
        partial["content"] = _content((*transaction.gives, "multipart/byteranges"))
    others = {status: {"description": text} for status, text in _SUCCESSES.items()}
    return {"200": given, **others, "206": partial, "4XX": _PROBLEM, "5XX": _PROBLEM}


def _content(media_types: Iterable[str]) -> dict[str, Any]:
    types = dict.fromkeys(one.partition(";")[0] for one in media_types)
    return {one: _JSON if one.endswith("json") else _BINARY for one in types}


def _query(name: str, *, is_required: bool) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": is_required, "schema": _SCHEMAS.get(name, _TEXT)}
