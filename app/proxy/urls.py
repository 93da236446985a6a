"""From their URLs to ours, from a client's request to theirs: what may stand in either, nothing else."""

import re
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

from app.errors import InvalidQuery
from app.proxy.upstreams import Upstream

MOST_PATH_CHARACTERS = 2048
MOST_PARAMETERS = 200

# UIDs, tags, frame lists, what servers name bulk data by; no percent sign: there is nothing to decode twice.
_SEGMENT = re.compile(r"[A-Za-z0-9._~,:@+=-]+")
_DOTS = re.compile(r"\.+")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_PLAIN = "!$'()*,/:?@"  # RFC 3986 3.4: needs no encoding in a query
_SPLITTING = re.compile(r"[^!-~]|[#%&+]")
_UID = re.compile(r"[0-9.]{1,64}")
_NAMED_BY_UID = frozenset({"studies", "series", "instances"})
_FORM = re.compile(r"/(?:studies|bulkdata)/")


def checked_path(tail: str) -> str:
    """Return a path below the root of a service, as it is sent; raises InvalidQuery for what is none.

    `tail` is decoded, and begins with a slash.
    """
    segments = tail.removeprefix("/").split("/")
    if len(tail) > MOST_PATH_CHARACTERS or not all(
        _SEGMENT.fullmatch(one) and not _DOTS.fullmatch(one) for one in segments
    ):
        raise InvalidQuery("The path has characters that no resource of a DICOMweb service is named by.")
    for before, segment in pairwise(segments):
        if (
            before in _NAMED_BY_UID
            and segment not in _NAMED_BY_UID | {"metadata"}
            and not _UID.fullmatch(segment)
        ):
            raise InvalidQuery(f"{before} are named by UIDs: digits and dots, at most 64 characters.")
    return "/" + "/".join(segments)


def checked_query(text: str) -> str:
    """Return a query in the one form in which it is sent and remembered; raises InvalidQuery."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        raise InvalidQuery("The query is not UTF-8, or has too many parameters.") from error
    for name, value in pairs:
        if not _PARAMETER.fullmatch(name) or any(ord(one) < 32 or ord(one) == 127 for one in value):
            raise InvalidQuery(f"The parameter {name[:40]!r} is none of a DICOMweb service.")
    # The order of parameters means nothing; that of the values of one may.
    return urlencode(sorted(pairs, key=lambda pair: pair[0]), quote_via=quote, safe=_PLAIN)


def undecoded(query: str) -> str:
    """Return a checked query for a server that decodes none: encoded is only what cannot stand there."""
    return "&".join(
        f"{name}={_SPLITTING.sub(lambda found: quote(found[0]), unquote(value))}"
        for name, _, value in (pair.partition("=") for pair in query.split("&"))
        if name
    )


@dataclass(frozen=True)
class Translation:
    """What becomes of the URLs in an answer: `ours` is our root of the upstream, `asked` what was asked."""

    upstream: Upstream
    ours: str
    asked: str

    def any_url(self, url: str) -> str:
        """Return a URL of the upstream as ours; any other as it is."""
        return self.reference(url) if self._is_theirs(url) else url

    def reference(self, url: str) -> str:
        """Return a URL that is to be followed as ours; nothing for one that leads elsewhere."""
        try:
            parts = urlsplit(urljoin(self.asked, url))
            tail = self._tail(parts.path) if parts.scheme in {"http", "https"} else None
            if tail is None:
                return ""
            query = checked_query(parts.query)
            return self.ours + checked_path(tail) + (f"?{query}" if query else "")
        except (ValueError, InvalidQuery):
            return ""

    def _is_theirs(self, url: str) -> bool:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return True  # whatever it is, it does not go out
        return host in {urlsplit(base).hostname for base in self._bases}

    def _tail(self, path: str) -> str | None:
        path = unquote(path)
        for base in self._bases:
            root = unquote(urlsplit(base).path)
            if path.startswith(f"{root}/") and not root.endswith("/"):
                tail = path[len(root) :]
                if _FORM.match(tail):
                    return tail
        found = _FORM.search(path)
        return path[found.start() :] if found else None

    @property
    def _bases(self) -> tuple[str, ...]:
        return (self.upstream.url, *self.upstream.also_at)
