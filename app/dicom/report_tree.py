"""The content tree of a structured report (PS3.3 C.17.3), as lines with their depth; runs inside the cage."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from app.errors import NotConvertible

MOST_ITEMS = 20_000
MOST_DEPTH = 60
_MOST_CHARACTERS = 20_000  # of one value


@dataclass(frozen=True, slots=True)
class Line:
    """One content item: its concept name and its value; `is_heading` for a container."""

    depth: int
    relationship: str
    name: str
    value: str
    is_heading: bool


def heading(report: Dataset) -> list[tuple[str, str]]:
    """Return who and what a report is about."""
    fields = (
        ("Patient", "PatientName"),
        ("Patient ID", "PatientID"),
        ("Date of birth", "PatientBirthDate"),
        ("Sex", "PatientSex"),
        ("Study", "StudyDescription"),
        ("Study date", "StudyDate"),
        ("Content date", "ContentDate"),
        ("Completion", "CompletionFlag"),
        ("Verification", "VerificationFlag"),
        ("Manufacturer", "Manufacturer"),
    )
    return [(label, _text(report.get(keyword))) for label, keyword in fields if report.get(keyword)]


def title(report: Dataset) -> str:
    """Return the name of the document: that of its root container."""
    return _concept(report) or "Structured report"


def lines(report: Dataset) -> Iterator[Line]:
    """Yield the content items below the root, parents before children; NotConvertible if it is endless."""
    pending = [(item, 0) for item in reversed(report.get("ContentSequence") or [])]
    count = 0
    while pending:
        item, depth = pending.pop()
        count += 1
        if count > MOST_ITEMS or depth > MOST_DEPTH:
            raise NotConvertible(
                f"The report has more than {MOST_ITEMS} items, or is more than {MOST_DEPTH} deep."
            )
        relationship = _text(item.get("RelationshipType")).lower().replace("_", " ")
        is_heading = item.get("ValueType") == "CONTAINER"
        yield Line(depth, relationship, _concept(item), _value(item), is_heading)
        pending += [(child, depth + 1) for child in reversed(item.get("ContentSequence") or [])]


def _value(item: Dataset) -> str:
    kind = item.get("ValueType")
    match kind:
        case "TEXT" | "PNAME" | "UIDREF" | "DATE" | "TIME" | "DATETIME":
            keyword = {"TEXT": "TextValue", "PNAME": "PersonName", "DATETIME": "DateTime", "UIDREF": "UID"}
            return _text(item.get(keyword.get(kind, kind.title())))
        case "CODE":
            return _code(_first(item, "ConceptCodeSequence"))
        case "NUM":
            measured = _first(item, "MeasuredValueSequence")
            if measured is None:
                return _code(_first(item, "NumericValueQualifierCodeSequence")) or "no value"
            unit = _first(measured, "MeasurementUnitsCodeSequence")
            return f"{_text(measured.get('NumericValue'))} {_unit(unit)}".strip()
        case "IMAGE" | "COMPOSITE" | "WAVEFORM":
            return _reference(_first(item, "ReferencedSOPSequence"), str(kind))
        case "SCOORD" | "SCOORD3D" | "TCOORD":
            return _coordinates(item)
    if "ReferencedContentItemIdentifier" in item:  # by reference: it stands elsewhere in the tree
        return f"see item {'.'.join(map(str, item.ReferencedContentItemIdentifier))}"
    return "" if kind in {"CONTAINER", None} else f"({_text(kind)})"


def _coordinates(item: Dataset) -> str:
    kind = _text(item.get("GraphicType") or item.get("TemporalRangeType"))
    data = item.get("GraphicData") or item.get("ReferencedSamplePositions") or []
    values = list(data) if hasattr(data, "__iter__") and not isinstance(data, str) else [data]
    shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values[:24])
    return f"{kind} {shown}{' …' if len(values) > 24 else ''}".strip()


def _reference(sop: Dataset | None, kind: str) -> str:
    if sop is None:
        return kind.lower()
    frames = sop.get("ReferencedFrameNumber")
    of_frame = f", frame {_text(frames)}" if frames else ""
    return f"{kind.lower()} {_text(sop.get('ReferencedSOPInstanceUID'))}{of_frame}"


def _concept(item: Dataset) -> str:
    return _code(_first(item, "ConceptNameCodeSequence"))


def _code(code: Dataset | None) -> str:
    if code is None:
        return ""
    return _text(code.get("CodeMeaning")) or _text(code.get("CodeValue"))


def _unit(code: Dataset | None) -> str:
    if code is None or code.get("CodeValue") == "1":
        return ""
    return _text(code.get("CodeValue")) or _text(code.get("CodeMeaning"))


def _first(item: Dataset, keyword: str) -> Dataset | None:
    items: Any = item.get(keyword)
    return items[0] if items else None


def _text(value: Any) -> str:  # noqa: ANN401 - any value of a data set
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, list | tuple | MultiValue) else str(value)
    text = text[:_MOST_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
