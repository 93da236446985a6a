"""The engine: SQLite by default, PostgreSQL by setting the URL; sync, one transaction at a time to write."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, local
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.catalog import arrivals
from app.catalog.models import holding
from app.catalog.prepared import driver_of
from app.errors import CatalogUnavailable, SettingsError

# The revision of migrations/ that this code works on; tests/test_migrations.py compares the two.
SCHEMA_REVISION = "0007"

SYNCHRONOUS = "FULL"  # SQLite's: a commit that was answered survives a power cut
BUSY_TIMEOUT_MS = 5000
CHECKPOINT_PAGES = 4000  # 16 MiB: pages that many commits change are written home once
TURN_POLL_S = 0.0005
# For others that write now, which takes them a few milliseconds, unless they or the disk stand still.
SETTLING_PATIENCE_S = 5.0
SETTLE_AGAIN_S = 5.0
SETTLING_POLL_S = 0.01
LARGE_CACHE_KIB = 131_072


logger = logging.getLogger("dermzoo.catalog")


class _Locked(CatalogUnavailable):
    """Another writes, for longer than one wants to wait."""

    def __init__(self) -> None:
        super().__init__("The catalogue cannot be written now: it is locked")


class Catalog:
    """The open catalogue; reading and writing raise CatalogUnavailable when it is locked or away."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _create_engine(url, is_sqlite=self.is_sqlite)
        self._writing = Lock()
        self._writer: Connection | None = None  # SQLite's: kept open, used in turn
        self._is_swift = False  # as it is set now
        self._settle_again_s = 0.0  # on the monotonic clock; 0 unless it has failed
        self._reading = local()
        self._readers: WeakSet[Connection] = WeakSet()  # of all threads that still live
        dbapi: Any = self.engine.dialect.loaded_dbapi
        self._driver_errors: tuple[type[Exception], ...] = (dbapi.OperationalError, dbapi.InterfaceError)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection to read with; each statement sees what is committed by then.

        What has arrived is registered before. The connection stays open for its thread: opening one costs
        more than most questions.
        """
        with self._reader() as connection:
            if self.is_sqlite and arrivals.are_waiting(connection):
                self._settle(connection)
            yield connection

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        connection: Connection | None = getattr(self._reading, "connection", None)
        with unavailable_as_catalog_error():
            if connection is None or connection.closed:
                connection = _autocommitting(self.engine)
                self._reading.connection = connection
                self._readers.add(connection)
            try:
                yield connection
            except OperationalError:
                connection.invalidate()
                connection.close()
                raise
            except self._driver_errors as error:  # from statements of prepared.py
                connection.invalidate()
                connection.close()
                raise CatalogUnavailable(f"The catalogue cannot be reached now: {error}") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a transaction of its own, committed at the end; writers take turns.

        What has arrived is registered before.
        """
        begun = self._settled_turn() if self.is_sqlite else self.engine.begin()
        with unavailable_as_catalog_error(), begun as connection:
            if not self.is_sqlite:
                # One writer at a time, as on SQLite: no deadlocks and no serialization failures.
                connection.execute(holding.select().with_for_update())
            try:
                yield connection
            except self._driver_errors as error:  # from statements of prepared.py
                raise CatalogUnavailable(f"The catalogue cannot be reached now: {error}") from error

    @contextmanager
    def arriving(self) -> Iterator[Connection]:
        """Yield a connection to SQLite in a transaction for arrive(), committed at the end."""
        with unavailable_as_catalog_error(), self._turn() as connection:
            yield connection

    @property
    def is_behind(self) -> bool:
        """Whether what has arrived could not be registered when it was last tried."""
        return self._settle_again_s > 0

    @contextmanager
    def _settled_turn(self) -> Iterator[Connection]:
        while True:
            with self._turn() as connection:
                if not arrivals.are_waiting(connection):
                    self._settle_again_s = 0.0
                    yield connection
                    return
                # In a transaction of its own: however long the next one takes, nothing waits meanwhile.
                arrivals.settle(connection)

    def _settle(self, reader: Connection) -> None:
        """Register what has arrived, or wait until another has; what cannot be is not seen for a while."""
        deadline_s = monotonic() + SETTLING_PATIENCE_S
        if monotonic() < self._settle_again_s:
            return
        try:
            while arrivals.are_waiting(reader):
                if monotonic() > deadline_s:
                    raise _Locked
                with suppress(_Locked), self._turn(SETTLING_POLL_S, is_swift=True) as connection:
                    if arrivals.are_waiting(connection):
                        arrivals.settle(connection)
            self._settle_again_s = 0.0
        except (CatalogUnavailable, DBAPIError) as error:
            # A full disk, most likely: what is there can be read.
            self._settle_again_s = monotonic() + SETTLE_AGAIN_S
            logger.warning("what has arrived waits", extra={"facts": {"reason": str(error)}})

    @contextmanager
    def _turn(
        self, patience_s: float = BUSY_TIMEOUT_MS / 1000, *, is_swift: bool = False
    ) -> Iterator[Connection]:
        """Yield the one connection of this process that writes to SQLite, kept open, in a transaction.

        One that `is_swift` waits for no disk, and may be undone by a power cut: it repeats what is durable.
        """
        deadline_s = monotonic() + patience_s
        if not self._writing.acquire(timeout=patience_s):
            raise _Locked
        try:
            if self._writer is None or self._writer.closed:
                self._writer, self._is_swift = _autocommitting(self.engine), False
                driver_of(self._writer).execute("PRAGMA busy_timeout = 0")  # _begin_in_turn() waits
            driver = driver_of(self._writer)
            if is_swift != self._is_swift:
                driver.execute(f"PRAGMA wal_autocheckpoint = {0 if is_swift else CHECKPOINT_PAGES}")
                driver.execute(f"PRAGMA synchronous = {'NORMAL' if is_swift else SYNCHRONOUS}")
                self._is_swift = is_swift
            _begin_in_turn(driver, deadline_s)
            try:
                yield self._writer
                driver.commit()
            except BaseException:
                driver.rollback()
                raise
        except DBAPIError:
            self._forget_writer()
            raise
        except self._driver_errors as error:
            self._forget_writer()
            raise CatalogUnavailable(f"The catalogue cannot be written now: {error}") from error
        finally:
            self._writing.release()

    def expect_much(self) -> None:
        """Let this process keep more pages in memory while it writes: thousands of rows at once."""
        if self.is_sqlite:
            with self.write() as connection:
                connection.exec_driver_sql(f"PRAGMA cache_size = -{LARGE_CACHE_KIB}")

    def _forget_writer(self) -> None:
        if self._writer is not None:
            self._writer.invalidate()
            self._writer.close()

    def require_current_schema(self) -> None:
        """Raise SettingsError, with the command to type, unless the schema is the one this code works on."""
        with self._reader() as connection:
            found = _revision(connection)
        if found != SCHEMA_REVISION:
            state = (
                "is empty" if found is None else f"has schema {found}, this version needs {SCHEMA_REVISION}"
            )
            raise SettingsError(f"The catalogue {self.name} {state}. Run: dermzoo migrate")

    def is_new(self) -> bool:
        """Whether there is no table in the database yet."""
        with self._reader() as connection:
            return not connection.dialect.get_table_names(connection)

    @property
    def name(self) -> str:
        """The database's URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every thread's connection and the pool; nobody reads any more."""
        for connection in (*self._readers, *([self._writer] if self._writer else [])):
            connection.close()
        self.engine.dispose()


def _create_engine(url: str, *, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        return create_engine(url, pool_pre_ping=True, pool_size=8, connect_args={"connect_timeout": 5})
    database = make_url(url).database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        poolclass=NullPool,  # each thread keeps its own to read with, and the process one to write with
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 a driver's own connection
    connection.isolation_level = None  # transactions begin where we say, below
    for pragma in (
        "journal_mode = WAL",
        f"synchronous = {SYNCHRONOUS}",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "cache_size = -16384",
        "temp_store = MEMORY",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes later would fail where another wrote in between.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_in_turn(driver: Any, deadline_s: float) -> None:  # noqa: ANN401 a driver's own connection
    """Begin as soon as other processes let us: SQLite itself would look after 1, 2, 5, 10, up to 100 ms."""
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if monotonic() > deadline_s:
                raise _Locked from error
            sleep(TURN_POLL_S)
        else:
            return


def _autocommitting(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    return revision


@contextmanager
def unavailable_as_catalog_error() -> Iterator[None]:
    """Turn the driver's errors of a locked or absent database into CatalogUnavailable."""
    try:
        yield
    except OperationalError as error:
        raise CatalogUnavailable(f"The catalogue cannot be reached now: {error.orig}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise CatalogUnavailable(f"The catalogue was closed: {error.orig}") from error
        raise
