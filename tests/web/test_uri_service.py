"""The URI Service, WADO-URI (PS3.18 chapter 9; checklist 60)."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import InvalidQuery
from app.web.uri_parameters import OPTIONAL, REQUIRED, read_uri_request
from tests.dicom.states import COLOUR, make_state
from tests.factories import CORNERS, instance_bytes, make_instance, uid
from tests.web.conftest import Archive
from tests.web.door import opened_door

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
PHOTO = {"studyUID": uid("p"), "seriesUID": uid("s1"), "objectUID": uid("p1")}


def ask(archive: Archive, accept: str = "*/*", named: dict[str, str] = PHOTO, **asked: str) -> httpx.Response:
    """GET /wado for the photograph of 24 x 16 pixels, or what else is named."""
    return archive.client.get(
        f"{archive.server.url}/wado",
        params={"requestType": "WADO", **named, **asked},
        headers={"Accept": accept},
    )


def specimen(archive: Archive, name: str) -> dict[str, str]:
    held = archive.held[name]
    return {"studyUID": held.study, "seriesUID": held.series, "objectUID": held.sop}


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content))


def data_set(answer: httpx.Response) -> pydicom.Dataset:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/dicom")
    return pydicom.dcmread(BytesIO(answer.content))


def test_an_image_is_a_jpeg_by_default(archive: Archive) -> None:
    """PS3.18 9.3: without contentType and with */*, image/jpeg (checklist 60)."""
    answer = ask(archive)
    assert answer.headers["content-type"] == "image/jpeg"
    assert picture(answer).size == (24, 16)
    assert ask(archive, "text/html,image/avif,*/*;q=0.8").headers["content-type"] == "image/jpeg"
    assert ask(archive, contentType="image/jpeg").content == answer.content


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF"), ("image/jp2", "JPEG2000")],
)
def test_pictures_in_every_form(archive: Archive, media_type: str, kind: str) -> None:
    """PS3.18 9.1.2.2.1 and 8.7.4 (checklist 44, 60)."""
    answer = ask(archive, contentType=media_type)
    assert answer.headers["content-type"] == media_type
    assert picture(answer).format == kind
    assert ask(archive, media_type).content == answer.content


@pytest.mark.parametrize(
    ("name", "media_type", "default"),
    [
        ("test-SR", "text/html", True),
        ("test-SR", "text/plain", False),
        ("waveform_ecg", "application/dicom", True),
    ],
)
def test_what_is_no_image_has_a_default_of_its_own(
    archive: Archive, name: str, media_type: str, default: bool
) -> None:
    """PS3.18 8.7.4, 9.3: text for a report; what cannot be shown is sent as DICOM."""
    named = specimen(archive, name)
    answer = ask(archive, named=named) if default else ask(archive, named=named, contentType=media_type)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(media_type)
    assert ask(archive, named=named, contentType="image/png").status_code == 406


def test_dicom_is_explicit_vr_little_endian_by_default(archive: Archive) -> None:
    """PS3.18 9.4, 8.7.3.5: the default transfer syntax, `*` as stored (checklist 6, 60)."""
    converted = data_set(ask(archive, contentType="application/dicom"))
    assert converted.file_meta.TransferSyntaxUID == EXPLICIT
    assert converted.PhotometricInterpretation == "RGB"
    stored = ask(archive, contentType="application/dicom", transferSyntax="*")
    assert data_set(stored).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    named = ask(archive, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.50")
    assert named.content == stored.content
    implicit = specimen(archive, "MR_small_implicit")
    sent = data_set(ask(archive, named=implicit, contentType="application/dicom", transferSyntax=EXPLICIT))
    assert sent.file_meta.TransferSyntaxUID == EXPLICIT


def test_what_viewers_send(archive: Archive) -> None:
    """OHIF names application/dicom and accepts multiparts; the parameter goes before the header."""
    header = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    sent = data_set(ask(archive, header, contentType="application/dicom", transferSyntax="*"))
    assert sent.SOPInstanceUID == uid("p1")
    small = ask(archive, contentType="image/jpeg", imageQuality="70", rows="8", columns="8")
    assert picture(small).size == (8, 5)


def test_dicom_json(archive: Archive) -> None:
    answer = ask(archive, contentType="application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    (document,) = answer.json()
    assert document["00080018"]["Value"] == [uid("p1")]


def test_size_region_and_window(archive: Archive) -> None:
    """PS3.18 9.5.1.2.4 to 9.5.1.2.6 (checklist 47, 48 under older names)."""
    assert picture(ask(archive, rows="32", columns="48")).size == (48, 32)
    assert picture(ask(archive, columns="12")).size == (12, 8)
    corner = picture(ask(archive, region="0,0,0.25,0.25", contentType="image/png"))
    assert corner.size == (6, 4)
    assert np.abs(np.asarray(corner, int).mean(axis=(0, 1)) - CORNERS[0]).max() < 12
    other = picture(ask(archive, region="0.75,0.75,1,1", rows="16", columns="24", contentType="image/png"))
    assert other.size == (24, 16)
    assert np.abs(np.asarray(other, int).mean(axis=(0, 1)) - CORNERS[3]).max() < 12
    gray = specimen(archive, "MR_small_implicit")
    plain, dark = ask(archive, named=gray), ask(archive, named=gray, windowCenter="9000", windowWidth="1")
    assert np.asarray(picture(dark)).mean() < 2 < np.asarray(picture(plain)).mean()


def test_frames(archive: Archive) -> None:
    """PS3.18 9.5.2: a frame that there is not is 400 (checklist 60)."""
    color = specimen(archive, "examples_ybr_color")
    first, second = (ask(archive, named=color, frameNumber=n) for n in ("1", "2"))
    assert first.content == ask(archive, named=color).content
    assert picture(second).size == picture(first).size
    assert second.content != first.content
    assert ask(archive, frameNumber="1").status_code == 200
    for number in ("0", "2", "-1", "one", "1,2", ""):
        assert ask(archive, frameNumber=number).status_code == 400, number


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"requestType": "WADORS"}, 400, "WADO"),
        ({"studyUID": ""}, 400, "studyUID is missing"),
        ({"objectUID": "1.x"}, 400, "objectUID"),
        ({"objectUID": "1.2.3"}, 404, "1.2.3"),
        ({"seriesUID": "1.2.3"}, 404, "There is no"),
        ({"contentType": "image/tiff"}, 406, "image/jpeg"),
        ({"contentType": "application/dicom,image/jpeg"}, 400, "one request"),
        ({"contentType": "application/dicom", "transferSyntax": "explicit"}, 400, "transferSyntax"),
        ({"contentType": "application/dicom", "transferSyntax": "1.2.3"}, 406, "transferSyntax"),
        ({"contentType": "application/dicom", "transferSyntax": IMPLICIT}, 406, "transferSyntax"),
        ({"contentType": "image/jpeg", "transferSyntax": EXPLICIT}, 400, "transferSyntax"),
        ({"contentType": "application/dicom", "rows": "8", "frameNumber": "1"}, 400, "frameNumber, rows"),
        ({"anonymize": "yes"}, 406, "de-identify"),
        ({"anonymize": "no"}, 400, "anonymize"),
        ({"imageQuality": "101"}, 400, "imageQuality"),
        ({"imageQuality": "high"}, 400, "imageQuality"),
        ({"windowCenter": "1", "windowWidth": "x"}, 400, "windowWidth=x"),
        ({"rows": "0"}, 400, "rows"),
        ({"columns": "99999"}, 400, "columns"),
        ({"region": "0,0,1"}, 400, "region"),
        ({"region": "0.5,0,0.5,1"}, 400, "region"),
        ({"region": "0,0,1.1,1"}, 400, "region"),
        ({"region": "0,0,nan,1"}, 400, "region"),
        ({"windowCenter": "40"}, 400, "together"),
        ({"windowCenter": "40", "windowWidth": "0"}, 400, "window"),
        ({"annotation": ""}, 400, "annotation"),
        ({"presentationUID": "1.2"}, 400, "together"),
        ({"presentationUID": "1.2", "presentationSeriesUID": "1.3"}, 404, "1.2"),
        ({"presentationUID": uid("p2"), "presentationSeriesUID": uid("s1")}, 400, "presentation state"),
    ],
)
def test_refusals_say_what_is_wrong(archive: Archive, asked: dict[str, str], status: int, says: str) -> None:
    """PS3.18 8.5, 9.4, 9.5 (checklist 15, 60)."""
    answer = ask(archive, **asked)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


def test_unknown_parameters_are_passed_over_and_known_ones_stand_once(archive: Archive) -> None:
    """PS3.18 8.3.1."""
    assert ask(archive, vendor="x").status_code == 200
    url = f"{archive.server.url}/wado?requestType=WADO&rows=8&rows=9"
    assert archive.client.get(url, params=None).status_code == 400


def test_presentation_states(tmp_path: Path) -> None:
    """PS3.18 9.5.1.2.7: the image as a state that is held has it, here turned (checklist 51)."""
    image = make_instance("turned")
    state = make_state(image, sop_class=COLOUR, ImageRotation=90, ImageHorizontalFlip="N")
    with opened_door(tmp_path) as door:
        assert door.store(instance_bytes(image), instance_bytes(state)).status_code == 200
        uri = f"/wado?requestType=WADO&studyUID={uid('study')}&seriesUID={uid('series')}&objectUID="
        presented = f"&presentationSeriesUID={state.SeriesInstanceUID}&presentationUID={state.SOPInstanceUID}"
        plain = door.get(f"{uri}{uid('turned')}")
        turned = door.get(f"{uri}{uid('turned')}{presented}")
        assert picture(plain).size == picture(turned).size[::-1]
        assert door.get(f"{uri}{uid('turned')}{presented}&region=0,0,1,0.5").status_code == 400
        assert door.get(f"{uri}{uid('turned')}{presented}&frameNumber=1").content == turned.content


def test_annotation(archive: Archive) -> None:
    """PS3.18 9.5.1.2.2: unknown ones are ignored with a warning (checklist 49)."""
    plain, annotated = ask(archive), ask(archive, annotation="patient", rows="160", columns="240")
    assert annotated.status_code == 200
    assert annotated.content != plain.content
    assert "annotation values are not supported: price" in ask(archive, annotation="price").headers["warning"]


def test_conditional_and_head(archive: Archive) -> None:
    """RFC 9110 13 (checklist 42)."""
    answer = ask(archive)
    again = archive.client.get(answer.request.url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    head = archive.client.head(answer.request.url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == answer.headers["content-type"]


_QUERY = {"requestType": "WADO", "studyUID": "1", "seriesUID": "1", "objectUID": "1"}


@given(st.dictionaries(st.sampled_from([*REQUIRED, *OPTIONAL]), st.text(max_size=12)))
def test_any_query_is_read_or_refused_by_name(asked: dict[str, str]) -> None:
    with suppress(InvalidQuery):  # anything else is a fault
        assert read_uri_request([*(_QUERY | asked).items()]).reference.sop_instance_uid


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_any_region_within_the_image_is_read(corners: list[float]) -> None:
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    text = ",".join(f"{value:.9f}" for value in (left, top, right, bottom))
    numbers = [float(part) for part in text.split(",")]
    if numbers[0] < numbers[2] and numbers[1] < numbers[3]:
        region = read_uri_request([*_QUERY.items(), ("region", text)]).region
        assert region is not None
        assert [region.left, region.top, region.right, region.bottom] == numbers
    else:
        with pytest.raises(InvalidQuery, match="region"):
            read_uri_request([*_QUERY.items(), ("region", text)])
