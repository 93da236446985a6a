"""Adding members to collections and taking them out, with a report of what became of each."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.collections import find_named, require_unlocked
from app.archive.query import search_attributes
from app.catalog.collections import Collection, all_collections, lineage
from app.catalog.members import add_own, members_of, own_members, remove_own
from app.catalog.naming import Meant, meant_by
from app.dicom.matching import Level, Match, Query
from app.errors import InvalidQuery

_AT_ONCE = 5000  # names in one transaction: others write in between
_SOP_INSTANCE_UID = "00080018"


@dataclass
class Report:
    """What became of names: instances that were changed or were so already, and what could not be."""

    changed: int = 0
    unchanged: int = 0
    not_found: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def add_members(archive: Archive, slug: str, names: Iterable[str], *, dry_run: bool = False) -> Report:
    """Make the instances that names mean members: ISIC ids, or UIDs of studies, series and instances.

    Raises NotFound or CollectionRefused.
    """
    report = Report()
    for some in _pieces(names):
        with archive.catalog.write() as connection:
            line = _open_line(connection, slug)
            wanted = _wanted(meant_by(connection, some), some, report, is_public=line[0].is_public)
            there = members_of(connection, line[0].id, wanted)
            new = [uid for uid in wanted if not there.get(uid)]
            report.changed += len(new)
            report.unchanged += len(wanted) - len(new)
            if new and not dry_run:
                add_own(connection, line, new)
    return report


def remove_members(archive: Archive, slug: str, names: Iterable[str], *, dry_run: bool = False) -> Report:
    """Take the instances that names mean out again, held or not; errors as of add_members()."""
    report = Report()
    for some in _pieces(names):
        with archive.catalog.write() as connection:
            line = _open_line(connection, slug)
            meant = meant_by(connection, some)
            hidden = {name: {uid} for name, uid in meant.hidden.items() if uid is not None}
            by_name = {name: hidden.get(name, meant.held.get(name, {name})) for name in some}
            there = members_of(connection, line[0].id, {uid for uids in by_name.values() for uid in uids})
            gone = _to_remove(by_name, there, meant.held, report)
            report.changed += len(gone)
            if gone and not dry_run:
                remove_own(connection, line, gone)
    return report


def remove_all(archive: Archive, slug: str) -> Report:
    """Take out all of a collection's own members."""
    with archive.catalog.write() as connection:
        line = _open_line(connection, slug)
        uids = own_members(connection, line[0].id)
        remove_own(connection, line, uids)
    return Report(changed=len(uids))


def found_instances(
    archive: Archive, matches: tuple[tuple[str, Match], ...], most: int | None = None
) -> list[str]:
    """Return the SOP Instance UIDs of everything that matches.

    Raises InvalidQuery for a search without a key and for one that finds more than `most`.
    """
    if not matches:
        raise InvalidQuery("A query needs a key: without one it means everything there is.")
    query = Query(Level.INSTANCE, matches=matches)
    found = (str(one[_SOP_INSTANCE_UID]["Value"][0]) for one in search_attributes(archive, query))
    uids = list(islice(found, None if most is None else most + 1))
    if most is not None and len(uids) > most:
        raise InvalidQuery(f"The query finds more than {most} instances: narrow it, or use the command line.")
    return uids


def _pieces(names: Iterable[str]) -> Iterator[list[str]]:
    once = iter(dict.fromkeys(names))
    yield list(islice(once, _AT_ONCE))  # one at least: a locked collection is told of whatever is named
    while some := list(islice(once, _AT_ONCE)):
        yield some


def _open_line(connection: Connection, slug: str) -> Sequence[Collection]:
    known = all_collections(connection)
    one = find_named(known, slug)
    require_unlocked(known, one)
    return lineage(known, one.id)


def _wanted(meant: Meant, names: Some[str], report: Report, *, is_public: bool) -> list[str]:
    """Return the UIDs of what can be a member; the report is told of the rest."""
    wanted: dict[str, None] = {}
    for name in names:
        if name in meant.hidden:
            uid = meant.hidden[name]
            if is_public:
                report.refused[name] = (
                    "it is not public, and the collection is: make the image public first, or add it to a "
                    "collection that is not"
                )
            elif uid is None:
                report.not_found.append(name)
            else:
                wanted[uid] = None
        elif name in meant.held:
            wanted |= dict.fromkeys(sorted(meant.held[name]))
        else:
            report.not_found.append(name)
    return list(wanted)


def _to_remove(
    by_name: dict[str, set[str]], there: dict[str, bool], known: Some[str], report: Report
) -> list[str]:
    """Return the UIDs of own members; the report is told of the rest, and of names that mean nothing."""
    gone: dict[str, None] = {}
    for name, uids in by_name.items():
        own = [uid for uid in sorted(uids) if there.get(uid)]
        inherited = [uid for uid in uids if there.get(uid) is False]
        gone |= dict.fromkeys(own)
        if name not in known and not own and not inherited:
            report.not_found.append(name)
            continue
        report.unchanged += len(uids) - len(own) - len(inherited)
        if inherited:
            report.refused[name] = "a part of the collection holds it: remove it there"
    return list(gone)
