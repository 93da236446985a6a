"""DELETE over HTTP: who may, what is answered then, and 410 at every level (PS3.18 8.5; checklist 15, 36)."""

from collections.abc import Iterator

import pytest

from tests.factories import instance_bytes, uid
from tests.web.door import Door, opened_door
from tests.web.storing import answer

ROOT = "/dicom-web"
STUDY = f"{ROOT}/studies/{uid('study')}"
SERIES = f"{STUDY}/series/{uid('series')}"
INSTANCE = f"{SERIES}/instances/{uid('a')}"
READ = [
    INSTANCE,
    f"{INSTANCE}/metadata",
    f"{INSTANCE}/frames/1",
    f"{INSTANCE}/rendered",
    f"{INSTANCE}/thumbnail",
    f"{INSTANCE}/bulkdata/7FE00010",
    SERIES,
    f"{SERIES}/metadata",
    f"{SERIES}/rendered",
    STUDY,
    f"{STUDY}/metadata",
    f"{STUDY}/thumbnail",
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("withdraw")) as door:
        yield door


@pytest.fixture
def withdrawn(door: Door) -> Door:
    """A door behind which the one instance of a study was withdrawn; done once, and true from then on."""
    if door.get(INSTANCE).status_code == 404:
        door.store(instance_bytes(name="a", jpeg=True), instance_bytes(name="other", study="other"))
        curator = door.token("curate")
        done = door.request("DELETE", f"{STUDY}?reason=Consent%20withdrawn", headers=curator)
        assert done.json() == {"withdrawn": 1, "in_place": 0, "reason": "Consent withdrawn"}
    return door


@pytest.mark.parametrize("path", READ)
def test_gone_with_the_reason(withdrawn: Door, path: str) -> None:
    found = withdrawn.get(path)
    assert found.status_code == 410
    assert "Consent withdrawn" in found.json()["detail"]
    assert withdrawn.request("HEAD", path).status_code == 410


def test_unknown_is_not_gone(withdrawn: Door) -> None:
    assert withdrawn.get(f"{ROOT}/studies/1.2.3/metadata").status_code == 404
    assert withdrawn.get(f"{STUDY}/series/1.2.3/metadata").status_code == 404


def test_searches_do_not_show_it(withdrawn: Door) -> None:
    for level in ("studies", "series", "instances"):
        (found,) = withdrawn.get(f"{ROOT}/{level}").json()
        assert found["0020000D"]["Value"] == [uid("other")]
    assert withdrawn.get(f"{STUDY}/instances").json() == []


def test_storing_it_again_fails_with_a_reason(withdrawn: Door) -> None:
    """PS3.18 10.5.3.1 and I.2: none stored is 409, each with its Failure Reason (checklist 57, 58)."""
    refused = withdrawn.store(instance_bytes(name="a", jpeg=True))
    assert refused.status_code == 409
    (failed,) = answer(refused).FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (uid("a"), 0x0124)
    assert "withdrawn" in refused.headers["warning"]


def test_who_may_and_what_is_asked(door: Door) -> None:
    door.store(instance_bytes(name="b", study="b"))
    path = f"{ROOT}/studies/{uid('b')}"
    assert door.request("DELETE", f"{path}?reason=x").status_code == 401
    assert door.request("DELETE", f"{path}?reason=x", headers=door.token("store")).status_code == 403
    curator = door.token("curate")
    for options in (
        {},
        {"content": b"not JSON"},
        {"content": b"[1]"},
        {"content": b'{"reason": 3}'},
        {"params": {"reason": " "}},
    ):
        refused = door.request("DELETE", path, headers=curator, **options)
        assert refused.status_code == 400, options
        assert "reason" in refused.json()["detail"]
    too_large = door.request("DELETE", path, headers=curator, content=b" " * 9000)
    assert too_large.status_code == 413
    assert door.request("DELETE", f"{ROOT}/studies/x?reason=x", headers=curator).status_code == 400
    assert door.request("DELETE", f"{ROOT}/studies/1.2?reason=x", headers=curator).status_code == 404
    assert door.get(f"{path}/metadata").status_code == 200
    done = door.request("DELETE", path, headers=curator, content=b'{"reason": "why not"}')
    assert (done.status_code, done.json()["reason"]) == (200, "why not")
    assert door.request("DELETE", f"{path}?reason=x", headers=curator).status_code == 410
