"""Who is asking, and what they may do. Reading needs nothing; writing needs a scope."""

import re
from dataclasses import dataclass

SCOPES = {
    "store": "store instances (STOW-RS)",
    "store:{upstream}": "store instances to an upstream of that name, through the proxy",
    "curate": "withdraw instances, series and studies; make collections and choose what they hold",
}

_UPSTREAM = "[a-z0-9][a-z0-9-]{0,31}"
_SCOPE = re.compile("|".join(re.escape(scope).replace(r"\{upstream\}", _UPSTREAM) for scope in SCOPES))


def is_scope(text: str) -> bool:
    """Whether a token may carry it."""
    return _SCOPE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request. `token_id` is None for the anonymous, and for a token that was refused."""

    token_id: str | None = None
    scopes: frozenset[str] = frozenset()
    is_refused: bool = False
    token_name: str = ""

    def may(self, scope: str) -> bool:
        """Whether the caller may do what a scope allows."""
        return scope in self.scopes


ANONYMOUS = Principal()
REFUSED = Principal(is_refused=True)
