"""Bodies as they pass: texts and the headers of parts lead to us, whatever is an image stays as it is."""

import re
from typing import Protocol

from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import (
    Event,
    MalformedMultipart,
    MultipartReader,
    PartBegins,
    PartData,
)
from app.proxy.errors import UpstreamFailed
from app.proxy.text_rewriting import JSON, XML, TextRewriter
from app.proxy.urls import Translation

MOST_PARTS = 10_000_000  # a study may have any number; none is held

# Of a part, and how they are written: viewers look for `Content-Type` spelled exactly so.
_PART_FIELDS = {
    "content-type": "Content-Type",
    "content-location": "Content-Location",
    "content-range": "Content-Range",
    "content-id": "Content-ID",
    "content-encoding": "Content-Encoding",
}


class Rewriter(Protocol):
    """Takes a body in order; what it returns is the body for our client."""

    def feed(self, data: bytes) -> bytes:
        """Return what is certain now; raises UpstreamFailed for a body that cannot be right."""

    def finish(self) -> bytes:
        """Return the rest; raises UpstreamFailed unless the body is complete, as far as it shows."""


class _Text:
    """A JSON or XML text, with a look at its end: one that was cut does not close what it opened."""

    def __init__(self, inner: TextRewriter) -> None:
        self._inner = inner
        self._first = self._last = b""

    def feed(self, data: bytes) -> bytes:
        stripped = data.strip()
        self._first = self._first or stripped.removeprefix(b"\xef\xbb\xbf")[:1]
        self._last = stripped[-1:] or self._last
        return self._inner.feed(data)

    def finish(self) -> bytes:
        if self._last != _CLOSED_BY.get(self._first, self._last):
            raise UpstreamFailed("The answer of the other server ends before its end.")
        return self._inner.finish()


class _Multipart:
    """A multipart with the same boundary, parts and contents, and the URLs in it ours."""

    def __init__(self, boundary: str, translation: Translation) -> None:
        self._reader = MultipartReader(boundary, MOST_PARTS)
        self._boundary, self._translation = boundary.encode(), translation
        self._content: Rewriter | None = None
        self._is_in_part = False

    def feed(self, data: bytes) -> bytes:
        try:
            return b"".join(self._event(event) for event in self._reader.feed(data))
        except MalformedMultipart as error:
            raise UpstreamFailed(f"The other server sends a multipart that is none: {error}") from error

    def finish(self) -> bytes:
        try:
            rest = b"".join(self._event(event) for event in self._reader.finish())
        except MalformedMultipart as error:
            raise UpstreamFailed(f"The answer of the other server ends before its end: {error}") from error
        return rest + b"--" + self._boundary + b"--\r\n"

    def _event(self, event: Event) -> bytes:
        if isinstance(event, PartData):
            return bytes(event.data) if self._content is None else self._content.feed(bytes(event.data))
        if isinstance(event, PartBegins):
            return self._begin(event.headers)
        return (b"" if self._content is None else self._content.finish()) + b"\r\n"

    def _begin(self, headers: dict[str, str]) -> bytes:
        self._content = rewriter_of(headers.get("content-type", ""), self._translation)
        lines = [b"--" + self._boundary]
        for field, spelled in _PART_FIELDS.items():
            value = headers.get(field)
            if field == "content-location" and value is not None:
                value = self._translation.reference(value)
            if value:
                lines.append(f"{spelled}: {value}".encode("latin-1"))
        return b"\r\n".join(lines) + b"\r\n\r\n"


def rewriter_of(content_type: str, translation: Translation) -> Rewriter | None:
    """Return what rewrites bodies of a type, None where the bytes stay; raises UpstreamFailed."""
    media_type, parameters = parse_media_type(content_type)
    if media_type.startswith("multipart/"):
        try:
            return _Multipart(parameters.get("boundary", ""), translation)
        except MalformedMultipart as error:
            raise UpstreamFailed("The other server sends a multipart without a boundary.") from error
    text = _TEXTS.get(re.split(r"[/+]", media_type)[-1])
    return _Text(TextRewriter(text, translation)) if text else None


# By the end of the media type: application/dicom+json and application/json are both JSON.
_TEXTS = {"json": JSON, "xml": XML}
_CLOSED_BY = {b"[": b"]", b"{": b"}", b"<": b">"}
