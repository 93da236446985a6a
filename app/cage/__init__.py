"""Bounded child processes, in which files from strangers are read and decoded.

    cage     Cage: hands each task to a free child, in turn; run() one, map() many
    child    Child: one process as its parent sees it, started when needed, replaced when it fails
    inside   what runs in the process: its limits and its loop
    messages what crosses the pipe
    channel  how it crosses

A crash, a bomb or an endless loop in there is one `CagedFailure`; nothing else notices.
"""

from app.cage.cage import Cage

__all__ = ["Cage"]
