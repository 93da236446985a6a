"""The documentation is true: what is generated is current, what is typed works, what is promised holds."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.conftest import SAMPLE
from tests.ohif.viewer import app_config
from tests.servers import PROJECT, Server, free_port
from tools.docs.blocks import BLOCKS, DOCS, FILES, block_names, pages, regenerated
from tools.docs.commands import all_commands

PAGES = [*pages(), *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
TYPED = [
    PROJECT / "README.md",
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
# Set by `dermzoo serve` for its own processes, or by the tests and Compose for theirs.
NOT_SETTINGS = {"DERMZOO_CONFIG_FILE"}
START_S = 60
PATIENCE_S = 120

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
_ROW = re.compile(
    r"^\| `(?P<method>[A-Z]+) (?P<path>\S+)` \|(?P<fields>[^|]*)\| (?P<status>\d{3}) \|", re.MULTILINE
)


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


# Generated parts


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_the_generated_parts_are_current(path: Path) -> None:
    assert regenerated(TEXTS[path]) == TEXTS[path], "run: .venv/bin/python -m tools.docs"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_generated_files_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "run: .venv/bin/python -m tools.docs"


def test_every_generated_part_stands_on_one_page() -> None:
    assert sorted(name for path in pages() for name in block_names(TEXTS[path])) == sorted(BLOCKS)


# Completeness


def test_every_setting_that_is_named_exists_and_every_one_is_named() -> None:
    named = {name for text in TEXTS.values() for name in re.findall(r"DERMZOO_[A-Z_]+[A-Z]", text)}
    settings = {f"DERMZOO_{name.upper()}" for name in Settings.model_fields}
    assert named - NOT_SETTINGS == settings


def test_every_command_that_is_named_exists_and_every_one_is_named() -> None:
    commands = {name.removeprefix("dermzoo ") for name, _ in all_commands()}
    sections = re.findall(r"^## dermzoo (.+)$", TEXTS[DOCS / "reference" / "cli.md"], re.MULTILINE)
    assert set(sections) == commands
    first_words = {name.split()[0] for name in commands}
    for path, text in TEXTS.items():
        for block in _FENCE.finditer(text):
            if block["info"].startswith("sh"):
                used = re.findall(r"\.venv/bin/dermzoo ([a-z]+)", block["body"])
                assert set(used) <= first_words, name_of(path)


def test_every_route_is_in_the_reference(sample_server: Server) -> None:
    described = httpx.get(f"{sample_server.url}/openapi.json").json()["paths"]
    text = TEXTS[DOCS / "reference" / "http.md"]
    for path, methods in described.items():
        below = path.removeprefix("/dicom-web").replace("{path:path}", "{path}")
        rows = [line for line in text.splitlines() if f"`{below}`" in line or f"`GET {below}`" in line]
        assert rows, path
        assert all(any(method.upper() in row for row in rows) for method in methods), path


def test_every_metric_is_told_of(sample_server: Server) -> None:
    httpx.get(f"{sample_server.dicomweb_url}/studies", params={"limit": 1})
    exposed = re.findall(r"^# TYPE (\S+)", httpx.get(f"{sample_server.url}/metrics").text, re.MULTILINE)
    assert exposed
    text = TEXTS[DOCS / "how-to" / "logs-and-metrics.md"]
    assert [name for name in exposed if f"`{name}`" not in text] == []


# Links and style


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_link_is_dead(path: Path) -> None:
    dead = []
    for match in _LINK.finditer(_FENCE.sub("", TEXTS[path])):
        target = match["target"] or match["image"]
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            dead.append(target)
    assert dead == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached() -> None:
    reached: set[Path] = set()
    waiting = [PROJECT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        waiting += [
            (path.parent / (match["target"] or "").partition("#")[0]).resolve()
            for match in _LINK.finditer(path.read_text(encoding="utf-8"))
            if match["target"] and "://" not in match["target"] and not match["target"].startswith("#")
        ]
    assert sorted(name_of(path) for path in {*pages()} - reached) == []


def test_decisions_are_numbered_and_have_their_parts() -> None:
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [
        f"{number:04}" for number in range(1, len(decisions) + 1)
    ]
    index = TEXTS[DOCS / "decisions" / "README.md"]
    for path in decisions:
        headings = re.findall(r"^## (.+)$", TEXTS[path], re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], path.name
        assert path.name in index


def test_the_configuration_of_ohif_is_the_tested_one() -> None:
    [block] = [
        match["body"]
        for match in _FENCE.finditer(TEXTS[DOCS / "how-to" / "open-in-ohif.md"])
        if match["info"] == "js"
    ]
    assert re.sub(r"\s", "", block) == re.sub(r"\s", "", app_config("http://127.0.0.1:8080/dicom-web"))


# Answers of the conformance statement


@dataclass(frozen=True)
class Promise:
    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    status: int
    with_token: bool
    warned: bool


def promises() -> list[Promise]:
    text = TEXTS[DOCS / "reference" / "conformance.md"]
    without, _, with_token = text.partition("\nWith a token:\n")
    return [
        Promise(
            row["method"],
            row["path"],
            tuple(tuple(field.split(": ", 1)) for field in re.findall(r"`([^`]+)`", row["fields"])),  # type: ignore[misc]
            int(row["status"]),
            part is with_token,
            "`Warning: 299`" in row.string[row.end() : row.string.index("\n", row.end())],
        )
        for part in (without, with_token)
        for row in _ROW.finditer(part)
    ]


@pytest.fixture(scope="module")
def example(sample_server: Server) -> dict[str, str]:
    [found] = httpx.get(
        f"{sample_server.dicomweb_url}/instances", params={"PatientID": "ISIC_0000000"}
    ).json()
    tags = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}
    return {name: found[tag]["Value"][0] for name, tag in tags.items()}


@pytest.fixture(scope="module")
def store_token(sample_server: Server) -> str:
    return sample_server.token("store")


def test_there_are_promises() -> None:
    assert len(promises()) > 50
    assert {promise.status for promise in promises()} >= {200, 204, 400, 401, 404, 406, 415}


@pytest.mark.parametrize(
    "promise", promises(), ids=lambda one: f"{one.method} {one.path} {dict(one.fields)} {one.status}"
)
def test_the_answer_is_as_promised(
    sample_server: Server, example: dict[str, str], store_token: str, promise: Promise
) -> None:
    headers = {"Accept": "*/*", **dict(promise.fields)}
    if promise.with_token:
        headers["Authorization"] = f"Bearer {store_token}"
    url = sample_server.url + promise.path.format(**example)
    answer = httpx.request(promise.method, url, headers=headers)
    assert answer.status_code == promise.status, answer.text[:500]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert ("warning" in answer.headers) == promise.warned
    if promise.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"]


# What is typed


@dataclass
class Desk:
    """A folder that looks like the project, with an empty archive, a home with DICOM files, and a port."""

    folder: Path
    port: int
    dimse_port: int = field(default_factory=free_port)
    destination_port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DERMZOO_")}
        return {
            **inherited,
            "HOME": str(self.folder / "home"),
            "DERMZOO_PORT": str(self.port),
            "DERMZOO_DIMSE_PORT": str(self.dimse_port),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "MAKEFLAGS": "",
        }

    def adapted(self, text: str) -> str:
        """The text with our port, and the installation that is there already."""
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        text = text.replace("11112", str(self.dimse_port)).replace("11113", str(self.destination_port))
        # What installs is timed and tried on a fresh machine; here it would replace what we run on.
        text = re.sub(r"^make demo\b", "make -o install demo", text, flags=re.MULTILINE)
        return re.sub(r"^make (test|install|bench)\b", r"make --dry-run \1", text, flags=re.MULTILINE)

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False,
            timeout=PATIENCE_S, **options,
        )  # fmt: skip

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """Run a command until the end of the block, once the first address it tells of answers."""
        log = self.folder / "log" / f"{time.monotonic_ns()}"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-ec", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_for_address(process, log)
            yield
        finally:
            with suppress(ProcessLookupError):  # it ended by itself, which was told of
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_S)
            with suppress(ProcessLookupError):  # the next block may serve on the same port
                os.killpg(process.pid, signal.SIGKILL)

    @staticmethod
    def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> None:
        deadline, has_ended = time.monotonic() + START_S, False
        while time.monotonic() < deadline:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                with socket.socket() as asking:
                    if asking.connect_ex(("127.0.0.1", int(found[1]))) == 0:
                        return  # it serves, or an earlier block of the page does, on the same port
            if has_ended:
                break
            try:
                process.wait(0.1)
                has_ended = True
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"it does not serve:\n{log.read_text()}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for path in PROJECT.iterdir():
        if path.name not in {"data", "build", ".venv", ".git"}:
            (tmp_path / path.name).symlink_to(path)
    for folder in (".venv/bin", "home/dicom/deeper", "log"):
        (tmp_path / folder).mkdir(parents=True)
    client = shlex.quote(str(Path(sys.executable).with_name("dicomweb_client")))
    for name, arguments in {"python": "", "dermzoo": "-m app.cli", "dicomweb_client": client}.items():
        script = tmp_path / ".venv" / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        script.chmod(0o755)
    specimens = PROJECT / "tests" / "data" / "dicom"
    shutil.copy(specimens / "valid" / "CT_small.dcm", tmp_path / "home" / "dicom")
    shutil.copy(
        specimens / "valid" / "MR_small_RLE.dcm", tmp_path / "home" / "dicom" / "deeper" / "no extension"
    )
    (tmp_path / "home" / "dicom" / "notes.txt").write_text("this is not DICOM, and is refused")
    return Desk(tmp_path, free_port())


def blocks_of(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page that are typed, or (`text`) printed by the one before: kind and text."""
    return [
        (block["info"], block["body"])
        for block in _FENCE.finditer(TEXTS[path])
        if block["info"].split()[:1] in (["sh"], ["python"], ["text"]) and "by-hand" not in block["info"]
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", [path for path in TYPED if blocks_of(path)], ids=name_of)
def test_what_the_page_says_to_type_works(desk: Desk, path: Path) -> None:
    if path.name == "back-up-and-verify.md":
        imported = [".venv/bin/dermzoo", "import", "isic", "--images", SAMPLE / "images", "--metadata"]
        assert desk.run([*map(str, imported), str(SAMPLE / "metadata.csv")]).returncode == 0
    printed = ""
    with serving_blocks(desk) as serve:
        for info, body in blocks_of(path):
            text = desk.adapted(body)
            if info == "text":
                assert printed.strip() == text.strip()
                continue
            if info == "sh serve":
                serve(text)
                continue
            command = (
                [".venv/bin/python", "-c", text]
                if info == "python"
                else ["bash", "-eo", "pipefail", "-c", text]
            )
            done = desk.run(command)
            expected = int((re.search(r"exit=(\d)", info) or ["", "0"])[1])
            assert done.returncode == expected, f"{body}\n{done.stdout}{done.stderr}"
            printed = done.stdout


@contextmanager
def serving_blocks(desk: Desk) -> Iterator[Callable[[str], None]]:
    """Yield a function that starts a server; all are stopped afterwards."""
    with ExitStack() as running:
        yield lambda command: running.enter_context(desk.serving(command))


def test_what_is_left_to_hands_is_at_least_well_formed() -> None:
    for path in TYPED:
        for block in _FENCE.finditer(TEXTS[path]):
            if block["info"] == "python by-hand":
                compile(block["body"], name_of(path), "exec")
            elif block["info"] == "sh by-hand":
                assert subprocess.run(["bash", "-n", "-c", block["body"]], check=False).returncode == 0, path
