"""What is asked of an upstream: all of it, in one form; nothing else of a request is sent or counts."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import orjson

from app.proxy.upstreams import Keeping, Upstream
from app.proxy.urls import Translation, checked_path, checked_query, undecoded

# How long an answer lasts: `transient` ones are not kept, for they are too many and too large.
Kind = Literal["search", "metadata", "object", "transient"]


@dataclass(frozen=True)
class Asked:
    """One question: a path below the root of the service, a query and an Accept field, all normalised."""

    kind: Kind
    path: str
    query: str
    accept: str

    @classmethod
    def of(cls, kind: Kind, path: str, query: str, accept: str) -> "Asked":
        """Normalise path and query; raises InvalidQuery for what no service has."""
        return cls(kind, checked_path(path), checked_query(query), accept)

    def url(self, upstream: Upstream) -> str:
        """Return what is asked of an upstream."""
        query = self.query if upstream.decodes_queries else undecoded(self.query)
        return upstream.url + self.path + (f"?{query}" if query else "")

    def key(self, upstream: Upstream, ours: str) -> str:
        """Name the answer: by all that it depends on, our own address too, which stands in it."""
        parts = [upstream.name, upstream.url, *upstream.also_at, ours, self.path, self.query, self.accept]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    def translation(self, upstream: Upstream, ours: str) -> Translation:
        """Return what becomes of the URLs in the answer."""
        return Translation(upstream, ours, self.url(upstream))

    def lasts_s(self, keeping: Keeping) -> float | None:
        """Return for how long the answer is taken as it is, None if it is not for keeping."""
        match self.kind:
            case "search":
                return keeping.search_s
            case "metadata":
                return keeping.metadata_s
            case "object":
                return keeping.object_s
        return None
