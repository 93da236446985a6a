"""A structured report as a page or as plain text (PS3.18 8.7.4: Text); runs inside the cage.

All text of the report is escaped. The page is well-formed XML, so the same bytes serve as text/xml.
"""

from collections.abc import Iterable
from html import escape

from pydicom.dataset import Dataset

from app.dicom.dicom_file import DicomFile
from app.dicom.rendered_kinds import PLAIN
from app.dicom.report_tree import Line, heading, lines, title
from app.errors import NotConvertible

_MOST_BYTES = 8 * 2**20
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "ul{list-style:none;padding-left:1.2em;border-left:1px solid #ccc}"
    "dt{font-weight:bold}dd{margin:0 0 .3em 1em}.r{color:#666;font-size:.8em}"
    ".v{white-space:pre-wrap}"
)


def report_text(file: DicomFile, media_type: str) -> bytes:
    """Return a report as text/html, text/xml or text/plain, in UTF-8; NotConvertible if it is too large."""
    report = file.read_header()
    text = _plain(report) if media_type == PLAIN else _page(report)
    content = text.encode("utf-8", "replace")
    if len(content) > _MOST_BYTES:
        raise NotConvertible(f"The report is {len(content)} bytes of text; {_MOST_BYTES} can be shown.")
    return content


def _plain(report: Dataset) -> str:
    name = title(report)
    head = [name, "=" * len(name), "", *(f"{label}: {value}" for label, value in heading(report)), ""]
    return "\n".join([*head, *map(_plain_line, lines(report)), ""])


def _plain_line(line: Line) -> str:
    indent = "  " * line.depth
    value = line.value.replace("\n", f"\n{indent}  ")
    return f"{indent}{': '.join(filter(None, (line.name, value))) or '-'}"


def _page(report: Dataset) -> str:
    name = escape(title(report))
    fields = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in heading(report))
    head = f"<dl>{fields}</dl>" if fields else ""
    return (
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>'
        f"<title>{name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{head}{_list(lines(report))}</body></html>\n"
    )


def _list(content: Iterable[Line]) -> str:
    """Nest the lines by their depth: an item stays open until its children are in it."""
    pieces, depth = [], -1
    for line in content:
        pieces.append("<ul>" if line.depth > depth else "</li>" + "</ul></li>" * (depth - line.depth))
        depth = line.depth
        pieces.append(f"<li>{_item(line)}")
    pieces.append("</li></ul>" * (depth + 1))
    return "".join(pieces)


def _item(line: Line) -> str:
    relationship = f' <span class="r">{escape(line.relationship)}</span>' if line.relationship else ""
    name = f"<b>{escape(line.name)}</b>" if line.is_heading else escape(line.name)
    colon = ": " if line.name and line.value else ""
    return f'{name}{colon}<span class="v">{escape(line.value)}</span>{relationship}'
