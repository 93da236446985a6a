"""URLs in JSON and XML, found while the text passes: bounded memory, and the same result in whatever pieces.

The text is not parsed. What is looked for is told by its beginning, and ends where its own delimiters say; a
match in the whole text is therefore one as soon as its last byte is here, and not before. What may still
become one at the end of a piece is held back.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape, unescape

import orjson

from app.proxy.errors import UpstreamFailed
from app.proxy.urls import Translation

OPENED_BYTES = 32
HELD_BYTES = 64 * 1024  # no URL is longer, with what stands around it

_STRING = rb'[^"\\]*(?:\\.[^"\\]*)*'
_SPACE = rb"[ \t\r\n]*"


@dataclass(frozen=True)
class _Language:
    """How URLs stand in one language: what is found, and what may become it when more comes."""

    whole: re.Pattern[bytes]
    begun: re.Pattern[bytes]
    opened: re.Pattern[bytes]  # the same, where no more than OPENED_BYTES of it are there
    replace: Callable[[re.Match[bytes], Translation], bytes]


def _cut(*words: bytes) -> bytes:
    """Return an expression for every beginning of the words."""
    parts = {word[:length] for word in words for length in range(len(word) + 1)}
    return b"|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))


class TextRewriter:
    """Rewrites one text: feed() it in order, then finish()."""

    def __init__(self, language: _Language, translation: Translation) -> None:
        self._language, self._translation = language, translation
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is certain now; raises UpstreamFailed for what no server would send."""
        text, done, out = self._held + data, 0, []
        stop = self._begins(text, 0)
        for match in self._language.whole.finditer(text):
            if stop < done:
                stop = self._begins(text, done)
            if stop < match.start():
                break
            out += [text[done : match.start()], self._replace(match)]
            done = match.end()
        if stop < done:
            stop = self._begins(text, done)
        out.append(text[done:stop])
        self._held = text[stop:]
        _check_length(len(self._held))
        return b"".join(out)

    def finish(self) -> bytes:
        """Return the rest."""
        text, self._held = self._held, b""
        return self._language.whole.sub(self._replace, text)

    def _begins(self, text: bytes, start: int) -> int:
        """Return where something begins that may become a match, the end of the text if nothing does."""
        begun = self._language.begun.search(text, start)
        opened = self._language.opened.search(text, max(start, len(text) - OPENED_BYTES))
        return min(found.start() if found else len(text) for found in (begun, opened))

    def _replace(self, match: re.Match[bytes]) -> bytes:
        _check_length(len(match[0]))
        return self._language.replace(match, self._translation)


def _check_length(length: int) -> None:
    if length > HELD_BYTES:
        raise UpstreamFailed("The other server sends a URL without end.")


def _json_text(text: bytes) -> str:
    try:
        found = orjson.loads(b'"%b"' % text)
    except orjson.JSONDecodeError:
        return ""  # not JSON: it does not go out
    return str(found)


def _in_json(match: re.Match[bytes], translation: Translation) -> bytes:
    if match["bulk"] is not None:
        return b'"' + match["key"] + orjson.dumps(translation.reference(_json_text(match["bulk"])))
    if match["url"] is not None:
        return orjson.dumps(translation.any_url(_json_text(match["url"])))

    def value(one: re.Match[bytes]) -> bytes:
        return one["before"] + orjson.dumps(translation.reference(_json_text(one["url"])))

    return _JSON_VALUE.sub(value, match[0])


def _in_xml(match: re.Match[bytes], translation: Translation) -> bytes:
    def uri(one: re.Match[bytes]) -> bytes:
        return one["before"] + b'"' + _in_markup(translation.reference, one["uri"][1:-1]) + b'"'

    if match["bulk"] is not None:
        return _XML_URI.sub(uri, match[0])
    if match["url"] is not None:
        return match["value"] + _in_markup(translation.any_url, match["url"]) + b"<"
    return match["retrieve"] + _in_markup(translation.reference, match["reference"]) + b"<"


def _in_markup(translate: Callable[[str], str], text: bytes) -> bytes:
    return escape(translate(unescape(text.decode("utf-8", "replace")).strip())).encode()


_JSON_PARTS = {b"_": _SPACE, b"string": _STRING, b"slash": rb"(?:/|\\/|\\u002f)"}
_JSON_VALUE = re.compile(
    rb'(?P<before>[\[,]%(_)b)"(?P<url>%(string)b)"(?=%(_)b[\],])' % _JSON_PARTS, re.DOTALL
)
JSON = _Language(
    re.compile(
        rb'"(?:(?P<key>BulkDataURI"%(_)b:%(_)b)"(?P<bulk>%(string)b)"'
        rb'|00081190"%(_)b:%(_)b\{[^{}]*\}'
        rb'|(?P<url>https?:%(slash)b{2}%(string)b)")' % _JSON_PARTS,
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(
        rb'"(?:BulkDataURI"%(_)b(?::%(_)b(?:"%(string)b\\?)?)?'
        rb'|00081190"%(_)b(?::%(_)b(?:\{[^{}]*)?)?'
        rb"|https?:%(slash)b{2}%(string)b\\?"
        rb")\Z" % _JSON_PARTS,
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(
        rb'"(?:%(words)b|https?:%(slash)b?(?:%(cut)b))\Z'
        % (_JSON_PARTS | {b"cut": _cut(rb"\u002f"), b"words": _cut(b"BulkDataURI", b"00081190", b"https:")}),
        re.IGNORECASE,
    ),
    _in_json,
)

_XML_PARTS = {
    b"name": rb"(?:\w{1,32}:)?",
    b"quoted": rb"""[^<>"']*(?:(?:"[^"<]*"|'[^'<]*')[^<>"']*)*""",
}
# Orthanc writes it in capitals.
_XML_URI = re.compile(rb"""(?P<before>\suri\s*=\s*)(?P<uri>"[^"]*"|'[^']*')""", re.IGNORECASE)
XML = _Language(
    re.compile(
        rb"(?P<bulk><%(name)bBulkData\b%(quoted)b>)"
        rb"|(?P<retrieve><%(name)bDicomAttribute\b[^<>]*\btag\s*=\s*[\"']00081190[\"'][^<>]*>\s*<%(name)bValue\b[^<>]*>)"
        rb"(?P<reference>[^<]*)<"
        rb"|(?P<value><%(name)bValue\b[^<>]*>\s*)(?P<url>https?://[^<]*)<" % _XML_PARTS,
        re.DOTALL,
    ),
    re.compile(
        rb"<(?:[^<>]*"
        rb"|%(name)bBulkData\b%(quoted)b(?:\"[^\"<]*|'[^'<]*)?"
        rb"|%(name)bDicomAttribute\b[^<>]*\btag\s*=\s*[\"']00081190[\"'][^<>]*>\s*(?:<[^<>]*(?:>[^<]*)?)?"
        rb"|%(name)bValue\b[^<>]*>\s*(?:https?://[^<]*|%(cut)b))\Z"
        % (_XML_PARTS | {b"cut": _cut(b"https://", b"http://")}),
        re.DOTALL,
    ),
    re.compile(rb"<\Z"),
    _in_xml,
)
