"""What a run of the index did, for people and machines."""

import os
from dataclasses import dataclass, field, replace


@dataclass(slots=True)
class IndexReport:
    """Counts, and a list of all that was not simply catalogued: paths, or pairs of path and reason."""

    files: int = 0
    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    pruned: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    withdrawn: list[tuple[str, str]] = field(default_factory=list)
    not_public: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    def followed_by(self, later: "IndexReport") -> "IndexReport":
        """Return the report of this pass and of another right after it."""
        return replace(
            later,
            added=self.added + later.added,
            changed=self.changed + later.changed,
            moved=self.moved + later.moved,
            pruned=self.pruned + later.pruned,
            unchanged=self.unchanged,
            vanished=self.vanished if self.pruned else later.vanished,
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {
            "files": self.files,
            "added": self.added,
            "changed": self.changed,
            "moved": self.moved,
            "unchanged": self.unchanged,
            "pruned": self.pruned,
            "refused": _pairs(self.refused),
            "withdrawn": _pairs(self.withdrawn),
            "not_public": [shown(path) for path in self.not_public],
            "duplicates": [shown(path) for path in self.duplicates],
            "passed_over": _pairs(self.passed_over),
            "vanished": [shown(path) for path in self.vanished],
        }


def shown(path: str) -> str:
    """Return a path as one line of plain text, whatever bytes its names hold."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _pairs(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"file": shown(path), "reason": reason} for path, reason in pairs]
