"""Bearer tokens: made once, shown once, kept as a hash.

A token reads `dz_{id}_{secret}`. The secret has 256 random bits, so its plain SHA-256 is safe to keep.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from app.auth.principals import REFUSED, Principal
from app.catalog.models import token

PREFIX = "dz"


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token; times are ISO 8601 in UTC."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: str
    revoked_at: str | None


def create_token(connection: Connection, name: str, scopes: frozenset[str], now: datetime) -> str:
    """Make a token and return its text, which is not kept."""
    token_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    connection.execute(
        insert(token).values(
            id=token_id,
            name=name,
            secret_sha256=_digest(secret),
            scopes=" ".join(sorted(scopes)),
            created_at=now.isoformat(timespec="seconds"),
        )
    )
    return f"{PREFIX}_{token_id}_{secret}"


def list_tokens(connection: Connection) -> list[Token]:
    """Return every token ever made, oldest first."""
    return [_token(row) for row in connection.execute(select(token).order_by(token.c.created_at, token.c.id))]


def revoke_token(connection: Connection, token_id: str, now: datetime) -> bool:
    """End a token; return whether there was one to end."""
    statement = update(token).where(token.c.id == token_id, token.c.revoked_at.is_(None))
    return connection.execute(statement.values(revoked_at=now.isoformat(timespec="seconds"))).rowcount == 1


def authenticate(connection: Connection, text: str) -> Principal:
    """Return whose token this is; REFUSED for one that is unknown, malformed or revoked."""
    prefix, _, rest = text.partition("_")
    token_id, _, secret = rest.partition("_")
    if prefix != PREFIX or not secret or not text.isascii():
        return REFUSED
    row = connection.execute(select(token).where(token.c.id == token_id)).one_or_none()
    if row is None or not hmac.compare_digest(row.secret_sha256, _digest(secret)) or row.revoked_at:
        return REFUSED
    return Principal(token_id, frozenset(row.scopes.split()), token_name=row.name)


def _token(row: Row[tuple[str, str, bytes, str, str, str | None]]) -> Token:
    return Token(row.id, row.name, frozenset(row.scopes.split()), row.created_at, row.revoked_at)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
