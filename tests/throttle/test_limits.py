"""Costly routes have limits of their own, the same for all processes; no route goes without."""

import asyncio
import json

import pytest
from fastapi import APIRouter, FastAPI
from slowapi.errors import RateLimitExceeded
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from app.errors import SettingsError
from app.throttle.budget import Budget
from app.throttle.clients import Clients
from app.throttle.limits import RouteLimits
from app.throttle.mmap_store import MmapStore
from app.throttle.stores import MemoryStore
from tests.throttle.virtual import VirtualTime, Visit, make_budget, policy, throttled

SEARCH = {"search": {"per_second": 2, "burst": 10}}
NO_HOLD = {"longest_s": 0}


@pytest.fixture
def time():
    return VirtualTime()


async def search(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params.get("name", ""))


async def pages(request: Request) -> PlainTextResponse:
    return PlainTextResponse("page")


def make_limits(time, budget):
    return RouteLimits(budget, Clients(), sleep=time.sleep)


def make_app(limits, *paths, kind="search", endpoint=search):
    app = FastAPI()
    app.add_exception_handler(RateLimitExceeded, limits.exceeded_response)
    for path in paths:
        router = APIRouter()
        router.add_api_route("/studies/{name}", limits.limited(endpoint, kind), methods=["GET"])
        app.include_router(router, prefix=path)
    return app


def ask_all(time, app, visits):
    time.run(*(visit.ask(app) for visit in visits))
    return [visit.status for visit in visits]


def visits(time, count, prefix="/a", **kind):
    return [Visit(time, path=f"{prefix}/studies/1.2.{number}", **kind) for number in range(count)]


@pytest.mark.parametrize("with_middleware", [True, False])
def test_one_bucket_for_all_urls_of_a_kind_and_of_a_client(time, with_middleware):
    budget = make_budget(time, routes=SEARCH, hold=NO_HOLD)
    app = make_app(make_limits(time, budget), "/a", "/b")
    app = throttled(app, budget, time) if with_middleware else app
    assert ask_all(time, app, visits(time, 6)) == [200] * 6
    assert sorted(ask_all(time, app, visits(time, 6, "/b"))) == [200] * 4 + [429] * 2
    assert ask_all(time, app, visits(time, 1, host="192.0.2.77")) == [200]


def test_the_same_429_as_everywhere(time):
    budget = make_budget(time, routes=SEARCH, hold=NO_HOLD)
    app = throttled(make_app(make_limits(time, budget), "/a"), budget, time)
    refused = visits(time, 11)[-1]
    ask_all(time, app, [*visits(time, 10), refused])
    assert refused.status == 429
    assert refused.answer_headers["retry-after"] == "1"
    assert refused.answer_headers["ratelimit"] == '"search-requests";r=0;t=1'
    assert refused.answer_headers["ratelimit-policy"] == '"search-requests";q=10;qu="requests";w=5'
    assert refused.answer_headers["content-type"] == "application/problem+json"
    assert json.loads(refused.content)["violated-policies"] == ["search-requests"]
    assert refused.record.refused.short[0].name == "search-requests"


def test_a_burst_waits_its_turn(time):
    budget = make_budget(time, routes=SEARCH)
    app = throttled(make_app(make_limits(time, budget), "/a"), budget, time)
    asked = visits(time, 35)
    statuses = ask_all(time, app, asked)
    assert statuses == [200] * 30 + [429] * 5
    assert [visit.started_s for visit in asked[10:30]] == pytest.approx([(n + 1) / 2 for n in range(20)])
    assert asked[29].record.waited_s == pytest.approx(10)


def test_who_leaves_the_queue_gives_the_place_back(time):
    budget = make_budget(time, routes=SEARCH)
    app = throttled(make_app(make_limits(time, budget), "/a"), budget, time)
    asked = visits(time, 11)

    async def leave():
        await time.sleep(0.1)
        asked[-1].leave()

    time.run(*(visit.ask(app) for visit in asked), leave())
    assert asked[-1].record.is_gone
    standing = {line.policy: line for line in budget.run(budget.telling(asked[0].record.account))}
    assert standing["search-requests"].seconds_to_full <= 5


def test_a_wait_is_not_handed_on_to_the_next_request_of_the_task(time):
    budget = make_budget(time, routes=SEARCH)
    app = throttled(make_app(make_limits(time, budget), "/a"), budget, time)

    async def one_task():
        for visit in asked:
            await visit.ask(app)

    asked = visits(time, 11)
    asked.append(Visit(time, path="/a/studies/1", host="192.0.2.50"))
    time.run(one_task())
    assert [visit.record.waited_s for visit in asked] == [0.0] * 10 + [0.5, 0.0]


def test_a_mounted_twice_router_counts_once_per_request(time):
    limits = make_limits(time, make_budget(time, routes=SEARCH, hold=NO_HOLD))
    assert limits.limited(search, "search") is limits.limited(search, "search")
    once = limits.limited(search, "search")
    assert limits.limited(once, "search") is once
    assert once.__name__ == "search"


def test_endpoints_of_the_same_name_do_not_add_up(time):
    """A router factory makes the same functions again for each root."""

    def make():
        async def search(request: Request) -> PlainTextResponse:
            return PlainTextResponse("")

        return search

    budget = make_budget(time, routes=SEARCH, hold=NO_HOLD)
    limits = make_limits(time, budget)
    app = FastAPI()
    app.add_exception_handler(RateLimitExceeded, limits.exceeded_response)
    for path in ("/a", "/b", "/c"):
        app.add_api_route(f"{path}/studies/{{name}}", limits.limited(make(), "search"))
    assert ask_all(time, app, visits(time, 12, "/c")) == [200] * 10 + [429] * 2


def test_two_kinds_for_one_endpoint_are_a_mistake(time):
    limits = make_limits(time, make_budget(time))
    limits.limited(search, "search")
    with pytest.raises(SettingsError, match="limited as 'search' already"):
        limits.limited(search, "render")


def test_the_environment_cannot_switch_it_off(time, monkeypatch):
    monkeypatch.setenv("RATELIMIT_ENABLED", "false")
    app = make_app(make_limits(time, make_budget(time, routes=SEARCH, hold=NO_HOLD)), "/a")
    assert ask_all(time, app, visits(time, 12)) == [200] * 10 + [429] * 2


def test_throttle_off_limits_nothing_and_still_knows_its_routes(time):
    limits = RouteLimits(None, Clients())
    app = make_app(limits, "/a")
    limits.check_routes(app)
    assert ask_all(time, app, visits(time, 50)) == [200] * 50
    with pytest.raises(SettingsError):
        limits.check_routes(Starlette(routes=[Route("/x", pages)]))


def test_processes_share_the_limit(time, tmp_path):
    """Two applications on two stores of one file, as two worker processes have them."""
    limited = policy(routes=SEARCH, hold=NO_HOLD)
    statuses = []
    for _ in range(2):
        budget = Budget(limited, MmapStore(tmp_path / "budget", slots=64), time.clock)
        statuses += ask_all(time, make_app(make_limits(time, budget), "/a"), visits(time, 7))
    assert statuses == [200] * 10 + [429] * 4


# The self-check


@pytest.fixture
def limits():
    return RouteLimits(Budget(policy(), MemoryStore(64), lambda: 0.0), Clients())


def complete_app(limits):
    """Everything that FastAPI and Starlette know, each with a limit."""
    app = FastAPI()
    inner = APIRouter()
    inner.add_api_route("/studies", limits.limited(search, "search"))
    outer = APIRouter()
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")
    app.include_router(inner, prefix="/again")
    app.add_route("/pages", limits.limited(pages, "cheap"))
    sub = FastAPI()
    sub.include_router(inner)
    app.mount("/sub", sub)
    return app


def test_a_complete_app_passes(limits):
    limits.check_routes(complete_app(limits))


async def forgotten(request: Request) -> PlainTextResponse:
    return PlainTextResponse("")


def add_route(app):
    app.add_api_route("/forgotten", forgotten)


def add_plain_route(app):
    app.router.routes.append(Route("/forgotten", forgotten))


def add_included(app):
    router = APIRouter()
    router.add_api_route("/gotten", forgotten)
    outer = APIRouter()
    outer.include_router(router, prefix="/for")
    app.include_router(outer)
    router.prefix = ""


def add_to_an_included_router_later(app):
    router = APIRouter()
    app.include_router(router)
    router.add_api_route("/forgotten", forgotten)


def add_mount_in_included(app):
    router = APIRouter()
    router.mount("/forgotten", Starlette(routes=[Route("/deep", forgotten)]))
    app.include_router(router)


def add_mounted_app(app):
    app.mount("/forgotten", Starlette(routes=[Route("/deep", forgotten)]))


def add_mounted_routes_behind_middleware(app):
    class Passing:
        def __init__(self, app):
            self.app = app

    app.router.routes.append(
        Mount("/forgotten", routes=[Route("/", forgotten)], middleware=[Middleware(Passing)])
    )


def add_mounted_files(app):
    app.mount("/forgotten", StaticFiles(directory="."))


def add_host(app):
    app.router.routes.append(Host("forgotten", Starlette(routes=[Route("/forgotten", forgotten)])))


def add_websocket(app):
    app.router.routes.append(WebSocketRoute("/forgotten", forgotten))


def add_own_docs(app):
    app.router.routes.insert(0, Route("/docs", forgotten))


def add_frontend(app):
    app.frontend("/forgotten", directory=".", check_dir=False)


ADDITIONS = [
    add_route,
    add_plain_route,
    add_included,
    add_to_an_included_router_later,
    add_mount_in_included,
    add_mounted_app,
    add_mounted_routes_behind_middleware,
    add_mounted_files,
    add_host,
    add_websocket,
    add_own_docs,
    add_frontend,
]


@pytest.mark.parametrize("add", ADDITIONS)
def test_any_route_without_a_limit_is_found(limits, add):
    """R3: no server starts with one."""
    app = complete_app(limits)
    add(app)
    with pytest.raises(SettingsError, match="routes without a limit: ") as caught:
        limits.check_routes(app)
    assert "/docs" in str(caught.value) if add is add_own_docs else "gotten" in str(caught.value)


def test_files_may_be_marked(limits):
    files = StaticFiles(directory=".")
    limits.limited(files, "cheap")
    app = complete_app(limits)
    app.mount("/files", files)
    limits.check_routes(app)


def test_other_apps_marks_do_not_count(limits):
    other = RouteLimits(Budget(policy(), MemoryStore(64), lambda: 0.0), Clients())
    app = FastAPI()
    app.add_api_route("/x", other.limited(search, "search"))
    with pytest.raises(SettingsError, match="/x"):
        limits.check_routes(app)


def test_it_works_in_any_event_loop(time):
    budget = make_budget(time, routes=SEARCH, hold=NO_HOLD)
    app = throttled(make_app(make_limits(time, budget), "/a"), budget, time)
    for visit in visits(time, 3):
        asyncio.run(visit.ask(app))
        assert visit.status == 200
