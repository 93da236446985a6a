"""What a request costs is checked and taken in one step, the kind of its route too: all of it or nothing."""

import re
import threading

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.clients import Client, Clients
from app.throttle.limits import RouteLimits
from app.throttle.mmap_store import MmapStore
from app.throttle.policy import ROUTE_KINDS
from app.throttle.redis_store import RedisStore
from app.throttle.stores import MemoryStore
from app.throttle.verdicts import Refusal
from app.web.dicomweb import RESOURCES, dicomweb_routes
from app.web.proxy import RESOURCES as PROXY_RESOURCES
from app.web.proxy import proxy_routes
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, policy, throttled

SOMEBODY = Client("ip:192.0.2.1")
STILL = 1e-9
FEW = {"per_second": STILL, "burst": 3}
NO_HOLD = {"longest_s": 0}


@pytest.fixture(params=["memory", "mmap", "redis"])
def store(request, tmp_path):
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
        store = RedisStore(url, timeout_s=60, has_own_clock=False)
    else:
        store = MemoryStore(64) if request.param == "memory" else MmapStore(tmp_path / "budget", slots=64)
    yield store
    store.close()


def budget_on(store, **sections):
    return Budget(policy(hold=NO_HOLD, **sections), store, lambda: 1000.0)


def remaining(budget):
    return {line.policy: line.remaining for line in budget.run(budget.telling(budget.account(SOMEBODY)))}


def test_a_costly_route_that_refuses_leaves_all_else_as_it_was(store):
    """R2's other half, from the door to the store; but for the bytes of the refusal itself."""
    budget = budget_on(store, routes={"render": FEW}, client={"concurrent_requests": 40})
    account = budget.account(SOMEBODY)
    for _ in range(3):
        assert budget.admit(account, "render") == 0
        budget.leave(account)
    before = remaining(budget)
    refusal = budget.admit(account, "render")
    assert isinstance(refusal, Refusal)
    assert [line.name for line in refusal.short] == ["render-requests"]
    after = remaining(budget)
    assert before.pop("client-bytes") - after.pop("client-bytes") == REFUSAL_BYTES
    assert after == before


@pytest.mark.parametrize("short", ["client-requests", "client-concurrent-requests"])
def test_a_request_that_is_refused_is_none_to_its_route(store, short):
    requests = {"requests": FEW} if short == "client-requests" else {"concurrent_requests": 3}
    budget = budget_on(store, client=requests, routes={"search": {"per_second": STILL, "burst": 9}})
    account = budget.account(SOMEBODY)
    admissions = [budget.admit(account, "search") for _ in range(5)]
    assert [isinstance(each, Refusal) for each in admissions] == [False] * 3 + [True] * 2
    assert [line.name for line in admissions[3].short] == [short]
    assert remaining(budget)["search-requests"] == 6


def test_of_100_at_once_on_a_route_for_10_exactly_10_pass_and_10_are_charged(store):
    """R2 at a costly route, from threads."""
    budget = budget_on(store, routes={"store": {"per_second": STILL, "burst": 10}})
    account, start, granted = budget.account(SOMEBODY), threading.Barrier(100), []

    def ask():
        start.wait()
        granted.append(not isinstance(budget.admit(account, "store"), Refusal))

    before = remaining(budget)["client-requests"]
    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 10
    assert before - remaining(budget)["client-requests"] - account.lease.requests == 10


def test_who_leaves_a_queue_gives_back_both_places():
    time = VirtualTime()
    sections = {"client": {"requests": {"per_second": STILL, "burst": 50}}}
    budget = make_budget(time, routes={"search": {"per_second": 1, "burst": 1}}, **sections)
    app = throttled(answering(b"ok"), budget, time, kind_of=lambda _method, _path: "search")
    first, waiting = Visit(time), Visit(time)

    async def leave():
        await time.sleep(0.25)
        waiting.leave()

    time.run(first.ask(app), waiting.ask(app), leave())
    assert (waiting.status, waiting.record.is_gone) == (0, True)
    standing = {line.policy: line for line in budget.run(budget.telling(first.record.account))}
    assert standing["search-requests"].seconds_to_full == 1
    assert standing["client-requests"].remaining == 49


# Which kind a request is


@pytest.fixture
def limits():
    limits = RouteLimits(None, Clients())
    routes: list[Route] = [*dicomweb_routes("/dicom-web", limits), *proxy_routes(limits)]
    limits.check_routes(Starlette(routes=routes))
    return limits


def placed():
    for root, resources in (("/dicom-web", RESOURCES), ("/proxy/{upstream}/dicom-web", PROXY_RESOURCES)):
        for resource in resources:
            for method in resource.methods:
                yield method, root + resource.path, resource.limit


def test_every_costly_route_is_known_before_it_is_routed(limits):
    kinds = set()
    for method, path, limit in placed():
        kind = limit if limit in ROUTE_KINDS else None
        asked = re.sub(r"{[^}]+}", "1.2.3", path)
        assert limits.kind_of(method, asked) == kind, (method, path)
        assert limits.kind_of(method, asked.replace("/", "//") + "/") == kind  # as the routes take it
        kinds.add(kind)
    assert kinds == {None, "search", "render", "store"}  # of a conversion it is not the route that tells


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/dicom-web"),
        ("PUT", "/dicom-web/studies"),
        ("OPTIONS", "/dicom-web/studies"),
        ("GET", "/dicom-web/studies/1/series/2/nothing"),
        ("GET", "/dicom-web/studies/1/series/2/instances/3/frames/4/rendered/5"),
        ("GET", "/dicom-web/{/series"),
    ],
)
def test_all_else_is_of_no_kind(limits, method, path):
    assert limits.kind_of(method, path) is None


def test_a_request_counted_when_it_came_is_not_counted_again(store):
    """Also by slowapi's decorator, which asks what the admission has said."""
    time = VirtualTime()
    for kind in ("search", "render"):
        budget = budget_on(store, routes={kind: FEW})
        limits = RouteLimits(budget, Clients(), sleep=time.sleep)

        async def endpoint(request):
            from starlette.responses import PlainTextResponse

            return PlainTextResponse("ok")

        app = Starlette(routes=[Route("/costly", limits.limited(endpoint, kind))])
        limits.check_routes(app)
        door = throttled(
            app, Budget(budget.policy, MemoryStore(64), time.clock), time, kind_of=limits.kind_of
        )
        visit = Visit(time, path="/costly")
        time.run(visit.ask(door))
        assert (visit.status, visit.record.kind) == (200, kind)
        assert remaining(budget)[f"{kind}-requests"] == 3  # the door's own store has paid
