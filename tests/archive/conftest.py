"""An empty archive for each test; the child processes that read files are shared."""

from collections.abc import Iterator

import pytest

from app.archive.archive import Archive
from app.cage import Cage
from app.catalog.database import Catalog
from app.catalog.migrate import migrate
from app.settings import Settings
from app.storage.local import LocalStorage


@pytest.fixture(scope="session")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty SQLite catalogue; copying it is quicker than running the migrations for every test."""
    path = tmp_path_factory.mktemp("migrated") / "catalog.db"
    catalog = Catalog(f"sqlite:///{path}")
    migrate(catalog)
    catalog.close()
    return path.read_bytes()


@pytest.fixture
def archive(settings: Settings, cage: Cage, migrated: bytes) -> Iterator[Archive]:
    settings.data_dir.mkdir()
    (settings.data_dir / "catalog.db").write_bytes(migrated)
    catalog = Catalog(settings.catalog_url)
    yield Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), cage)
    catalog.close()
