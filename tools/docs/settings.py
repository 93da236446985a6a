"""Every setting, from app/settings.py."""

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from app.settings import HostName, Settings
from tools.docs.tables import code, table


def settings_table() -> str:
    """Return one row for each setting."""
    return table(
        ("variable", "in the file", "default", "values", "what it does"),
        (
            (
                code(f"DERMZOO_{name.upper()}"),
                code(name),
                _default(field),
                _values(field),
                field.description or "",
            )
            for name, field in Settings.model_fields.items()
        ),
    )


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    match value:
        case "" | ():
            return "none"
        case dict() if not value:
            return "none"
        case bool():
            return code(str(value).lower())
        case Path():
            return code(str(value))
        case int() if value >= 2**20 and value % 2**20 == 0:
            return (
                f"`{value}` ({value >> 30} GiB)" if value % 2**30 == 0 else f"`{value}` ({value >> 20} MiB)"
            )
    return code(str(value))


def _values(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(code(value) for value in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if kind in {int, float}:
        bounds = {type(one).__name__: one for one in field.metadata}
        least = getattr(bounds.get("Ge"), "ge", None)
        above = getattr(bounds.get("Gt"), "gt", None)
        most = getattr(bounds.get("Le"), "le", None)
        return " ".join(
            (
                "number",
                *((f"from {least}",) if least is not None else ()),
                *((f"above {above}",) if above is not None else ()),
                *((f"to {most:.12g}",) if most is not None else ()),
            )
        )
    if kind is Path:
        return "path"
    if get_origin(kind) is dict:
        return "table"
    if get_origin(kind) is UnionType:
        return "path"
    if get_origin(kind) is tuple:
        return "names" if get_args(kind)[0] is HostName else "networks"
    return "text"
