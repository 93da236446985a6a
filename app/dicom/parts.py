"""What a data set is composed of that arrived in parts (PS3.18 10.5.1).

Codecs and writers are elsewhere: the server needs only these.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.dicom.json_model import Attribute
from app.dicom.rendering_options import JPEG, PNG
from app.errors import ArchiveError

WRITTEN, RECEIVED = 0, 1  # sources: what is written anew, and the parts as they arrived

MP4 = "video/mp4"

_PICTURES = frozenset({JPEG, PNG, MP4})


class Elsewhere(NamedTuple):
    """Bytes that are not here: a range of a source, which the caller numbers as he likes."""

    source: int
    offset: int
    length: int


Piece = bytes | Elsewhere


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture or film is in DICOM: how it is held, its attributes, its place if it had to be decoded.

    `photometric` are the Photometric Interpretations that are true of it, the likeliest first.
    """

    transfer_syntax_uid: str
    attributes: dict[str, Attribute]
    photometric: tuple[str, ...]
    decoded: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part with bulk data: its headers, its place, and the picture it is or why it is none."""

    location: str
    media_type: str
    transfer_syntax_uid: str  # as its header names it; empty if it does not
    place: Elsewhere
    picture: Picture | ArchiveError | None = None

    @property
    def is_picture(self) -> bool:
        """Whether a look into it tells its Image Pixel attributes (Table 8.7.3-3, consumer formats)."""
        return self.media_type in _PICTURES


class MetadataPart(NamedTuple):
    """One document with metadata: an array of data sets as JSON, or one as XML in a charset it may name."""

    place: Elsewhere
    is_json: bool
    charset: str | None = None


class SopReference(NamedTuple):
    """The instance that a data set says it is."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Composed:
    """One Part 10 file as the ranges that make it; or the error that kept it from being one.

    `replaced` holds the attributes that did not agree with the picture, as they were; `discarded` the tags of
    those that were left out; `used` the locations of its bulk data.
    """

    reference: SopReference | None = None
    pieces: tuple[Elsewhere, ...] = ()
    replaced: dict[str, Attribute] = field(default_factory=dict)
    discarded: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    error: ArchiveError | None = None
