"""A problem document (RFC 9457) in the form that the client reads: JSON, HTML or plain text."""

from collections.abc import Callable, Sequence
from html import escape
from http import HTTPStatus
from typing import Any

import orjson

from app.web.media_ranges import parse_accept

Told = dict[str, Any]  # type, title, status, detail; alternatives: text, link

PROBLEM_JSON = "application/problem+json"
HTML_HEADERS = {"Content-Security-Policy": "default-src 'none'"}


def in_form(told: Told, accept: Sequence[str]) -> tuple[str, bytes]:
    """Return the value of Content-Type and the bytes, by the lines of Accept."""
    media_type = readable(list(accept), FORMS)
    if media_type is None:
        return PROBLEM_JSON, orjson.dumps(told)
    return f"{media_type}; charset=utf-8", FORMS[media_type](told)


def readable(accept: list[str], forms: dict[str, Any]) -> str | None:
    """Return which of the forms the client names with the highest quality; None where it is JSON, or none."""
    for media_range in parse_accept(accept):
        if media_range.is_multipart:
            continue
        if media_range.media_type in forms:
            return media_range.media_type
        if media_range.media_type.endswith(("/json", "+json")):
            break
    return None


def _as_html(told: Told) -> bytes:
    title = f"{told['status']} {HTTPStatus(told['status']).phrase}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<h1>{title}</h1>\n<p>{escape(told['detail'])}</p>\n{alternatives_html(told)}</html>\n"
    ).encode()


def alternatives_html(told: Told) -> str:
    """Return what else there is, as paragraphs."""
    text, link = (escape(told.get("alternatives", {}).get(name, "")) for name in ("text", "link"))
    shown = [f"<p>{text}</p>\n"] if text else []
    if link:
        shown.append(f'<p><a href="{link}">{link}</a></p>\n')
    return "".join(shown)


def _as_text(told: Told) -> bytes:
    lines = [f"{told['status']} {HTTPStatus(told['status']).phrase}", told["detail"]]
    return "\n".join([*lines, *told.get("alternatives", {}).values(), ""]).encode()


# The forms of a refusal that stand beside JSON, by their media type.
FORMS: dict[str, Callable[[Told], bytes]] = {"text/html": _as_html, "text/plain": _as_text}
