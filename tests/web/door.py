"""The whole application in the test's own process: every door, no socket, an archive of the test's own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.archive.archive import Archive
from app.auth.tokens import create_token
from app.main import create_app
from app.settings import Settings
from tests.migrated import migrated
from tests.web.storing import CONTENT_TYPE, multipart


class Door:
    """Sends requests to the application; `get`, `post` and `delete` take the path below the host."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        inner = self.app
        while not hasattr(inner, "state"):
            inner = inner.app
        self.archive: Archive = inner.state.archive

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ignored") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, headers=named)

    def token(self, *scopes: str) -> dict[str, str]:
        """The header of a new token with these scopes."""
        with self.archive.catalog.write() as connection:
            text = create_token(connection, "test", frozenset(scopes), datetime.now(UTC))
        return {"Authorization": f"Bearer {text}"}

    def store(self, *files: bytes) -> httpx.Response:
        headers = {"Content-Type": CONTENT_TYPE} | self.token("store")
        return self.request("POST", "/dicom-web/studies", content=multipart(*files), headers=headers)


@contextmanager
def opened_door(folder: Path, **chosen: object) -> Iterator[Door]:
    """An application on an empty archive in `folder`, without the budget."""
    settings = Settings(
        data_dir=folder / "data", public_url="https://dermzoo.example", throttle="off", **chosen
    )
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "catalog.db").write_bytes(migrated())
    door = Door(settings)
    try:
        yield door
    finally:
        door.archive.close()
