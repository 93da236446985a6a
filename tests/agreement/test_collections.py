"""A collection through two doors: QIDO-RS below its root and C-FIND to its AE title find the same."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.agreement.test_find import ANSWERED, NAMES, PATHS, QUESTIONS, SPECIMENS, Doors
from tests.conftest import ServerFactory
from tests.factories import uid, write_instance
from tests.servers import free_port

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

PHOTOS = 4  # in two series; the first of each is a member
TITLES = {"SOME": "some", "OTHER": "not-there"}


@pytest.fixture
def doors(database_url: str, server_factory: ServerFactory, tmp_path: Path) -> Iterator[Doors]:
    """The doors to a collection that has some of what is held, also of a series."""
    files = tmp_path / "files"
    files.mkdir()
    for name in NAMES:
        shutil.copy(SPECIMENS / f"{name}.dcm", files)
    for number in range(PHOTOS):
        name = f"photo-{number}"
        write_instance(files / f"{name}.dcm", name=name, series=f"{number % 2}", jpeg=True)
    server = server_factory(
        throttle="off",
        database_url=database_url,
        dimse="true",
        dimse_port=str(free_port()),
        dimse_processes="1",
        dimse_collections=json.dumps(TITLES),
    )
    server.run("index", files)
    server.run("collection", "create", "some", "--title", "Some", "--public")
    held = [dcmread(SPECIMENS / f"{name}.dcm").SOPInstanceUID for name in NAMES[::2]]
    server.run("collection", "add", "some", *held, uid("photo-0"), uid("photo-1"))
    doors = Doors(server, "SOME", f"{server.url}/collections/some/dicom-web")
    yield doors
    doors.association.release()


def test_both_doors_to_a_collection_agree(doors: Doors) -> None:
    """PS3.4 C.4.1, PS3.18 10.6 (checklist 30)."""
    for level, keys in QUESTIONS:
        assert doors.find(level, keys) == doors.qido(level, keys), (level, keys)
    assert len(doors.qido("IMAGE", {})) == len(NAMES[::2]) + 2
    for level, path in PATHS.items():
        names = ANSWERED[level]
        answer = httpx.get(f"{doors.root}{path}", params={"includefield": ",".join(names)}, timeout=60)
        tags = [f"{tag_for_keyword(name):08X}" for name in names]
        over_http = [[each.get(tag, {}).get("Value", []) for tag in tags] for each in answer.json()]
        found = [each.to_json_dict() for each in doors.answers(level, dict.fromkeys(names, None))]
        assert [[each[tag].get("Value", []) for tag in tags] for each in found] == over_http
    assert doors.qido("STUDY", {"NumberOfStudyRelatedInstances": "2"}) == [uid("study")]
    assert doors.get(uid("study")).keys() == {uid("photo-0"), uid("photo-1")}
    nothing_else_is_sent(doors)
    a_collection_that_is_not_there_answers_nothing(doors)


def nothing_else_is_sent(doors: Doors) -> None:
    """C.4.3: no sub-operation for what is no member, though it is named."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = uid("study"), uid("0")
    identifier.SOPInstanceUID = [uid("photo-0"), uid("photo-2")]
    doors.got = {}
    *_, (status, _) = doors.association.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0x0000, 1)
    assert doors.got.keys() == {uid("photo-0")}


def a_collection_that_is_not_there_answers_nothing(doors: Doors) -> None:
    """Its AE title is known, so the association is accepted, and each query fails with a comment."""
    other = Doors(doors.server, "OTHER")
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientID = "STUDY", ""
    found = other.association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
    assert [status.Status for status, _ in found] == [0xC001]
    other.association.release()
