"""An export to a file, in parts, that goes on where it was cut.

Beside the file that is to be, a folder FILE.parts holds what was asked of which state of the archive, and
each part that is whole. In the end they are joined, and the folder goes. Where the archive, or what is asked,
is not what it was, all begins anew.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from app.archive.archive import Archive
from app.catalog.statements import held
from app.corpus.isic.exporting import Column, Exported, Form, Reading, count_fields, used_columns
from app.corpus.isic.tables import FORMATS, ROWS, Layout, whole_file
from app.dicom.matching import Match
from app.errors import NotImportable, StorageFailed

Shown = Callable[[str, int], AbstractContextManager[Callable[[], None]]]  # a label, how many are done before
Tell = Callable[[str], None]

_ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is exported. `columns` are None for every field that any image has."""

    kind: str  # of FORMATS
    matches: Sequence[tuple[str, Match]]
    columns: Sequence[Column] | None = None
    form: Form = Form.CANONICAL
    missing: str = ""


def export_file(archive: Archive, asked: Asked, target: Path, shown: Shown, tell: Tell) -> list[Column]:
    """Export to a file; return the columns that are empty, although there are images.

    Raises NotImportable while another run writes there, and StorageFailed.
    """
    state = _state(archive)
    try:
        with _locked(target.with_name(f"{target.name}.parts")) as folder:
            parts = _Parts(folder, {"asked": _told(asked), "state": state})
            parts.take_up(tell)
            columns = parts.columns or asked.columns or _every(archive, asked, shown)
            parts.begin(columns)
            layout = Layout(columns, asked.form, asked.missing)
            _write(archive, asked, layout, parts, shown)
            with whole_file(target) as out:
                FORMATS[asked.kind].join(out, layout, parts.files())
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageFailed(f"{target} cannot be written: {error.strerror}") from error
    if _state(archive) != state:
        tell("The archive changed meanwhile. For a file that is of one moment, run it again.")
    return empty_columns(columns, parts.known) if parts.images else []


def empty_columns(columns: Iterable[Column], known: set[str]) -> list[Column]:
    """Return the columns that somebody asked for, and of which no image has a value."""
    return [column for column in columns if column.line is not None and column.name not in known]


@dataclass
class Noting:
    """Images passed on, and the fields that any of them has noted; `names` are looked for."""

    images: Iterable[Exported]
    names: Iterable[str]
    form: Form
    known: set[str] = field(default_factory=set)
    count: int = 0

    def __iter__(self) -> Iterator[Exported]:
        """Yield the images."""
        missing = set(self.names) - self.known
        for image in self.images:
            self.count += 1
            if missing and (found := {name for name in missing if image.cell(name, self.form) is not None}):
                missing -= found
                self.known |= found
            yield image


def _every(archive: Archive, asked: Asked, shown: Shown) -> list[Column]:
    with shown("reading", 0) as advance:
        return used_columns(count_fields(Reading(archive, asked.matches, advance)))


def _write(archive: Archive, asked: Asked, layout: Layout, parts: "_Parts", shown: Shown) -> None:
    """Write the parts that are not there."""
    if parts.are_all:
        return
    names = [column.name for column in layout.columns if column.line is not None]
    with shown("writing", parts.read) as advance:
        reading = Reading(archive, asked.matches, advance, parts.read, parts.seen)
        images = iter(reading)
        while not parts.are_all:
            seen = set(reading.seen)
            noting = Noting(islice(images, ROWS), names, layout.form, parts.known)
            own = replace(layout, has_header=not parts.count)
            with whole_file(parts.next_file()) as out:
                FORMATS[asked.kind].write(out, own, noting)
            parts.add(noting.count, reading.read, reading.seen - seen)


@dataclass
class _Parts:
    """The parts in a folder, and what their rows were read from."""

    folder: Path
    about: dict[str, Any]
    columns: list[Column] = field(default_factory=list)
    count: int = 0
    images: int = 0
    read: int = 0  # instances
    seen: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    are_all: bool = False

    def take_up(self, tell: Tell) -> None:
        """Take up what another run left, if it is of the same; else clear it away, and tell why."""
        about = _loaded(self.folder / _ABOUT)
        before = {name: about.get(name) for name in self.about} if about else self.about
        if about is None or before != self.about:
            changed = (
                "the archive has changed" if before["asked"] == self.about["asked"] else "it was of another"
            )
            if before != self.about:
                tell(f"{self.folder} is of a run that was cut, but {changed}: begun anew.")
            for path in self.folder.iterdir():
                path.unlink()
            return
        self.columns = [Column(**one) for one in about["columns"]]
        while part := _loaded(self.folder / f"{self.count:06}.json"):
            self._count(part)
        if self.count:
            tell(f"Going on after {self.images} images that are in {self.folder}.")

    def begin(self, columns: Sequence[Column]) -> None:
        """Note what the parts will be of."""
        if not self.columns:
            self._note(_ABOUT, self.about | {"columns": [asdict(column) for column in columns]})

    def files(self) -> list[Path]:
        """Return the files of all parts, in order."""
        return [self._file(number) for number in range(self.count)]

    def next_file(self) -> Path:
        """Return where the next part goes."""
        return self._file(self.count)

    def add(self, images: int, read: int, seen: set[str]) -> None:
        """Note that the next part is whole."""
        part = {"images": images, "read": read, "seen": sorted(seen), "known": sorted(self.known)}
        self._note(f"{self.count:06}.json", part)
        self._count(part)

    def _count(self, part: dict[str, Any]) -> None:
        self.count += 1
        self.images += part["images"]
        self.read = part["read"]
        self.seen.update(part["seen"])
        self.known.update(part["known"])
        self.are_all = part["images"] < ROWS

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.rows"

    def _note(self, name: str, content: dict[str, Any]) -> None:
        with whole_file(self.folder / name) as out:
            out.write(orjson.dumps(content))


def _loaded(path: Path) -> dict[str, Any] | None:
    try:
        loaded: dict[str, Any] = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return loaded


def _told(asked: Asked) -> dict[str, Any]:
    """Return what is asked, as JSON has it."""
    columns = None if asked.columns is None else [asdict(column) for column in asked.columns]
    return {
        "kind": asked.kind,
        "form": asked.form,
        "missing": asked.missing,
        "matches": [[tag, repr(match)] for tag, match in asked.matches],
        "columns": columns,
    }


def _state(archive: Archive) -> list[Any]:
    """Return what tells this catalogue, as it is, from others and from what it was."""
    with archive.catalog.read() as connection:
        (row,) = held(connection.dialect).rows(connection, {})
    # Not the URL itself, which may have a password.
    return [hashlib.sha256(archive.settings.catalog_url.encode()).hexdigest(), *map(int, row)]


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Make a folder where there is none, for this process alone."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotImportable("output", f"another run writes to {folder} now") from None
    else:
        yield folder
    finally:
        os.close(descriptor)
