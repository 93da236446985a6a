"""Whether text in UTF-8, the only character set that is supplied, will do (PS3.18 8.3.3.2, 8.8)."""

import re
from encodings.aliases import aliases  # a plain table: looking a codec up would remember every name tried
from http import HTTPStatus

from starlette.requests import Request

from app.web.errors import RequestError
from app.web.media_ranges import MediaRange

_UTF_8 = frozenset({"utf_8", "utf8", "csutf8", "unicode_1_1_utf_8", "iso_ir_192"})
_ITEM = re.compile(r"\s*(?:\"([^\"]*)\"|([!#$%&'*+.^_`|~\w -]+?))\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.ASCII)
_DEFINED_TERM = re.compile(r"iso_(2022_)?ir_[0-9]{1,3}")
_SEPARATORS = re.compile(r"[ -]")


def takes_utf_8(request: Request, media_range: MediaRange) -> bool:
    """Whether the client takes UTF-8 in this media type (8.8.5).

    What the media type says goes before the parameter `charset`, and that before `Accept-Charset`. Raises
    RequestError (400) when the parameter is malformed or names no character set.
    """
    named = media_range.parameters.get("charset")
    if named is not None:
        return _normal(named) in _UTF_8 | {"*"}
    asked = _parameter(request)
    if asked is None:
        header = request.headers.getlist("accept-charset")
        asked = _weights(",".join(header)) if header else None
    if not asked:
        return True
    own = [quality for name, quality in asked.items() if name in _UTF_8]
    return max(own or [asked.get("*", 0.0)]) > 0


def check_charset(request: Request) -> None:
    """Raise RequestError when the parameter `charset` is malformed, whatever is answered (8.3.3.2)."""
    if "charset" in request.query_params:
        _parameter(request)


def _parameter(request: Request) -> dict[str, float] | None:
    if "charset" not in request.query_params:
        return None
    given = request.query_params.getlist("charset")
    if len(given) > 1:
        raise _malformed("the parameter is given more than once")
    for item in given[0].split(","):
        if not _ITEM.fullmatch(item):
            raise _malformed(f"{item[:40]!r} is not the name of a character set")
    asked = _weights(given[0])
    if not asked:
        raise _malformed("there is no such character set")
    return asked


def _weights(text: str) -> dict[str, float]:
    """Return the character sets that exist and how welcome they are; the rest is passed over (8.8.1)."""
    items = (_ITEM.fullmatch(item) for item in text.split(","))
    named = ((_normal(item[1] or item[2] or ""), item[3]) for item in items if item)
    return {name: _quality(quality) for name, quality in named if _exists(name)}


def _quality(text: str | None) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 1.0


def _normal(name: str) -> str:
    return _SEPARATORS.sub("_", name.strip().lower())


def _exists(name: str) -> bool:
    return (
        name in _UTF_8 | {"*"}
        or name in aliases
        or name in _CODECS
        or _DEFINED_TERM.fullmatch(name) is not None
    )


_CODECS = frozenset(aliases.values())


def _malformed(reason: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, f"charset: {reason}. UTF-8 is what is supplied.")
