"""Reading multipart answers byte by byte, as RFC 2046 frames them; our own reader is not its own judge."""

import httpx


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """The headers and content of each part; checks the framing of RFC 2046 on the way."""
    content_type = response.headers["content-type"]
    assert content_type.startswith("multipart/related; type=")
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    body = response.content
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
    found = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"Content-Type: "), "viewers look for exactly this spelling"
        found.append((dict(line.split(": ", 1) for line in head.decode().split("\r\n")), content))
    return found
