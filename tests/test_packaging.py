"""The locks, the image and the interface of the Makefile agree with what they stand for."""

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.servers import PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
LOCKS = {name: (PROJECT / "requirements" / f"{name}.txt").read_text() for name in ("run", "test")}
TARGETS = ("demo", "test", "install", "check", "bench", "help")


def locked(name: str) -> dict[str, str]:
    """The versions of a lock, by name."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", LOCKS[name], re.MULTILINE))


def top_level_imports(module: ast.Module) -> set[str]:
    """The names of the packages that a module imports, wherever it does."""
    imported = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module)
    return {name.partition(".")[0] for name in imported}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("run", PROJECT_TABLE["dependencies"]),
        ("test", PROJECT_TABLE["dependencies"] + PROJECT_TABLE["optional-dependencies"]["test"]),
    ],
)
def test_the_lock_holds_what_the_project_asks_for(name: str, wanted: list[str]) -> None:
    versions = locked(name)
    for requirement in map(Requirement, wanted):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}, locked {version}: run `make lock`"


def test_the_tests_run_on_what_is_served() -> None:
    assert locked("run").items() <= locked("test").items()


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("app", ("parquet", "duplicates")),
        ("migrations", ()),
        ("tests", ("test",)),
        ("bench", ("test",)),
        ("fuzz", ("fuzz", "test")),
        ("tools", ("test",)),
    ],
)
def test_what_is_imported_is_asked_for(folder: str, extras: tuple[str, ...]) -> None:
    wanted = [*PROJECT_TABLE["dependencies"]]
    for extra in extras:
        wanted += PROJECT_TABLE["optional-dependencies"][extra]
    asked_for = {canonicalize_name(Requirement(text).name) for text in wanted}
    providers = packages_distributions()
    imported = set()
    for path in (PROJECT / folder).rglob("*.py"):
        if "node_modules" not in path.parts:
            imported |= top_level_imports(ast.parse(path.read_text(encoding="utf-8")))
    strangers = imported - sys.stdlib_module_names - {"app", "bench", "fuzz", "migrations", "tests", "tools"}
    assert [
        name
        for name in sorted(strangers)
        if not asked_for & set(map(canonicalize_name, providers.get(name, [name])))
    ] == []


@pytest.mark.parametrize("text", LOCKS.values(), ids=LOCKS)
def test_every_locked_version_has_hashes_and_no_address(text: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9._-]+==)", text)[1:]
    assert blocks
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "no option belongs into a lock"


def test_the_image_is_built_from_files_that_are_sent_to_the_builder() -> None:
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().split() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has_the_targets_that_people_rely_on(target: str) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*  ## \S", makefile, re.MULTILINE)
