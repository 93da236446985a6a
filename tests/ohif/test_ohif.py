"""People's own viewer: the published OHIF draws our pictures, in the right colours, from another origin."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import SAMPLE, ServerFactory
from tests.factories import uid, write_instance
from tests.ohif.viewer import serve_viewer
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPEN_VIEWER = Path(__file__).parent / "open_viewer.mjs"
PICTURES = ("ISIC_0000002", "ISIC_0014572")  # 4:3 in two sizes, two colours of skin
GRID = [(x / 8, y / 8) for x in range(1, 8) for y in range(1, 8)]


def look(viewer: str, folder: Path, frames: dict[str, int]) -> dict:
    """What a person sees who opens these studies and waits for their frames; the pictures go to `folder`."""
    seen = subprocess.run(
        ["node", OPEN_VIEWER, viewer, folder, *(f"{study}={count}" for study, count in frames.items())],
        check=False,
        capture_output=True,
        text=True,
    )
    assert seen.stdout, seen.stderr
    answer = json.loads(seen.stdout)
    assert "error" not in answer, json.dumps(answer, indent=1)[-5000:]
    return answer


def colours(picture: Image.Image, box: tuple[float, float, float, float]) -> np.ndarray:
    """The mean colours of small patches spread over `box` (left, top, width, height) of a picture."""
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    left, top, width, height = box
    patches = []
    for x, y in GRID:
        column, row = left + x * width, top + y * height
        across, down = max(1, width / 40), max(1, height / 40)
        patch = pixels[int(row - down) : int(row + down) + 1, int(column - across) : int(column + across) + 1]
        patches.append(patch.mean(axis=(0, 1)))
    return np.array(patches)


def fitted(canvas: Image.Image, picture: Image.Image) -> tuple[float, float, float, float]:
    """Where OHIF puts a picture: as large as fits, in the middle."""
    scale = min(canvas.width / picture.width, canvas.height / picture.height)
    width, height = picture.width * scale, picture.height * scale
    return (canvas.width - width) / 2, (canvas.height - height) / 2, width, height


def look_at_the_pictures(
    dicomweb_url: str,
    folder: Path,
    sources: dict[str, dict[str, object]] | None = None,
    pictures: int = len(list((SAMPLE / "images").glob("*.jpg"))),
) -> dict:
    """Find PICTURES in a service with so many of the sample corpus, open each, and compare their colours."""
    studies = {}
    for name in PICTURES:
        [study] = httpx.get(f"{dicomweb_url}/studies", params={"PatientID": name}).json()
        studies[name] = study["0020000D"]["Value"][0]

    with serve_viewer(dicomweb_url, sources) as viewer:
        seen = look(viewer, folder, dict.fromkeys(studies.values(), 1))

    assert sum("\tXC\t" in row.replace("\n", "") for row in seen["rows"]) == pictures
    assert seen["failed"] == []
    assert seen["console_errors"] == []
    for name, study_instance_uid in studies.items():
        assert seen["studies"][study_instance_uid]["thumbnails"] == 1
        drawn = Image.open(folder / f"{study_instance_uid}.canvas.png")
        original = Image.open(SAMPLE / "images" / f"{name}.jpg")
        expected = colours(original, (0, 0, *original.size))
        assert np.abs(colours(drawn, fitted(drawn, original)) - expected).max() < 4, name
    return seen


def test_a_person_finds_a_study_and_sees_it_in_its_colours(sample_server: Server, tmp_path: Path) -> None:
    look_at_the_pictures(sample_server.dicomweb_url, tmp_path)


def test_a_collection_is_seen_as_if_nothing_else_were_held(sample_server: Server, tmp_path: Path) -> None:
    """Its root alone is what the viewer is given: the list has its members, and each is drawn."""
    slug = f"two-{os.urandom(4).hex()}"
    sample_server.run("collection", "create", slug, "--title", "Two", "--public")
    sample_server.run("collection", "add", slug, *PICTURES)
    root = f"{sample_server.url}/collections/{slug}/dicom-web"
    seen = look_at_the_pictures(root, tmp_path, pictures=len(PICTURES))
    asked = [one["url"] for opened in seen["studies"].values() for one in opened["requests"]]
    assert asked
    assert all(url.startswith(root) for url in asked if sample_server.url in url)


MULTIPART = "multipart/related; type="
SYNTAX = "1.2.840.10008.1.2"
# What OHIF's configuration may say, and what of the requests proves that it was heeded. A page costs seconds,
# so what asks for thumbnails stands together with what asks for pictures.
VARIANTS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "thumbnail-of-the-frame-eager": (
        {"thumbnailRendering": "wadors", "enableStudyLazyLoad": False},
        ("/frames/1", "/metadata"),
    ),
    "thumbnail-retrieved-jpeg": (
        {"thumbnailRequestStrategy": "bulkDataRetrieve", "requestTransferSyntaxUID": f"{SYNTAX}.4.50"},
        ("/thumbnail?accept=", "/frames/1"),
    ),
    "thumbnail-direct-uncompressed": (
        {"thumbnailRendering": "thumbnailDirect", "requestTransferSyntaxUID": f"{SYNTAX}.1"},
        ("/thumbnail?accept=", "/frames/1"),
    ),
    "rendered-fetched-jpeg-ls": (
        {"thumbnailRendering": "rendered", "requestTransferSyntaxUID": f"{SYNTAX}.4.80"},
        ("/rendered?viewport=", "/frames/1"),
    ),
    "rendered-retrieved-jpeg-2000": (
        {
            "thumbnailRendering": "rendered",
            "thumbnailRequestStrategy": "bulkDataRetrieve",
            "requestTransferSyntaxUID": f"{SYNTAX}.4.90",
        },
        ("/rendered?accept=", "/frames/1"),
    ),
    "quoted-tagged": (
        {"omitQuotationForMultipartRequest": False, "enableRequestTag": True},
        ("/frames/1",),
    ),
    "accept-jpeg-plain-searches": (
        {
            "acceptHeader": [f"{MULTIPART}image/jpeg; transfer-syntax=*"],
            "supportsFuzzyMatching": False,
            "supportsWildcard": False,
            "qidoSupportsIncludeField": False,
        },
        ("/frames/1", "fuzzymatching=false"),
    ),
    "accept-anything": ({"acceptHeader": ["*/*"]}, ("/frames/1",)),
    "single-part-bulk-data-of-the-series": (
        {
            "singlepart": "bulkdata,video,pdf",
            "bulkDataURI": {"enabled": True, "relativeResolution": "series"},
        },
        ("/frames/1",),
    ),
    "static-wado": ({"staticWado": True}, ("/frames/1",)),
}


def test_every_configuration_draws_the_picture(sample_server: Server, tmp_path: Path) -> None:
    """PS3.18 8.3.3, 8.7, chapter 9, in all ways OHIF asks (checklist 2, 5, 8, 12, 60)."""
    name = PICTURES[0]
    [study] = httpx.get(f"{sample_server.dicomweb_url}/studies", params={"PatientID": name}).json()
    uid_of_study = study["0020000D"]["Value"][0]
    uri_service = {"imageRendering": "wadouri", "wadoUriRoot": f"{sample_server.url}/wado"}
    variants = {**VARIANTS, "uri-service": (uri_service, ("/wado?requestType=WADO",))}
    sources = {variant: chosen for variant, (chosen, _) in variants.items()}

    with serve_viewer(sample_server.dicomweb_url, sources) as viewer:
        seen = look(viewer, tmp_path, {f"{variant}/{uid_of_study}": 0 for variant in variants})

    assert seen["failed"] == []
    original = Image.open(SAMPLE / "images" / f"{name}.jpg")
    expected = colours(original, (0, 0, *original.size))
    for variant, (_, proofs) in variants.items():
        opened = seen["studies"][f"{variant}/{uid_of_study}"]
        assert opened["thumbnails"] == 1, variant
        for asked in proofs:
            assert any(asked in one["url"] for one in opened["requests"]), (variant, opened["requests"])
        drawn = Image.open(tmp_path / f"{variant}.{uid_of_study}.canvas.png")
        assert np.abs(colours(drawn, fitted(drawn, original)) - expected).max() < 4, variant


KINDS = [
    ("clinical: overview", "jpg"),
    ("clinical: close-up", "png"),
    ("TBP tile: close-up", "tif"),
    ("TBP tile: overview", "jpg"),
    ("RCM: macroscopic", "png"),
]


def test_photographs_of_every_image_type_are_drawn_whatever_their_file(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """JPEG-LS in RGB too. Confocal tiles and mosaics OHIF 3.13 lists, and draws nothing."""
    y, x = np.mgrid[0:300, 0:400]
    picture = np.dstack((255 * x / 400, 255 * y / 300, 255 - 255 * x / 400)).astype(np.uint8)
    (tmp_path / "images").mkdir()
    lines = ["isic_id,copyright_license,image_type,tbp_lv_areaMM2"]
    for number, (image_type, suffix) in enumerate(KINDS):
        Image.fromarray(picture).save(tmp_path / "images" / f"ISIC_000000{number}.{suffix}")
        lines.append(f"ISIC_000000{number},CC-0,{image_type},3")
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    server = server_factory()
    server.run("import", "isic", "--images", tmp_path / "images", "--metadata", tmp_path / "metadata.csv")
    studies = {}
    for number, (image_type, _) in enumerate(KINDS):
        asked = {"PatientID": f"ISIC_000000{number}"}
        [study] = httpx.get(f"{server.dicomweb_url}/studies", params=asked).json()
        studies[image_type] = study["0020000D"]["Value"][0]

    with serve_viewer(server.dicomweb_url) as viewer:
        seen = look(viewer, tmp_path, dict.fromkeys(studies.values(), 1))

    assert seen["failed"] == []
    assert seen["console_errors"] == []
    original = Image.fromarray(picture)
    expected = colours(original, (0, 0, *original.size))
    for image_type, study_instance_uid in studies.items():
        drawn = Image.open(tmp_path / f"{study_instance_uid}.canvas.png")
        assert np.abs(colours(drawn, fitted(drawn, original)) - expected).max() < 4, image_type


def test_a_study_of_a_hundred_pictures_is_never_refused(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    for number in range(1, 101):
        path = tmp_path / "pictures" / f"{number}.dcm"
        write_instance(path, name=f"{number}", rows=48, columns=64, jpeg=True, InstanceNumber=number)
    server = server_factory()
    server.run("index", tmp_path / "pictures")

    with serve_viewer(server.dicomweb_url) as viewer:
        seen = look(viewer, tmp_path, {uid("study"): 100})

    assert seen["failed"] == []
    frames = {request["url"] for request in seen["requests"] if request["url"].endswith("/frames/1")}
    assert len(frames) == 100
