"""QIDO-RS over a real socket: all seven paths, sloppy clients, refusals (PS3.18 10.6)."""

import pytest

from tests.factories import uid
from tests.web.conftest import Archive


def ids(response: object, tag: str) -> list[str]:
    return [result[tag]["Value"][0] for result in response.json()]


def test_the_seven_paths(archive: Archive) -> None:
    study, series = uid("p"), uid("s1")
    for path, tag, count in (
        ("/studies", "0020000D", None),
        ("/series", "0020000E", None),
        ("/instances", "00080018", None),
        (f"/studies/{study}/series", "0020000E", 2),
        (f"/studies/{study}/instances", "00080018", 3),
        (f"/studies/{study}/series/{series}/instances", "00080018", 2),
        (f"/studies/{study}/series/{series}/instances?InstanceNumber=2", "00080018", 1),
    ):
        answer = archive.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/dicom+json"
        assert count is None or len(answer.json()) == count
        assert len(set(ids(answer, tag))) == len(answer.json())


def test_what_ohif_asks(archive: Archive) -> None:
    answer = archive.get(
        "/studies?limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
        "&PatientName=*Exam*"
    )
    assert answer.status_code == 200
    (study,) = answer.json()
    assert study["00081030"]["Value"] == ["Dermoscopy"]
    assert study["00080061"]["Value"] == ["XC"]
    assert "warning" not in answer.headers


@pytest.mark.parametrize(
    "query", ["PatientName=%2AEx%3Fm%2A", "PatientName=example%5Eanna", "StudyDescription=Dermo*"]
)
def test_percent_decoding(archive: Archive, query: str) -> None:
    assert len(archive.get(f"/studies?{query}&StudyInstanceUID={uid('p')}").json()) == 1


def test_includefield_in_all_its_spellings(archive: Archive) -> None:
    for spelling in (
        "includefield=ImageType&includefield=00280002",
        "includefield=ImageType,SamplesPerPixel",
        "includefield=ImageType%2C00280002",
        "includefield=all",
    ):
        (found,) = archive.get(f"/instances?SOPInstanceUID={uid('p1')}&{spelling}").json()
        assert {"00080008", "00280002"} <= found.keys()


def test_retrieve_urls_lead_back(archive: Archive) -> None:
    """Item 43: the public root, by whichever name it was asked."""
    forged = {"Host": "localhost:1", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    answer = archive.client.get("/instances", params={"SOPInstanceUID": uid("p1")}, headers=forged)
    (found,) = answer.json()
    url = found["00081190"]["Value"][0]
    assert url.startswith(archive.server.dicomweb_url)
    assert archive.client.get(url).status_code == 200


def test_more_results_are_announced(archive: Archive) -> None:
    """Item 32."""
    total = len(archive.get("/instances").json())
    answer = archive.get("/instances?limit=3&offset=2")
    assert len(answer.json()) == 3
    assert f": There are {total - 5} additional results that can be requested" in answer.headers["warning"]
    assert archive.get(f"/instances?offset={total}").json() == []
    assert archive.get("/instances?limit=0").json() == []


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("NoSuchKeyword=1", 400, "NoSuchKeyword"),
        ("limit=-1", 400, "limit"),
        ("limit=ten", 400, "limit"),
        ("offset=1.5", 400, "offset"),
        ("limit=1&limit=2", 400, "limit"),
        ("PatientID=1&00100020=2", 400, "PatientID"),
        ("StudyDate=2019", 400, "YYYYMMDD"),
        ("StudyDate=20190101-2020", 400, "2020"),
        ("StudyDate=-", 400, "at least one end"),
        ("StudyTime=25x", 400, "HHMMSS"),
        ("StudyDate=20201301", 400, "YYYYMMDD"),
        ("StudyTime=2400-", 400, "HHMMSS"),
        ("NumberOfStudyRelatedInstances=many", 400, "not a number"),
        ("includefield=all,PatientID", 400, "alone"),
        ("includefield=Nonsense", 400, "Nonsense"),
        ("fuzzymatching=yes", 400, "true or false"),
        ("emptyvaluematching=yes", 400, "true or false"),
        ("orderby=ImageType", 400, "no column"),
        ("RequestAttributesSequence=1", 400, "sequence"),
    ],
)
def test_refusals_say_what_is_wrong(archive: Archive, query: str, status: int, says: str) -> None:
    answer = archive.get(f"/studies?{query}")
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


def test_names_in_other_scripts(archive: Archive) -> None:
    (study,) = archive.get("/studies?PatientName=yamada*").json()
    assert study["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"
