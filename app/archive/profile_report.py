"""A folder's profile for people and machines: names beside UIDs, the most frequent first."""

from collections.abc import Iterable, Iterator

from pydicom.uid import UID

from app.archive.index_report import shown
from app.archive.profile import Profile

_LINES = 12  # of one list, for people; programs get all
_CHARACTERS = 100


def uid_name(uid: str) -> str:
    """Return the name of a UID that PS3.6 or PS3.4 defines, else the UID."""
    return UID(uid).name


def to_json(found: Profile) -> dict[str, object]:
    """Return the profile as plain JSON values."""
    return {
        "files": found.files,
        "bytes": found.size,
        "studies": found.studies,
        "series": found.series,
        "instances": found.instances,
        "frames": found.frames,
        "sop_classes": _named(found.sop_classes.most_common()),
        "transfer_syntaxes": _named(found.transfer_syntaxes.most_common()),
        "modalities": dict(found.modalities.most_common()),
        "photometric_interpretations": dict(found.photometric_interpretations.most_common()),
        "sizes": [
            {"rows": rows, "columns": columns, "instances": count}
            for (rows, columns), count in found.sizes.most_common()
        ],
        "uid_roots": dict(found.uid_roots.most_common()),
        "series_in_several_studies": found.series_in_several_studies,
        "identical": [shown(path) for path in found.identical],
        "conflicts": [shown(path) for path in found.conflicts],
        "warnings": dict(found.warnings.most_common()),
        "refused": [{"file": shown(path), "reason": reason} for path, reason in found.refused],
        "passed_over": [{"file": shown(path), "reason": reason} for path, reason in found.passed_over],
    }


def _named(counts: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"uid": uid, "name": uid_name(uid), "instances": count} for uid, count in counts]


def lines(found: Profile) -> Iterator[str]:
    """Yield the profile as lines of text."""
    yield (
        f"{found.files} files; {found.studies} studies, {found.series} series, {found.instances} instances, "
        f"{found.frames} frames, {found.size} bytes"
    )
    yield from _counts("SOP classes", ((uid_name(uid), n) for uid, n in found.sop_classes.most_common()))
    yield from _counts(
        "Transfer syntaxes", ((uid_name(uid), n) for uid, n in found.transfer_syntaxes.most_common())
    )
    yield from _counts("Modalities", ((name or "(none)", n) for name, n in found.modalities.most_common()))
    yield from _counts(
        "Photometric interpretations",
        ((name or "(none)", n) for name, n in found.photometric_interpretations.most_common()),
    )
    yield from _counts(
        "Rows x columns", ((f"{rows} x {columns}", n) for (rows, columns), n in found.sizes.most_common())
    )
    yield from _size_range(found)
    yield from _counts("Roots of the SOP Instance UIDs", found.uid_roots.most_common())
    yield from _counts("Warnings", found.warnings.most_common())
    yield from _listed("Series UIDs in more than one study", found.series_in_several_studies)
    yield from _listed("Identical to another file here", map(shown, found.identical))
    yield from _listed("Other content under a SOP Instance UID found before", map(shown, found.conflicts))
    yield from _listed("Passed over", (f"{shown(path)}: {reason}" for path, reason in found.passed_over))
    yield from _listed("Refused", (f"{shown(path)}: {reason}" for path, reason in found.refused))


def _size_range(found: Profile) -> Iterator[str]:
    if len(found.sizes) > 1:
        by_area = sorted(found.sizes, key=lambda size: (size[0] * size[1], size))
        (least_rows, least_columns), (most_rows, most_columns) = by_area[0], by_area[-1]
        yield f"  from {least_rows} x {least_columns} to {most_rows} x {most_columns}"


def _counts(title: str, counts: Iterable[tuple[str, int]]) -> Iterator[str]:
    all_counts = list(counts)
    if not all_counts:
        return
    yield f"{title}:"
    for name, count in all_counts[:_LINES]:
        text = shown(name)  # a stranger's file may name anything
        yield f"  {count:>8}  {text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + '…'}"
    if rest := all_counts[_LINES:]:
        yield f"  {sum(count for _, count in rest):>8}  in {len(rest)} others; --json lists them"


def _listed(title: str, texts: Iterable[str]) -> Iterator[str]:
    all_texts = list(texts)
    if all_texts:
        yield f"{title}: {len(all_texts)}"
        yield from (f"  {text}" for text in all_texts)
