"""Pictures of frames: the stored JPEG itself where that will do, else made in the cage (PS3.18 8.7.4)."""

from collections.abc import Sequence
from typing import Protocol

from app.archive.caged import render
from app.cage import Cage
from app.dicom.dicom_file import DicomFile
from app.dicom.media_types import JPEG_BASELINE
from app.dicom.rendering_options import GIF, Rendering

_JPEG_START = b"\xff\xd8"


class Pixels(Protocol):
    """What tells a photograph that browsers show as it is."""

    @property
    def transfer_syntax_uid(self) -> str:
        """How it is stored."""

    @property
    def photometric_interpretation(self) -> str | None:
        """(0028,0004)."""

    @property
    def samples_per_pixel(self) -> int | None:
        """(0028,0002)."""


class StoredImage(Pixels, Protocol):
    """What the catalogue knows of a stored instance, as far as pictures need it."""

    @property
    def path(self) -> str:
        """The stored file."""

    @property
    def prefix(self) -> bytes:
        """What makes it Part 10 when sent first; empty for most files."""

    @property
    def offset(self) -> int:
        """The first byte of the file after the prefix."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored file, hexadecimal."""

    @property
    def frames(self) -> bytes:
        """Where the frames lie, packed by dicom/frames.py."""


def dicom_file(instance: StoredImage) -> DicomFile:
    """Describe a stored instance for the functions that run in the cage."""
    return DicomFile(
        instance.path, instance.transfer_syntax_uid, instance.prefix, instance.offset, instance.frames
    )


def is_rendered_as_stored(pixels: Pixels, rendering: Rendering) -> bool:
    """Whether the stored frame is the rendered one: a colour photograph in JPEG, and no change asked for.

    Grayscale is not, for a window may apply; nor RGB, which browsers take for YCbCr unless the JPEG says so.
    """
    return (
        rendering.changes_nothing
        and pixels.transfer_syntax_uid == JPEG_BASELINE
        and pixels.samples_per_pixel == 3
        and pixels.photometric_interpretation in {"YBR_FULL", "YBR_FULL_422"}
    )


def rendered_frame(
    cage: Cage, instance: StoredImage, number: int, rendering: Rendering | None = None
) -> bytes:
    """Return frame `number` (from 1) as a picture, by default a JPEG; blocks.

    Raises NotFound (no such frame), NotConvertible (no picture), InvalidQuery (a viewport outside the image),
    InstanceUnavailable, CagedFailure.
    """
    rendering = rendering or Rendering()
    file = dicom_file(instance)
    if is_rendered_as_stored(instance, rendering):
        stored = file.read_frame(number)
        if stored and stored[:2] == _JPEG_START:
            return stored
    return cage.run(render, file, (number,), rendering)


def rendered_animation(
    cage: Cage, instance: StoredImage, numbers: Sequence[int], rendering: Rendering
) -> bytes:
    """Return several frames as one animated GIF; errors as of rendered_frame."""
    assert rendering.media_type == GIF
    return cage.run(render, dicom_file(instance), tuple(numbers), rendering)
