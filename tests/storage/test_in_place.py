"""Files that belong to somebody else: opened only while they are what was indexed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InstanceUnavailable
from app.storage.in_place import open_in_place, real_name, stored_name


@pytest.fixture
def indexed(tmp_path):
    path = tmp_path / "folder" / "image.dcm"
    path.parent.mkdir()
    path.write_bytes(b"as it was")
    found = path.stat()
    return path, (str(path.parent), path.name, found.st_size, found.st_mtime_ns)


def test_an_unchanged_file_is_read(indexed):
    _, row = indexed
    with open_in_place(*row) as opened:
        assert (opened.size, opened.read(3, 2)) == (9, b"it")


def test_a_file_that_is_gone(indexed):
    path, row = indexed
    path.unlink()
    with pytest.raises(InstanceUnavailable, match="No such file"):
        open_in_place(*row)


def test_a_file_of_another_size(indexed):
    path, row = indexed
    path.write_bytes(b"as it was not")
    os.utime(path, ns=(row[3], row[3]))
    with pytest.raises(InstanceUnavailable, match="changed"):
        open_in_place(*row)


def test_a_file_of_the_same_size_written_since(indexed):
    path, row = indexed
    path.write_bytes(b"otherwise")
    os.utime(path, ns=(row[3] + 1, row[3] + 1))
    with pytest.raises(InstanceUnavailable, match="changed"):
        open_in_place(*row)


def test_a_link_in_its_place(indexed):
    path, row = indexed
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")
    with pytest.raises(InstanceUnavailable):
        open_in_place(*row)


def test_a_link_in_the_place_of_its_folder(indexed):
    path, row = indexed
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")
    with pytest.raises(InstanceUnavailable, match="replaced"):
        open_in_place(*row)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_something_else_in_its_place(indexed, make):
    path, row = indexed
    path.unlink()
    make(path)
    with pytest.raises(InstanceUnavailable, match="replaced"):
        open_in_place(*row)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_any_name_can_be_stored_as_text(name):
    stored = stored_name(os.fsdecode(name))
    stored.encode()
    assert os.fsencode(real_name(stored)) == name


def test_plain_names_are_stored_as_they_are():
    assert stored_name("ISIC_0015719 größe.dcm") == "ISIC_0015719 größe.dcm"
