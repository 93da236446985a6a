"""Media ranges: the items of `Accept` and `accept=` (PS3.18 8.7; RFC 9110 12.5.1), read leniently.

What cannot be understood is passed over, as 8.7.7 says, and kept aside with the reason.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from app.dicom.media_types import ALIASES

MULTIPART = "multipart/related"
DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"

REMEMBERED_CHARACTERS = 512

# A parameter's value is a quoted string, or whatever stands before the next separator: clients leave out the
# quotes around a media type.
_PARAMETER = re.compile(r';\s*(?P<name>[^\s;=,"]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;,"]*))')
_RANGE = re.compile(r"\s*(?P<type>\*|[^\s;,/]+/[^\s;,]+)\s*")
_ITEMS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_ESCAPED = re.compile(r"\\(.)")
_QUALITY = re.compile(r"[0-9]{0,3}(\.[0-9]{0,9})?")
_SYNTAX = re.compile(r"\*|[0-9.]{1,64}")

# 8.7.4: rendered types, where they stand alone. Text is none here: it is also the type of a status report.
_RENDERED = frozenset({"image/jpeg", "image/gif", "image/png", "video/mpeg", "video/mp4", "application/pdf"})
_DICOM_TYPES = frozenset({DICOM, DICOM_JSON, DICOM_XML})


@dataclass(frozen=True)
class MediaRange:
    """One acceptable media type; `type` of a multipart is that of its parts.

    `spoken_for` are the types that it would cover if no more specific item of the same header did.
    """

    media_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0
    spoken_for: tuple[str, ...] = ()

    @cached_property
    def is_multipart(self) -> bool:
        """Whether several parts are asked for."""
        return self.media_type in {MULTIPART, "multipart/*"}

    @property
    def is_rendered(self) -> bool:
        """Whether a rendered image, video or document is named, alone as they are (8.7.4)."""
        return self.media_type in _RENDERED

    @cached_property
    def content_type(self) -> str:
        """The media type of the content: of the parts, if it is a multipart."""
        content = self.parameters.get("type", "*/*") if self.is_multipart else self.media_type
        return ALIASES.get(content, content)

    @property
    def transfer_syntax(self) -> str | None:
        """The transfer syntax asked for; `*` means as stored."""
        return self.parameters.get("transfer-syntax")

    def covers(self, media_type: str) -> bool:
        """Whether its content may be of a media type."""
        if not _matches(self.content_type, media_type):
            return False
        return not self.spoken_for or not any(_matches(other, media_type) for other in self.spoken_for)


@dataclass(frozen=True)
class Accepted:
    """What a header says: its ranges, best first, without those refused by q=0.

    `passed_over` are the items that make no sense, each with the reason. `is_empty`: there are no items.
    `mixed` are a DICOM and a rendered media type that are both named, if there are such (8.7.5).
    """

    ranges: tuple[MediaRange, ...]
    passed_over: tuple[str, ...]
    is_empty: bool
    mixed: tuple[str, str] | None


def parse_accept(headers: Iterable[str]) -> list[MediaRange]:
    """Return the media ranges of `Accept` headers by falling quality, without items that make no sense."""
    return list(read_accept(headers).ranges)


def read_accept(headers: Iterable[str]) -> Accepted:
    """Return what `Accept` headers say."""
    text = ",".join(headers)
    # Clients send the same few over and over; a long one is somebody's experiment.
    return _remembered(text) if len(text) <= REMEMBERED_CHARACTERS else _read(text)


def _read(text: str) -> Accepted:
    found: list[MediaRange] = []
    passed_over: list[str] = []
    for item in _ITEMS.findall(text):
        media_range = _item(item)
        if isinstance(media_range, MediaRange):
            found.append(media_range)
        elif item.strip():
            passed_over.append(f"{item.strip()[:80]!r} {media_range}")
    ranges = [replace(r, spoken_for=_more_specific(r, found)) for r in found if r.quality > 0]
    # At the same quality what is named goes before what a wild card stands for.
    ranges.sort(key=lambda r: (-r.quality, _breadth(r.content_type)))
    return Accepted(tuple(ranges), tuple(passed_over), not (found or passed_over), _mixed(ranges))


def _mixed(ranges: Sequence[MediaRange]) -> tuple[str, str] | None:
    dicom = next((r.content_type for r in ranges if r.content_type in _DICOM_TYPES), None)
    rendered = next((r.content_type for r in ranges if r.is_rendered), None)
    return (dicom, rendered) if dicom and rendered else None


_remembered = lru_cache(maxsize=512)(_read)


def _item(text: str) -> MediaRange | str:
    """Return one item, or why it is none."""
    main = _RANGE.match(text)
    if main is None:
        return "is no media type"
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(text, main.end()):
        name, quoted = match["name"].lower(), match["quoted"]
        if name in parameters:
            return f"has {name} more than once"  # RFC 6838 4.3
        parameters[name] = match["bare"].strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
    if not _SYNTAX.fullmatch(parameters.get("transfer-syntax", "*")):
        return "has a transfer-syntax that is neither one UID nor *"
    if "type" in parameters:
        parameters["type"] = parameters["type"].lower()
    media_type = "*/*" if main["type"] == "*" else main["type"].lower()
    return MediaRange(media_type, parameters, _quality(parameters.pop("q", "1")))


def _quality(text: str) -> float:
    # A quality that is none is a parameter that is not valid, and so ignored (8.7.7).
    return min(1.0, float(text)) if _QUALITY.fullmatch(text) and text.strip(".") else 1.0


def _more_specific(media_range: MediaRange, others: Iterable[MediaRange]) -> tuple[str, ...]:
    """Return the types of which another item says more precisely how welcome they are (RFC 9110 12.5.1)."""
    own, breadth = media_range.content_type, _breadth(media_range.content_type)
    return tuple(
        other.content_type
        for other in others
        if other.quality != media_range.quality
        and other.is_multipart == media_range.is_multipart
        and (other.quality > 0 or other.transfer_syntax in {None, "*"})
        and _breadth(other.content_type) < breadth
        and _matches(own, other.content_type)
    )


def _breadth(content_type: str) -> int:
    return 2 if content_type == "*/*" else 1 if content_type.endswith("/*") else 0


def _matches(pattern: str, media_type: str) -> bool:
    if pattern == media_type or pattern == "*/*":  # noqa: PLR1714 a set takes longer
        return True
    return pattern.endswith("/*") and media_type.startswith(pattern.removesuffix("*"))
