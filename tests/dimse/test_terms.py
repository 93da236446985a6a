"""Licence and attribution on the DICOM network: what is withheld from retrievals, and searches by terms."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from app.dimse.commands import Element
from tests.dimse.conftest import listeners
from tests.dimse.stage import Stage, encoded, identifier
from tests.factories import instance_bytes, make_instance, uid
from tests.servers import PROJECT

STUDY = {"StudyInstanceUID": uid("study")}
SUCCESS, WARNING, ALL_FAILED = 0x0000, 0xB000, 0xA702


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    with listeners(tmp_path_factory.mktemp("terms")) as start:
        listening = start()
        store(listening)
        yield listening


@pytest.fixture
def stage(held, monkeypatch):
    return Stage(held, monkeypatch)


def store(listening):
    for name, licence, commercial in (("by", "CC-BY", "YES"), ("nc", "CC-BY-NC", "NO"), ("none", None, None)):
        data = make_instance(name, jpeg=True)
        block = data.private_block(0x0099, "DERMZOO", create=True)
        block.add_new(0x04, "LO", f"ISIC_000000{len(name)}")
        block.add_new(0x03, "UT", "MSK")
        if licence:
            block.add_new(0x01, "SH", licence)
            block.add_new(0x24, "CS", commercial)
        path = listening.folder / f"{name}.dcm"
        path.write_bytes(instance_bytes(data))
        listening.dcmtk("storescu", "-xy", after=[path])


def keys(level: str, **more: str) -> bytes:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for name, value in ({"StudyInstanceUID": uid("study")} | more).items():
        setattr(made, name, value)
    return made


def by_terms(level: str, licence: str = "", commercial: str = "") -> bytes:
    made = keys(
        level, **({"SeriesInstanceUID": uid("series"), "SOPInstanceUID": ""} if level == "IMAGE" else {})
    )
    block = made.private_block(0x0099, "DERMZOO", create=True)
    block.add_new(0x01, "SH", licence)
    block.add_new(0x24, "CS", commercial)
    return encoded(made)


@pytest.mark.parametrize("service", ["get", "move"])
def test_what_may_not_be_served_fails_and_is_named(stage, service):
    """PS3.4 C.4.2.1.5, C.4.3.1.4: a failed sub-operation; the rest is sent, and the comment says why."""

    def retrieve(data_set):
        if service == "get":
            return stage.get(data_set)
        with stage.destination():
            return stage.move(data_set)

    command, failed = retrieve(identifier(**STUDY))[-1]
    assert command[Element.STATUS] == WARNING
    assert command[Element.COMPLETED_SUBOPERATIONS] == 2
    assert command[Element.FAILED_SUBOPERATIONS] == 1
    assert uid("none").encode() in failed
    assert "licence" in command[Element.ERROR_COMMENT]
    alone = STUDY | {"SeriesInstanceUID": uid("series"), "SOPInstanceUID": uid("none")}
    command, failed = retrieve(identifier("IMAGE", **alone))[-1]
    assert command[Element.STATUS] == ALL_FAILED
    assert uid("none").encode() in failed


def test_with_our_dictionary_dcmtk_asks_for_private_keys(held, monkeypatch, tmp_path):
    """PS3.5 7.8.1: the block keeps its creator, also at a level where nothing is returned of it."""
    [standard] = Path("/usr/share").glob("libdcmtk*/dicom.dic")  # where Debian's package has it
    monkeypatch.setenv("DCMDICTPATH", f"{standard}:{PROJECT / 'config' / 'dermzoo.dic'}")
    private = "-k", "(0099,0010)=DERMZOO", "-k", "(0099,1003)=MSK", "-k", "(0099,1001)=CC-BY-NC"
    for transfer_syntax in ("-xe", "-xi"):
        said = held.dcmtk("findscu", transfer_syntax, "-S", "-k", "QueryRetrieveLevel=STUDY", *private)
        assert said.count("(0099,0010) LO [DERMZOO ]") == 1  # with a blank: in the answer
        assert said.endswith("exit 0")
    only = "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('study')}", *private
    assert held.dcmtk("getscu", "+xy", "-S", "-od", tmp_path, *only).endswith("exit 0")
    assert [path.name.endswith(uid("nc")) for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("service", ["get", "move"])
def test_a_retrieval_by_terms(stage, service):
    """PS3.4 C.4.2.2.1, C.4.3.2.1: an extension, beside the unique keys; what is left out has not failed."""

    def retrieve(data_set):
        if service == "get":
            return stage.get(data_set)
        with stage.destination():
            return stage.move(data_set)

    for licence, commercial, sent in (("", "YES", 1), ("CC-BY\\CC-BY-NC", "", 2), ("CC-0", "", 0)):
        command, failed = retrieve(by_terms("STUDY", licence, commercial))[-1]
        assert command[Element.STATUS] == SUCCESS
        assert command[Element.COMPLETED_SUBOPERATIONS] == sent
        assert not failed
    without_creator = keys("STUDY")
    without_creator.add_new(0x00991024, "CS", "YES")
    assert retrieve(encoded(without_creator))[-1][0][Element.COMPLETED_SUBOPERATIONS] == 1


@pytest.mark.parametrize(
    ("licence", "commercial", "names"),
    [
        ("CC-BY", "", {"by"}),
        ("CC-BY\\CC-BY-NC", "", {"by", "nc"}),
        ("", "YES", {"by"}),
        ("", "NO", {"nc"}),
        ("CC-0", "", set()),
    ],
)
def test_searches_by_terms(stage, licence, commercial, names):
    """PS3.4 C.2.2.2: by the private elements; at the levels above, of any instance below."""
    found = b"".join(data_set or b"" for _, data_set in stage.find(by_terms("IMAGE", licence, commercial)))
    assert {name for name in ("by", "nc", "none") if uid(name).encode() in found} == names
    for level in ("STUDY",):
        answers = stage.find(by_terms(level, licence, commercial))
        assert len(answers) - 1 == bool(names)
        assert {command[Element.STATUS] for command, _ in answers[:-1]} <= {0xFF00}
