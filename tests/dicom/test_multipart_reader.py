"""Multipart bodies, whole and in pieces, against Python's email package and against rules of RFC 2046."""

import email.parser
import email.policy
from functools import partial
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.multipart_reader import (
    BOUNDARY_CHARACTERS,
    HEADER_BYTES,
    PADDING_BYTES,
    PARTS,
    MalformedMultipart,
    MultipartReader,
    PartBegins,
    PartData,
    PartEnds,
)

BOUNDARY = "bound"


def pieces(body: bytes, cuts) -> list[bytes]:
    edges = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(body)), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def read(chunks, boundary: str = BOUNDARY) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a body, with what must hold of the order of events."""
    reader, parts, is_open = MultipartReader(boundary), [], False
    steps = chain((partial(reader.feed, chunk) for chunk in chunks), [reader.finish])
    for event in chain.from_iterable(step() for step in steps):
        match event:
            case PartBegins(headers):
                assert not is_open
                parts.append((headers, bytearray()))
                is_open = True
            case PartData(data):
                assert is_open
                assert len(data) > 0
                parts[-1][1].extend(data)
            case PartEnds():
                assert is_open
                is_open = False
    assert not is_open
    return [(headers, bytes(content)) for headers, content in parts]


def contents(body: bytes, boundary: str = BOUNDARY) -> list[bytes]:
    return [content for _, content in read([body], boundary)]


def compose(parts: list[bytes], preamble: bytes = b"", epilogue: bytes = b"", padding: bytes = b"") -> bytes:
    body = preamble
    for number, part in enumerate(parts):
        body += b"\r\n" if number or preamble else b""
        body += b"--bound" + padding + b"\r\nContent-Type: application/dicom\r\n\r\n" + part
    return body + b"\r\n--bound--" + padding + b"\r\n" + epilogue


# Bytes of which delimiters are made turn up all the time.
TRICKY = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"-",
            b"--",
            b"\r\n",
            b"\r\n--",
            b"--bound",
            b"\r\n--boun",
            b"\r\n--bound",
            b"d",
            b" ",
            b"\0",
        ]
    ),
    max_size=12,
).map(b"".join)


def is_delimited(content: bytes) -> bool:
    """Whether the content itself holds a line that is a boundary: no client may send that."""
    lines = (b"\r\n" + content + b"\r\n--bound\r\n").split(b"\r\n")[:-2]
    return any(line.rstrip(b" \t") in {b"--bound", b"--bound--"} for line in lines)


@given(
    parts=st.lists(TRICKY.filter(lambda content: not is_delimited(content)), min_size=1, max_size=4),
    preamble=st.sampled_from([b"", b"\r\n", b"This is a preamble.", b"--bounds"]),
    epilogue=st.sampled_from([b"", b"\r\n", b"--bound\r\n\r\nnot a part\r\n--bound--"]),
    padding=st.sampled_from([b"", b" ", b"\t  "]),
    cuts=st.lists(st.integers(0, 300), max_size=20),
)
def test_any_content_survives_in_any_pieces(parts, preamble, epilogue, padding, cuts):
    preamble = preamble.removesuffix(b"\r\n")
    body = compose(parts, preamble, epilogue, padding)
    assert [content for _, content in read(pieces(body, cuts))] == parts


@given(st.lists(TRICKY, max_size=5).map(b"".join), st.lists(st.integers(0, 100), max_size=10))
def test_pieces_never_matter(body, cuts):
    def outcome(chunks):
        try:
            return read(chunks)
        except MalformedMultipart as error:
            return str(error)

    body = b"--bound\r\nA: b\r\n\r\n" + body
    assert outcome(pieces(body, cuts)) == outcome([body]) == outcome(pieces(body, range(len(body))))


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.binary(max_size=20))
def test_the_same_parts_as_the_email_package(parts, preamble):
    # The email package takes bare line feeds for line ends too, and knows no bytes without decoding them.
    clean = [part.replace(b"\r", b"").replace(b"\n", b"").replace(b"--bound", b"") for part in parts]
    preamble = preamble.replace(b"\r", b"").replace(b"\n", b"").replace(b"--bound", b"")
    body = compose([part.hex().encode() for part in clean], preamble)
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b'Content-Type: multipart/related; boundary="bound"\r\n\r\n' + body
    )
    theirs = [bytes.fromhex(part.get_payload().strip()) for part in message.get_payload()]
    assert [bytes.fromhex(content.decode()) for content in contents(body)] == theirs == clean


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"--bound\r\n\r\nx\r\n--bound--", [b"x"], id="nothing-after-the-final-boundary"),
        pytest.param(
            b"\r\n--bound\r\n\r\nx\r\n--bound--\r\n", [b"x"], id="a-line-end-first-as-dicomweb-client-sends"
        ),
        pytest.param(b"--bound\r\n\r\n\r\n--bound--", [b""], id="no-headers-no-content"),
        pytest.param(b"--bound\r\nA: b\r\n\r\n--bound--", [b""], id="empty-line-belongs-to-the-delimiter"),
        pytest.param(b"--bound\r\nA: b\r\n\r\n\r\n--bound--", [b""], id="empty-content"),
        pytest.param(b"--bound\r\nA: b\r\n\r\n\r\n\r\n--bound--", [b"\r\n"], id="content-of-one-line-end"),
        pytest.param(b"--bound--", [], id="no-part"),
        pytest.param(
            b"--bound\r\n\r\n\r\n--boundary\r\n--bound--", [b"\r\n--boundary"], id="a-longer-boundary"
        ),
        pytest.param(
            b"--bound\r\n\r\n\n--bound\n\r\n--bound--", [b"\n--bound\n"], id="bare-line-feeds-are-content"
        ),
        pytest.param(
            b"--bound\r\n\r\nx--bound\r\ny\r\n--bound--", [b"x--bound\r\ny"], id="not-at-a-line-start"
        ),
        pytest.param(
            b"--bound\r\n\r\nx\r\n--bound-\r\n--bound--", [b"x\r\n--bound-"], id="half-a-final-boundary"
        ),
        pytest.param(
            b"--bound\r\n\r\nx\r\n--bound--y\r\n--bound--", [b"x\r\n--bound--y"], id="text-after-it"
        ),
        pytest.param(b"--bound\r\n\r\nx\r\n--bound-- \t", [b"x"], id="padding-then-the-end"),
        pytest.param(b"--bound\r\n\r\nx\r\n--bound--\r", [b"x"], id="half-a-line-end-then-the-end"),
    ],
)
def test_rules_of_the_delimiter(body, expected):
    assert contents(body) == expected
    assert [content for _, content in read(pieces(body, range(len(body))))] == expected


def test_headers():
    body = (
        b"--bound\r\nContent-Type: application/dicom;\r\n\ttransfer-syntax=1.2\r\n"
        b"CONTENT-LOCATION:  /a:b \r\n\r\nx\r\n--bound--"
    )
    assert read([body]) == [
        ({"content-type": "application/dicom; transfer-syntax=1.2", "content-location": "/a:b"}, b"x")
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "before its first boundary, --bound"),
        (b"--other\r\n\r\nx\r\n--other--", "before its first boundary, --bound"),
        (b"--bound\r\n\r\nx", "before its final boundary, --bound"),
        (b"--bound\r\n\r\nx\r\n--bound", "before its final boundary, --bound"),
        (b"--bound\r\n\r\nx\r\n--bound-", "before its final boundary, --bound"),
        (b"--bound\r\n\r\nx\r\n--bound\r\n", "in the header of a part"),
        (b"--bound\r\nno colon\r\n\r\nx\r\n--bound--", "part 1 is malformed"),
        (b"--bound\r\nna me: x\r\n\r\nx\r\n--bound--", "part 1 is malformed"),
        (b"--bound\r\nA: 1\r\na: 2\r\n\r\nx\r\n--bound--", "part 1 is malformed or repeats"),
        (b"--bound\r\n\r\nx\r\n--bound\r\n: x\r\n\r\n\r\n--bound--", "part 2 is malformed"),
        (b"--bound\r\n--bound--\r\n\r\n", "part 1 is malformed"),
    ],
)
def test_a_malformed_body_is_named(body, says):
    with pytest.raises(MalformedMultipart, match=says):
        read([body])


@pytest.mark.parametrize("boundary", ["", "x" * (BOUNDARY_CHARACTERS + 1), "ends with a space ", "a\rb", "ä"])
def test_boundaries_that_are_none(boundary):
    with pytest.raises(MalformedMultipart):
        MultipartReader(boundary)


@pytest.mark.parametrize("boundary", ["x" * BOUNDARY_CHARACTERS, "a b", "'()+_,-./:=?", "0"])
def test_boundaries_of_any_allowed_kind(boundary):
    assert contents(f"--{boundary}\r\n\r\nx\r\n--{boundary}--".encode(), boundary) == [b"x"]


class TestLimits:
    def test_parts(self):
        part = b"--bound\r\n\r\n\r\n"
        assert len(contents(part * PARTS + b"--bound--")) == PARTS
        with pytest.raises(MalformedMultipart, match="more than"):
            contents(part * (PARTS + 1) + b"--bound--")

    @pytest.mark.parametrize("is_whole", [True, False])
    def test_header(self, is_whole):
        fits = b"--bound\r\nA: " + b"x" * (HEADER_BYTES - 5)
        assert contents(fits + b"\r\n\r\ny\r\n--bound--") == [b"y"]
        body = fits + b"x" + (b"\r\n\r\ny\r\n--bound--" if is_whole else b"x" * 10)
        with pytest.raises(MalformedMultipart, match="part 1 is longer"):
            read([body])

    def test_a_body_with_another_boundary_is_refused_early(self):
        reader = MultipartReader(BOUNDARY)
        chunks = (reader.feed(b"--other\r\n" * 100) for _ in range(1000))
        with pytest.raises(MalformedMultipart, match="does not begin with its boundary"):
            list(chain.from_iterable(chunks))

    @pytest.mark.parametrize(
        "unit",
        [
            b"\r\n--boun",
            b"\r\n--bound-",
            b"\r\n--bound" + b" " * 900 + b"x",
            b"\r" * 64,
            b"\r\n--bound--\rx",
            b"any",
        ],
    )
    def test_what_is_looked_at_again_is_bounded(self, unit):
        """So that time is proportional to the bytes, and memory to nothing (T6)."""
        reader = MultipartReader(BOUNDARY)
        list(reader.feed(b"--bound\r\n\r\n"))
        chunk = unit * (65536 // len(unit))
        for _ in range(20):
            for event in reader.feed(chunk):
                assert isinstance(event, PartData)
            assert len(reader._rest) <= PADDING_BYTES + len("\r\n--bound--\r\n")
