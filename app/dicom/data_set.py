"""What a reader of data sets keeps: the data set or item at hand, and what it found on the way."""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.dicom.character_sets import Repertoire
from app.dicom.frames import Segment
from app.dicom.json_model import Attribute

WARNINGS = 20


class Element(NamedTuple):
    """The header of a data element; all positions are bytes from the start of the buffer."""

    tag: str
    vr: str
    position: int  # of the header
    start: int  # of the value
    length: int
    stop: int  # where the enclosing data set ends at the latest

    def __str__(self) -> str:
        """As messages name it."""
        return f"{as_written(self.tag)} at byte {self.position}"


class PixelData(NamedTuple):
    """Where pixel data lie: one range if native, else a Basic Offset Table and the fragments after it."""

    tag: str
    vr: str
    place: Segment  # as much of the value as is there
    declared: int  # its length as written
    fragments: tuple[Segment, ...] | None  # the first is the Basic Offset Table; None if native
    big_endian: bool


class Reference(NamedTuple):
    """A value that is not in the document: the attribute object that waits for its URI, and its place."""

    path: str
    attribute: Attribute
    place: Segment | None  # None if no range of the file holds it


class Ambiguous(NamedTuple):
    """An element whose VR depends on attributes that may come later (PS3.6, "US or SS")."""

    data_set: "DataSet"
    tag: str
    place: Segment


# The same before a message needs it: a plain tuple takes a tenth of the time of a named one.
ElementFields = tuple[str, str, int, int, int, int]


class DataSet:
    """One data set, the root or an item, while it is read."""

    __slots__ = ("depth", "elements", "index", "parent", "repertoire", "sequence", "unsorted")

    def __init__(
        self, repertoire: Repertoire, parent: "DataSet | None" = None, sequence: str = "", index: int = 0
    ) -> None:
        """Take what is inherited and, for an item, whose it is: item ``index`` (from 0) of ``sequence``."""
        self.elements: dict[str, Attribute] = {}
        self.repertoire = repertoire
        self.parent = parent
        self.sequence = sequence
        self.index = index
        self.depth: int = parent.depth + 1 if parent else 0
        self.unsorted = False

    def path(self) -> str:
        """Return where it lies in the root: `sequence/item/` for each level, nothing for the root itself."""
        return f"{self.parent.path()}{self.sequence}/{self.index}/" if self.parent else ""

    def first(self, tag: str) -> object:
        """Return the first value of an attribute here, else in the nearest enclosing data set."""
        data_set: DataSet | None = self
        while data_set is not None:
            values = data_set.elements.get(tag, {}).get("Value")
            if values:
                return values[0]
            data_set = data_set.parent
        return None

    def finished(self) -> dict[str, Attribute]:
        """Return the attributes, put in ascending order of their tags (PS3.18 F.2.2)."""
        if self.unsorted:
            attributes = sorted(self.elements.items())
            self.elements.clear()
            self.elements.update(attributes)
        return self.elements


@dataclass(slots=True)
class Findings:
    """What was found beside the attributes."""

    warnings: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    ambiguous: list[Ambiguous] = field(default_factory=list)
    offset_tables: dict[str, Segment] = field(default_factory=dict)
    pixels: PixelData | None = None

    def note(self, warning: str) -> None:
        """Keep a warning, once, and not endlessly many."""
        if len(self.warnings) < WARNINGS and warning not in self.warnings:
            self.warnings.append(warning)


def as_written(tag: str) -> str:
    """Write a tag as PS3 does."""
    return f"({tag[:4]},{tag[4:]})"
