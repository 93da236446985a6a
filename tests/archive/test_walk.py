"""Everything in a folder is told of; nothing is followed out of it."""

import os
import socket

from app.archive.walk import walk


def listed(root, own=()):
    listings = list(walk(str(root), own))
    refused = {os.path.relpath(path, root): why for each in listings for path, why in each.refused}
    passed = {os.path.relpath(path, root): why for each in listings for path, why in each.passed_over}
    files = [os.path.relpath(f"{each.folder}/{file.name}", root) for each in listings for file in each.files]
    return files, refused, passed


def test_nested_folders_in_order_of_name(tmp_path):
    for name in ("b/2", "b/10/x", "a", "c", ".hidden/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert listed(tmp_path)[0] == ["a", "c", ".hidden/file", "b/2", "b/10/x"]


def test_size_and_time_are_those_of_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 1234567890123456789))
    (listing,) = walk(str(tmp_path), ())
    assert [(file.name, file.size, file.mtime_ns) for file in listing.files] == [
        ("file", 5, 1234567890123456789)
    ]


def test_links(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    (tmp_path / "outside").write_bytes(b"x")
    (root / "file").write_bytes(b"x")
    for name, target in {
        "to-file": "file",
        "to-folder": "sub",
        "sub/to-root": "..",
        "out": "../outside",
        "etc": "/etc",
        "like-root": "../rooted",
        "nowhere": "missing",
        "loop": "loop",
    }.items():
        (root / name).symlink_to(target)
    files, refused, passed = listed(root)
    assert files == ["file"]
    assert set(passed) == {"to-file", "to-folder", "sub/to-root"}
    assert set(refused) == {"out", "etc", "like-root", "nowhere", "loop"}
    assert "leads out" in refused["like-root"]
    assert "leads nowhere" in refused["nowhere"]


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(tmp_path, os.O_RDONLY)  # a socket's path may be too long
        listening.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        files, refused, _ = listed(tmp_path)
    assert files == []
    assert ("named pipe" in refused["pipe"], "a socket" in refused["socket"]) == (True, True)


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "file").write_bytes(b"x")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    files, refused, _ = listed(tmp_path)
    assert files == ["open/file"]
    assert refused == {"closed": "the folder cannot be read: Permission denied"}


def test_our_own_data_is_passed_over(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "catalog.db").write_bytes(b"x")
    assert listed(tmp_path, {str(tmp_path / "data")}) == ([], {}, {"data": "the archive's own data"})


def test_names_that_are_no_text(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.dcm")).write_bytes(b"x")
    assert listed(tmp_path)[0] == [os.fsdecode(b"\xff.dcm")]
