"""Stating the terms of a folder: shown, searched for and enforced; the files stay as they are."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.index import index as index_command
from tests.factories import instance_bytes, make_instance, uid
from tests.web.door import Door, opened_door

ROOT = "/dicom-web"


def write(folder: Path, name: str, **terms: str) -> Path:
    data = make_instance(name, jpeg=True)
    if terms:
        block = data.private_block(0x0099, "DERMZOO", create=True)
        for keyword, value in terms.items():
            number, vr = {"licence": (0x01, "SH"), "attribution": (0x03, "UT"), "isic": (0x04, "LO")}[keyword]
            block.add_new(number, vr, value)
    path = folder / f"{name}.dcm"
    path.write_bytes(instance_bytes(data))
    return path


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened_door(tmp_path / "door", require_license=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "below").mkdir(parents=True)
    return tmp_path / "images"


def index(door: Door, folder: Path, *options: str, code: int = 0) -> str:
    environment = {"DERMZOO_DATA_DIR": str(door.settings.data_dir)}
    done = CliRunner().invoke(index_command, [*options, str(folder)], env=environment)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def path(name: str) -> str:
    return f"{ROOT}/studies/{uid('study')}/series/{uid('series')}/instances/{uid(name)}"


def licences(door: Door) -> dict[str, str | None]:
    found = door.get(f"{ROOT}/instances?includefield=all").json()
    return {each["00080018"]["Value"][0]: each.get("00991001", {}).get("Value", [None])[0] for each in found}


def test_stated_terms_are_shown_searched_for_and_sent_along(door: Door, folder: Path) -> None:
    files = [write(folder, "a"), write(folder / "below", "b")]
    before = [file.read_bytes() for file in files]
    index(door, folder)
    assert door.get(f"{path('a')}/frames/1").status_code == 403
    index(door, folder, "--license", "CC-BY", "--attribution", " Clínica \n de la Piel")
    for name in "ab":
        answer = door.get(f"{path(name)}/frames/1")
        assert answer.status_code == 200
        assert answer.headers["attribution"] == "Cl%C3%ADnica de la Piel"
    assert len(door.get(f"{ROOT}/instances?license=CC-BY").json()) == 2
    assert len(door.get(f"{ROOT}/instances?CommercialUse=YES").json()) == 2
    [found] = door.get(f"{path('a')}/metadata").json()
    assert found["00991002"]["Value"] == ["https://creativecommons.org/licenses/by/4.0/"]
    assert [file.read_bytes() for file in files] == before


def test_stating_again_changes_it_and_the_same_changes_nothing(door: Door, folder: Path) -> None:
    write(folder, "a")
    index(door, folder, "--license", "CC-BY-NC", "--attribution", "MSK")
    before = door.get(path("a"), accept="application/zip").headers["etag"]
    report = json.loads(index(door, folder, "--json", "--license", "CC-BY-NC", "--attribution", "MSK"))
    assert report[str(folder)]["terms"] == {"changed": 0, "unchanged": 1, "left": 0}
    index(door, folder, "--license", "CC-0")
    answer = door.get(f"{path('a')}/frames/1")
    assert "publicdomain/zero" in answer.headers["link"]
    zipped = door.get(path("a"), accept="application/zip", if_none_match=before)
    assert zipped.status_code == 200, "it holds the terms, so it is another file"
    assert "attribution" not in answer.headers
    assert door.get(f"{ROOT}/instances?license=CC-BY-NC").json() == []
    assert len(door.get(f"{ROOT}/instances?commercial-safe=true").json()) == 1


def test_what_a_file_says_itself_is_not_overruled(door: Door, folder: Path) -> None:
    """The stricter of the licence of the set and that of the image; whom the file names is named."""
    write(folder, "strict", licence="CC-BY-NC", attribution="Its own", isic="ISIC_0000001")
    write(folder, "free", licence="CC-0", isic="ISIC_0000002")
    write(folder, "odd", licence="CC-BY-ND", attribution="Its own")
    write(folder, "none")
    assert "1 left" in index(door, folder, "--license", "CC-BY", "--attribution", "The set")
    assert licences(door) == {
        uid("strict"): "CC-BY-NC",
        uid("free"): "CC-BY",
        uid("odd"): "CC-BY-ND",
        uid("none"): "CC-BY",
    }
    assert door.get(f"{path('strict')}/frames/1").headers["attribution"] == "Its own"
    assert door.get(f"{path('free')}/frames/1").headers["attribution"] == "The set"
    assert len(door.get(f"{ROOT}/instances?ISICID=ISIC_0000001").json()) == 1, "its other facts stay"
    index(door, folder, "--license", "CC-0")
    assert licences(door)[uid("free")] == "CC-0", "what was stated before is forgotten"


def test_other_folders_stay_as_they_are(door: Door, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "images2"
    other.mkdir()
    write(folder, "a")
    write(other, "b")
    index(door, other)
    index(door, folder, "--license", "CC-0")
    assert licences(door) == {uid("a"): "CC-0", uid("b"): None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--license", "CC-BY"), "who is to be named"),
        (("--license", "GPL"), "'GPL' is not one of"),
        (("--attribution", "MSK"), "give --license too"),
        (("--license", "CC-0", "--attribution", "x" * 501), "at most 500"),
    ],
)
def test_terms_that_are_none(door: Door, folder: Path, options: tuple[str, ...], words: str) -> None:
    write(folder, "a")
    assert words in index(door, folder, *options, code=2)
    assert licences(door) == {}
