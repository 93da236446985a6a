"""Studies, series and instances as ZIP files (PS3.18 8.7.3, 10.4.1.1.1; checklist 35)."""

import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from app.corpus.rights import Rights, licence_text, rights_of
from tests.factories import uid
from tests.servers import Server
from tests.web.conftest import Archive
from tests.web.test_wado import read


def unzipped(content: bytes) -> zipfile.ZipFile:
    opened = zipfile.ZipFile(io.BytesIO(content))
    assert opened.testzip() is None
    return opened


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/studies/{p}", ("p1", "p2", "p3")),
        ("/studies/{p}/series/{s1}", ("p1", "p2")),
        ("/studies/{p}/series/{s1}/instances/{p1}", ("p1",)),
    ],
)
def test_files_as_stored_under_their_uids(archive: Archive, path: str, names: tuple[str, ...]) -> None:
    """PS3.18 10.4.1.1.1 (checklist 35, 14): the bytes that are held, named by study, series and instance."""
    path = path.format(p=uid("p"), s1=uid("s1"), p1=uid("p1"))
    answer = archive.get(path, "application/zip")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == f'attachment; filename="{path.rpartition("/")[2]}.zip"'
    opened = unzipped(answer.content)
    held = [archive.held[name] for name in names]
    files = [f"{one.study}/{one.series}/{one.sop}.dcm" for one in held]
    assert opened.namelist() == [*files, "LICENSE.txt"]
    assert [opened.read(name) for name in files] == [one.content for one in held]
    assert all(entry.compress_type == zipfile.ZIP_STORED for entry in opened.infolist())
    assert "No licence is recorded" in opened.read("LICENSE.txt").decode()
    assert archive.get(path, "application/zip").content == answer.content


def test_other_programs_read_it(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    path.write_bytes(archive.get(f"/studies/{uid('p')}?accept=application/zip").content)
    done = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout


def test_a_syntax_that_is_asked_for(archive: Archive) -> None:
    """PS3.18 8.7.3.5 (checklist 5, 7): as stored unless one is named, and never Implicit VR."""
    path = f"/studies/{uid('p')}"
    opened = unzipped(archive.get(path, "application/zip; transfer-syntax=1.2.840.10008.1.2.1").content)
    syntaxes = {read(opened.read(name)).file_meta.TransferSyntaxUID for name in opened.namelist()[:-1]}
    assert syntaxes == {"1.2.840.10008.1.2.1"}
    refused = archive.get(path, "application/zip; transfer-syntax=1.2.3")
    assert (refused.status_code, "application/zip" in refused.json()["detail"]) == (406, True)
    implicit = unzipped(archive.get(archive.held["MR_small_implicit"].path, "application/zip").content)
    assert read(implicit.read(implicit.namelist()[0])).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_the_licence_of_each_image_goes_with_it(sample_server: Server) -> None:
    import httpx

    with httpx.Client(base_url=sample_server.dicomweb_url, timeout=60) as client:
        (study,) = client.get("/studies?PatientID=ISIC_0000000").json()
        url = study["00081190"]["Value"][0]
        opened = unzipped(client.get(url, headers={"Accept": "application/zip"}).content)
    text = opened.read("LICENSE.txt").decode()
    assert "CC-0: Creative Commons CC0 1.0 Universal" in text
    assert "https://creativecommons.org/publicdomain/zero/1.0/" in text
    assert opened.namelist()[0] in text


def test_rights_stand_in_whatever_block_the_creator_took() -> None:
    document = (
        b'{"00990010":{"vr":"LO","Value":["SOMEBODY"]},"00990012":{"vr":"LO","Value":["DERMZOO"]},'
        b'"00991001":{"vr":"SH","Value":["CC-XX"]},"00991201":{"vr":"SH","Value":["CC-BY"]},'
        b'"00991203":{"vr":"UT","Value":["A. Example"]}}'
    )
    rights = rights_of(document)
    assert rights == Rights("CC-BY", None, "A. Example")
    assert rights_of(b'{"00990010":{"vr":"LO","Value":["SOMEBODY"]}}') == Rights()
    text = licence_text({Rights(): ["b.dcm"], rights: ["a.dcm", "c.dcm"]})
    assert text.index("CC-BY: ") < text.index("A. Example") < text.index("c.dcm") < text.index("No licence")
