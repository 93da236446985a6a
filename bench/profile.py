"""What runs when something is read: the application in this process, asked as a server asks it.

    python -m bench --only profile

Two passes over the same requests. cProfile tells the dearest functions of the event loop's thread; a second
hook, in every thread, tells which packages' functions ran at all. It fails when one of FORBIDDEN is among
them: reading parses no DICOM, validates no model, builds no mapped object.
"""

import asyncio
import cProfile
import os
import pstats
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.types import ASGIApp

from app.main import create_app
from app.settings import load_settings
from bench.peers import environment
from bench.reading import DICOM, FRAME, JSON, ROOT, search_paths
from bench.report import Report
from bench.stage import Stage

FORBIDDEN = ("pydicom", "pydantic", "pydantic_core", "sqlalchemy.orm")
TIMES = 20  # each path is asked for
TOP = 12


def measure_profile(stage: Stage, report: Report) -> None:
    """Profile searches, metadata, frames and instances; RuntimeError when what is forbidden ran."""
    stage.make_archive()
    folder = stage.folder / "results"
    folder.mkdir(parents=True, exist_ok=True)
    with _application(stage) as app, (folder / "profile.md").open("w") as told:
        for kind, asked in _requests(stage).items():
            asyncio.run(_ask_all(app, asked[:1]))  # what is made on first use
            profile = cProfile.Profile()
            profile.runcall(asyncio.run, _ask_all(app, asked * TIMES))
            packages = _packages_of(lambda asked=asked: asyncio.run(_ask_all(app, asked)))
            print(_shown(kind, profile, len(asked) * TIMES, packages), file=told)
            report.add(f"packages that ran, {kind}", len(packages), ", ".join(packages))
            if ran := [name for name in packages if name in FORBIDDEN]:
                raise RuntimeError(f"{kind}: functions of {', '.join(ran)} ran")


def _requests(stage: Stage) -> dict[str, list[tuple[str, str]]]:
    searches = search_paths(stage.tiny)
    resources = [one.resource for one in stage.real][:20]
    metadata = [f"{path}/metadata" for path in resources]
    for level in ("metadata of a series", "metadata of a study"):
        metadata += searches.pop(level)[:20]
    return {
        "searches": [(path, JSON) for paths in searches.values() for path in paths[:20]],
        "metadata": [(path, JSON) for path in metadata],
        "frames": [(f"{path}/frames/1", FRAME) for path in resources],
        "instances": [(path, DICOM) for path in resources],
    }


@contextmanager
def _application(stage: Stage) -> Iterator[ASGIApp]:
    """Make the application on the archive of the run, the limiter on; its log lines go nowhere."""
    variables = environment(stage.archive_folder, 8080)
    os.environ.update({name: value for name, value in variables.items() if name.startswith("DERMZOO_")})
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield create_app(load_settings())
    finally:
        os.dup2(standard_error, 2)
        os.close(nowhere)
        os.close(standard_error)


async def _ask_all(app: ASGIApp, asked: list[tuple[str, str]]) -> None:
    for path, accept in asked:
        await _ask(app, path, accept)


async def _ask(app: ASGIApp, path: str, accept: str) -> None:
    path, _, query = (ROOT + path).partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"accept", accept.encode())],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
    statuses: list[int] = []
    await app(scope, _receive(), _send(statuses))
    if statuses != [200]:
        raise RuntimeError(f"{path} is answered with {statuses}")


def _receive() -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return a client that says no more than its request, and stays."""
    has_asked = False

    async def receive() -> dict[str, Any]:
        nonlocal has_asked
        if has_asked:
            await asyncio.Event().wait()
        has_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _send(statuses: list[int]) -> Callable[[Any], Awaitable[None]]:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    return send


def _packages_of(function: Callable[[], object]) -> list[str]:
    """Return the packages whose functions ran in any thread, the most called first."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, called: object) -> None:
        if event == "call":
            calls[_package(frame.f_globals.get("__name__"))] += 1
        elif event == "c_call":
            owner = type(getattr(called, "__self__", None)).__module__
            calls[_package(getattr(called, "__module__", None) or owner)] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    standard = sys.stdlib_module_names | {"bench", "__main__"}  # and what the standard library makes up
    names = [name for name, _ in calls.most_common() if not name.startswith("namedtuple_")]
    return [name for name in names if name.partition(".")[0] not in standard]


def _package(module: str | None) -> str:
    """Return the top-level package of a module; of SQLAlchemy, its part."""
    names = (module or "builtins").split(".")
    return ".".join(names[: 2 if names[0] == "sqlalchemy" else 1])


def _shown(kind: str, profile: cProfile.Profile, requests: int, packages: list[str]) -> str:
    stats = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    dearest = sorted(stats, key=lambda one: one[1][2], reverse=True)[:TOP]
    rows = [
        f"| {own_s / requests * 1e6:.1f} | {calls / requests:.2f} | {_place(file, line)}{name.strip('<>')} |"
        for (file, line, name), (_, calls, own_s, _, _) in dearest
    ]
    table = "\n".join(["| microseconds a request | calls | function |", "|---|---|---|", *rows])
    return f"## {kind}: {requests} requests\n\nPackages: {', '.join(packages)}.\n\n{table}\n"


def _place(file: str, line: int) -> str:
    if not line:
        return ""
    path = Path(file)
    return f"{path.parent.name}/{path.name}:{line} "
