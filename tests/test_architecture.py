"""The rules of the house that no linter checks, and the one that import-linter does."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import PROJECT

MODULES = sorted((PROJECT / "app").rglob("*.py"))
LINES = 300
LINES_OF_A_FUNCTION = 40

# Where packages come from, and folders of one machine; written so that this file does not match itself.
NOT_OURS_TO_NAME = re.compile(
    r"python[h]osted[.]org|\bpypi[.]o[r]g|registry[.]npm[j]s|deb[.]debian[.]o[r]g"
    r"|(?<![\w.}*-])/(?:wor[k]/(?:main|shared|[.])|roo[t]/[.]|hom[e]/\w)"
)
MADE_HERE = {"node_modules", "__pycache__"}
FOLDERS = (".ci", "app", "bench", "config", "corpus", "docs", "migrations", "requirements", "tests", "tools")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project, with its path."""
    paths = [path for path in PROJECT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += (PROJECT / folder).rglob("*")
    for path in paths:
        if path.is_file() and not MADE_HERE & set(path.parts):
            try:
                yield path.relative_to(PROJECT), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture or a DICOM file


def test_imports_point_down() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports], check=False, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_module_has_one_concern_and_says_which(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    module = ast.parse(source)
    assert source.count("\n") <= LINES
    assert ast.get_docstring(module), "no docstring"
    long = [
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LINES_OF_A_FUNCTION
    ]
    assert long == [], f"more than {LINES_OF_A_FUNCTION} lines"


FOR_PIXELS_AND_FILES = {"numpy", "imagecodecs", "PIL", "pydicom", "requests", "tifffile"}
OF_ONE_COMMAND = {"alembic", "pynetdicom"}


@pytest.mark.parametrize(
    ("work", "left_out"),
    [
        # What is only needed in the cage, or by one command, would take the room of another worker.
        ("import app.main", FOR_PIXELS_AND_FILES | OF_ONE_COMMAND),
        ("import app.cli.index", FOR_PIXELS_AND_FILES | OF_ONE_COMMAND | {"fastapi", "starlette"}),
        # The process that starts the others and watches them, after it has made sure that they can start.
        (
            "from app.cli.serve import prepared_apart; prepared_apart(None, {'workers': 2})",
            FOR_PIXELS_AND_FILES | OF_ONE_COMMAND | {"fastapi", "pydantic", "sqlalchemy"},
        ),
        ("import app.cli", {"pydantic", "sqlalchemy", "uvicorn", "asyncio"}),
    ],
)
def test_a_process_imports_what_it_needs_and_no_more(work: str, left_out: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{work}\nprint(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "DERMZOO_DATA_DIR": str(tmp_path)},
    )
    assert left_out & {name.partition(".")[0] for name in done.stdout.split()} == set()


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "base", "misc"])
def test_no_module_is_named_after_nothing(name: str) -> None:
    assert [path for path in MODULES if name in {path.stem, path.parent.name}] == []


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    found = [
        f"{path}:{number}: {match.group()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := NOT_OURS_TO_NAME.search(line))
    ]
    assert found == []


def test_the_files_are_small() -> None:
    sizes = {path: path.stat().st_size for folder in FOLDERS for path in (PROJECT / folder).rglob("*")}
    assert [
        path for path, size in sizes.items() if size > 3_000_000 and not MADE_HERE & set(path.parts)
    ] == []
