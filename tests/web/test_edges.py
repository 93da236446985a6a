"""What stands around the resources: health, CORS, tokens, quota, the log, odd requests."""

import json
import re
import socket

import pytest

from tests.factories import instance_bytes, uid
from tests.servers import Server
from tests.web.conftest import Archive


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory):
    """A server with the budget on, at its defaults."""
    server = Server(tmp_path_factory.mktemp("limited"))
    try:
        yield server.start(workers=2)
    finally:
        server.stop()


@pytest.fixture
def http(limited: Server):
    import httpx

    with httpx.Client(base_url=limited.url, timeout=30) as client:
        yield client


def test_health(http) -> None:
    assert http.get("/livez").json() == {"status": "live"}
    assert http.get("/readyz").json()["status"] == "ready"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/quota"])
def test_heads_of_the_operators_answers(http, path: str) -> None:
    # RFC 9110 9.1: a general-purpose server supports GET and HEAD
    head = http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == http.get(path).headers["content-type"]
    refused = http.post(path)
    assert refused.status_code == 405
    assert {"GET", "HEAD"} == {name.strip() for name in refused.headers["Allow"].split(",")}


def test_metrics_count_over_both_workers(http) -> None:
    for _ in range(20):
        http.get("/dicom-web/studies", headers={"Connection": "close"})
    text = http.get("/metrics").text
    counted = [
        line
        for line in text.splitlines()
        if line.startswith("dermzoo_requests_total") and '/studies"' in line
    ]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) >= 20
    assert re.search(r"^dermzoo_held_instances \d", text, re.MULTILINE)
    assert "dermzoo_global_balance_bytes" in text


def test_quota_is_the_callers_own(http) -> None:
    answer = http.get("/quota").json()
    assert answer["throttle"] == "on"
    assert {line["policy"] for line in answer["policies"]} >= {"client-requests", "client-bytes"}
    assert "global" not in json.dumps(answer)
    page = http.get("/quota", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert "<td>client-bytes</td>" in page.text
    assert "global" not in page.text


@pytest.mark.parametrize(
    "path", ["/dicom-web/studies", "/dicom-web/studies/1.2", "/nowhere", "/dicom-web/studies/x y"]
)
def test_cors_on_every_answer_and_preflight_on_every_path(http, path: str) -> None:
    assert (
        http.get(path, headers={"Origin": "https://viewer.example"}).headers["access-control-allow-origin"]
        == "*"
    )
    preflight = http.options(
        path, headers={"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert int(preflight.headers["access-control-max-age"]) >= 600
    assert "access-control-allow-credentials" not in preflight.headers


def test_only_a_token_with_the_scope_may_store(limited: Server, http) -> None:
    body, boundary = (
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + instance_bytes() + b"\r\n--b--\r\n",
        "b",
    )
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}

    def store(token: str | None) -> object:
        authorization = {"Authorization": f"Bearer {token}".encode()} if token else {}
        return http.post("/dicom-web/studies", content=body, headers=headers | authorization)

    anonymous = store(None)
    assert anonymous.status_code == 401
    assert "dermzoo token create --scope store" in anonymous.json()["detail"]
    assert anonymous.headers["www-authenticate"].startswith("Bearer")
    token = limited.token("store")
    assert store(token + "x").status_code == 401
    assert store("dz_" + "a" * 200).status_code == 401
    assert store("dz_ünïcode_ß").status_code == 401
    stored = store(token)
    assert stored.status_code == 200, stored.text
    limited.run("token", "revoke", token.split("_")[1])
    assert store(token).status_code == 401
    assert http.get(f"/dicom-web/studies/{uid('study')}/metadata").status_code == 200


def test_the_log_has_one_json_line_for_each_request(limited: Server, http) -> None:
    path = "/dicom-web/studies/9.9.9/metadata"
    http.get(f"{path}?x=%0D%0Aforged", headers={"User-Agent": "a\tb"})
    http.get("/livez")  # on the same connection: by then the first has been told of
    lines = [json.loads(line) for line in limited.log.splitlines() if line.startswith("{")]
    *_, line = [line for line in lines if line.get("path") == path]
    assert line["status"] == 404
    assert line["bytes"] > 0
    assert line["budget"]["charged"] >= line["bytes"]
    assert line["client"].endswith("127.0.0.1")


def test_headers_without_end_are_cut(limited: Server) -> None:
    with socket.create_connection(("127.0.0.1", limited.port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        try:
            for _ in range(100):
                connection.sendall(b"X-Filler: " + b"y" * 8000 + b"\r\n")
            answer = connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert b" 431 " in answer or answer == b""
    with socket.create_connection(("127.0.0.1", limited.port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in connection.recv(4096)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
def test_other_methods_are_refused(archive: Archive, method: str) -> None:
    answer = archive.client.request(method, "/studies")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert "GET" in answer.headers["allow"]


def test_a_slash_too_many_is_the_same_resource(archive: Archive) -> None:
    """Roots are configured with a slash at their end; where to go instead must not come from `Host`."""
    plain = archive.get("/studies?limit=1")
    for path in ("/studies/?limit=1", "//studies?limit=1", "///studies//?limit=1"):
        given = archive.client.get(f"{archive.server.dicomweb_url}{path}", headers={"Host": "localhost:1"})
        assert (given.status_code, given.content) == (200, plain.content), path


def test_a_study_of_a_hundred_images_opens_without_a_refusal(tmp_path, server_factory) -> None:
    """Viewers do not retry: viewers ask for all of it at once (what OHIF sends)."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from tests.factories import write_instance

    for number in range(100):
        write_instance(
            tmp_path / "files" / f"{number}.dcm", name=f"v{number}", study="v", series=f"v{number}", jpeg=True
        )
    server = server_factory()
    server.run("index", tmp_path / "files")
    root = f"{server.dicomweb_url}/studies/{uid('v')}"
    urls = [f"{server.dicomweb_url}/studies?StudyInstanceUID={uid('v')}"] * 3 + [f"{root}/series"]
    for number in range(100):
        series = f"{root}/series/{uid(f'v{number}')}"
        frame = f"{series}/instances/{uid(f'v{number}')}/frames/1"
        urls += [f"{series}/metadata", frame, frame, f"{frame}/thumbnail"]

    def browse(connection: int) -> set[int]:
        with httpx.Client(timeout=60) as client:
            return {client.get(url).status_code for url in urls[connection::6]}

    with ThreadPoolExecutor(6) as threads:  # as many connections as a browser keeps to one origin
        statuses = set().union(*threads.map(browse, range(6)))
    assert statuses == {200}


def test_a_stop_lets_a_body_finish(server_factory, tmp_path) -> None:
    """D12: SIGTERM ends the listening at once and the answers under way when they are done."""
    import signal

    from tests.factories import write_instance

    path = write_instance(tmp_path / "files" / "large.dcm", name="large", rows=3000, columns=3000)
    server = server_factory(throttle="off")
    server.run("index", path.parent)
    url = f"/dicom-web/studies/{uid('study')}/series/{uid('series')}/instances/{uid('large')}"
    accept = "application/dicom; transfer-syntax=*"
    request = f"GET {url} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(60)
        connection.sendall(request.encode())
        received = connection.recv(65536)
        server.process.send_signal(signal.SIGTERM)
        while chunk := connection.recv(65536):
            received += chunk
    assert received.partition(b"\r\n\r\n")[2] == path.read_bytes()
    assert server.process.wait(30) == 0
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", server.port)) != 0
