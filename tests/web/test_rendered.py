"""Rendered resources and thumbnails as clients ask for them (PS3.18 8.3.5.1, 8.7.4, 10.4.1.1.3 and .4)."""

import shutil
from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.encaps import encapsulate

from app.dicom.icc_spaces import space_profile
from tests.dicom.states import make_state
from tests.factories import instance_bytes, make_instance, make_pixels, uid
from tests.servers import PROJECT, Server
from tests.web.multiparts import parts

SPECIMENS = PROJECT / "tests" / "data" / "dicom" / "valid"
CLASSES = "1.2.840.10008.5.1.4.1.1."
PDF = b"%PDF-1.4 a document\n%%EOF\n"
CDA = b"<?xml version='1.0'?><ClinicalDocument xmlns='urn:hl7-org:v3'><title>x</title></ClinicalDocument>"
MP4 = b"\0\0\0\x18ftypmp42" + bytes(range(250))
TRANSPORT = b"\x47" + bytes(375)
NO_PIXELS = dict.fromkeys(
    (
        *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "LossyImageCompression"),
    )
)


def made(name, **attributes):
    return make_instance(name, study="mixed", series=f"{name} series", **attributes)


def document(name, sop_class, content):
    instance = made(
        name,
        SOPClassUID=f"{CLASSES}104.{sop_class}",
        Modality="DOC",
        EncapsulatedDocument=(content + b" " * 400)[:401] + b"\0",
        **NO_PIXELS,
    )
    del instance.PixelData
    return instance


def film(name, transfer_syntax_uid, stream):
    instance = made(name, jpeg=True, NumberOfFrames=7, SOPClassUID=f"{CLASSES}77.1.4.1")
    instance.file_meta.TransferSyntaxUID = transfer_syntax_uid
    instance.PixelData = encapsulate([stream], has_bot=False)
    return instance


def gray(name, **attributes):
    ramp = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) // 4
    instance = made(name, rows=64, columns=96, **attributes)
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
    del instance.PlanarConfiguration
    instance.PixelData = ramp.tobytes()
    instance["PixelData"].VR = "OW"
    return instance


def instances():
    for number, series in ((1, "s1"), (2, "s1"), (3, "s2")):
        yield (
            f"p{number}",
            make_instance(f"p{number}", study="p", series=series, rows=48, columns=64, jpeg=True),
        )
    yield (
        "frames",
        make_instance("frames", study="frames", series="frames", frames=4, rows=48, columns=64, jpeg=True),
    )
    profiled = make_instance("icc", study="icc", series="icc", ICCProfile=space_profile("adobergb"))
    yield "icc", profiled
    image = gray("gray")
    yield "gray", image
    state = make_state(image, "state", ImageRotation=90)
    yield "state", state
    yield "lost", make_state(gray("nobody"), "lost")
    yield "pdf", document("pdf", 1, PDF)
    yield "html", document("html", 1, b"<script>alert(1)</script>")
    yield "cda", document("cda", 2, CDA)
    yield "mp4", film("mp4", "1.2.840.10008.1.2.4.102", MP4)
    yield "ts", film("ts", "1.2.840.10008.1.2.4.100", TRANSPORT)
    yield "h264", film("h264", "1.2.840.10008.1.2.4.102", b"\0\0\0\x01\x67" + bytes(300))
    yield (
        "named",
        make_instance("named", study="named", series="named", rows=64, columns=64, BurnedInAnnotation="YES"),
    )


class Held:
    """The server, and the paths of what it holds by name."""

    def __init__(self, server: Server, paths: dict[str, str]) -> None:
        self.paths = paths
        self.url = server.dicomweb_url
        self.client = httpx.Client(base_url=server.dicomweb_url, timeout=60)

    def get(self, path: str, accept: str | None = None, **params: str) -> httpx.Response:
        """GET a path below the root; `{name}` is the path of an instance."""
        headers = {"Accept": accept} if accept else {}
        return self.client.get(path.format_map(self.paths), headers=headers, params=params)

    def picture(self, path: str, accept: str | None = None, **params: str) -> Image.Image:
        """GET a picture."""
        answer = self.get(path, accept, **params)
        assert answer.status_code == 200, answer.text
        return Image.open(BytesIO(answer.content))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("rendered")
    files, paths = folder / "files", {}
    files.mkdir()
    for name, instance in instances():
        (files / f"{name}.dcm").write_bytes(instance_bytes(instance))
        paths[name] = path_of(instance)
    for name in ("test-SR", "waveform_ecg"):
        shutil.copy(SPECIMENS / f"{name}.dcm", files / f"{name}.dcm")
        from pydicom import dcmread

        paths[name.partition("-")[2] or "ecg"] = path_of(dcmread(SPECIMENS / f"{name}.dcm"))
    server = Server(folder, {"throttle": "off"})
    server.migrate()
    server.run("index", files)
    try:
        held = Held(server.start(), paths)
        with held.client:
            yield held
    finally:
        server.stop()


def path_of(instance):
    return (
        f"/studies/{instance.StudyInstanceUID}/series/{instance.SeriesInstanceUID}"
        f"/instances/{instance.SOPInstanceUID}"
    )


# --- media types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/jp2", "image/jp2"),
        ("image/webp", "image/webp"),
        ("image/png;q=0.5, image/gif", "image/gif"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/jpeg"),
        ("image/png, image/tiff", "image/png"),
        ("image/*, image/jpeg;q=0.1", "image/png"),
    ],
)
@pytest.mark.parametrize("path", ["{p1}", "{p1}/frames/1"])
def test_a_single_frame_in_every_media_type(held, path, accept, media_type):
    """PS3.18 8.7.4 (checklist 44): jpeg is the default, gif and png are there, jp2 may be."""
    answer = held.get(f"{path}/rendered", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    picture = Image.open(BytesIO(answer.content))
    assert Image.MIME[picture.format] == media_type
    assert picture.size == (64, 48)


def test_the_stored_jpeg_is_the_rendered_one(held):
    """PS3.18 8.7.4 (checklist 44): nothing is lost a second time where nothing is asked for."""
    frame = held.get("{p1}/frames/1", 'multipart/related; type="image/jpeg"; transfer-syntax=*')
    ((_, stored),) = parts(frame)
    assert held.get("{p1}/rendered").content == stored
    assert held.get("{p1}/rendered", quality="90").content != stored


def test_a_multi_frame_image(held):
    """PS3.18 8.7.4 (checklist 44): its first frame, the frames named, or all of them as a GIF."""
    assert held.picture("{frames}/rendered", "image/gif").size == (64, 48)
    assert held.picture("{frames}/rendered").size == (64, 48)
    listed = held.get("{frames}/frames/3,1/rendered", 'multipart/related; type="image/png"')
    found = parts(listed)
    assert [headers["Content-Type"] for headers, _ in found] == ["image/png"] * 2
    assert [headers["Content-Location"].split("/")[-2] for headers, _ in found] == ["3", "1"]
    assert held.get("{frames}/frames/5/rendered").status_code == 404
    assert held.get("{frames}/frames/1,2/rendered", "image/png").status_code == 406


@pytest.mark.parametrize(
    ("name", "accept", "media_type", "content"),
    [
        ("mp4", None, "video/mp4", MP4),
        ("mp4", "video/*", "video/mp4", MP4),
        ("ts", "video/mpeg", "video/mpeg", TRANSPORT),
        ("pdf", "text/html, application/xhtml+xml, */*;q=0.8", "application/pdf", PDF),
        ("cda", None, "text/xml", CDA),
    ],
)
def test_films_and_documents_are_sent_as_they_are(held, name, accept, media_type, content):
    """PS3.18 8.7.4 (checklist 44): video and text; what is one already is not made again."""
    answer = held.get(f"{{{name}}}/rendered", accept)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.content.startswith(content)
    assert not answer.content.endswith(b"\0") or name in {"mp4", "ts"}
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_film_can_be_wound_forward(held):
    answer = held.client.get(held.paths["mp4"] + "/rendered", headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/html"),
        ("text/plain", "text/plain"),
        ("text/xml", "text/xml"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ],
)
def test_a_report_is_text(held, accept, media_type):
    """PS3.18 8.7.4 (checklist 44): html is the default, plain and xml are there."""
    answer = held.get("{SR}/rendered", accept)
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert "OFFIS Structured Reporting Test Document" in answer.text
    if media_type != "text/plain":
        assert answer.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("path", "accept", "status", "says"),
    [
        ("{p1}/rendered", "image/tiff", 406, "image/png"),
        ("{p1}/rendered", "video/mp4", 406, "image/jpeg"),
        ("{mp4}/rendered", "image/jpeg", 406, "video/mp4"),
        ("{h264}/rendered", None, 406, "1.2.840.10008.1.2.4.102"),
        ("{ecg}/rendered", None, 406, "nothing to show"),
        ("{pdf}/rendered", "image/jpeg", 406, "application/pdf"),
        ("{html}/rendered", None, 406, "104.1"),
        ("{SR}/rendered", "application/pdf", 406, "text/html"),
        ("{pdf}/frames/1/rendered", None, 404, "no frames"),
        ("{p1}/rendered", "image/jpeg, application/dicom", 400, "application/dicom"),
        ("{p1}/rendered", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", 406, "image/jpeg"),
        ("/studies/{mixed}/rendered", "image/jpeg", 406, "multipart/related"),
        ("{lost}/rendered", None, 404, "none of them is held here"),
    ],
)
def test_what_cannot_be_had_says_what_can(held, path, accept, status, says):
    """PS3.18 8.7.4, 8.7.5 (checklist 44, 45): one kind of media types, without a transfer syntax."""
    answer = held.get(path.replace("{mixed}", uid("mixed")), accept)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in answer.json()["detail"]


# --- several at once -----------------------------------------------------------------------------------


def test_a_study_is_a_part_for_each_image(held):
    """PS3.18 10.4.1.1.3 (checklist 44)."""
    for accept in (None, 'multipart/related; type="image/jpeg"', "multipart/related; type=image/*"):
        found = parts(held.get(f"/studies/{uid('p')}/rendered", accept))
        assert [headers["Content-Type"] for headers, _ in found] == ["image/jpeg"] * 3
        assert [headers["Content-Location"].split("/")[-4] for headers, _ in found] == [
            uid(name) for name in ("p1", "p2", "p3")
        ]
    found = parts(
        held.get(f"/studies/{uid('p')}/series/{uid('s1')}/rendered", 'multipart/related; type="image/png"')
    )
    assert [Image.open(BytesIO(content)).format for _, content in found] == ["PNG"] * 2


def test_what_is_left_out_of_a_study_is_said(held):
    """PS3.18 8.5, 10.4.3 (checklist 36, 44): 206 and a warning."""
    answer = held.get(f"/studies/{uid('mixed')}/rendered", 'multipart/related; type="image/jpeg"')
    assert answer.status_code == 206
    assert "left out" in answer.headers["warning"]
    assert len(parts(answer)) == 2  # the image, and the same as its presentation state has it
    answer = held.get(f"/studies/{uid('mixed')}/rendered")
    kinds = sorted(headers["Content-Type"] for headers, _ in parts(answer))
    assert kinds == ["application/pdf", "image/jpeg", "image/jpeg", "text/xml", "video/mp4", "video/mpeg"]


def test_too_much_at_once_is_refused():
    """PS3.18 8.5 (checklist 15, 44): 413, and how much there may be."""
    from types import SimpleNamespace

    from app.archive.showing import Shown
    from app.dicom.rendering_options import Rendering
    from app.web.errors import RequestError
    from app.web.rendered_limits import MOST_ITEMS, MOST_MADE_PIXELS, refuse_too_much

    photograph = SimpleNamespace(
        rows=3000,
        columns=4000,
        transfer_syntax_uid="1.2.840.10008.1.2.4.50",
        samples_per_pixel=3,
        photometric_interpretation="YBR_FULL_422",
    )
    photographs = [Shown(photograph, "image")] * (MOST_MADE_PIXELS // 12_000_000 + 1)
    refuse_too_much(photographs, Rendering())
    refuse_too_much(photographs[:-1], Rendering(quality=80))
    for too_much in (photographs, photographs * MOST_ITEMS):
        with pytest.raises(RequestError) as raised:
            refuse_too_much(too_much, Rendering(quality=80))
        assert raised.value.status == 413


# --- parameters ----------------------------------------------------------------------------------------


MALFORMED = {
    "from 1 to 100": "quality=0 quality=101 quality=x quality=1.5 quality=-1 quality=",
    "viewport is": "viewport=10 viewport=10,10,1 viewport=a,b viewport=10,10,1,1,1,x viewport=1e2,3 "
    "viewport= viewport=-10,5 viewport=10.5,10 viewport=1,1,nan,1,1,1",
    "viewport": "viewport=0,10 viewport=99999,10 viewport=9,9,-1,0,, viewport=9,9,0,0,0,5 "
    "viewport=9,9,900,900,1,1",
    "window is": "window=1,2 window=1,2,cubic window=1,2, window=,2,linear window=1,,linear "
    "window=1,0,linear window=1,-5,sigmoid window=x,2,linear window=1,2,linear,3 window=nan,1,linear window=",
    "annotation is": "annotation= annotation=, annotation=patient,,technique annotation=patient;x",
    "iccprofile is one of": "iccprofile= iccprofile=cmyk iccprofile=SRGB iccprofile=yes,no",
    "more than once": "quality=5&quality=5 viewport=5,5&viewport=5,5 iccprofile=no&iccprofile=no "
    "window=1,2,linear&window=1,2,linear annotation=patient&annotation=patient",
}


@pytest.mark.parametrize(
    ("query", "says"),
    [(query, says) for says, queries in MALFORMED.items() for query in queries.split()],
)
def test_malformed_parameters_are_refused(held, query, says):
    """PS3.18 8.3.5.1 (checklist 46, 47, 48, 49, 50): with which one, and why."""
    answer = held.client.get(f"{held.paths['p1']}/rendered?{query}")
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["detail"]
    assert query.partition("=")[0] in answer.json()["detail"]


def test_other_parameters_are_passed_over(held):
    assert held.get("{p1}/rendered", foo="bar").content == held.get("{p1}/rendered").content


def test_quality(held):
    """PS3.18 8.3.5.1.2 (checklist 46)."""
    lengths = [len(held.get("{p1}/rendered", quality=str(quality)).content) for quality in (1, 50, 100)]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize(
    ("viewport", "size", "corner"),
    [
        ("32,32", (32, 24), (200, 40, 40)),
        ("128,128", (128, 96), (200, 40, 40)),
        ("20,20,,,-64,", (20, 15), (40, 200, 40)),
        ("20,20,,,,-48", (20, 15), (40, 40, 200)),
        ("20,20,32,24,,", (20, 15), (180, 120, 100)),
        ("16,12,48,36,16,12", (16, 12), (200, 200, 40)),
    ],
)
def test_viewport(held, viewport, size, corner):
    """PS3.18 8.3.5.1.3 (checklist 47): scaled with its aspect ratio, cut, mirrored; source items left out."""
    picture = held.picture("{p1}/rendered", "image/png", viewport=viewport)
    assert picture.size == size
    assert np.abs(np.array(picture.getpixel((2, 2))) - corner).max() <= 6
    assert held.picture("{p1}/rendered").size == (64, 48)


@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
def test_window(held, function):
    """PS3.18 8.3.5.1.4 (checklist 48)."""
    picture = np.asarray(held.picture("{gray}/rendered", "image/png", window=f"700,200,{function}")).astype(
        int
    )
    value = np.arange(64 * 96).reshape(64, 96) // 4
    expected = {
        "linear": (value - 699.5) / 199 + 0.5,
        "linear-exact": (value - 700) / 200 + 0.5,
        "sigmoid": 1 / (1 + np.exp(-4 * (value - 700) / 200)),
    }[function]
    assert np.abs(picture - np.clip(expected, 0, 1) * 255).max() <= 1


def test_annotation(held):
    """PS3.18 8.3.5.1.1 (checklist 49): burned in when asked for; what is unknown is said and passed over."""
    plain = np.asarray(held.picture("{gray}/rendered", "image/png"))
    answer = held.get("{gray}/rendered", "image/png", annotation="patient,colour,technique")
    assert "not supported: colour" in answer.headers["warning"]
    assert answer.headers["warning"].startswith("299 ")
    assert (np.asarray(Image.open(BytesIO(answer.content))) != plain).any()
    answer = held.get("{gray}/rendered", "image/png", annotation="colour")
    assert "warning" in answer.headers
    assert (np.asarray(Image.open(BytesIO(answer.content))) == plain).all()
    assert "warning" not in held.get("{gray}/rendered", annotation="technique").headers


def test_icc_profile(held):
    """PS3.18 8.3.5.1.5 (checklist 50): what a media type cannot carry is refused, but for `no`."""
    for asked, expected in (
        ("yes", "adobergb"),
        ("srgb", "srgb"),
        ("adobergb", "adobergb"),
        ("rommrgb", "rommrgb"),
    ):
        picture = held.picture("{icc}/rendered", "image/png", iccprofile=asked)
        assert picture.info["icc_profile"] == space_profile(expected)
        answer = held.get("{icc}/rendered", "image/gif", iccprofile=asked)
        assert answer.status_code == 400
        assert "image/gif cannot carry" in answer.json()["detail"]
    assert "icc_profile" not in held.picture("{icc}/rendered", "image/png", iccprofile="no").info
    assert held.get("{icc}/rendered", "image/gif", iccprofile="no").status_code == 200
    assert np.array_equal(
        np.asarray(held.picture("{icc}/rendered", "image/png", iccprofile="no")), make_pixels()
    )


def test_a_presentation_state_is_applied_when_addressed(held):
    """PS3.18 8.7.4 (checklist 51): its own window, its own area; the size may be asked for."""
    plain = np.asarray(held.picture("{gray}/rendered", "image/png", window="2047.5,4095,linear-exact"))
    turned = np.asarray(held.picture("{state}/rendered", "image/png"))
    assert np.abs(turned.astype(int) - np.rot90(plain, -1)).max() <= 1
    assert held.picture("{state}/rendered", viewport="32,48").size == (32, 48)
    for query, says in (("window=1,2,linear", "window"), ("viewport=9,9,1,1,5,5", "viewport")):
        answer = held.client.get(f"{held.paths['state']}/rendered?{query}")
        assert answer.status_code == 400
        assert says in answer.json()["detail"]


# --- validators, thumbnails ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["{p1}/rendered", "{gray}/rendered", "{SR}/rendered", "{p1}/thumbnail", "{pdf}/rendered"]
)
def test_what_a_client_has_is_not_sent_again(held, path):
    """RFC 9110 13.1.2 (checklist 42)."""
    first = held.get(path)
    again = held.client.get(path.format_map(held.paths), headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = held.get(path, viewport="20,20")
    assert other.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("level", ["study", "series", "instance", "frame"])
def test_one_thumbnail_at_each_level(held, level):
    """PS3.18 10.4.1.1.4 (checklist 52)."""
    instance = held.paths["p1"]
    study, series = instance.partition("/series")[0], instance.partition("/instances")[0]
    path = {"study": study, "series": series, "instance": instance, "frame": f"{instance}/frames/1"}[level]
    picture = held.picture(f"{path}/thumbnail")
    assert (picture.format, picture.size) == ("JPEG", (64, 48))
    assert held.picture(f"{path}/thumbnail", viewport="30,30").size == (30, 23)
    as_ohif_asks = {"Accept": 'multipart/related; type="application/octet-stream"'}
    answer = held.client.get(f"{path}/thumbnail?accept=image%2Fpng", headers=as_ohif_asks)
    assert answer.headers["content-type"] == "image/png"
    assert held.client.get(f"{path}/thumbnail?viewport=9,9,1,1,5,5").status_code == 400
    assert held.get(f"{path}/thumbnail", "image/webp").status_code == 406


@pytest.mark.parametrize("name", ["pdf", "cda", "SR", "mp4", "state", "lost", "ecg", "named"])
def test_what_has_no_picture_or_may_not_show_it_has_a_placeholder(held, name):
    """PS3.18 10.4.1.1.4 (checklist 52): no text that tells who it is."""
    answer = held.get(f"{{{name}}}/thumbnail")
    assert answer.status_code == 200
    picture = Image.open(BytesIO(answer.content))
    assert (picture.mode, picture.size) == ("L", (128, 128))
    assert len(answer.content) < 6000


def test_a_thumbnail_has_a_largest_size(held):
    assert max(held.picture("{named}/thumbnail", viewport="16000,16000").size) <= 1024


def test_head_makes_nothing(held):
    answer = held.client.head(f"{held.paths['p1']}/rendered?quality=50")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "image/jpeg"


def test_dicomweb_client_gets_them_all(held):
    client = DICOMwebClient(held.url)
    study, series = uid("p"), uid("s1")
    instance = uid("p1")
    for media_type, kind in (("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF")):
        content = client.retrieve_instance_rendered(study, series, instance, media_types=(media_type,))
        assert Image.open(BytesIO(content)).format == kind
    content = client.retrieve_instance_frames_rendered(
        study, series, instance, [1], media_types=("image/png",)
    )
    assert Image.open(BytesIO(content)).size == (64, 48)
    report = held.paths["SR"].split("/")[2::2]
    assert b"OFFIS" in client.retrieve_instance_rendered(*report, media_types=("text/html",))
    pdf = held.paths["pdf"].split("/")[2::2]
    assert client.retrieve_instance_rendered(*pdf, media_types=("application/pdf",)).startswith(PDF)
