"""A heart in an event loop, alone or in that of the real server: `python tests/throttle/beating.py [serve]`.

Each beat is a line: when it was due, by the clock of all processes, and by how much it is late.
"""

import asyncio
import sys
import time

import uvicorn
import uvloop

from app.main import app_from_environment
from app.settings import load_settings
from app.web.protocol import BoundedHttpProtocol

BEAT_S = 0.005


async def beat() -> None:
    while True:
        due = time.monotonic() + BEAT_S
        await asyncio.sleep(BEAT_S)
        sys.stdout.write(f"{due} {time.monotonic() - due}\n")
        sys.stdout.flush()


async def beside(server: uvicorn.Server) -> None:
    beating = asyncio.ensure_future(beat())
    await server.serve()
    beating.cancel()


def main() -> None:
    sys.stdout.write("beats\n")
    sys.stdout.flush()
    if "serve" not in sys.argv:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(beat())
    config = uvicorn.Config(
        app_from_environment,
        factory=True,
        port=load_settings().port,
        http=BoundedHttpProtocol,
        log_config=None,
        access_log=False,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(beside(uvicorn.Server(config)))


if __name__ == "__main__":
    main()
