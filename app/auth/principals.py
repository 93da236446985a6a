"""Who is asking, and what they may do. Reading needs nothing; writing needs a scope."""

from dataclasses import dataclass

SCOPES = {
    "store": "store instances (STOW-RS)",
    "curate": "withdraw instances, series and studies",
}


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
