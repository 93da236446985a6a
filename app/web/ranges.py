"""Range requests (RFC 9110 14) for what is sent in one piece: bulk data, frames, instances.

One range is 206 with Content-Range, several are multipart/byteranges. Ranges that overlap, go backwards or
are more than MOST_RANGES are passed over, as 14.2 allows: the whole costs less than their sum.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import pairwise

from starlette.requests import Request
from starlette.responses import Response

from app.dicom.frames import Segment
from app.web.body import FileRange, Source, Stream
from app.web.conditional import Selected, range_applies
from app.web.errors import problem
from app.web.multipart import Part

MOST_RANGES = 16

_RANGES = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"\s*(\d{1,18})?\s*-\s*(\d{1,18})?\s*")


def read_ranges(text: str, length: int) -> list[Segment] | None:
    """Return what a `Range` asks for of `length` bytes: nothing if it cannot be had, None to pass it over."""
    unit = _RANGES.fullmatch(text)
    if unit is None or not unit[1].strip(", \t"):
        return None
    found: list[Segment] = []
    for item in unit[1].split(","):
        if not item.strip():
            continue  # 5.6.1.2: an empty element of a list is nothing
        segment = _read_range(item, length)
        if segment is None:
            return None
        if segment.length > 0:
            found.append(segment)
    if len(found) > MOST_RANGES or any(a.offset + a.length > b.offset for a, b in pairwise(found)):
        return None
    return found


def _read_range(text: str, length: int) -> Segment | None:
    """Read `first-last`, `first-` or `-last`; None for what is none, no length for what is not there."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = (None if number is None else int(number) for number in match.groups())
    if first is None:
        return None if last is None else Segment(max(length - last, 0), min(last, length))
    if last is not None and last < first:
        return None
    stop = length if last is None else min(last + 1, length)
    return Segment(first, stop - first)


def cut(sources: Sequence[Source], segment: Segment) -> list[Source]:
    """Return the part of the sources that a segment of their bytes names."""
    found: list[Source] = []
    start, stop = segment.offset, segment.offset + segment.length
    position = 0
    for source in sources:
        length = len(source) if isinstance(source, bytes) else source.length
        first, last = max(start - position, 0), min(stop - position, length)
        if first < last:
            if isinstance(source, bytes):
                found.append(source[first:last])
            else:
                found.append(FileRange(source.file, source.offset + first, last - first))
        position += length
    return found


def asked_ranges(request: Request, part: Part, selected: Selected) -> list[Segment] | None:
    """Return the ranges that a request asks for of a part; None where the whole is to be sent."""
    text = request.headers.get("range")
    # 14.2: Range is defined for GET alone.
    if text is None or part.length is None or request.method != "GET":
        return None
    return read_ranges(text, part.length) if range_applies(request, selected) else None


def single_part_answer(request: Request, part: Part, selected: Selected) -> Response:
    """Answer with one part's content alone, or the ranges of it that are asked for."""
    headers = {**selected.headers, "Accept-Ranges": "bytes"}
    files = [part.file] if part.file is not None else []
    ranges = asked_ranges(request, part, selected)
    if ranges is None or not isinstance(part.content, Sequence) or part.length is None:
        return Stream(part.content, part.content_type, length=part.length, files=files, headers=headers)
    if not ranges:
        return _not_satisfiable(part)
    if len(ranges) > 1:
        return _several(part, ranges, selected, headers)
    headers["Content-Range"] = _content_range(ranges[0], part.length)
    content = cut(part.content, ranges[0])
    answer = Stream(content, part.content_type, length=ranges[0].length, files=files, headers=headers)
    answer.status_code = HTTPStatus.PARTIAL_CONTENT
    return answer


def range_of_part(request: Request, part: Part, selected: Selected) -> Part | Response:
    """Return the part of a multipart that holds the range asked for of its value, with its Content-Range.

    Of one value in a multipart, clients of WADO-RS mean bytes of the value and not of the multipart.
    """
    ranges = asked_ranges(request, part, selected)
    if ranges is None or len(ranges) > 1 or not isinstance(part.content, Sequence) or part.length is None:
        return part
    if not ranges:
        return _not_satisfiable(part)
    return replace(
        part,
        content=cut(part.content, ranges[0]),
        length=ranges[0].length,
        content_range=_content_range(ranges[0], part.length),
    )


def _several(part: Part, ranges: list[Segment], selected: Selected, headers: dict[str, str]) -> Stream:
    """Return multipart/byteranges (14.6)."""
    assert isinstance(part.content, Sequence)
    assert part.length is not None
    boundary = selected.boundary
    content: list[Source] = []
    for segment in ranges:
        content_range = _content_range(segment, part.length)
        head = f"--{boundary}\r\nContent-Type: {part.content_type}\r\nContent-Range: {content_range}\r\n\r\n"
        content += [head.encode(), *cut(part.content, segment), b"\r\n"]
    content.append(f"--{boundary}--\r\n".encode())
    length = sum(len(source) if isinstance(source, bytes) else source.length for source in content)
    files = [part.file] if part.file is not None else []
    media_type = f"multipart/byteranges; boundary={boundary}"
    answer = Stream(content, media_type, length=length, files=files, headers=headers)
    answer.status_code = HTTPStatus.PARTIAL_CONTENT
    return answer


def _content_range(segment: Segment, length: int) -> str:
    return f"bytes {segment.offset}-{segment.offset + segment.length - 1}/{length}"


def _not_satisfiable(part: Part) -> Response:
    if part.file is not None:
        part.file.close()
    detail = f"There are {part.length} bytes; the ranges asked for are beyond them."
    return problem(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail, {"Content-Range": f"bytes */{part.length}"}
    )
