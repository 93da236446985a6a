"""All that the doors need to know of: opened once, passed down."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from app.archive.extents import Extents
from app.archive.registrar import Registrar
from app.archive.unconvertible import Unconvertible
from app.cage import Cage
from app.catalog.database import Catalog
from app.catalog.search import PageMemory
from app.settings import Settings
from app.storage.local import LocalStorage

IDLE_STAGING_FOLDERS = 8
CAGED_WALL_S = 60  # on a machine that is busy with other things; processor time is the limit that counts


@dataclass(frozen=True)
class Archive:
    """The open archive of one process."""

    settings: Settings
    catalog: Catalog
    storage: LocalStorage
    cage: Cage
    pages: PageMemory = field(default_factory=PageMemory)
    registrar: Registrar = field(default_factory=Registrar)
    extents: Extents = field(default_factory=Extents)
    unconvertible: Unconvertible = field(default_factory=Unconvertible)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open what the settings name; raises SettingsError when the catalogue's schema is not current."""
        catalog = Catalog(settings.catalog_url)
        catalog.require_current_schema()
        return cls(
            settings=settings,
            catalog=catalog,
            storage=LocalStorage(settings.objects_dir, idle_folders=IDLE_STAGING_FOLDERS),
            cage=Cage(
                settings.caged_processes,
                settings.caged_memory_bytes,
                settings.caged_cpu_s,
                wall_s=CAGED_WALL_S,
            ),
        )

    @property
    def scratch_dir(self) -> Path:
        """Where conversions are written before they are sent."""
        return self.settings.data_dir / "scratch"

    @property
    def importing_dir(self) -> Path:
        """Where an importer works on large pictures before they are stored."""
        return self.settings.data_dir / "importing"

    @property
    def thumbnails_dir(self) -> Path:
        """Where thumbnails are kept."""
        return self.settings.data_dir / "cache" / "thumbnails"

    def close(self) -> None:
        """End the child processes and close the database."""
        self.cage.close()
        self.storage.close()
        self.catalog.close()
