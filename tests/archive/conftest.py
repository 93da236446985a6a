"""An empty archive for each test; the child processes that read files are shared."""

from collections.abc import Iterator

import pytest

from app.archive.archive import Archive
from app.cage import Cage
from app.catalog.database import Catalog
from app.settings import Settings
from app.storage.local import LocalStorage
from tests.migrated import migrated


@pytest.fixture(scope="session")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture
def archive(settings: Settings, cage: Cage) -> Iterator[Archive]:
    settings.data_dir.mkdir()
    (settings.data_dir / "catalog.db").write_bytes(migrated())
    catalog = Catalog(settings.catalog_url)
    yield Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), cage)
    catalog.close()
