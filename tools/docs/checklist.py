"""What PS3.18 asks of an origin server, numbered, and the tests that cite each number.

A test cites a clause and the numbers in its docstring or a comment: `PS3.18 8.7.3.1 (checklist 3, 5)`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.docs.tables import code, table

PROJECT = Path(__file__).parents[2]

# Number, clause of PS3.18, what it asks for.
ITEMS: tuple[tuple[int, str, str], ...] = (
    (1, "8.7.3, 10.4.1.1.2", "search results and metadata as JSON, which is the default, and as XML"),
    (2, "8.3.3.1", "`accept=` beside `Accept`, and before it"),
    (3, "8.7.5 to 8.7.8", "qualities and wild cards; 406, and 400 for DICOM mixed with rendered types"),
    (4, "8.7.5", "a request without `Accept` has the default"),
    (5, "8.7.3.5.2", "`transfer-syntax=*` is as stored; one value for a media type"),
    (6, "8.7.3.5.2", "Explicit VR Little Endian by default; as stored where that would not do"),
    (7, "8.7.3.5.2", "neither Implicit VR Little Endian nor Explicit VR Big Endian goes out"),
    (8, "8.6.1, 8.7.1", "a multipart has `type` and `boundary`, its parts a type and a location"),
    (9, "8.7.3", "a single part is for what is one item"),
    (10, "8.7.3.2, F.2", "JSON is one array in UTF-8, never a multipart"),
    (11, "8.7.3.3", "frames without the delimiters of fragments, one in a part"),
    (12, "Table 8.7.3-3", "which media type carries which transfer syntax; old names are understood"),
    (13, "8.8.1", "character sets: the parameter, the header, 400 and 406"),
    (14, "8.4.3", "`Content-Type` with a payload, `Content-Location` with a representation"),
    (15, "8.5, 8.6.3", "statuses, and a report in the form that the client reads"),
    (16, "8.9", "capabilities: `OPTIONS`, WADL or JSON, 304"),
    (17, "F.2", "the JSON model: order, `vr`, one kind of value, names, numbers, empty items"),
    (18, "8.9", "a CORS preflight, and capabilities beside it"),
    (19, "10.6.1", "all search resources"),
    (20, "8.3.4", "the parameters of a search"),
    (21, "8.3.4.1", "keywords, tags and paths; each once; 400 for what is none"),
    (22, "8.3.4.1", "lists, of UIDs alone unless asked for"),
    (23, "8.3.4.1", "ranges of dates and times, open ones, and both together"),
    (24, "8.3.4.1", "wild cards, and case"),
    (25, "Table 10.6.1-5", "attributes that are matched"),
    (26, "Table 10.6.3-3", "attributes of a study in a result"),
    (27, "Table 10.6.3-4", "attributes of a series in a result"),
    (28, "Table 10.6.3-5", "attributes of an instance in a result"),
    (29, "10.6.3.3", "what was matched is returned; nothing of a lower level; private ones"),
    (30, "8.3.4.3", "`includefield`, and `all` of them"),
    (31, "8.3.4.2", "fuzzy matching"),
    (32, "8.3.4.4", "how many remain; pages that hold still"),
    (33, "10.6.3.2", "nothing found"),
    (34, "10.6.3.1", "statuses of a search; limits that are none, or too large"),
    (35, "10.4.1", "all resources that are retrieved"),
    (36, "10.4.3.1", "206 and a warning where something is left out; 404, 410, 413"),
    (37, "10.4.1.1.2", "metadata: no File Meta Information; where values are, absolute and reachable"),
    (38, "10.4.1.1.5", "bulk data: the same bytes each time, and ranges of them"),
    (39, "10.4.1.1.6", "lists of frames"),
    (40, "8.7.3.3", "decoded frames, and the Photometric Interpretation that goes with them"),
    (41, "8.7.3.5.2", "no loss that nobody asked for"),
    (42, "8.4.1", "validators and conditions"),
    (43, "10.6.3.3, 10.5.3", "Retrieve URLs lead to the public root"),
    (44, "8.7.4", "rendered media types of images, films and texts"),
    (45, "8.7.4", "no transfer syntax of a rendered type, and no DICOM beside it"),
    (46, "8.3.5.1.2", "`quality`"),
    (47, "8.3.5.1.3", "`viewport`"),
    (48, "8.3.5.1.4", "`window`"),
    (49, "8.3.5.1.1", "`annotation`"),
    (50, "8.3.5.1.5", "`iccprofile`"),
    (51, "10.4.1.1.3", "presentation states"),
    (52, "10.4.1.1.4", "thumbnails, without what identifies a patient"),
    (53, "10.5.1", "where to store, and the study that it must be"),
    (54, "10.5.2", "files; JSON or XML with bulk data"),
    (55, "8.7.3.4, 10.5.2", "pictures and films as bulk data"),
    (56, "10.5.3.3, Annex I", "the answer to a store"),
    (57, "10.5.3.1", "statuses of a store"),
    (58, "Annex I", "reasons of failures and warnings"),
    (59, "Annex I", "coercions told; the same bytes again are no failure"),
    (60, "9", "the URI Service"),
    (61, "13, Annex J", "storage commitment"),
)

_CITED = re.compile(r"checklist (\d+(?:(?:, | and |, and )\d+)*)")


def citations() -> dict[int, list[str]]:
    """Return the files under tests/ of which a test cites a number."""
    found: dict[int, list[str]] = {number: [] for number, _, _ in ITEMS}
    for path in sorted((PROJECT / "tests").rglob("test_*.py")):
        name = path.relative_to(PROJECT).as_posix()
        for number in sorted({number for test in _tests(path) for number in cited(test)}):
            found.setdefault(number, []).append(name)
    return found


def cited(text: str) -> set[int]:
    """Return the numbers that a text cites."""
    return {int(number) for listed in _CITED.findall(text) for number in re.findall(r"\d+", listed)}


def _tests(path: Path) -> Iterator[str]:
    """Yield the source of each test that pytest collects, with the comment above it and its decorators."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in _functions(ast.parse(text).body):
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        while first and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        yield "\n".join(lines[first : node.end_lineno])


def _functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _functions(node.body)


def checklist_table() -> str:
    """Return one row for each number, with the tests that cite it."""
    tests = citations()
    rows = (
        (str(number), clause, text, ", ".join(code(name.removeprefix("tests/")) for name in tests[number]))
        for number, clause, text in ITEMS
    )
    return table(("", "PS3.18", "what it asks for", "tests that cite it"), rows)
