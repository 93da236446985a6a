"""Search parameters, warnings and answers over a real socket (PS3.18 8.3.4, 10.6; checklist 19 to 34)."""

import httpx
import pytest

from app.catalog.attributes import ATTRIBUTES, RETURNED
from app.dicom.matching import Level
from app.web.dicomweb import RESOURCES
from app.web.qido import search_for_instances, search_for_series, search_for_studies
from tests.conftest import ServerFactory
from tests.factories import uid, write_instance
from tests.web.conftest import Archive

STUDY = f"/studies/{uid('p')}"


def warnings(answer: httpx.Response) -> list[str]:
    return answer.headers.get_list("warning")


def test_all_six_resources_of_search_are_served() -> None:
    """PS3.18 Table 10.6.1-1 (checklist 19): and instances below a series make seven paths."""
    searches = {search_for_studies, search_for_series, search_for_instances}
    assert {one.path for one in RESOURCES if one.endpoint in searches} == {
        "/studies",
        "/series",
        "/instances",
        "/studies/{study}/series",
        "/studies/{study}/instances",
        "/studies/{study}/series/{series}/instances",
    }


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"{STUDY}/instances?fuzzymatching=true&PatientName=exampel&includefield=all&limit=9&offset=0", 3),
        (f'{STUDY}/instances?emptyvaluematching=true&PatientBirthDate=""', 3),
        (f"{STUDY}/instances?multiplevaluematching=true&ImageType=PRIMARY,ORIGINAL", 3),
        (f"{STUDY}/instances?multiplevaluematching=true&ImageType=PRIMARY%5CDERIVED", 0),
        (f"{STUDY}/instances?multiplevaluematching=false&emptyvaluematching=false&InstanceNumber=2", 1),
        (f"{STUDY}/instances?00080008=ORIGINAL&00200013=2", 1),
        (f"{STUDY}/instances?ImageType=ORIG*", 3),
        (f"{STUDY}/instances?ImageType=orig*", 0),
        (f"{STUDY}/instances?BitsStored=8&HighBit=7", 3),
        (f"{STUDY}/instances?ContentDate=20200101-", 0),
    ],
)
def test_every_parameter_of_the_standard_is_taken(archive: Archive, path: str, count: int) -> None:
    """PS3.18 8.3.4 (checklist 20, 21, 22, 24): and nothing is said to be unsupported."""
    answer = archive.get(path)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == count
    assert warnings(answer) == []


def test_sequence_paths_mix_tags_and_keywords(archive: Archive) -> None:
    """PS3.18 8.3.4.1 (checklist 21): the waveform has sequences within sequences."""
    waveform = archive.held["waveform_ecg"]
    below = f"/studies/{waveform.study}/instances"
    deep = "WaveformSequence.ChannelDefinitionSequence.ChannelSourceSequence.CodeValue"
    tags = "54000100.ChannelDefinitionSequence.003A0208.00080100"
    (metadata,) = archive.get(f"{waveform.path}/metadata").json()
    channels = metadata["54000100"]["Value"][0]["003A0200"]["Value"]
    code = channels[1]["003A0208"]["Value"][0]["00080100"]["Value"][0]
    for path in (deep, tags):
        assert len(archive.get(below, params={path: code}).json()) == 1
        assert archive.get(below, params={path: "nothing like it"}).json() == []


def test_required_keys_are_matched_and_returned(archive: Archive) -> None:
    """PS3.18 Tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5 (checklist 25, 26, 27, 28)."""
    study = (
        "StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName PatientID"
    )
    series = "Modality SeriesInstanceUID SeriesNumber PerformedProcedureStepStartDate"
    request = (
        "RequestAttributesSequence.ScheduledProcedureStepID RequestAttributesSequence.RequestedProcedureID"
    )
    instance = "PerformedProcedureStepStartTime SOPClassUID SOPInstanceUID InstanceNumber"
    keys = f"{study} StudyInstanceUID StudyID {series} {request} {instance}"
    assert set(keys.split()) <= {attribute.name for attribute in ATTRIBUTES}
    (of_study,) = archive.get(f"/studies?StudyInstanceUID={uid('p')}").json()
    (of_series, _) = archive.get(f"/series?StudyInstanceUID={uid('p')}&orderby=SeriesInstanceUID").json()
    (of_instance,) = archive.get(f"/instances?SOPInstanceUID={uid('p1')}").json()
    always = {
        level: {a.tag for a in ATTRIBUTES if a.level == level and a.returned == "always"} for level in Level
    }
    retrieve_url = "00081190"
    assert always[Level.STUDY] | {retrieve_url} <= of_study.keys()
    assert always[Level.SERIES] | always[Level.STUDY] | {retrieve_url} <= of_series.keys()
    assert always[Level.INSTANCE] | {retrieve_url, "00280010", "00280011", "00280100"} <= of_instance.keys()


def test_the_available_transfer_syntax_is_returned_when_asked(archive: Archive) -> None:
    """PS3.18 10.6.3.3 (checklist 28)."""
    answer = archive.get(f"{STUDY}/instances?includefield=AvailableTransferSyntaxUID")
    assert {one["00083002"]["Value"][0] for one in answer.json()} == {"1.2.840.10008.1.2.4.50"}


def test_what_is_matched_is_returned_and_what_is_lower_is_not(archive: Archive) -> None:
    """PS3.18 10.6.3.3 (checklist 29)."""
    (instance, *_) = archive.get(f"{STUDY}/instances?ImageType=ORIGINAL").json()
    assert instance["00080008"]["Value"] == ["ORIGINAL", "PRIMARY"]
    (study,) = archive.get(
        f"/studies?StudyInstanceUID={uid('p')}&includefield=Modality,ImageType,Rows"
    ).json()
    assert not {"00080060", "00080008", "00280010"} & study.keys()


def test_all_is_exclusive_and_all_that_there_is(archive: Archive) -> None:
    """PS3.18 8.3.4.3 (checklist 30)."""
    (study,) = archive.get(f"/studies?StudyInstanceUID={uid('p')}&includefield=all").json()
    assert RETURNED[Level.STUDY] <= study.keys() | {"00081030", "00080090"}
    assert archive.get("/studies?includefield=all&includefield=PatientID").status_code == 400


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("Modality=XC", "belong to a lower level than the search and were passed over: Modality"),
        ("RequestAttributesSequence.RequestedProcedureID=1", "RequestedProcedureID"),
        ("limit=1", "additional results that can be requested"),
        ("limit=100000", "The limit was lowered to 1000"),
    ],
)
def test_what_was_not_done_is_warned_of(archive: Archive, query: str, says: str) -> None:
    """PS3.18 8.3.4.4 (checklist 30, 32, 34): never in silence, and not with a 400."""
    answer = archive.get(f"/studies?{query}")
    assert answer.status_code == 200
    (warning,) = warnings(answer)
    assert warning.startswith(f"299 {archive.server.dicomweb_url}: ")
    assert says in warning


def test_values_that_nothing_can_match_act_as_return_keys(archive: Archive) -> None:
    """PS3.18 10.6.1.2 (checklist 30)."""
    answer = archive.get(f"{STUDY}/instances?PixelData=abc")
    assert len(answer.json()) == 3
    assert "no matching for the values of PixelData" in warnings(answer)[0]


def test_fuzzy_matching_is_by_words_and_sound(archive: Archive) -> None:
    """PS3.18 8.3.4.2 (checklist 31)."""
    for name in ("anna", "EXAMPLE anna", "Ána", "exampl", "egzample", "sample"):
        plain = archive.get(f"{STUDY}/series", params={"PatientName": name})
        fuzzy = archive.get(f"{STUDY}/series", params={"PatientName": name, "fuzzymatching": "true"})
        assert (len(plain.json()), warnings(fuzzy)) == (0, [])
        assert len(fuzzy.json()) == (0 if name == "sample" else 2), name


def test_pages_of_any_search_are_idempotent(archive: Archive) -> None:
    """PS3.18 8.3.4.4 (checklist 32)."""
    for query in ("BitsAllocated=8", "SamplesPerPixel=3&PixelRepresentation=0", "orderby=-InstanceNumber"):
        whole = archive.get(f"/instances?{query}").json()
        assert len(whole) >= 3
        pages = [archive.get(f"/instances?{query}&limit=1&offset={n}") for n in range(len(whole))]
        assert [page.json()[0] for page in pages] == whole
        assert f": There are {len(whole) - 1} additional" in warnings(pages[0])[0]
        assert warnings(pages[-1]) == []


def test_results_in_the_order_asked_for(archive: Archive) -> None:
    numbers = [
        one["00200013"]["Value"][0]
        for one in archive.get(f"{STUDY}/instances?orderby=-InstanceNumber").json()
    ]
    assert numbers == [3, 2, 1]
    names = [
        one["00100020"].get("Value", [""])[0] for one in archive.get("/studies?orderby=PatientID").json()
    ]
    assert names == sorted(names)


def test_nothing_found_is_200_and_an_empty_list(archive: Archive) -> None:
    """PS3.18 10.6.3.1 (checklist 33)."""
    answer = archive.get("/studies?PatientID=nobody")
    assert (answer.status_code, answer.json()) == (200, [])


def test_nothing_found_is_204_by_a_setting(server_factory: ServerFactory) -> None:
    """PS3.18 10.6.3.1, editions up to 2024 (checklist 33); and too slow a search is 413 (checklist 34)."""
    server = server_factory(empty_search_status="204", search_work_s="0.000001")
    answer = httpx.get(f"{server.dicomweb_url}/studies?Modality=XC")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "passed over" in answer.headers["warning"]
    write_instance(server.folder / "files" / "a.dcm")
    server.run("index", server.folder / "files")
    assert len(httpx.get(f"{server.dicomweb_url}/instances").json()) == 1
    refused = httpx.get(f"{server.dicomweb_url}/instances?ImageType=ORIGINAL")
    assert refused.status_code == 413
    assert "PatientID" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("PatientID=%ff%fe", "UTF-8"),
        ("%ff=1", "UTF-8"),
        ("PatientID=%00", "NUL"),
        ("PatientID=a%00b", "NUL"),
        ("StudyInstanceUID=1.2%003", "NUL"),
        (f"PatientID={'x' * 2000}", "2000 characters"),
        (f"PatientName=*{'a*' * 1000}", "characters"),
        ("PatientID.StudyID=1", "PatientID is not a sequence"),
        (".".join(["RequestAttributesSequence"] * 40) + "=1", "too deep"),
        ("Patient%20ID=1", "not an attribute"),
        ("foo=1", "not an attribute"),
        ("=1", "not an attribute"),
        ("PatientID", None),
        ("NumberOfStudyRelatedInstances=1_0", "not a number"),
        ("NumberOfStudyRelatedInstances=%D9%A1", "not a number"),
        ("StudyDate=%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1", "YYYYMMDD"),
        ("SeriesNumber=1e3", "not a number"),
        ("PatientSize=nan", "not a number"),
        ("limit=%D9%A1", "limit"),
        ("orderby=NoSuchKeyword", "NoSuchKeyword"),
        ("orderby=PatientID,-PatientID", "more than once"),
        ("orderby=Modality", "lower level"),
        ("multiplevaluematching=1", "true or false"),
        ("emptyvaluematching=true&emptyvaluematching=true", "more than once"),
        ("offset=999999999999999999", None),
        ("limit=999999999999999999", None),
        ("PatientName=%5B%5D%5C%25_%27%22%3B--", None),
        ("PatientName=Example%5EAnna", None),
        ("StudyInstanceUID=%5C", None),
        ("PatientComments=%F0%9F%A9%BA*", None),
        ("FFFFFFFF=1", None),
        ("00000000=1", None),
        ("PatientName=====", None),
        ("fuzzymatching=true&PatientName=" + "%20".join("abcdefghijklmnop"), None),
        ("fuzzymatching=true&PatientName=%5E%5E%3D%3D", None),
        ("StudyInstanceUID=" + ",".join(f"1.2.{n}" for n in range(1000)), None),
    ],
)
def test_strange_requests_are_answered_or_refused_and_never_fail(
    archive: Archive, query: str, says: str | None
) -> None:
    """PS3.18 10.6.3.2 (checklist 21, 34): a 400 that says what is wrong, or an answer."""
    answer = archive.get(f"/studies?{query}")
    if says is None:
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 400, answer.text
        assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["StudyDate=20190101-20211231&StudyTime=10-11", "StudyDate=20200102-", "StudyDate=-20200102"]
)
def test_ranges_are_open_at_either_end(archive: Archive, query: str) -> None:
    """PS3.4 C.2.2.2.5 (checklist 23)."""
    found = archive.get(f"/studies?{query}").json()
    dates = [one["00080020"]["Value"][0] for one in found]
    start, _, end = query.partition("&")[0].removeprefix("StudyDate=").partition("-")
    assert all((not start or date >= start) and (not end or date <= end) for date in dates)
    assert dates
