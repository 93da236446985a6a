"""Reading a multipart body as it arrives (RFC 2046 5.1, RFC 2387; PS3.18 8.6.1.2.1).

A push parser: feed() takes the bytes as the network brings them and yields what they complete. It holds back
no more than a boundary or one part's header, whatever the parts' sizes, and looks at every byte a fixed
number of times.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from app.errors import InvalidQuery

PARTS = 10_000
HEADER_BYTES = 16 * 1024
PREAMBLE_BYTES = 64 * 1024  # a body whose boundary is not the announced one is refused early
BOUNDARY_CHARACTERS = 70  # RFC 2046 5.1.1
PADDING_BYTES = 1024  # spaces and tabs after a boundary

_BOUNDARY = re.compile(r"[\x20-\x7e]{0,69}[\x21-\x7e]")
_AFTER = re.compile(rb"(--)?[ \t]{0,%d}(\r\n)?" % PADDING_BYTES)
_AFTER_LAST = re.compile(rb"--[ \t]*\r?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class MalformedMultipart(InvalidQuery):
    """The body is not what its Content-Type says, or is larger than we allow."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The header of a part; names in lower case."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the content of the part that began last."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part that began last is complete."""


Event = PartBegins | PartData | PartEnds


class _State(Enum):
    PREAMBLE = auto()
    HEADER = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class _Follows(Enum):
    """What comes after bytes that look like a delimiter."""

    PART = auto()
    END = auto()
    CONTENT = auto()  # they are content that begins like one
    UNKNOWN = auto()  # more bytes must tell


# what was found, where reading goes on, and whether it can go on with the bytes that are there
_Step = tuple[list[Event], int, bool]


class MultipartReader:
    """Reads one body; feed() it in order, then finish()."""

    def __init__(self, boundary: str, most_parts: int = PARTS) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedMultipart(
                f"A boundary is 1 to {BOUNDARY_CHARACTERS} printable ASCII characters, the last not a space."
            )
        self._boundary = boundary
        self._most_parts = most_parts
        self._delimiter = b"\r\n--" + boundary.encode()
        self._state = _State.PREAMBLE
        self._rest = (
            b"\r\n"  # a delimiter begins with a line end, and the body's first line has none before it
        )
        self._skip = 0
        self._parts = 0
        self._preamble_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what `data` completes; raises MalformedMultipart."""
        data, position, has_more = self._rest + data, 0, True
        while has_more and self._state != _State.EPILOGUE:
            step = self._read_header if self._state == _State.HEADER else self._read_content
            events, position, has_more = step(data, position)
            yield from events
        self._rest = b"" if self._state == _State.EPILOGUE else data[position:]

    def finish(self) -> list[Event]:
        """Return what the body's end completes; raises MalformedMultipart unless its final boundary came."""
        if self._state == _State.EPILOGUE:
            return []
        last = self._rest.removeprefix(self._delimiter)
        if last != self._rest and _AFTER_LAST.fullmatch(last):
            return [PartEnds()] if self._state == _State.CONTENT else []
        place = {
            _State.PREAMBLE: "before its first",
            _State.HEADER: "in the header of a part, before its final",
        }
        where = place.get(self._state, "before its final")
        raise MalformedMultipart(f"The body ends {where} boundary, --{self._boundary}.")

    def _read_header(self, data: bytes, start: int) -> _Step:
        """Read from the line end of a delimiter to the empty line."""
        end = data.find(b"\r\n\r\n", start)
        if (end if end >= 0 else len(data)) - start > HEADER_BYTES:
            raise MalformedMultipart(f"The header of part {self._parts} is longer than {HEADER_BYTES} bytes.")
        if end < 0:
            return [], start, False
        headers = self._headers(data[start + 2 : end])
        self._state = _State.CONTENT
        # The next delimiter may begin with the empty line's own line end; as content it does not count.
        self._skip = 2
        return [PartBegins(headers)], end + 2, True

    def _read_content(self, data: bytes, start: int) -> _Step:
        """Read up to the next delimiter, or as far as the bytes cannot belong to one."""
        search = start
        while (found := data.find(self._delimiter, search)) >= 0:
            search = found + len(self._delimiter)
            follows, end = _what_follows(data, search)
            if follows == _Follows.UNKNOWN:
                return self._content(data, start, found), found, False
            if follows != _Follows.CONTENT:
                events = self._content(data, start, found)
                if self._state == _State.CONTENT:
                    events.append(PartEnds())
                self._begin(follows)
                return events, end, True
        begun = data.find(b"\r", max(search, len(data) - len(self._delimiter) + 1))
        keep = begun if begun >= 0 else len(data)
        return self._content(data, start, keep), keep, False

    def _begin(self, follows: _Follows) -> None:
        if follows == _Follows.END:
            self._state = _State.EPILOGUE
            return
        self._parts += 1
        if self._parts > self._most_parts:
            raise MalformedMultipart(f"The body has more than {self._most_parts} parts.")
        self._state = _State.HEADER

    def _content(self, data: bytes, start: int, end: int) -> list[Event]:
        if end == start:
            return []
        if self._state == _State.PREAMBLE:
            self._preamble_bytes += end - start
            if self._preamble_bytes > PREAMBLE_BYTES:
                raise MalformedMultipart(f"The body does not begin with its boundary, --{self._boundary}.")
            return []
        start, self._skip = start + self._skip, 0
        return [PartData(memoryview(data)[start:end])] if end > start else []

    def _headers(self, block: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        unfolded = re.sub(rb"\r\n[ \t]+", b" ", block)
        for line in unfolded.split(b"\r\n") if unfolded else ():
            name, colon, value = line.decode("latin-1").partition(":")
            name = name.lower()
            if not colon or not _HEADER_NAME.fullmatch(name) or name in headers or "\0" in value:
                raise MalformedMultipart(f"The header of part {self._parts} is malformed or repeats itself.")
            headers[name] = value.strip(" \t")
        return headers


def _what_follows(data: bytes, position: int) -> tuple[_Follows, int]:
    """Tell what bytes after a boundary make of it, and where the line ends (RFC 2046: padding may follow)."""
    after = _AFTER.match(data, position)
    assert after  # every part of the expression is optional
    if after[2]:
        return (_Follows.END, after.end()) if after[1] else (_Follows.PART, after.end() - 2)
    left = data[after.end() : after.end() + 2]
    if left in {b"", b"\r"} or (left == b"-" and after.end() == position):
        return _Follows.UNKNOWN, position
    return _Follows.CONTENT, position
