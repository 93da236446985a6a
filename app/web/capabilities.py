"""Retrieve Capabilities (PS3.18 8.9): what the service offers, as WADL or as JSON of the same content."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from xml.sax.saxutils import quoteattr

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.settings import SERVICE_PATH
from app.web.conditional import content_answer
from app.web.dicomweb import COLLECTION_PREFIX, RESOURCES, URI_SERVICE, Resource, path_parameters
from app.web.errors import problem
from app.web.negotiation import MediaRange, parse_accept
from app.web.transactions import TRANSACTIONS, Transaction

WADL = "application/vnd.sun.wadl+xml"
JSON = "application/json"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"


@dataclass(frozen=True, slots=True)
class Offered:
    """One resource, its path below the host, and what can be done with it, by method."""

    path: str
    variables: tuple[str, ...]
    methods: tuple[tuple[str, Transaction], ...]


class Capabilities:
    """Describes the resources below a base URL."""

    def __init__(self, base_url: str, more: Sequence[Offered] = ()) -> None:
        """Describe our own resources, and more."""
        self._base_url = base_url
        self._offered = (*offered_resources(), *more)

    def answer(self, request: Request) -> Response:
        """Answer OPTIONS of a path: what is offered at it and below; with If-None-Match perhaps 304."""
        offered = _at_and_below(self._offered, request.url.path)
        if not offered:
            return problem(
                HTTPStatus.NOT_FOUND, f"There is nothing at {request.url.path}; ask OPTIONS {SERVICE_PATH}."
            )
        media_type = _media_type(request)
        if media_type is None:
            return problem(HTTPStatus.NOT_ACCEPTABLE, f"Capabilities are available as {WADL} and {JSON}.")
        make = _wadl if media_type == WADL else _json
        answer = content_answer(request, make(self._base_url, offered), media_type)
        answer.headers["Allow"] = ", ".join([*_allowed(request.url.path, offered), "OPTIONS"])
        return answer


def _media_type(request: Request) -> str | None:
    given = request.query_params.getlist("accept") or request.headers.getlist("accept")
    ranges = parse_accept(given) or [MediaRange("*/*")]
    return next((one for each in ranges for one in (WADL, JSON) if each.covers(one)), None)


@lru_cache
def offered_resources() -> tuple[Offered, ...]:
    """Return every resource in order of path."""
    every = (URI_SERVICE, *(replace(one, path=SERVICE_PATH + one.path) for one in RESOURCES))
    of_each = (replace(one, path=COLLECTION_PREFIX + one.path) for one in every if one.is_of_collections)
    return offered_below("", (*every, *of_each), lambda one, _: TRANSACTIONS[one.endpoint])


def offered_below(
    prefix: str, resources: Iterable[Resource], transaction_of: Callable[[Resource, str], Transaction | None]
) -> tuple[Offered, ...]:
    """Return resources below a prefix, in order of path; a method without a transaction is not offered."""
    placed: dict[str, list[tuple[str, Transaction]]] = {}
    for resource in resources:
        path = prefix + resource.path.replace(":path", "")
        for method in resource.methods:
            transaction = transaction_of(resource, method)
            if transaction is not None:
                placed.setdefault(path, []).append((method, transaction))
    return tuple(
        Offered(path, tuple(path_parameters(path)), tuple(methods))
        for path, methods in sorted(placed.items())
    )


def _at_and_below(every: Sequence[Offered], path: str) -> tuple[Offered, ...]:
    asked = path.strip("/").split("/") if path.strip("/*") else []
    return tuple(one for one in every if _begins(one.path.strip("/").split("/"), asked))


def _begins(template: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether a path is that of a template, or the beginning of it."""
    if len(asked) > len(template):
        return False
    return all(part == name or name.startswith("{") for part, name in zip(asked, template, strict=False))


def _allowed(path: str, offered: Sequence[Offered]) -> list[str]:
    length = len(path.strip("/").split("/"))
    exact = [one for one in offered if len(one.path.strip("/").split("/")) == length]
    return list(dict.fromkeys(method for one in exact for method, _ in one.methods))


@lru_cache(maxsize=64)
def _json(base_url: str, offered: tuple[Offered, ...]) -> bytes:
    resources = [
        {
            "path": one.path,
            "variables": one.variables,
            "methods": [
                {
                    "name": method,
                    "transaction": transaction.name,
                    "parameters": [*transaction.required, *transaction.parameters],
                    "required": transaction.required,
                    "takes": transaction.takes,
                    "gives": transaction.gives,
                }
                for method, transaction in one.methods
            ],
        }
        for one in offered
    ]
    return orjson.dumps({"base": base_url, "resources": resources})


@lru_cache(maxsize=64)
def _wadl(base_url: str, offered: tuple[Offered, ...]) -> bytes:
    """Return the Web Application Description (W3C member submission of 2009)."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<application xmlns="{_NAMESPACE}" xmlns:xs="http://www.w3.org/2001/XMLSchema">',
        f"<resources base={quoteattr(base_url + '/')}>",
    ]
    for one in offered:
        lines.append(f"<resource path={quoteattr(one.path.lstrip('/'))}>")
        lines += [_parameter(name, "template", is_required=True) for name in one.variables]
        for method, transaction in one.methods:
            lines += _method(method, transaction)
        lines.append("</resource>")
    return "\n".join([*lines, "</resources>", "</application>", ""]).encode()


def _method(name: str, transaction: Transaction) -> list[str]:
    if name == "HEAD":  # takes what GET does, and gives the head of it
        return [f"<method name={quoteattr(name)}><doc title={quoteattr(transaction.name)}/></method>"]
    parameters = [_parameter(one, "query", is_required=True) for one in transaction.required]
    parameters += [_parameter(one, "query", is_required=False) for one in transaction.parameters]
    return [
        f"<method name={quoteattr(name)}><doc title={quoteattr(transaction.name)}/>",
        "<request>",
        *parameters,
        *(_representation(one) for one in transaction.takes),
        "</request>",
        "<response>",
        *(_representation(one) for one in transaction.gives),
        "</response>",
        "</method>",
    ]


def _parameter(name: str, style: str, *, is_required: bool) -> str:
    required = ' required="true"' if is_required else ""
    return f'<param name={quoteattr(name)} style="{style}" type="xs:string"{required}/>'


def _representation(media_type: str) -> str:
    return f"<representation mediaType={quoteattr(re.sub(' +', ' ', media_type))}/>"
