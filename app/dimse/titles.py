"""The one table of our AE titles: what is answered to a caller that calls one of them, and from where."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from app.archive.archive import Archive
from app.dimse.peers import May
from app.dimse.sources import OneCollection, OwnArchive, Source
from app.errors import SettingsError
from app.settings import Settings

EVERYTHING: frozenset[May] = frozenset(get_args(May))
READING: frozenset[May] = frozenset({"echo", "find", "get", "move"})


@dataclass(frozen=True)
class Title:
    """An AE title of ours: where its answers are from, and what may be asked of it at all."""

    ae_title: str
    source: Source
    services: frozenset[May]


@dataclass(frozen=True)
class Titles:
    """The titles by name; where any title is answered, one that is not in the table is the archive's."""

    known: Mapping[str, Title]
    of_any_other: Title | None

    def called(self, ae_title: str) -> Title | None:
        """Return what a caller called, None if it is none of ours."""
        return self.known.get(ae_title, self.of_any_other)


def make_titles(settings: Settings, archive: Archive, others: tuple[Title, ...] = ()) -> Titles:
    """Put the table together: the archive's title, those of collections, and those of other sources."""
    own = Title(settings.dimse_ae_title, OwnArchive(archive), EVERYTHING)
    collections = (
        Title(ae_title, OneCollection(archive, slug), READING)
        for ae_title, slug in settings.dimse_collections.items()
    )
    return Titles(
        {title.ae_title: title for title in (own, *collections, *others)},
        None if settings.dimse_check_called_ae_title else own,
    )


def require_distinct(settings: Settings, others: Iterable[str]) -> None:
    """Check that no AE title stands for two things; raises SettingsError."""
    titles = [settings.dimse_ae_title, *settings.dimse_collections, *others]
    if repeated := sorted({title for title in titles if titles.count(title) > 1}):
        raise SettingsError(f"More than one thing here has the AE title {', '.join(repeated)}.")
