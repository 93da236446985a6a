"""What SQL says differently on the two databases."""

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean


class like_dicom(GenericFunction[bool]):  # noqa: N801 the name it has in SQL expressions
    """`column like_dicom pattern`: GLOB on SQLite and LIKE on PostgreSQL, both of them heeding case."""

    type = Boolean()
    inherit_cache = True


@compiles(like_dicom, "sqlite")
def _glob(element: like_dicom, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} GLOB {pattern}"


@compiles(like_dicom, "postgresql")
def _like(element: like_dicom, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} LIKE {pattern}"


class unindexed(GenericFunction[Any]):  # noqa: N801 the name it has in SQL expressions
    """A column that SQLite's planner, which takes every value for a rare one, is to use no index for."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column, type_=column.type)


@compiles(unindexed, "sqlite")
def _plus(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    (column,) = (compiler.process(clause, **options) for clause in element.clauses)
    return f"+{column}"


@compiles(unindexed, "postgresql")
def _column(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    (column,) = (compiler.process(clause, **options) for clause in element.clauses)
    return column
