"""`dermzoo collection`: which instances are meant, what is told of them, and what is refused."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select, update

from app.catalog.corpus_models import collection, image, member
from app.catalog.database import Catalog
from app.catalog.models import instance
from app.cli import cli
from tests.factories import make_instance, uid, with_facts, write_instance

NAMES = ("a1", "a2", "b1", "c1")
Run = Callable[..., Result]


def isic_id(name: str) -> str:
    return f"ISIC_{NAMES.index(name):07}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("add", "some", …) is `dermzoo collection add some …` on a small archive."""
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    files = tmp_path / "files"
    files.mkdir()
    for name in NAMES:
        stated = (
            {}
            if name == "c1"
            else {"ISICID": isic_id(name), "ISICSex": "female" if name[1] == "1" else "male"}
        )
        made = with_facts(make_instance(name, study=name[0], series=name[0]), **stated)
        write_instance(files / f"{name}.dcm", made)

    def dermzoo(*arguments: str | Path, entered: str | None = None) -> Result:
        return CliRunner().invoke(cli, [*map(str, arguments)], input=entered)

    assert dermzoo("index", files).exit_code == 0

    def collection(*arguments: str | Path, entered: str | None = None) -> Result:
        return dermzoo("collection", *arguments, entered=entered)

    assert collection("create", "some", "--title", "Some").exit_code == 0
    return collection


@pytest.fixture
def catalog(tmp_path: Path, run: Run) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'data' / 'catalog.db'}")
    yield opened
    opened.close()


def told(run: Run, slug: str = "some") -> dict[str, Any]:
    return dict(json.loads(run("show", slug, "--json").stdout))


def members(catalog: Catalog) -> set[str]:
    with catalog.read() as connection:
        return set(connection.execute(select(member.c.sop_instance_uid)).scalars())


def report(result: Result) -> dict[str, Any]:
    return dict(json.loads(result.stdout))


def test_members_are_named_in_every_way(run: Run, catalog: Catalog, tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text(f"{isic_id('a2')}\n\n  {uid('c1')}\n", encoding="utf-8")
    table = tmp_path / "rows.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(
            [["age", "Image_Name"], ["5", isic_id("b1")], ["6", ""], ["7", isic_id("a1")]]
        )
    for arguments, expected in (
        ((isic_id("a1"), uid("a2")), {"a1", "a2"}),
        ((uid("a"),), {"a1", "a2"}),
        (("--list", listed), {"a2", "c1"}),
        (("--csv", table), {"a1", "b1"}),
        (("--query", "ISICSex=female"), {"a1", "b1"}),
        (("--query", "ISICSex=female", "--query", f"StudyInstanceUID={uid('b')}"), {"b1"}),
    ):
        done = run("add", "some", *arguments)
        assert (done.exit_code, done.stdout) == (0, f"{len(expected)} instances are new, 0 were members.\n")
        assert members(catalog) == {uid(name) for name in expected}
        assert told(run)["instances"] == len(expected)
        again = run("add", "some", *arguments, "--json")
        assert (report(again)["changed"], report(again)["unchanged"]) == (0, len(expected))
        assert run("remove", "some", *arguments).stdout.startswith(f"{len(expected)} instances are removed")
        assert members(catalog) == set()
    assert run("add", "some", "--list", "-", entered=f"{uid('a1')}\n").exit_code == 0


def test_what_is_not_found_is_told(run: Run, catalog: Catalog) -> None:
    done = run("add", "some", isic_id("a1"), "ISIC_9999999", "rubbish", "--json")
    assert done.exit_code == 1
    assert report(done) == {
        "changed": 1, "unchanged": 0, "not_found": ["ISIC_9999999", "rubbish"], "refused": {},
        "dry_run": False,
    }  # fmt: skip
    assert "ISIC_9999999" in run("add", "some", "ISIC_9999999").stdout
    assert members(catalog) == {uid("a1")}


def test_a_rehearsal_changes_nothing(run: Run, catalog: Catalog) -> None:
    done = run("add", "some", uid("a"), "--dry-run")
    assert done.stdout == "Nothing is changed. 2 instances are new, 0 were members.\n"
    assert members(catalog) == set()
    run("add", "some", uid("a"))
    assert "2 instances are removed" in run("remove", "some", uid("a"), "--dry-run").stdout
    assert len(members(catalog)) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Say which instances"),
        ((uid("a1"), "--query", "Modality=XC"), "Say which instances"),
        (("--query", "Modality"), "KEY=VALUE"),
        (("--query", "limit=3"), "keys alone"),
        (("--query", "NoSuchKey=3"), "NoSuchKey"),
    ],
)
def test_what_means_nothing_is_refused(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    done = run("add", "some", *arguments)
    assert done.exit_code != 0
    assert reason in f"{done.output}{done.exception}"


def test_an_image_that_is_not_public_is_in_no_public_collection(run: Run, catalog: Catalog) -> None:
    hidden = {"known": b"", "published": b"", "source": "", "is_public": 0}
    with catalog.write() as connection:
        row = {"isic_id": "ISIC_0000077", "sop_instance_uid": uid("hidden"), **hidden}
        connection.execute(insert(image).values(row))
    run("create", "open", "--title", "Open", "--public")
    done = run("add", "open", "ISIC_0000077", uid("hidden"), "--json")
    assert done.exit_code == 1
    assert report(done)["refused"].keys() == {"ISIC_0000077", uid("hidden")}
    assert "make the image public first" in run("add", "open", "ISIC_0000077").stdout
    assert members(catalog) == set()
    assert run("add", "some", "ISIC_0000077").exit_code == 0
    assert told(run)["instances"] == 0
    refused = run("change", "some", "--public")
    assert "ISIC_0000077" in str(refused.exception)
    with catalog.write() as connection:
        connection.execute(update(image).values(is_public=1))
    assert run("change", "some", "--public").exit_code == 0


def bound(catalog: Catalog) -> set[str]:
    with catalog.read() as connection:
        return set(
            connection.execute(select(instance.c.sop_instance_uid).where(instance.c.is_bound == 1)).scalars()
        )


def test_members_are_bound_to_terms_where_that_is_asked(run: Run, catalog: Catalog) -> None:
    """Those that state their ISIC id are bound anyway: c1 is the one that does not."""
    own = {uid(name) for name in NAMES if name != "c1"}
    assert bound(catalog) == own
    run("create", "whole", "--title", "Whole", "--requires-licence")
    run("change", "some", "--part-of", "whole")
    run("add", "some", uid("c1"))
    assert bound(catalog) == own | {uid("c1")}
    run("change", "some", "--apart")
    assert bound(catalog) == own
    run("change", "some", "--requires-licence")
    assert bound(catalog) == own | {uid("c1")}
    run("change", "some", "--no-licence-needed")
    assert bound(catalog) == own
    run("change", "some", "--requires-licence")
    run("remove", "some", uid("c1"))
    assert bound(catalog) == own
    run("add", "some", uid("c1"))
    run("delete", "some")
    assert bound(catalog) == own


def test_a_member_comes_back_with_its_file(run: Run, catalog: Catalog, tmp_path: Path) -> None:
    run("add", "some", uid("a"))
    file = tmp_path / "files" / "a1.dcm"
    content = file.read_bytes()
    file.unlink()
    CliRunner().invoke(cli, ["index", str(tmp_path / "files"), "--prune"])
    assert told(run)["instances"] == 1
    assert len(members(catalog)) == 2
    file.write_bytes(content)
    CliRunner().invoke(cli, ["index", str(tmp_path / "files")])
    assert told(run)["instances"] == 2


def test_what_is_locked_is_not_changed(run: Run, catalog: Catalog) -> None:
    run("add", "some", uid("a1"))
    assert run("lock", "some").exit_code == 0
    for arguments in (
        ("add", "some", uid("a2")),
        ("add", "some", "ISIC_9999999"),
        ("remove", "some", uid("a1")),
        ("change", "some", "--title", "Other"),
        ("change", "some", "--public"),
        ("delete", "some"),
    ):
        assert "is locked" in str(run(*arguments).exception)
    assert members(catalog) == {uid("a1")}
    assert "locked" in run("list").stdout
    assert run("unlock", "some").exit_code == 2
    assert run("unlock", "some", "--reason", "A copy was in it").exit_code == 0
    assert told(run)["description"].endswith("A copy was in it*")
    assert run("delete", "some").exit_code == 0
    with catalog.read() as connection:
        assert connection.execute(select(collection)).all() == []
    assert members(catalog) == set()
