"""Finds out who is asking, before the budget does: a token has buckets of its own."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.archive.archive import Archive
from app.auth.principals import ANONYMOUS, REFUSED, Principal
from app.auth.tokens import authenticate
from app.errors import CatalogUnavailable


class Authentication:
    """Plain ASGI; puts the principal in the scope.

    Reading needs none, so a bad token is refused only where a scope is asked for (require_scope).
    """

    def __init__(self, app: ASGIApp, archive: Archive) -> None:
        self.app = app
        self.archive = archive
        self.anonymous = ANONYMOUS
        if archive.settings.allow_anonymous_store:
            self.anonymous = Principal(scopes=frozenset({"store"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the principal and go on."""
        if scope["type"] == "http":
            scope["dermzoo.principal"] = await self._principal(scope)
        await self.app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal:
        header = Headers(scope=scope).get("authorization")
        if header is None:
            return self.anonymous
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            return REFUSED
        try:
            if self.archive.catalog.is_sqlite:
                return self._authenticate(text.strip())
            return await asyncio.to_thread(self._authenticate, text.strip())
        except CatalogUnavailable:
            return REFUSED

    def _authenticate(self, text: str) -> Principal:
        with self.archive.catalog.read() as connection:
            return authenticate(connection, text)
