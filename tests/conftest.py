"""What several folders of tests share: settings, both databases, and the real server."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest
from sqlalchemy import make_url

from app.settings import Settings
from tests.migrated import migrate_at, migrated
from tests.postgres import postgres_cluster
from tests.redis_server import RedisServer, running_redis
from tests.requestors import resting_reactors
from tests.servers import PROJECT, Server

SAMPLE = PROJECT / "corpus" / "isic-sample"
ServerFactory = Callable[..., Server]

# The same examples in every run, and none of them timed: what fails, fails for everybody, on any machine.
# `--hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")

# The second start of a program reads what the first has compiled, whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# httpx gives up after 5 seconds unless told otherwise; a machine that is busy is no fault of a server.
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)

# Each client reads all certificates that the world trusts, which takes longer than most questions.
httpx._transports.default.create_ssl_context = functools.cache(httpx._transports.default.create_ssl_context)


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist hand out the files in the order in which they stand."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with something that takes long begin first, so that none is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DERMZOO_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _resting_reactors() -> Iterator[None]:
    with resting_reactors() if "pynetdicom" in sys.modules else nullcontext():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with a data folder of the test's own."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL database that may create others: TEST_DATABASE_URL, or a private cluster."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with postgres_cluster() as url:
        yield url


@pytest.fixture(scope="session")
def redis_of_the_session() -> Iterator[RedisServer]:
    """A private Redis."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server(redis_of_the_session: RedisServer) -> RedisServer:
    """A private Redis, emptied before the test."""
    with redis_of_the_session.client() as client:
        client.flushall()
    return redis_of_the_session


@contextmanager
def new_database(postgres_server: str, template: str = "template1") -> Iterator[str]:
    """Yield the SQLAlchemy URL of a new PostgreSQL database, empty or a copy, dropped afterwards."""
    administration = postgres_server.replace("+psycopg", "", 1)
    name = f"test_{os.urandom(8).hex()}"
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    address, _, options = postgres_server.partition("?")
    yield f"{address.rsplit('/', 1)[0]}/{name}" + (f"?{options}" if options else "")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database, dropped after the test."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def postgres_catalog(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database with an empty catalogue, to be copied."""
    with new_database(postgres_server) as url:
        migrate_at(url)
        yield str(make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty catalogue at the current schema: once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "catalog.db"
        path.write_bytes(migrated())
        yield f"sqlite:///{path}"
        return
    server, template = map(request.getfixturevalue, ("postgres_server", "postgres_catalog"))
    with new_database(server, template) as url:
        yield url


@pytest.fixture
def server_factory(tmp_path: Path) -> Iterator[ServerFactory]:
    """server_factory(throttle="off", …) starts a server on an empty archive; all are stopped after the test.

    `folder=` names one that another server of the test has used; `workers=` says how many processes serve.
    """
    with ExitStack() as running:

        def start(folder: Path | None = None, workers: int = 1, **chosen: str) -> Server:
            server = Server(folder or tmp_path / f"server-{os.urandom(4).hex()}", chosen)
            running.callback(server.stop)
            return server.start(workers)

        yield start


@pytest.fixture
def server(server_factory: ServerFactory) -> Server:
    """The real server on an empty archive."""
    return server_factory()


@pytest.fixture(scope="session")
def sample_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server with the sample corpus in it; shared, so read from it only."""
    server = Server(tmp_path_factory.mktemp("sample"))
    server.migrate()
    server.run("import", "isic", "--images", SAMPLE / "images", "--metadata", SAMPLE / "metadata.csv")
    try:
        yield server.start()
    finally:
        server.stop()
