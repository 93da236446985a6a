"""Balances in Redis or Valkey, shared by all processes of all hosts; one call takes for any number who ask.

The clock is the server's. A bucket is a key of 16 bytes, its tokens and the time of the last change, that
expires when the bucket would be full. Keys are salted with the password of the URL: without it nobody can
tell addresses from them.

The server may hang or be gone. A call waits no longer than `TIMEOUT_S`; after one that failed none is made
for `PAUSE_S`, and each process goes on with its part (local_share.py). What was spent meanwhile of the
buckets that all share is charged when the server answers again.
"""

import hashlib
import itertools
import logging
import math
import struct
import time
from collections.abc import Sequence
from threading import Lock
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from app.errors import SettingsError
from app.throttle.bucket import PLAUSIBLE_DEBT_S, PLAUSIBLE_SKEW_S, PLAUSIBLE_TOKENS, Bucket, Draw
from app.throttle.local_share import LocalShare
from app.throttle.stores import Taken, salted_key

TIMEOUT_S = 0.05
PAUSE_S = 5.0
PREFIX = "{dermzoo}:"  # braces: of a cluster, one server has all keys

# The arithmetic is that of bucket.py, and so is the answer to damaged state. Numbers come as one string of
# doubles, and go back as one: reading them as text would take longer than all the rest. ARGV[3] is how many
# draws each of those who ask has, in bytes; the draws of one are made together or not at all.
SCRIPT = f"""
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local numbers, counts, answer, first = ARGV[2], ARGV[3], {{}}, 0
for asked = 1, #counts do
  local count, granted, states = string.byte(counts, asked), 1, {{}}
  for i = 1, count do
    local key = KEYS[first + i]
    local per_second, burst, amount, least, since, until_ =
      struct.unpack('<dddddd', numbers, (first + i - 1) * 48 + 1)
    local tokens, updated_at = burst, now
    local state = redis.call('GET', key)
    if state and #state == 16 then
      tokens, updated_at = struct.unpack('<dd', state)
      local deepest = until_ > 0 and -{PLAUSIBLE_TOKENS} or -burst - {PLAUSIBLE_DEBT_S} * per_second
      if until_ > 0 and updated_at < since then
        tokens = burst
      elseif not (updated_at <= now + {PLAUSIBLE_SKEW_S} and tokens >= deepest
          and tokens <= {PLAUSIBLE_TOKENS}) then
        tokens, updated_at = 0, now
      elseif until_ == 0 and now > updated_at then
        tokens = tokens + (now - updated_at) * per_second
      end
      if tokens > burst then tokens = burst end
    elseif state then
      tokens = 0
    end
    if tokens < least then granted = 0 end
    updated_at = math.max(updated_at, now, until_ > 0 and since or now)
    states[i] = {{key, tokens, updated_at, amount, per_second, burst, until_}}
  end
  for i = 1, count do
    local key, tokens, updated_at, amount, per_second, burst, until_ = unpack(states[i])
    if granted == 1 and amount ~= 0 then
      tokens = math.min(tokens - amount, burst)
      local left_s = until_ > 0 and until_ - now or (burst - tokens) / per_second
      local ttl_ms = math.ceil(math.min(math.max(left_s, 0) + 60, 1e9) * 1000)
      local state = struct.pack('<dd', tokens, updated_at)
      redis.call('SET', key, state, 'PX', string.format('%.0f', ttl_ms))
    end
    answer[#answer + 1] = struct.pack('<d', tokens)
  end
  answer[#answer + 1] = struct.pack('<d', granted)
  first = first + count
end
return table.concat(answer)
"""

_DRAW = struct.Struct("<6d")

logger = logging.getLogger("dermzoo.budget")


class RedisStore:
    """Balances in the server at `url`; each of `processes` has its part while that does not answer."""

    def __init__(
        self, url: str, processes: int = 1, *, timeout_s: float = TIMEOUT_S, has_own_clock: bool = True
    ) -> None:
        """With `has_own_clock` false the caller's `now` counts, and not the server's time: for tests."""
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise SettingsError(f"DERMZOO_THROTTLE_URL cannot be used: {error}") from error
        password = self._client.connection_pool.connection_kwargs.get("password") or "dermzoo"
        self._salt = hashlib.blake2b(str(password).encode(), digest_size=16).digest()
        self._digest = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._has_own_clock = has_own_clock
        self._share = LocalShare(processes)
        self._lock = Lock()
        self._paused_until = 0.0  # of time.monotonic

    def clock(self) -> float:
        """Return seconds since 1970, as the server counts them."""
        return time.time()

    def key(self, name: str) -> int:
        """Return the 64 bits that stand for a bucket's name."""
        return salted_key(self._salt, name)

    def take(self, draws: Sequence[Draw], now: float) -> Taken:
        """Take every draw or none; return whether, and the balances."""
        return self.stand_in(draws) or self.ask_many([draws], now)[0]

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances."""
        return self.take([Draw(bucket, 0, -math.inf) for bucket in buckets], now)[1] if buckets else []

    def stand_in(self, draws: Sequence[Draw]) -> Taken | None:
        """Take from the part of this process while the server is left alone; None when it is to be asked."""
        if not draws:
            return True, []
        return None if self._may_ask() else self._share.take(draws)

    def give_up(self, draws: Sequence[Draw]) -> Taken:
        """Take from the part of this process, and leave the server alone for a while."""
        self._pause("no answer in time")
        return self._share.take(draws)

    def ask_many(self, asked: Sequence[Sequence[Draw]], now: float) -> list[Taken]:
        """Take for each of those who ask every draw or none, in one call; for all, or it stands in."""
        try:
            return self._ask(asked, now)
        except redis.RedisError as error:
            self._pause(f"{type(error).__name__}: {error}")
        return [self._share.take(draws) for draws in asked]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _may_ask(self) -> bool:
        if not self._paused_until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._paused_until:
                return False
            self._paused_until = now + PAUSE_S  # one asks; the others wait for what it finds
            return True

    def _ask(self, asked: Sequence[Sequence[Draw]], now: float) -> list[Taken]:
        owed = self._share.settle()
        try:
            answers = self._call([owed, *asked], now)[1:] if owed else self._call(asked, now)
        except redis.RedisError:
            self._share.put_back(owed)
            raise
        if self._paused_until:
            self._paused_until = 0.0
            logger.info("the budget's server answers again")
        return answers

    def _call(self, asked: Sequence[Sequence[Draw]], now: float) -> list[Taken]:
        draws = list(itertools.chain.from_iterable(asked))
        keys = [f"{PREFIX}{draw.bucket.key:016x}" for draw in draws]
        numbers = b"".join(_numbers(draw) for draw in draws)
        counts = bytes(map(len, asked))
        answer = self._evaluate(*keys, "" if self._has_own_clock else repr(now), numbers, counts)
        told = struct.unpack(f"<{len(answer) // 8}d", answer)
        taken, at = [], 0
        for count in counts:
            taken.append((told[at + count] > 0, list(told[at : at + count])))
            at += count + 1
        return taken

    def _evaluate(self, *arguments: str | bytes) -> bytes:
        ask = self._client.execute_command
        count = len(arguments) - 3
        try:
            return cast("bytes", ask("EVALSHA", self._digest, count, *arguments))  # type: ignore[no-untyped-call]
        except NoScriptError:
            return cast("bytes", ask("EVAL", SCRIPT, count, *arguments))  # type: ignore[no-untyped-call]

    def _pause(self, reason: str) -> None:
        with self._lock:
            is_news = not self._paused_until
            self._paused_until = time.monotonic() + PAUSE_S
        if is_news:
            logger.warning(
                "the budget's server does not answer: each process goes on with its part",
                extra={"facts": {"reason": reason, "asked_again_s": PAUSE_S}},
            )


def _numbers(draw: Draw) -> bytes:
    bucket, amount, least = draw
    return _DRAW.pack(bucket.per_second, bucket.burst, amount, least, bucket.since, bucket.until)
