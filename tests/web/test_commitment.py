"""Storage commitment over HTTP (PS3.18 chapter 13, Annex J; checklist 61)."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from pydicom import Dataset

from app.archive.commitment import Commitments
from app.archive.index import index_folder
from app.dicom.xml_model import xml_document
from app.dicom.xml_reader import read_xml
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes, uid, write_instance
from tests.web.door import Door, opened_door
from tests.web.storing import answer

REQUESTS = "/dicom-web/commitment-requests"
JSON = "application/dicom+json"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("commitment")) as door:
        assert door.store(*(instance_bytes(name=name) for name in "abc")).status_code == 200
        yield door
        commitments_of(door).close()


@pytest.fixture(scope="module")
def token(door: Door) -> dict[str, str]:
    return door.token("store")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy does not turn a 200 into a 202."""
    monkeypatch.setattr("app.web.commitment.PATIENCE_S", 60.0)


def commitments_of(door: Door) -> Commitments:
    app = door.app
    while not hasattr(app, "state"):
        app = app.app
    return app.state.commitments


def module(*names: str, sop_class: str = VL_PHOTOGRAPHIC) -> bytes:
    """A Storage Commitment Request Module for instances by name (Table J.1-1)."""
    request = Dataset()
    request.ReferencedSOPSequence = []
    for name in names:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid(name)
        request.ReferencedSOPSequence.append(item)
    return orjson.dumps(request.to_json_dict())


def request(door: Door, name: str, body: bytes, headers: dict[str, str], media_type: str = JSON):
    return door.request(
        "POST", f"{REQUESTS}/{uid(name)}", content=body, headers=headers | {"Content-Type": media_type}
    )


def committed(response: object) -> list[str]:
    return [each.ReferencedSOPInstanceUID for each in answer(response).get("ReferencedSOPSequence", [])]


def failed(response: object) -> dict[str, int]:
    items = answer(response).get("FailedSOPSequence", [])
    return {each.ReferencedSOPInstanceUID: each.FailureReason for each in items}


def test_what_is_held_and_whole_is_committed(door: Door, token: dict[str, str]) -> None:
    """13.4.3: 200 with the result of each instance, and the same by a check (checklist 61)."""
    done = request(door, "t1", module("a", "b"), token)
    assert (done.status_code, committed(done), failed(done)) == (200, [uid("a"), uid("b")], {})
    checked = door.request("GET", f"{REQUESTS}/{uid('t1')}", headers=token)
    assert (checked.status_code, checked.content) == (200, done.content)


def test_failures_have_reasons(door: Door, token: dict[str, str], tmp_path: Path) -> None:
    """PS3.3 C.14.1.1: no such instance, class-instance conflict, a file that is damaged or not ours."""
    write_instance(tmp_path / "in-place.dcm", name="in-place")
    index_folder(door.archive, tmp_path)
    (stored,) = door.store(instance_bytes(name="torn", PatientName="Torn^File")).json()["00081199"]["Value"]
    with door.archive.catalog.read() as connection:
        from app.catalog.files import holders

        key = holders(connection, [str(uid("torn"))])[str(uid("torn"))].name
    path = door.archive.storage.path_of(key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o640)
    path.write_bytes(content)
    assert stored["00081155"]["Value"] == [uid("torn")]
    done = request(door, "t2", module("a", "unknown", "in-place", "torn"), token)
    assert committed(done) == [uid("a")]
    assert failed(done) == {uid("unknown"): 0x0112, uid("in-place"): 0x0110, uid("torn"): 0x0110}
    other = request(door, "t3", module("a", sop_class="1.2.840.10008.5.1.4.1.1.2"), token)
    assert failed(other) == {uid("a"): 0x0119}
    assert committed(other) == []


def test_a_result_outlives_the_process_that_was_asked(
    door: Door, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """13.4.3.1, 13.5.3.1: 202 with Retry-After while it is being made, whoever makes it (checklist 61)."""
    monkeypatch.setattr("app.web.commitment.PATIENCE_S", 0.01)
    commitments_of(door).close()  # as a process that ends before it is done
    app = door.app
    while not hasattr(app, "state"):
        app = app.app
    app.state.commitments = stopped = Commitments(door.archive)
    stopped._stopping.set()
    waiting = request(door, "t4", module("a"), token)
    assert (waiting.status_code, waiting.content) == (202, b"")
    assert int(waiting.headers["retry-after"]) > 0
    assert door.request("GET", f"{REQUESTS}/{uid('t4')}", headers=token).status_code == 202
    stopped.close()
    app.state.commitments = later = Commitments(door.archive)
    first = door.request("GET", f"{REQUESTS}/{uid('t4')}", headers=token)
    assert first.status_code in {200, 202}
    later._threads.submit(lambda: None).result(timeout=60)  # its turn is after what the check began
    assert committed(door.request("GET", f"{REQUESTS}/{uid('t4')}", headers=token)) == [uid("a")]


def test_a_transaction_uid_is_used_once(door: Door, token: dict[str, str]) -> None:
    """13.4.3.1: 409."""
    assert request(door, "t5", module("a"), token).status_code == 200
    again = request(door, "t5", module("a"), token)
    assert again.status_code == 409
    assert uid("t5") in again.json()["detail"]


def test_who_may(door: Door, token: dict[str, str]) -> None:
    assert request(door, "t6", module("a"), {}).status_code == 401
    assert request(door, "t6", module("a"), door.token("curate")).status_code == 403
    assert door.get(f"{REQUESTS}/{uid('t6')}").status_code == 401
    assert door.request("GET", f"{REQUESTS}/{uid('t6')}", headers=token).status_code == 404
    assert door.request("GET", f"{REQUESTS}/no-uid", headers=token).status_code == 400


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "Referenced SOP Sequence"),
        (b"{}", "Referenced SOP Sequence"),
        (b'{"00081199": []}', "Referenced SOP Sequence"),
        (b'{"00081199": {"vr": "SQ"}}', "Referenced SOP Sequence"),
        (b'{"00081199": {"vr": "SQ", "Value": [null]}}', "00081150"),
        (module("a").replace(b"00081155", b"00081156"), "00081155"),
        (module("a").replace(str(uid("a")).encode(), b"1.x"), "UID"),
        (b'{"00081110": {"vr": "SQ", "Value": [{}]}}', "Referenced Study Sequence is not supported"),
    ],
)
def test_bad_requests_are_named(door: Door, token: dict[str, str], body: bytes, says: str) -> None:
    refused = request(door, "t7", body, token)
    assert refused.status_code == 400
    assert says in refused.json()["detail"]


def test_the_same_in_xml(door: Door, token: dict[str, str]) -> None:
    """13.4.1.4, 8.7.3: the Native DICOM Model both ways."""
    body = xml_document(orjson.loads(module("a", "unknown")))
    done = request(door, "t9", body, token | {"Accept": "application/dicom+xml"}, "application/dicom+xml")
    assert done.status_code == 200, done.text
    assert done.headers["content-type"].startswith("application/dicom+xml")
    said = read_xml(done.content)
    assert said["00081199"]["Value"][0]["00081155"]["Value"] == [uid("a")]
    assert said["00081198"]["Value"][0]["00081197"]["Value"] == [0x0112]
    refused = request(door, "t10", b"<NativeDicomModel", token, "application/dicom+xml")
    assert refused.status_code == 400


def test_forms(door: Door, token: dict[str, str]) -> None:
    assert request(door, "t8", module("a"), token, media_type="text/plain").status_code == 415
    assert request(door, "t8", module("a"), token | {"Accept": "image/png"}).status_code == 406
    as_list = b"[" + module("a") + b"]"
    assert committed(request(door, "t8", as_list, token, media_type="application/json")) == [uid("a")]
