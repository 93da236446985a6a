"""The stored JPEG is the picture where that is right; thumbnails are made once, and again when need be."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO

import pytest
from PIL import Image

from app.archive.render import is_rendered_as_stored, rendered_frame
from app.archive.thumbnails import Thumbnails
from app.cage import Cage
from app.dicom.rendering_options import Rendering, Viewport
from app.dicom.scan import scan
from app.errors import CagedFailure, NotConvertible, NotFound
from tests.factories import instance_bytes, make_instance, make_jpeg

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


@dataclass(frozen=True)
class Stored:
    path: str
    prefix: bytes
    offset: int
    sha256: str
    transfer_syntax_uid: str
    photometric_interpretation: str
    samples_per_pixel: int
    frames: bytes


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


@pytest.fixture
def photograph(tmp_path):
    return store(tmp_path / "photograph.dcm", make_instance(rows=160, columns=240, frames=2, jpeg=True))


def store(path, instance):
    path.write_bytes(instance_bytes(instance))
    found = scan(path.read_bytes())
    return Stored(
        str(path),
        found.prefix,
        found.offset,
        path.name.encode().hex().ljust(64, "0"),
        found.transfer_syntax_uid,
        instance.PhotometricInterpretation,
        instance.SamplesPerPixel,
        found.frames,
    )


class CountingCage:
    """Counts what is really made; holds the maker back until told, where a test wants to look around."""

    def __init__(self, cage):
        self.cage, self.calls, self.may_go = cage, 0, threading.Event()
        self.may_go.set()

    def run(self, function, *arguments):
        self.calls += 1
        self.may_go.wait()
        return self.cage.run(function, *arguments)


class NoCage:
    def run(self, function, *arguments):
        raise AssertionError("nothing should be decoded")


# --- rendered frames -----------------------------------------------------------------------------------


def test_a_colour_photograph_is_answered_with_its_own_bytes(photograph):
    for number in (1, 2):
        assert rendered_frame(NoCage(), photograph, number).rstrip(b"\0") == make_jpeg(160, 240).rstrip(b"\0")
    with pytest.raises(NotFound):
        rendered_frame(NoCage(), photograph, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"photometric_interpretation": "RGB"},
        {"photometric_interpretation": "MONOCHROME2", "samples_per_pixel": 1},
        {"photometric_interpretation": None},
        {"samples_per_pixel": None},
        {"transfer_syntax_uid": "1.2.840.10008.1.2.4.51"},
        {"transfer_syntax_uid": "1.2.840.10008.1.2.1"},
    ],
)
def test_anything_else_is_made(change, photograph):
    assert is_rendered_as_stored(photograph, Rendering())
    assert not is_rendered_as_stored(replace(photograph, **change), Rendering())


@pytest.mark.parametrize(
    "parameters",
    [Rendering(quality=50), Rendering(viewport=Viewport(60, 60))],
)
def test_parameters_change_the_picture(parameters, photograph, cage):
    content = rendered_frame(cage, photograph, 1, parameters)
    shown = Image.open(BytesIO(content))
    assert shown.size == ((60, 40) if parameters.viewport else (240, 160))
    assert content != make_jpeg(160, 240)


def test_a_frame_that_is_no_jpeg_is_refused_not_sent(tmp_path, cage):
    instance = make_instance(jpeg=True)
    jpeg = make_jpeg()
    instance.PixelData = instance.PixelData.replace(jpeg[:2], b"<html>"[:2], 1)
    with pytest.raises(NotConvertible):
        rendered_frame(cage, store(tmp_path / "a", instance), 1)


# --- thumbnails ----------------------------------------------------------------------------------------


def test_a_thumbnail_is_made_once(photograph, cage, tmp_path):
    counting = CountingCage(cage)
    thumbnails = Thumbnails(tmp_path / "thumbnails", counting, 2**20)
    first = thumbnails.get(photograph, 1)
    assert Image.open(BytesIO(first)).size == (128, 85)
    assert thumbnails.get(photograph, 1) == first
    assert Thumbnails(tmp_path / "thumbnails", counting, 2**20).get(photograph, 1) == first
    assert counting.calls == 1


def test_instance_frame_and_size_make_the_key(photograph, cage, tmp_path):
    counting = CountingCage(cage)
    thumbnails = Thumbnails(tmp_path / "thumbnails", counting, 2**20)
    other = replace(photograph, sha256="f" * 64)
    for arguments in (
        (photograph, 1),
        (photograph, 2),
        (other, 1),
        (photograph, 1, 64, 64),
        (photograph, 1, 64, 99),
    ):
        thumbnails.get(*arguments)
        thumbnails.get(*arguments)
    assert counting.calls == 5


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8 half", b"\0" * 500])
def test_a_torn_thumbnail_is_made_again(damage, photograph, cage, tmp_path):
    thumbnails = Thumbnails(tmp_path / "thumbnails", CountingCage(cage), 2**20)
    whole = thumbnails.get(photograph, 1)
    (kept,) = (path for path in (tmp_path / "thumbnails").rglob("*") if path.is_file())
    kept.write_bytes(damage)
    assert thumbnails.get(photograph, 1) == whole
    assert kept.read_bytes() == whole
    kept.unlink()
    assert thumbnails.get(photograph, 1) == whole


def test_many_who_ask_at_once_wait_for_one_maker(photograph, cage, tmp_path):
    counting = CountingCage(cage)
    counting.may_go.clear()
    thumbnails = Thumbnails(tmp_path / "thumbnails", counting, 2**20)
    with ThreadPoolExecutor(8) as askers:
        answers = [askers.submit(thumbnails.get, photograph, 1) for _ in range(8)]
        while not counting.calls:
            os.sched_yield()
        counting.may_go.set()
        assert len({answer.result() for answer in answers}) == 1
    assert counting.calls == 1


def test_an_error_reaches_all_who_wait_and_is_not_kept(photograph, tmp_path):
    class FailingCage:
        calls = 0

        def run(self, *_):
            self.calls += 1
            raise CagedFailure("it crashed")

    failing = FailingCage()
    thumbnails = Thumbnails(tmp_path / "thumbnails", failing, 2**20)
    for _ in range(2):
        with pytest.raises(CagedFailure):
            thumbnails.get(photograph, 1)
    assert failing.calls == 2
    assert not thumbnails._being_made


def test_a_disk_that_refuses_costs_nothing_but_time(photograph, cage, tmp_path):
    (tmp_path / "thumbnails").write_text("a file where the folder should be")
    counting = CountingCage(cage)
    thumbnails = Thumbnails(tmp_path / "thumbnails", counting, 2**20)
    assert thumbnails.get(photograph, 1) == thumbnails.get(photograph, 1)
    assert counting.calls == 2


class Instant:
    """A cage whose thumbnails are all 1,000 bytes."""

    def run(self, _, file, number, *__):
        return b"\xff\xd8" + bytes([number]) * 996 + b"\xff\xd9"


def test_the_longest_unused_are_swept_away(photograph, tmp_path):
    now = 1_000_000_000.0
    thumbnails = Thumbnails(tmp_path / "thumbnails", Instant(), 20_000, clock=lambda: now)
    for number in range(1, 21):
        thumbnails.get(photograph, number)
        (made,) = (tmp_path / "thumbnails").rglob(f"*-{number}-*")
        now += 7200
        os.utime(made, (now, now))
    now += 7200
    thumbnails.get(photograph, 5)  # used again: now the youngest
    for number in range(21, 60):
        thumbnails.get(photograph, number)
    kept = {int(path.name.split("-")[1]) for path in (tmp_path / "thumbnails").rglob("*.jpg")}
    assert 10 <= len(kept) <= 22
    thumbnails.sweep()
    kept = [path.stat().st_size for path in (tmp_path / "thumbnails").rglob("*.jpg")]
    assert sum(kept) <= 20_000


def test_a_sweep_spares_what_was_used_last_and_clears_what_was_never_finished(photograph, tmp_path):
    now = 1_000_000_000.0
    folder = tmp_path / "thumbnails"
    thumbnails = Thumbnails(folder, Instant(), 10_000, clock=lambda: now)
    for number in range(1, 11):
        thumbnails.get(photograph, number)
        (made,) = folder.rglob(f"*-{number}-*")
        os.utime(made, (now, now))
        now += 7200
    thumbnails.get(photograph, 1)
    (folder / "torn.new").write_bytes(b"half")
    os.utime(folder / "torn.new", (now - 7200, now - 7200))
    (folder / "running.new").write_bytes(b"half")
    os.utime(folder / "running.new", (now, now))
    assert thumbnails.sweep() >= 2
    kept = {path.name.split("-")[1] for path in folder.rglob("*.jpg")}
    assert "1" in kept
    assert "2" not in kept
    assert "10" in kept
    assert {path.name for path in folder.glob("*.new")} == {"running.new"}
