"""The answer when it is too much: RFC 9457 problem document, Retry-After, RateLimit and RateLimit-Policy.

The fields and problem types are those of draft-ietf-httpapi-ratelimit-headers-10: Structured Fields (RFC
9651), policies named by strings, quota units `requests` and `content-bytes`. `q` is the burst and `w` the
seconds in which an empty bucket fills, so q / w is the rate. `t` is when there is something left again.

Where chance is let in, Retry-After is later than `t`, so that those who were refused together do not come
back together.

Ordinary answers do not carry them: they would cost a store look-up and 150 bytes an answer and make answers
differ that caches could share; `/quota` tells the same to whoever asks.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from app.throttle.accounts import Line
from app.throttle.clients import Client
from app.throttle.policy import RefusalText
from app.throttle.verdicts import Refusal

LARGEST_INTEGER = 999_999_999_999_999  # RFC 9651, 3.3.1
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"
SPREAD_S = 5  # over which all clients come back after a 503, at least
NO_TEXT = RefusalText()
DENIAL = {
    "type": "about:blank",
    "title": "This archive does not answer you",
    "status": 403,
    "detail": "The operator has shut out your network or token.",
}


class Answer(NamedTuple):
    """A complete HTTP answer; the names of headers are in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Problem = dict[str, Any]
Present = Callable[[Problem, Sequence[str]], tuple[str, bytes]]  # by the lines of Accept


def as_json(problem: Problem, accept: Sequence[str] = ()) -> tuple[str, bytes]:
    """Return media type and bytes of a problem document, whatever is accepted."""
    del accept
    return "application/problem+json", json.dumps(problem).encode()


def no_chance() -> float:
    """Return the same as every time before."""
    return 0.0


def refuse(
    refusal: Refusal,
    client: Client,
    headers: Iterable[tuple[bytes, bytes]] = (),
    text: RefusalText = NO_TEXT,
    *,
    present: Present = as_json,
    chance: Callable[[], float] = no_chance,
) -> Answer:
    """Return 429 when the client used up its own allowance, 503 when all together did, 403 for the denied.

    `headers` are those of the request, `text` is what the operator adds, `chance` gives numbers from 0 to 1.
    """
    accept = [value.decode("latin-1") for name, value in headers if name == b"accept"]
    if refusal.is_denied:
        return _answer(DENIAL, accept, present)
    after_s, later_s = refusal.retry_after_s, told_to_wait_s(refusal, chance)
    problem = {
        "type": PROBLEM_TYPES + ("temporary-reduced-capacity" if refusal.is_shared else "quota-exceeded"),
        "title": (
            "The archive is out of capacity for the moment"
            if refusal.is_shared
            else "You have used up your allowance for the moment"
        ),
        "status": 503 if refusal.is_shared else 429,
        "detail": f"{_what(refusal, client)} {_what_to_do(later_s)}",
        "violated-policies": [line.name for line in refusal.short],
        **alternatives(text),
    }
    return _answer(
        problem,
        accept,
        present,
        (b"retry-after", str(later_s).encode()),
        (b"ratelimit-policy", ratelimit_policy(refusal.short).encode()),
        (b"ratelimit", ratelimit(refusal.short, after_s).encode()),
    )


def told_to_wait_s(refusal: Refusal, chance: Callable[[], float] = no_chance) -> int:
    """Return after how many seconds whoever was refused is to ask again."""
    after_s = refusal.retry_after_s
    return after_s + int(chance() * (1 + (SPREAD_S if refusal.is_shared else 0) + after_s / 4))


def alternatives(text: RefusalText) -> dict[str, dict[str, str]]:
    """Return the member of a problem document that says what else there is; none where nothing is said."""
    told = {name: value for name, value in (("text", text.text), ("link", text.link)) if value}
    return {"alternatives": told} if told else {}


def _answer(
    problem: Problem, accept: Sequence[str], present: Present, *more_headers: tuple[bytes, bytes]
) -> Answer:
    media_type, body = present(problem, accept)
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept"),
        *more_headers,
    ]
    if media_type.startswith("text/html"):
        headers.append((b"content-security-policy", b"default-src 'none'"))
    return Answer(problem["status"], headers, body)


def ratelimit_policy(lines: Sequence[Line]) -> str:
    """Return the value of RateLimit-Policy (section 3 of the draft)."""
    return ", ".join(
        f'"{line.name}";q={_integer(line.bucket.burst)};qu="{line.unit}";w={_window_s(line)}'
        for line in lines
    )


def ratelimit(lines: Sequence[Line], after_s: int) -> str:
    """Return the value of RateLimit (section 4 of the draft) for buckets that have nothing left."""
    return ", ".join(f'"{line.name}";r=0;t={after_s}' for line in lines)


def _window_s(line: Line) -> int:
    return max(1, _integer(line.bucket.burst / line.bucket.per_second))


def _integer(number: float) -> int:
    return min(round(number), LARGEST_INTEGER)


def _what(refusal: Refusal, client: Client) -> str:
    if refusal.is_shared:
        return "All clients together have used up the bytes that this archive may send now."
    whose = "This token" if client.has_token else "Your address"
    used = " and ".join(_allowance(line) for line in refusal.short)
    return f"{whose} has used up its {used}."


def _allowance(line: Line) -> str:
    per_second, burst = line.bucket.per_second, line.bucket.burst
    if line.unit == "concurrent-requests":
        return f"requests at a time ({burst:g})"
    if line.bucket.until:
        return f"bytes of this {line.name.rpartition('-')[2]} ({burst / 1e6:g} MB)"
    if line.unit == "requests":
        what = line.name.removesuffix("-requests").removeprefix("client")
        return f"{what} requests ({per_second:g} a second, {burst:g} at once)".lstrip()
    of_subnet = " of the network around it" if line.name == "subnet-bytes" else ""
    return f"bytes{of_subnet} ({per_second / 1e6:g} MB a second, {burst / 1e6:g} MB at once)"


def _what_to_do(after_s: int) -> str:
    seconds = "1 second" if after_s == 1 else f"{after_s} seconds"
    return f"Wait {seconds}, then send the same request again; /quota tells where you stand."


Refuse = Callable[[Refusal, Client, Iterable[tuple[bytes, bytes]], RefusalText], Answer]
