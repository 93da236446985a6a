"""Indexing in place: everything is accounted for, nothing is read twice, nothing is written there."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from app.archive import index
from app.archive.index_report import shown
from app.catalog.holdings import Reference, held_instances, totals
from app.catalog.models import file, folder, instance
from app.storage.in_place import open_in_place
from tests.factories import instance_bytes, uid, write_instance


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


class NothingRead:
    """In the cage's place: fails as soon as a file is to be read."""

    def map(self, _function, items):
        for item in items:
            raise AssertionError(f"{item} was read again")
        return iter(())


def run(archive, folder, **options):
    return index.index_folder(archive, folder, **options)


def counts(archive) -> tuple[int, int, int]:
    with archive.catalog.read() as connection:
        held = totals(connection)
    return held["studies"], held["series"], held["instances"]


def where(archive, name: str) -> str:
    """The path that an instance is served from."""
    with archive.catalog.read() as connection:
        row = connection.execute(
            select(folder.c.path, file.c.name)
            .join(file, file.c.folder_id == folder.c.id)
            .join(instance, instance.c.file_id == file.c.id)
            .where(instance.c.sop_instance_uid == uid(name))
        ).one()
    return f"{row.path}/{row.name}"


def refused(report) -> dict[str, str]:
    return {Path(path).name: why for path, why in report.refused}


def snapshot(root: Path) -> dict[str, tuple]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.is_file() and path.read_bytes())
        for path in [root, *root.rglob("*")]
    }


def test_any_name_at_any_depth(archive, images):
    write_instance(images / "a.dcm", name="a")
    write_instance(images / "no-extension", name="b")
    write_instance(images / "deep" / "deeper" / "c.txt", name="c", study="other")
    before = snapshot(images)
    report = run(archive, images)
    assert (report.files, report.added, report.refused) == (3, 3, [])
    assert counts(archive) == (2, 2, 3)
    assert where(archive, "c") == str(images / "deep" / "deeper" / "c.txt")
    assert snapshot(images) == before


def test_what_was_indexed_can_be_opened_by_its_row(archive, images):
    content = write_instance(images / "a.dcm").read_bytes()
    run(archive, images)
    with archive.catalog.read() as connection:
        (held,) = held_instances(connection, Reference(uid("study")))
    with open_in_place(held.folder, held.name, held.size, held.mtime_ns) as opened:
        assert opened.read(0, opened.size) == content


def test_each_refused_file_is_listed_with_its_reason_and_the_others_are_taken(archive, images):
    write_instance(images / "good.dcm")
    (images / "empty").write_bytes(b"")
    (images / "README.txt").write_text("no DICOM here")
    unaddressable = instance_bytes(name="x").replace(uid("x").encode(), b"../" + uid("x").encode()[3:])
    (images / "path-in-uid.dcm").write_bytes(unaddressable)
    (images / "out").symlink_to("/etc/hostname")
    os.mkfifo(images / "pipe")
    report = run(archive, images)
    assert (report.files, report.added) == (4, 1)
    assert set(refused(report)) == {"empty", "README.txt", "path-in-uid.dcm", "out", "pipe"}
    assert "empty" in refused(report)["empty"]
    assert "SOP Instance UID" in refused(report)["path-in-uid.dcm"]
    assert all(refused(report).values())


class TestAgain:
    def test_nothing_unchanged_is_read(self, archive, images):
        for number in range(30):
            write_instance(images / str(number % 3) / f"{number}.dcm", name=str(number))
        shutil.copy(images / "0" / "0.dcm", images / "copy.dcm")
        write_instance(images / "9" / "conflict.dcm", name="1", PatientID="OTHER")
        (images / "junk").write_bytes(b"junk")
        first = run(archive, images)
        second = run(replace(archive, cage=NothingRead()), images)
        assert (second.files, second.unchanged, second.added) == (33, 30, 0)
        assert second.duplicates == first.duplicates
        assert len(first.duplicates) == 1
        assert sorted(second.refused) == sorted(first.refused)
        assert set(refused(second)) == {"conflict.dcm", "junk"}
        assert counts(archive) == (1, 1, 30)

    def test_only_what_is_new_is_read(self, archive, images):
        write_instance(images / "a.dcm", name="a")
        run(archive, images)
        write_instance(images / "b.dcm", name="b")
        report = run(archive, images)
        assert (report.added, report.unchanged) == (1, 1)

    def test_a_changed_file_is_read_again(self, archive, images):
        write_instance(images / "a.dcm", name="a", PatientID="BEFORE")
        run(archive, images)
        write_instance(images / "a.dcm", name="a", PatientID="AFTERWARDS")
        report = run(archive, images)
        assert (report.changed, report.added, report.unchanged) == (1, 0, 0)
        assert counts(archive) == (1, 1, 1)
        with archive.catalog.read() as connection:
            (held,) = held_instances(connection, Reference(uid("study")))
        open_in_place(held.folder, held.name, held.size, held.mtime_ns).close()

    def test_a_file_that_became_another_instance(self, archive, images):
        write_instance(images / "a.dcm", name="a", study="1")
        run(archive, images)
        write_instance(images / "a.dcm", name="b", study="22")
        assert run(archive, images).changed == 1
        assert counts(archive) == (1, 1, 1)
        assert where(archive, "b") == str(images / "a.dcm")

    def test_a_file_that_became_unreadable_and_whole_again(self, archive, images):
        path = write_instance(images / "a.dcm")
        content = path.read_bytes()
        run(archive, images)
        path.write_bytes(content[:200])
        assert set(refused(run(archive, images))) == {"a.dcm"}
        assert counts(archive) == (0, 0, 0)
        path.write_bytes(content)
        assert run(archive, images).changed == 1
        assert counts(archive) == (1, 1, 1)

    def test_a_file_whose_time_alone_changed(self, archive, images):
        path = write_instance(images / "a.dcm")
        run(archive, images)
        os.utime(path, ns=(1, 1))
        assert run(archive, images).changed == 1
        assert counts(archive) == (1, 1, 1)


class TestCopies:
    def test_an_identical_copy_is_told_of_and_not_refused(self, archive, images):
        write_instance(images / "a.dcm")
        shutil.copy(images / "a.dcm", images / "b.dcm")
        report = run(archive, images)
        assert (report.added, report.refused) == (1, [])
        assert [Path(path).name for path in report.duplicates] == ["b.dcm"]
        assert counts(archive) == (1, 1, 1)

    def test_other_content_under_the_same_uid_is_refused(self, archive, images):
        write_instance(images / "a.dcm", PatientID="A")
        write_instance(images / "b.dcm", PatientID="B")
        report = run(archive, images)
        assert str(images / "a.dcm") in refused(report)["b.dcm"]
        assert where(archive, "instance") == str(images / "a.dcm")

    def test_the_copy_takes_over_when_the_first_is_changed(self, archive, images):
        write_instance(images / "a.dcm", name="x")
        shutil.copy(images / "a.dcm", images / "b.dcm")
        run(archive, images)
        write_instance(images / "a.dcm", name="yy")
        report = run(archive, images)
        assert (report.changed, report.added, report.duplicates) == (1, 1, [])
        assert counts(archive) == (1, 1, 2)
        assert where(archive, "x") == str(images / "b.dcm")

    @pytest.mark.parametrize("prune", [True, False])
    def test_the_copy_takes_over_when_the_first_is_gone(self, archive, images, prune):
        write_instance(images / "a.dcm")
        shutil.copy(images / "a.dcm", images / "b.dcm")
        run(archive, images)
        (images / "a.dcm").unlink()
        report = run(archive, images, prune=prune)
        assert (report.moved, report.pruned, report.vanished, report.duplicates) == (1, 0, [], [])
        assert where(archive, "instance") == str(images / "b.dcm")
        assert counts(archive) == (1, 1, 1)

    def test_a_file_that_was_moved_keeps_its_rows(self, archive, images):
        write_instance(images / "a.dcm", name="a")
        write_instance(images / "z.dcm", name="z")
        run(archive, images)
        for name, target in (("a.dcm", "z/sub/new"), ("z.dcm", "a/new")):
            (images / target).parent.mkdir(parents=True)
            (images / name).rename(images / target)
        report = run(archive, images)
        assert (report.moved, report.added, report.vanished, report.duplicates) == (2, 0, [], [])
        assert where(archive, "a") == str(images / "z/sub/new")
        assert counts(archive) == (1, 1, 2)
        assert run(replace(archive, cage=NothingRead()), images).unchanged == 2


class TestGone:
    @pytest.fixture
    def indexed(self, archive, images):
        for name in ("a", "b/c", "d/e"):
            write_instance(images / name, name=name, study=name)
        run(archive, images)
        (images / "a").unlink()
        shutil.rmtree(images / "b")
        return images

    def test_is_told_of_and_kept(self, archive, indexed):
        for _ in range(2):
            report = run(archive, indexed)
            assert report.vanished == [str(indexed / "a"), str(indexed / "b/c")]
            assert (report.unchanged, report.pruned) == (1, 0)
        assert counts(archive)[2] == 3

    def test_is_forgotten_on_demand(self, archive, indexed):
        report = run(archive, indexed, prune=True)
        assert (report.pruned, len(report.vanished)) == (2, 2)
        assert counts(archive) == (1, 1, 1)
        assert run(archive, indexed).vanished == []

    def test_elsewhere_is_no_business_of_this_run(self, archive, indexed):
        assert run(archive, indexed / "d").vanished == []
        assert run(archive, indexed / "d", prune=True).pruned == 0

    def test_a_folder_that_cannot_be_read_is_not_gone(self, archive, indexed, monkeypatch):
        scandir = os.scandir

        def refuse(path):
            if str(path).endswith("/d"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        report = run(archive, indexed, prune=True)
        assert not any("/d/" in path for path in report.vanished)
        assert counts(archive)[2] == 1

    def test_a_refused_file_that_went_is_no_loss(self, archive, images):
        (images / "junk").write_bytes(b"junk")
        run(archive, images)
        (images / "junk").unlink()
        report = run(archive, images)
        assert (report.refused, report.vanished) == ([], [])
        with archive.catalog.read() as connection:
            assert connection.execute(select(file)).all() == []


def test_names_that_are_no_text(archive, images):
    name = b"\xff \n\x1b[31m.dcm"
    write_instance(Path(os.fsdecode(bytes(images) + b"/\xfe/" + name)))
    for _ in range(2):
        report = run(archive, images)
    assert (report.unchanged, report.vanished) == (1, [])
    assert shown(os.fsdecode(name)) == "\\xff \\n\\x1b[31m.dcm"
    shutil.rmtree(images / os.fsdecode(b"\xfe"))
    (path,) = run(archive, images).vanished
    assert os.fsencode(path).endswith(b"/\xfe/" + name)


def test_batches_are_committed_one_by_one(archive, images, monkeypatch):
    """What was written before a run was killed stays, and the next run goes on from there."""
    monkeypatch.setattr(index, "BATCH_FILES", 4)
    for number in range(10):
        write_instance(images / f"{number}.dcm", name=str(number))
    real = index.write_batch
    batches = []

    def killed(*arguments):
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(arguments[1]))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(index, "write_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            run(archive, images)
    assert batches == [4, 4]
    assert counts(archive)[2] == 8
    report = run(archive, images)
    assert (report.unchanged, report.added) == (8, 2)


def test_a_file_that_kills_its_reader_is_one_line_and_tried_again(archive, images, monkeypatch):
    from app.cage import Cage

    write_instance(images / "a.dcm")
    small = Cage(processes=1, memory_bytes=1, cpu_s=10)
    try:
        report = run(replace(archive, cage=small), images)
    finally:
        small.close()
    assert set(refused(report)) == {"a.dcm"}
    assert run(archive, images).added == 1


def test_progress_counts_every_file(archive, images):
    for number in range(5):
        write_instance(images / f"{number}.dcm", name=str(number))
    (images / "junk").write_bytes(b"junk")
    for _ in range(2):
        done = []
        run(archive, images, advance=done.append)
        assert sum(done) == 6


class TestCommand:
    @pytest.fixture
    def command(self, tmp_path):
        def call(*arguments, prefix=()):
            environment = {**os.environ, "DERMZOO_DATA_DIR": str(tmp_path / "data")}
            return subprocess.run(
                [*prefix, sys.executable, "-m", "app.cli", "index", *map(str, arguments)],
                check=False,
                capture_output=True,
                text=True,
                env=environment,
                cwd=Path(__file__).parents[2],
            )

        return call

    def test_report_and_exit_code(self, command, images):
        write_instance(images / "a.dcm")
        done = command(images, "--json")
        assert (done.returncode, json.loads(done.stdout)[str(images)]["added"]) == (0, 1), done.stderr
        (images / "junk").write_bytes(b"junk")
        done = command(images)
        assert done.returncode == 1
        assert "junk: " in done.stdout
        assert "2 files; 1 unchanged, 1 refused." in done.stdout

    def test_the_second_run_opens_no_file(self, command, images, tmp_path):
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("strace is not installed")
        for number in range(20):
            write_instance(images / f"{number}.dcm", name=str(number))
        opened = []
        traced = (strace, "-f", "--seccomp-bpf", "-e", "trace=open,openat,openat2", "-o")
        for turn in range(2):
            log = tmp_path / f"calls-{turn}"
            done = command(images, prefix=(*traced, log))
            if "PTRACE" in done.stderr:
                pytest.skip("this machine does not let tests trace")
            assert done.returncode == 0, done.stderr
            calls = [line for line in log.read_text().splitlines() if f"{images}/" in line]
            assert not any("O_WRONLY" in line or "O_RDWR" in line for line in calls)
            opened.append(len(calls))
        assert opened == [20, 0]
