"""Balances in Redis or Valkey, shared by all processes of all hosts; one call takes any number of draws.

The clock is the server's. A bucket is a key of 16 bytes, its tokens and the time of the last change, that
expires when the bucket would be full. Keys are salted with the password of the URL: without it nobody can
tell addresses from them.

The server may hang or be gone. A call waits no longer than `TIMEOUT_S`; after one that failed none is made
for `PAUSE_S`, and each process goes on with its part (local_share.py). What was spent meanwhile of the
buckets that all share is charged when the server answers again.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from threading import Lock

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import SettingsError
from app.throttle.bucket import PLAUSIBLE_DEBT_S, PLAUSIBLE_SKEW_S, PLAUSIBLE_TOKENS, Bucket, Draw
from app.throttle.local_share import LocalShare
from app.throttle.stores import salted_key

TIMEOUT_S = 0.05
PAUSE_S = 5.0
PREFIX = "{dermzoo}:"  # braces: of a cluster, one server has all keys
FIELDS = 6  # of a draw, in the script's arguments
UNBOUNDED = 1e300  # the script's language has no way to write infinity

# The arithmetic is that of bucket.py, and so is the answer to damaged state.
SCRIPT = f"""
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local granted, answer, states = 1, {{}}, {{}}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * {FIELDS} + 2
  local per_second, burst = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local least, since, until_ = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
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
  states[i] = {{tokens, math.max(updated_at, now, until_ > 0 and since or now)}}
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * {FIELDS} + 2
  local tokens, amount = states[i][1], tonumber(ARGV[at + 2])
  if granted == 1 and amount ~= 0 then
    local per_second, burst, until_ = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 5])
    tokens = math.min(tokens - amount, burst)
    local left_s = (burst - tokens) / per_second
    if until_ > 0 then left_s = until_ - now end
    local ttl_ms = math.ceil(math.min(math.max(left_s, 0) + 60, 1e9) * 1000)
    redis.call('SET', key, struct.pack('<dd', tokens, states[i][2]), 'PX', string.format('%.0f', ttl_ms))
  end
  answer[i] = string.format('%.17g', tokens)
end
answer[#KEYS + 1] = granted
return answer
"""

logger = logging.getLogger("dermzoo.budget")


class RedisStore:
    """Balances in the server at `url`; each of `processes` has its part while that does not answer."""

    is_remote = True

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
        self._script = self._client.register_script(SCRIPT)
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

    def take(self, draws: Sequence[Draw], now: float) -> tuple[bool, list[float]]:
        """Take every draw or none; return whether, and the balances."""
        if not draws:
            return True, []
        if self._may_ask():
            try:
                return self._ask(draws, now)
            except redis.RedisError as error:
                self._pause(error)
        return self._share.take(draws)

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances."""
        return self.take([Draw(bucket, 0, -UNBOUNDED) for bucket in buckets], now)[1]

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

    def _ask(self, draws: Sequence[Draw], now: float) -> tuple[bool, list[float]]:
        owed = self._share.settle()
        if owed:
            try:
                self._call(owed, now)
            except redis.RedisError:
                self._share.put_back(owed)
                raise
        answer = self._call(draws, now)
        if self._paused_until:
            self._paused_until = 0.0
            logger.info("the budget's server answers again")
        return answer

    def _call(self, draws: Sequence[Draw], now: float) -> tuple[bool, list[float]]:
        keys = [f"{PREFIX}{bucket.key:016x}" for bucket, _, _ in draws]
        arguments: list[float | str] = ["" if self._has_own_clock else now]
        for bucket, amount, least in draws:
            arguments += (bucket.per_second, bucket.burst, amount, max(least, -UNBOUNDED))
            arguments += (bucket.since, bucket.until)
        answer = self._script(keys, arguments)
        return bool(answer.pop()), [float(each) for each in answer]

    def _pause(self, error: Exception) -> None:
        with self._lock:
            is_news = not self._paused_until
            self._paused_until = time.monotonic() + PAUSE_S
        if is_news:
            logger.warning(
                "the budget's server does not answer: each process goes on with its part",
                extra={"facts": {"reason": f"{type(error).__name__}: {error}", "asked_again_s": PAUSE_S}},
            )
