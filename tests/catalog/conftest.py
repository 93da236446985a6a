"""An empty catalogue on each database, and a way to put instances in it."""

import hashlib
from collections.abc import Callable, Iterator

import pytest
from pydicom.dataset import Dataset

from app.catalog.database import Catalog
from app.catalog.entry import Entry, entry
from app.catalog.register import Location, Outcome, register
from app.dicom.scan import scan
from tests.factories import instance_bytes, make_instance

Register = Callable[..., list[Outcome]]


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    catalog = Catalog(catalog_url)
    yield catalog
    catalog.close()


def make_entry(instance: Dataset | None = None, **attributes: object) -> Entry:
    content = instance_bytes(instance or make_instance(**attributes))
    return entry(scan(content), len(content), 0, hashlib.sha256(content).digest())


@pytest.fixture
def registered(catalog: Catalog) -> Register:
    """registered({"name": "a", "PatientID": "1"}, …) puts one instance in for each dict."""

    def add(*instances: dict[str, object]) -> list[Outcome]:
        entries = [make_entry(**attributes) for attributes in instances]
        with catalog.write() as connection:
            return register(connection, [(e, Location(None, e.sha256.hex())) for e in entries])

    return add
