"""What belongs together over HTTP: lesions, patients, confocal cases, points in time."""

from collections.abc import Iterator

import pytest

from tests.factories import instance_bytes, make_instance, uid, with_facts
from tests.web.door import Door, opened_door

NEVUS = "Benign:Benign melanocytic proliferations:Nevus"
SPITZ = f"{NEVUS}:Nevus, Spitz"

IMAGES = (
    {"ISICID": "ISIC_0000001", "ISICLesionID": "IL_0000001", "AcquisitionDay": 90, "Diagnosis": NEVUS},
    {"ISICID": "ISIC_0000002", "ISICLesionID": "IL_0000001", "AcquisitionDay": 0, "Diagnosis": SPITZ},
    {
        "ISICID": "ISIC_0000003",
        "ISICLesionID": "IL_0000002",
        "ISICRCMCaseID": "IRCM_0000001",
        "ISICImageType": "RCM: mosaic",
        "Diagnosis": "Malignant:Malignant melanocytic proliferations (Melanoma)",
    },
    {
        "ISICID": "ISIC_0000004",
        "ISICLesionID": "IL_0000002",
        "ISICRCMCaseID": "IRCM_0000001",
        "ISICImageType": "RCM: macroscopic",
    },
)
COMMON = {"ISICPatientID": "IP_0000001", "ISICSex": "female", "LicenseID": "CC-0"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("relations")) as door:
        held = [with_facts(make_instance(f"i{n}"), **COMMON, **facts) for n, facts in enumerate(IMAGES)]
        # Two strangers: neither has a patient, and they are no kin.
        held += [with_facts(make_instance(f"stranger{n}"), ISICID=f"ISIC_900000{n}") for n in range(2)]
        assert door.store(*map(instance_bytes, held)).status_code == 200
        yield door


def test_a_lesion_has_its_images_its_days_and_what_they_agree_in(door: Door) -> None:
    lesion = door.get("/lesions/IL_0000001").json()
    assert (lesion["id"], lesion["patient_id"], lesion["images_count"]) == ("IL_0000001", "IP_0000001", 2)
    assert lesion["longitudinally_monitored"] is True
    assert lesion["diagnosis"] == NEVUS  # one says more: both say this
    assert lesion["time_points"] == [
        {"acquisition_day": 0, "images": ["ISIC_0000002"]},
        {"acquisition_day": 90, "images": ["ISIC_0000001"]},
    ]
    first = lesion["images"][0]
    assert (first["isic_id"], first["SOPInstanceUID"]) == ("ISIC_0000001", uid("i0"))
    assert first["acquisition_day"] == 90
    assert first["url"] == (
        f"https://dermzoo.example/dicom-web/studies/{uid('study')}/series/{uid('series')}/instances/{uid('i0')}"
    )
    assert door.get(first["url"].removeprefix("https://dermzoo.example")).status_code == 200


def test_a_confocal_case_tells_its_parts(door: Door) -> None:
    case = door.get("/rcm-cases/IRCM_0000001").json()
    assert case["macroscopic"] == ["ISIC_0000004"]
    assert case["mosaics"] == ["ISIC_0000003"]
    assert case["tiles"] == []
    assert case["lesion_id"] == "IL_0000002"
    (of_lesion,) = door.get("/lesions/IL_0000002").json()["rcm_cases"]
    assert of_lesion["mosaics"] == ["ISIC_0000003"]


def test_a_patient_has_all_lesions(door: Door) -> None:
    patient = door.get("/patients/IP_0000001").json()
    assert (patient["sex"], patient["images_count"]) == ("female", 4)
    assert [(one["id"], one["images_count"]) for one in patient["lesions"]] == [
        ("IL_0000001", 2),
        ("IL_0000002", 2),
    ]


def test_images_without_a_patient_never_share_one(door: Door) -> None:
    for nobody in ("", "ISIC_9000000", "EXAMPLE_1", "None", "%00"):
        assert door.get(f"/patients/{nobody}").status_code == 404, nobody


@pytest.mark.parametrize("path", ["/lesions/IL_9999999", "/patients/IL_0000001", "/rcm-cases/IP_0000001"])
def test_what_is_not_there_is_404(door: Door, path: str) -> None:
    answer = door.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_a_client_has_already_is_not_sent_again(door: Door) -> None:
    tag = door.get("/lesions/IL_0000001").headers["etag"]
    assert door.get("/lesions/IL_0000001", If_None_Match=tag).status_code == 304
    assert door.request("HEAD", "/lesions/IL_0000001").headers["etag"] == tag
