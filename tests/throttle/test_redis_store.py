"""R8: a budget in Redis while that hangs or is gone: nobody fails for it, and the event loop never asks."""

import asyncio
import re
import threading

import pytest

from app.errors import SettingsError
from app.throttle.bucket import Bucket, Draw
from app.throttle.budget import Budget
from app.throttle.clients import Client, Clients
from app.throttle.leases import BYTES
from app.throttle.limits import RouteLimits
from app.throttle.middleware import Throttle
from app.throttle.opening import open_store
from app.throttle.redis_store import PREFIX, RedisStore
from tests.throttle.virtual import VirtualTime, Visit, answering, policy

ALWAYS = -1e18
PATIENCE_S = 5.0  # a machine that is busy is not a server that hangs


@pytest.fixture
def store(redis_server):
    store = RedisStore(redis_server.url, processes=4, timeout_s=PATIENCE_S)
    yield store
    redis_server.go_on()
    store.close()


@pytest.fixture
def hung(redis_server, store):
    """A store whose server answered once and hangs since."""
    store.peek([Bucket(store.key("first"), 1, 1)], 0)
    redis_server.hang()
    wait_for_answers(store, 0.05)  # who hangs does not answer later either
    return store


def wait_for_answers(store, seconds):
    for connection in store._client.connection_pool._available_connections:
        connection.socket_timeout = seconds
        connection.update_current_socket_timeout(seconds)


def end_of_pause(store):
    store._paused_until = 1e-9


def client_bucket(store, burst=100.0):
    return Bucket(store.key("client"), 1e-9, burst)


def shared_bucket(store):
    return Bucket(store.key("all"), 1e-9, 1e9, pinned=True)


def test_each_of_four_processes_gives_a_client_a_quarter_while_it_hangs(hung):
    granted = [hung.take([Draw(client_bucket(hung), 1, 1)], 0)[0] for _ in range(100)]
    assert sum(granted) == 25


def test_of_what_all_share_no_more_than_a_lease_is_given_at_once(hung):
    granted = [hung.take([Draw(shared_bucket(hung), 1024, 1024)], 0)[0] for _ in range(1024)]
    assert sum(granted) * 1024 == BYTES


def test_no_more_wait_in_a_process_than_its_part_of_the_queue(hung):
    bucket = Bucket(hung.key("queue"), 8.0, 4.0)
    granted = [hung.take([Draw(bucket, 1, 1 - 10 * bucket.per_second)], 0)[0] for _ in range(100)]
    assert sum(granted) == pytest.approx(1 + 80 / 4, abs=1)


def test_a_debt_is_waited_for_at_the_rate_of_the_part(hung):
    budget = Budget(policy(shared={"bytes": {"per_second": 1000, "burst": 1e9}}), hung)
    debt = budget.owe(budget.account(Client("ip:192.0.2.1")), BYTES + 1000)
    assert debt.wait_s == pytest.approx(1000 / 250, rel=0.05)
    budget._batches.close()


def test_what_was_given_meanwhile_is_charged_afterwards(redis_server, hung):
    bucket = shared_bucket(hung)
    for _ in range(5):
        hung.take([Draw(bucket, 1000, ALWAYS)], 0)
    redis_server.go_on()
    wait_for_answers(hung, PATIENCE_S)
    end_of_pause(hung)
    granted, [left] = hung.take([Draw(bucket, 1, 1)], 0)
    # The call that was given up may be heeded when the server goes on: charged once more, never once less.
    assert granted
    assert 1e9 - left in (5001, 6001)
    assert hung.peek([bucket], 0) == [left]


def test_it_is_not_asked_again_before_the_pause_ends(redis_server, hung):
    hung.take([Draw(client_bucket(hung), 1, 1)], 0)
    redis_server.go_on()
    asked = redis_server.client().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    for _ in range(20):
        hung.take([Draw(client_bucket(hung), 1, 1)], 0)
    assert redis_server.client().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) == asked


def test_one_thread_asks_after_a_pause_and_the_others_go_on(hung, monkeypatch):
    hung.take([Draw(client_bucket(hung), 1, 1)], 0)
    end_of_pause(hung)
    asking, calls = threading.Barrier(8), []
    monkeypatch.setattr(hung, "_call", lambda draws, now: calls.append(1) or (True, [0.0]))

    def ask():
        asking.wait()
        hung._may_ask() and calls.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_server_that_was_never_there(tmp_path):
    store = RedisStore(f"unix://{tmp_path}/none.sock", processes=2)
    assert store.take([Draw(client_bucket(store, burst=10), 1, 1)], 0) == (True, [pytest.approx(4)])
    store.close()


def test_only_salted_keys_that_expire_stand_in_it(redis_server, store):
    budget = Budget(policy(), store)
    account = budget.account(Client("ip:192.0.2.77"))
    budget.admit(account)
    budget.owe(account, 5000)
    client = redis_server.client()
    keys = client.keys("*")
    assert keys
    assert all(re.fullmatch(rb"\{dermzoo\}:[0-9a-f]{16}", key) for key in keys)
    assert PREFIX.encode() == keys[0][: len(PREFIX)]
    assert all(client.ttl(key) > 0 for key in keys)
    budget.close()


@pytest.mark.parametrize("damage", [b"", b"short", b"\xff" * 16, b"\0" * 17])
def test_damaged_state_is_an_empty_bucket(redis_server, store, damage):
    bucket = Bucket(store.key("client"), 10, 100)
    redis_server.client().set(f"{PREFIX}{bucket.key:016x}", damage)
    assert store.peek([bucket], 0) == [0]
    assert store.take([Draw(bucket, 1, ALWAYS)], 0)[0]
    assert store.peek([bucket], 0)[0] < 1


def test_a_server_that_forgot_its_scripts_is_told_again(redis_server, store):
    store.take([Draw(client_bucket(store), 1, 1)], 0)
    redis_server.client().script_flush()
    assert store.take([Draw(client_bucket(store), 1, 1)], 0)[1] == [pytest.approx(98)]


class WatchedStore(RedisStore):
    """Notes which threads ask it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.threads = set()

    def ask_many(self, asked, now):
        self.threads.add(threading.get_ident())
        return super().ask_many(asked, now)


@pytest.mark.parametrize("hangs", [True, False])
def test_no_request_is_refused_or_failed_by_it_and_the_event_loop_never_asks(redis_server, hangs):
    store = WatchedStore(redis_server.url, processes=2, timeout_s=0.05 if hangs else 60)
    plenty = {"per_second": 1e12, "burst": 1e12}
    budget, time = Budget(policy(shared={"bytes": plenty}), store), VirtualTime()
    limits = RouteLimits(budget, Clients())

    async def app(scope, receive, send):
        from starlette.requests import Request

        await limits.admit(Request(scope), "search")
        await answering(bytes(300_000), bytes(300_000))(scope, receive, send)

    asked = [Visit(time, host=f"192.0.{number}.1") for number in range(40)]

    async def main():
        throttle = Throttle(app, budget, Clients())
        await asyncio.gather(*(visit.ask(throttle) for visit in asked[:20]))
        if hangs:
            redis_server.hang()
        await asyncio.gather(*(visit.ask(throttle) for visit in asked[20:]))
        return threading.get_ident()

    loop_thread = asyncio.run(main())
    redis_server.go_on()
    budget.close()
    assert {visit.status for visit in asked} == {200}
    assert all(len(visit.content) == 600_000 for visit in asked)
    assert loop_thread not in store.threads
    assert store.threads


@pytest.mark.parametrize("url", ["redis:", "redis://h:port/", "unix:"])
def test_a_url_that_cannot_be_used_is_named(url):
    with pytest.raises(SettingsError, match="DERMZOO_THROTTLE_URL"):
        open_store(url)
