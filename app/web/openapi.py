"""The API document: FastAPI's own for the operator's routes, and the DICOMweb resources from their table."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.dicomweb import RESOURCES, URI_SERVICE, Resource

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
    operation: dict[str, Any] = {
        "tags": ["DICOMweb"],
        "summary": text.partition(".")[0],
        "description": text,
        "operationId": f"{resource.endpoint.__name__}_{method}_{resource.path}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in resource.path_parameters
        ],
        "responses": {"200": {"description": "The resource"}, "4XX": _PROBLEM, "5XX": _PROBLEM},
    }
    if method == "POST":
        binary = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {"multipart/related": binary}}
    return operation
