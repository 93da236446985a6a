"""Every specimen, sent over STOW-RS, is stored, warned about or refused as its manifest says, and why."""

import json
import re
from pathlib import Path

import pytest

from app.cage import Cage
from tests.web.storing import Client, answer, empty_archive

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
# Cannot understand, does not match, processing failure, invalid object instance (PS3.18 I.2-2, PS3.7 C).
REFUSED = re.compile("C...|A9..|0110|0117")
MANIFEST = json.loads((SPECIMENS / "manifest.json").read_text())["files"]


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture
def client(tmp_path, cage):
    with empty_archive(tmp_path, cage) as archive:
        yield Client(archive)


@pytest.mark.parametrize("specimen", MANIFEST, ids=lambda specimen: specimen["file"])
def test_specimen(client, specimen):
    content = (SPECIMENS / specimen["file"]).read_bytes()
    response = client.store(content)
    said = answer(response)
    failures = [*said.get("FailedSOPSequence", []), *said.get("OtherFailuresSequence", [])]
    if failures:
        assert "reject" in specimen["expect"]
        assert response.status_code == 409
        assert REFUSED.fullmatch(f"{failures[0].FailureReason:04X}")
        assert response.headers["Warning"]
        return
    (stored,) = said.ReferencedSOPSequence
    assert ("warn" if "WarningReason" in stored else "accept") in specimen["expect"]
    assert response.status_code == (202 if "WarningReason" in stored else 200)
    (key,) = client.archive.storage.keys()
    with client.archive.storage.open(key) as opened:
        kept = opened.read(0, opened.size)
    # Byte for byte, unless it lacked what makes it a Part 10 file.
    assert kept == content or (content[128:132] != b"DICM" and kept.endswith(content[-200:]))


def test_all_together_with_one_pixel_twin(client):
    """One request with many parts: each has its own result, and the twin with other pixels is refused."""
    names = ["valid/CT_small.dcm", "invalid/hotiron.dcm", "derived/CT_small_same_uid_other_pixels.dcm"]
    response = client.store(*((SPECIMENS / name).read_bytes() for name in names))
    said = answer(response)
    assert response.status_code == 202, response.headers
    assert (len(said.ReferencedSOPSequence), len(said.OtherFailuresSequence)) == (1, 1)
    assert [item.FailureReason for item in said.FailedSOPSequence] == [0x0111]
