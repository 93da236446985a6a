"""The API document: FastAPI's own for the operator's routes, and the DICOMweb resources from their table."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.dicomweb import RESOURCES, URI_SERVICE, Resource
from app.web.transactions import TRANSACTIONS

_PROBLEM = {
    "description": "What is wrong and what to do",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
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
                    operations[method.lower()] = _operation(resource, method)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way


def _operation(resource: Resource, method: str) -> dict[str, Any]:
    text = resource.endpoint.__doc__ or ""
    transaction = TRANSACTIONS[resource.endpoint]
    operation: dict[str, Any] = {
        "tags": ["DICOMweb"],
        "summary": text.partition(".")[0],
        "description": text,
        "operationId": f"{resource.endpoint.__name__}_{method}_{resource.path}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in resource.path_parameters
        ]
        + [_query(name, is_required=True) for name in transaction.required]
        + [_query(name, is_required=False) for name in transaction.parameters],
        "responses": {"200": {"description": "The resource"}, "4XX": _PROBLEM, "5XX": _PROBLEM},
    }
    if transaction.takes:
        binary = {"schema": {"type": "string", "format": "binary"}}
        content = {media_type.partition(";")[0]: binary for media_type in transaction.takes}
        operation["requestBody"] = {"required": method == "POST", "content": content}
    return operation


def _query(name: str, *, is_required: bool) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": is_required, "schema": {"type": "string"}}
