"""An upstream that misbehaves as it is told: one fault a request, then the next."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Fault = str
FAULTS: tuple[Fault, ...] = (
    "reset",  # before a byte
    "silent",  # the connection is closed in good order, without an answer
    "garbage",
    "500",
    "503",
    "429",
    "redirect",
    "cut",  # before Content-Length is reached
    "cut chunks",
    "cut multipart",  # the chunks end well, and the last boundary is missing
    "reset in body",
    "encoded",
    "without end",  # neither Content-Length nor chunks
    "two lengths",
)


def content_of(path: str) -> bytes:
    """What the upstream holds at a path: other bytes for each, some of them long."""
    seed = path.encode()
    return seed * (1 + (sum(seed) % 7) * 9000)


@dataclass
class Chaos:
    """What to do next, and what was asked."""

    url: str
    next_fault: Callable[[], Fault]
    requests: list[str] = field(default_factory=list)
    tag: str = ""
    open_connections: int = 0
    sent_bytes: int = 0
    hold: asyncio.Event | None = None  # answers wait for it
    asked: asyncio.Event = field(default_factory=asyncio.Event)


def _plan(fault: Fault, content: bytes) -> tuple[str, str, bytes]:
    """The status, the fields besides Content-Type, and the body."""
    length, chunked = f"Content-Length: {len(content)}", "Transfer-Encoding: chunked"
    part = b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + content
    metadata = "http://169.254.169.254/"
    plans = {
        "redirect": ("302 Found", f"Location: {metadata}\r\nContent-Length: 0", b""),
        "cut": ("200 OK", length, content[: len(content) // 2]),
        "reset in body": ("200 OK", length, content[: len(content) // 2]),
        "cut chunks": ("200 OK", chunked, b"%x\r\n%b" % (len(content), content[:-1])),
        "cut multipart": (
            "200 OK",
            f"Content-Type: multipart/related; boundary=b\r\n{chunked}",
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(part), part),
        ),
        "encoded": ("200 OK", f"Content-Encoding: gzip\r\n{length}", content),
        "without end": ("200 OK", "X: y", content),
        "two lengths": ("200 OK", f"Content-Length: 5\r\n{length}", content),
    }
    if fault.isdigit():
        return f"{fault} Fault", "Content-Length: 1", b"x"
    return plans.get(fault, ("200 OK", length, content))


async def _answer(chaos: Chaos, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; return whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    chaos.requests.append(head)
    chaos.asked.set()
    if chaos.hold is not None:
        await chaos.hold.wait()
    fault = chaos.next_fault()
    if fault == "garbage":
        writer.write(b"\x00\xff220 ftp ready\r\n\r\n")
    if fault == "reset":
        writer.transport.abort()
    if fault in {"garbage", "reset", "silent"}:
        return False
    status, fields, body = _plan(fault, content_of(head.split(" ")[1]))
    if chaos.tag and f"If-None-Match: {chaos.tag}" in head:
        status, fields, body = "304 Not Modified", "X: y", b""
    tag = f"ETag: {chaos.tag}\r\n" if chaos.tag else ""
    content_type = "" if "Content-Type" in fields else "Content-Type: application/octet-stream\r\n"
    writer.write(f"HTTP/1.1 {status}\r\n{content_type}{tag}{fields}\r\n\r\n".encode())
    for start in range(0, len(body), 16384):
        writer.write(body[start : start + 16384])
        await writer.drain()
        chaos.sent_bytes += len(body[start : start + 16384])
    if fault == "reset in body":
        writer.transport.abort()
    return fault in {"ok", "redirect", "encoded"} or fault.isdigit()


@asynccontextmanager
async def chaos_server(next_fault: Callable[[], Fault] = lambda: "ok") -> AsyncIterator[Chaos]:
    """Yield a running one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chaos.open_connections += 1
        try:
            while await _answer(chaos, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            chaos.open_connections -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    chaos = Chaos(f"http://127.0.0.1:{port}/dicom-web", next_fault)
    async with server:
        yield chaos
