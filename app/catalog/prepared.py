"""Statements compiled once and run on the driver's own cursor, to read and to write many rows.

SQLAlchemy's own execution costs about six times what SQLite takes to answer (docs/decisions/0012), and as
much for each row written. Lists of values whose length varies go through it all the same.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Dialect,
    Insert,
    Select,
    Table,
    Text,
    Update,
    bindparam,
    insert,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


def driver_of(connection: Connection) -> Any:  # noqa: ANN401 of whichever driver it is
    """Return the driver's own connection, which a connection in use always has."""
    driver = connection.connection.dbapi_connection
    assert driver is not None
    return driver


class Prepared:
    """One SELECT for one dialect. Rows are named tuples of its columns."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._statement = statement
        self._is_expanding = bool(compiled.post_compile_params)
        self._sql = str(compiled)
        self._fixed: dict[str, Any] = {k: v for k, v in compiled.params.items() if v is not None}
        order: list[str] | None = compiled.positiontup
        self._order = order
        # For several names itemgetter gives a tuple, in a tenth of the time of a comprehension.
        self._in_order = itemgetter(*order) if order and len(order) > 1 and not self._fixed else None
        names = [column.name for column in statement.selected_columns]
        row: Any = namedtuple("Row", [*names], rename=True)  # type: ignore[misc]  # noqa: PYI024 fields known here
        self._row = row._make

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        """Return all rows."""
        if self._is_expanding:
            return list(map(self._row, connection.execute(self._statement, values)))
        parameters: Any
        if self._in_order:
            parameters = self._in_order(values)
        else:
            parameters = self._fixed | dict(values)
            if self._order is not None:
                parameters = [parameters[name] for name in self._order]
        driver = driver_of(connection)
        cursor = driver.cursor()
        try:
            cursor.execute(self._sql, parameters)
            return [self._row(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def scalar(self, connection: Connection, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 of the column's type
        """Return the first column of the first row, None where there is no row."""
        found = self.rows(connection, values)
        return found[0][0] if found else None


def prepared(make: Callable[..., Select[Any] | CompoundSelect[Any]]) -> Callable[..., Prepared]:
    """Have a function that builds a SELECT return it prepared, made once for each set of arguments.

    The function is then called with the connection's dialect before its own arguments.
    """

    @lru_cache(maxsize=1024)
    def once(dialect: Dialect, *arguments: Any) -> Prepared:  # noqa: ANN401 those of the function
        return Prepared(make(*arguments), dialect)

    return once


class _Listed(ColumnElement[Any]):
    """The values of a JSON array, as a set to look into."""

    inherit_cache = True

    def __init__(self, array: ColumnElement[Any]) -> None:
        self.array = array


@compiles(_Listed, "sqlite")
def _listed_by_sqlite(element: _Listed, compiler: SQLCompiler, **_: object) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.array)}))"  # noqa: S608 a parameter's mark


@compiles(_Listed, "postgresql")
def _listed_by_postgresql(element: _Listed, compiler: SQLCompiler, **_: object) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.array)} AS jsonb)))"


def listed(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a column is one of the texts of the parameter `name`, a list of any length: see as_list()."""
    return column.bool_op("IN")(_Listed(bindparam(name, type_=Text)))


def as_list(texts: Iterable[str]) -> str:
    """Return texts as the one parameter that listed() takes."""
    return orjson.dumps(list(texts)).decode()


class Written:
    """One INSERT or UPDATE for one dialect, to be run for many rows."""

    def __init__(self, statement: Insert | Update, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        order: list[str] | None = compiled.positiontup
        # For several names itemgetter gives a tuple, in a tenth of the time of a comprehension.
        several = order is not None and len(order) > 1
        self._in_order = itemgetter(*order) if order and several else None
        self._only = order[0] if order and not several else None

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 what the driver takes
        """Return the values of each row as the driver takes them: by position, or by name."""
        if self._in_order:
            return list(map(self._in_order, rows))
        return [(row[self._only],) for row in rows] if self._only else list(rows)

    def parameters_of(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Any:  # noqa: ANN401 what the driver takes
        """Return rows as the driver takes them, whose values are in the order of these names."""
        return rows if self._in_order else [dict(zip(names, row, strict=True)) for row in rows]


def run_many(connection: Connection, written: Written, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement once for each row, within the caller's transaction."""
    driver = driver_of(connection)
    cursor = driver.cursor()
    try:
        cursor.executemany(written.sql, written.parameters(rows))
    finally:
        cursor.close()


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if rows:
        run_many(connection, _insert(connection.dialect, table, tuple(rows[0])), rows)


def insert_tuples(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows, of two columns or more, given as tuples in the order of `names`."""
    if rows:
        written = _insert(connection.dialect, table, names)
        driver = driver_of(connection)
        cursor = driver.cursor()
        try:
            cursor.executemany(written.sql, written.parameters_of(names, rows))
        finally:
            cursor.close()


@lru_cache
def _insert(dialect: Dialect, table: Table, names: tuple[str, ...]) -> Written:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return Written(insert(table).values(values), dialect)
