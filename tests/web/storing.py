"""STOW-RS without a network: the endpoint on an archive of the test's own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydicom import Dataset
from starlette.applications import Starlette
from starlette.routing import Route

from app.archive.archive import Archive
from app.auth.principals import Principal
from app.cage import Cage
from app.catalog.database import Catalog
from app.catalog.holdings import totals
from app.errors import ArchiveError
from app.settings import Settings
from app.storage.local import LocalStorage
from app.web.errors import RequestError, archive_error, request_error
from app.web.stow import store_instances
from tests.migrated import migrated

BOUNDARY = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'


@contextmanager
def empty_archive(folder: Path, cage: Cage) -> Iterator[Archive]:
    """An archive that calls itself https://dermzoo.example and takes 20 MB at once."""
    settings = Settings(
        data_dir=folder / "data", public_url="https://dermzoo.example", store_max_bytes=20_000_000
    )
    settings.data_dir.mkdir()
    (settings.data_dir / "catalog.db").write_bytes(migrated())
    catalog = Catalog(settings.catalog_url)
    yield Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), cage)
    catalog.close()


class Client:
    """Posts to the endpoint as `principal`."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.principal = Principal(token_id="t", scopes=frozenset({"store"}))

    def app(self) -> Starlette:
        routes = [
            Route(path, store_instances, methods=["POST"])
            for path in ("/dicom-web/studies", "/dicom-web/studies/{study}")
        ]
        app = Starlette(
            routes=routes, exception_handlers={ArchiveError: archive_error, RequestError: request_error}
        )
        app.state.archive = self.archive
        return app

    async def serve(self, scope, receive, send) -> None:
        scope["dermzoo.principal"] = self.principal
        await self.app()(scope, receive, send)

    def post(self, body, study: str = "", **headers: str) -> httpx.Response:
        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.serve)
            async with httpx.AsyncClient(transport=transport, base_url="http://ignored") as client:
                sent = {"Content-Type": CONTENT_TYPE, "Accept": "*/*"}
                sent |= {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.post(f"/dicom-web/studies{study}", content=body, headers=sent)

        return asyncio.run(post())

    def store(self, *parts: bytes, study: str = "") -> httpx.Response:
        return self.post(multipart(*parts), study)


def instances(archive: Archive) -> int:
    with archive.catalog.read() as connection:
        return totals(connection)["instances"]


def assert_nothing_is_held(archive: Archive) -> None:
    leftovers = [path for path in (archive.storage.root / "tmp").rglob("*") if path.name != "guard"]
    assert (instances(archive), list(archive.storage.keys()), leftovers) == (0, [], [])


def multipart(*parts: bytes, header: bytes = b"Content-Type: application/dicom") -> bytes:
    # As dicomweb-client writes it: a line end first, none after the last boundary.
    body = b"".join(f"\r\n--{BOUNDARY}\r\n".encode() + header + b"\r\n\r\n" + part for part in parts)
    return body + f"\r\n--{BOUNDARY}--".encode()


def answer(response: httpx.Response) -> Dataset:
    assert response.headers["content-type"] == "application/dicom+json"
    return Dataset.from_json(response.json())
