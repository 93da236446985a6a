"""Any bytes: a scan reads them or says why not, and what it says of them holds."""

import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.frames import bulk_segment, count_frames, frame_segments, needs_decoding
from app.dicom.scan import ROOT, scan
from app.errors import Unaddressable, Unreadable
from tests.dicom.part10_bytes import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    JPEG,
    SEQUENCE_END,
    data_set,
    part10,
)

SPECIMENS = sorted((Path(__file__).parents[1] / "data" / "dicom").glob("*/*.dcm"))
SMALL = [path for path in SPECIMENS if path.stat().st_size < 20_000]

TOKENS = [
    *(ITEM_END, SEQUENCE_END, b"\xfe\xff\x00\xe0", b"\xff" * 4, bytes(8)),
    *(
        b"SQ\0\0",
        b"UN\0\0\xff\xff\xff\xff",
        b"OB\0\0",
        b"PN",
        b"UI",
        b"AT",
        b"DS",
        b"IS",
        b"FD",
        b"UT\0\0",
        b"ZZ",
    ),
    *(b"\\", b"=", b"\x1b$B", b"\x1b)I", b"ISO 2022 IR 87", b"ISO_IR 192", b"99999999", b"nan "),
    *(
        b"\xe0\x7f\x10\x00",
        b"\x08\x00\x05\x00CS",
        b"\x28\x00\x08\x00IS",
        b"\x28\x00\x02\x00US",
        b"\x02\x00\x10\x00UI",
    ),
]


def check(content: bytes) -> None:
    """Scan it; what comes out is JSON, and every place it tells lies in the file."""
    try:
        scanned = scan(content)
    except (Unreadable, Unaddressable) as refusal:
        if not str(refusal):
            raise
        return
    orjson.loads(scanned.document.replace(ROOT, b""))
    assert 0 <= scanned.offset <= len(content)
    if not needs_decoding(scanned.frames):
        for number in range(1, min(count_frames(scanned.frames), 20) + 1):
            assert all(at + length <= len(content) for at, length in frame_segments(scanned.frames, number))
    for path in orjson.loads(scanned.bulk or b"{}"):
        at, length = bulk_segment(scanned.bulk, path)
        assert at + length <= len(content)


def mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        # Half of the time near the front, where the header is.
        place = chance.randrange(min(len(changed), chance.choice((1200, 1 << 30))) or 1)
        token = chance.choice(TOKENS)
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[place : place + len(token)] = token
            case 2:
                changed[place:place] = token
            case 3:
                del changed[place : place + chance.randrange(1, 40)]
            case _:
                other = chance.randrange(len(changed) or 1)
                changed[place:place] = changed[other : other + chance.randrange(1, 200)]
    return bytes(changed)


@pytest.mark.parametrize("specimen", SMALL, ids=lambda path: path.name)
def test_damaged_specimens(specimen):
    chance = random.Random(specimen.name)
    content = specimen.read_bytes()
    for _ in range(25):
        check(mutated(content, chance))


@pytest.mark.parametrize("specimen", SMALL, ids=lambda path: path.name)
def test_specimens_cut_short(specimen):
    content = specimen.read_bytes()
    chance = random.Random(specimen.name)
    for length in (
        *range(0, 400, 37),
        *(chance.randrange(len(content)) for _ in range(20)),
        len(content) - 1,
    ):
        check(content[:length])


@given(st.binary(max_size=200), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG, "1.2"]))
def test_any_bytes_after_file_meta_information(content, transfer_syntax_uid):
    check(part10(content, transfer_syntax_uid))


@given(
    st.lists(st.sampled_from(TOKENS) | st.binary(max_size=6), max_size=30).map(b"".join),
    st.sampled_from(["UI", ""]),
)
def test_any_elements_after_the_identifiers(content, vr):
    check(part10(data_set(vr=vr) + content, EXPLICIT if vr else IMPLICIT))


@given(st.binary(max_size=300))
def test_any_bytes_at_all(content):
    check(content)
