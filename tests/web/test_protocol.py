"""T14: how slow a client may be, look by look, on a transport that is not there."""

import asyncio
from contextlib import contextmanager
from dataclasses import replace

import pytest
import uvicorn
from pydantic import ValidationError
from uvicorn.server import ServerState

from app.settings import Settings
from app.web import protocol
from app.web.protocol import APP_STATE, BoundedHttpProtocol, Deadlines

HEAD_S, BODY_S, READER_S = 3, 4, 5
RATE = 1000
DEADLINES = replace(
    protocol.DEADLINES,
    head_s=HEAD_S,
    body_s=BODY_S,
    body_bytes_per_second=RATE,
    reader_s=READER_S,
    reader_bytes_per_second=RATE,
    look_s=1,
)
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"


class Connection(asyncio.Transport):
    """Takes what is written, and hands on as much of it as a test says."""

    def __init__(self):
        super().__init__()
        self.written, self.unsent, self.acknowledged = b"", 0, 0
        self.closing = self.aborted = False

    def get_extra_info(self, name, default=None):
        return self if name == "socket" else default

    def getsockopt(self, *_):
        return bytes(120) + self.acknowledged.to_bytes(8, "little")

    def getpeername(self):
        return ("192.0.2.1", 4711)

    getsockname = getpeername
    family = 0

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return self.unsent

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    @property
    def is_open(self):
        return not self.closing


class Talk:
    """A protocol with its connection; `look(n)` lets n seconds pass."""

    def __init__(self, app, state=None):
        self.connection = Connection()
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        config.load()
        self.protocol = BoundedHttpProtocol(config, ServerState(), state or {}, deadlines=DEADLINES)
        self.protocol.connection_made(self.connection)

    def say(self, data):
        self.protocol.data_received(data)

    def look(self, times):
        for _ in range(times):
            if self.protocol._looking is not None:
                self.protocol._looking.cancel()
            self.protocol._look()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)


async def reading(scope, receive, send):
    """Read the body, answer "ok"."""
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def forbidding(scope, receive, send):
    """Answer without a look at the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def silent(scope, receive, send):
    """Never read, never answer: what the budget's queue looks like from here."""
    await asyncio.Event().wait()


@contextmanager
def talking(app=reading):
    talk = Talk(app)
    try:
        yield talk
    finally:
        talk.protocol.connection_lost(None)
        for task in talk.protocol.tasks:
            task.cancel()


def test_a_head_that_is_late():
    async def run():
        with talking() as talk:
            talk.say(b"GET / HTTP/1.1\r\nX: ")
            for _ in range(HEAD_S):
                talk.say(b"y")
                talk.look(1)
            assert talk.connection.is_open
            talk.look(1)
            assert talk.connection.closing
            assert talk.connection.written.startswith(b"HTTP/1.1 408 ")

    asyncio.run(run())


def test_a_connection_that_says_nothing():
    async def run():
        with talking() as talk:
            talk.look(HEAD_S)
            assert talk.connection.is_open
            talk.look(1)
            assert talk.connection.closing
            assert not talk.connection.written

    asyncio.run(run())


@pytest.mark.parametrize("app", [reading, forbidding])
def test_empty_lines_do_not_hold_a_connection_after_its_answer(app):
    async def run():
        with talking(app) as talk:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await talk.settle()
            assert talk.connection.written
            for _ in range(HEAD_S + 1):
                assert talk.connection.is_open
                talk.say(b"\r\n")
                talk.look(1)
            assert talk.connection.closing

    asyncio.run(run())


def test_the_pause_between_requests_is_not_a_late_head():
    async def run():
        with talking() as talk:
            for _ in range(2):
                talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await talk.settle()
                talk.look(HEAD_S * 2)  # the keep-alive pause has a timer of its own
                assert talk.connection.is_open

    asyncio.run(run())


def test_a_body_may_be_as_slow_as_promised_and_no_slower():
    async def run():
        with talking() as talk:
            talk.say(POST + b"\r\n")
            await talk.settle()
            for _ in range(3 * BODY_S):
                talk.say(b"b" * RATE)
                await talk.settle()
                talk.look(1)
            assert talk.connection.is_open
            for _ in range(2 * BODY_S + 2):
                talk.say(b"b" * (RATE // 2))
                await talk.settle()
                talk.look(1)
            assert talk.connection.closing
            assert talk.connection.written.startswith(b"HTTP/1.1 408 ")

    asyncio.run(run())


def test_a_burst_does_not_pay_for_a_standstill():
    async def run():
        with talking() as talk:
            talk.say(POST + b"\r\n" + b"b" * 500_000)
            await talk.settle()
            talk.look(2 * BODY_S + 2)
            assert talk.connection.closing

    asyncio.run(run())


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["body", "100-continue"])
def test_a_body_that_nobody_reads_is_not_late(expect):
    async def run():
        with talking(silent) as talk:
            talk.say(POST + expect + b"\r\n" + (b"" if expect else b"b" * 70_000))
            await talk.settle()
            talk.look(10 * BODY_S)
            assert talk.connection.is_open

    asyncio.run(run())


def test_the_body_of_a_refused_request_is_waited_for_no_longer():
    async def run():
        with talking(forbidding) as talk:
            talk.say(POST + b"\r\n")
            await talk.settle()
            assert b" 401 " in talk.connection.written
            for _ in range(BODY_S + 1):
                talk.say(b"b")
                talk.look(1)
            assert talk.connection.closing

    asyncio.run(run())


@pytest.mark.parametrize("has_ended", [False, True], ids=["open", "closing"])
def test_a_reader_may_be_as_slow_as_promised_and_no_slower(has_ended):
    async def run():
        with talking(silent) as talk:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            talk.connection.unsent = 50_000
            talk.connection.closing = has_ended
            for _ in range(3 * READER_S):
                talk.look(1)
                talk.connection.acknowledged += RATE
            assert not talk.connection.aborted
            for _ in range(2 * READER_S + 2):
                talk.look(1)
                talk.connection.acknowledged += RATE // 2
            assert talk.connection.aborted

    asyncio.run(run())


def test_a_reader_who_has_taken_everything_is_not_slow():
    """What the budget holds back is not the reader's doing."""

    async def run():
        with talking(silent) as talk:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await talk.settle()
            for _ in range(10):
                talk.connection.unsent = 1000
                talk.look(READER_S)
                talk.connection.unsent = 0
                talk.look(1)
            assert talk.connection.is_open

    asyncio.run(run())


def test_a_head_without_end():
    async def run():
        with talking() as talk:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n")
            while talk.connection.is_open:
                assert len(talk.connection.written) == 0
                talk.say(b"X-Filler: " + b"y" * 4000 + b"\r\n")
                assert talk.protocol._head_bytes <= DEADLINES.head_bytes + 5000
            assert talk.connection.written.startswith(b"HTTP/1.1 431 ")

    asyncio.run(run())


def test_the_settings_say_how_slow_and_how_large() -> None:
    """T14, as the operator has chosen."""
    settings = Settings(http_head_s=2, http_head_bytes=2048, http_idle_s=1)
    chosen = Deadlines.of(settings)
    assert chosen == replace(protocol.DEADLINES, head_s=2, head_bytes=2048, idle_s=1)

    async def scenario():
        late, large = (Talk(reading, {APP_STATE: chosen}) for _ in range(2))
        late.say(b"GET / HTTP/1.1\r\nHost: x\r\n")
        late.look(3)
        large.say(b"GET / HTTP/1.1\r\nX: " + b"x" * 3000)
        return bytes(late.connection.written), bytes(large.connection.written)

    late, large = asyncio.run(scenario())
    assert late.startswith(b"HTTP/1.1 408 ")
    assert large.startswith(b"HTTP/1.1 431 ")
    assert b"2048 bytes" in large


@pytest.mark.parametrize(
    "name", ["http_head_s", "http_body_s", "http_reader_s", "http_idle_s", "http_head_bytes"]
)
def test_no_deadline_can_be_set_to_nothing(name) -> None:
    with pytest.raises(ValidationError):
        Settings(**{name: 0})
