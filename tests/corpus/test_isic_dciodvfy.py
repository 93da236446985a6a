"""Every kind of file the importer writes, looked at by Debian's dicom3tools."""

import shutil
import subprocess

import pytest

from app.corpus.isic.fields import IMAGE_TYPES
from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.part10 import write_part10, write_with_frames
from app.corpus.isic.picture import prepare_picture, read_picture
from app.corpus.isic.rows import read_rows
from app.corpus.isic.subject import SopClassChoice, layout_of
from tests.corpus.pictures import SAMPLE, asymmetric, call, jpeg_bytes, row_of
from tests.corpus.rasters import noise, png_bytes, tiff_bytes

pytestmark = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="Debian package dicom3tools is not installed"
)
CHOICES = pytest.mark.parametrize("choice", list(SopClassChoice))


def lines(path) -> list[str]:
    done = subprocess.run(
        ["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace"
    )
    return (done.stdout + done.stderr).splitlines()


def errors(path) -> list[str]:
    said = lines(path)
    assert any("VLPhotographicImage" in line or "DermoscopicPhotographyImage" in line for line in said)
    return [line for line in said if "Error" in line]


@CHOICES
def test_the_sample(tmp_path, choice):
    for row in read_rows(SAMPLE / "metadata.csv"):
        data = (SAMPLE / "images" / f"{row.isic_id}.jpg").read_bytes()
        path = tmp_path / f"{row.isic_id}.dcm"
        path.write_bytes(
            write_part10(map_to_dicom(row, prepare_picture(data, call), MappingOptions(sop_class=choice)))
        )
        assert errors(path) == []


FULL = {
    "patient_id": "IP_1234567",
    "lesion_id": "IL_1234567",
    "sex": "female",
    "age_approx": "85",
    "acquisition_day": "12",
    "image_type": "dermoscopic",
    "dermoscopic_type": "contact polarized",
    "fitzpatrick_skin_type": "III",
    "personal_hx_mm": "true",
    "family_hx_mm": "false",
    "anatom_site_general": "upper extremity",
    "anatom_site_special": "fingernail",
    "diagnosis_1": "Malignant",
    "diagnosis_confirm_type": "histopathology",
    "concomitant_biopsy": "true",
    "melanocytic": "true",
    "mel_mitotic_index": "<1/mm^2",
    "mel_thick_mm": "0.85",
    "mel_ulcer": "false",
    "clin_size_long_diam_mm": "4.5",
    "image_manipulation": "altered",
    "attribution": "Hospital Clínic de Barcelona",
}
SITES = ["head/neck", "upper extremity", "lower extremity", "torso", "palms/soles", "oral/genital", ""]
PATHS = [
    "Head and neck:Head",
    "Head and neck:Neck",
    "Head and neck:Head:Scalp",
    "Head and neck:Head:Ear",
    "Head and neck:Head:Face:Nose:Dorsum of nose",
    "Trunk:Posterior trunk:Mid back",
    "Upper extremity:Hand:Palm of hand",
    "Lower extremity:Foot:Toes",
    "Anogenital region",
]


@CHOICES
@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(FULL, id="everything"),
        pytest.param({"image_type": "clinical: overview", "sex": "male"}, id="clinical"),
        pytest.param(
            {"image_type": "TBP tile: close-up", "tbp_lv_areaMM2": "3", "tbp_tile_type": "3D: XP"}, id="tile"
        ),
        pytest.param({"image_type": "RCM: macroscopic", "rcm_case_id": "IRCM_0000001"}, id="rcm"),
        *(pytest.param({"anatom_site_general": site}, id=site or "nowhere") for site in SITES),
        *(
            pytest.param({f"anatom_site_{n}": part for n, part in enumerate(path.split(":"), 1)}, id=path)
            for path in PATHS
        ),
    ],
)
def test_rows_of_every_kind(tmp_path, choice, cells):
    picture = prepare_picture(jpeg_bytes(asymmetric(32, 24)), call)
    options = MappingOptions(sop_class=choice, collection="a-collection")
    path = tmp_path / "one.dcm"
    path.write_bytes(write_part10(map_to_dicom(row_of(tmp_path, **cells), picture, options)))
    assert errors(path) == []


@pytest.mark.parametrize(
    "data",
    [
        jpeg_bytes(asymmetric(32, 24, "L")),
        jpeg_bytes(asymmetric(32, 24), keep_rgb=True),
        jpeg_bytes(asymmetric(32, 24), subsampling=0),
        jpeg_bytes(asymmetric(61, 43), 6),
        jpeg_bytes(asymmetric(32, 32), 6),
        jpeg_bytes(asymmetric(32, 24), progressive=True),
        jpeg_bytes(asymmetric(32, 24, "CMYK")),
    ],
    ids=["grey", "rgb", "444", "encoded again", "turned", "progressive", "cmyk"],
)
@CHOICES
def test_pictures_of_every_kind(tmp_path, choice, data):
    path = tmp_path / "one.dcm"
    path.write_bytes(
        write_part10(
            map_to_dicom(row_of(tmp_path), prepare_picture(data, call), MappingOptions(sop_class=choice))
        )
    )
    assert errors(path) == []


PHOTOGRAPHS = sorted(IMAGE_TYPES - {"RCM: tile", "RCM: mosaic"})
COLOUR, GREY, WORDS = noise(30, 40, channels=3), noise(30, 40), noise(30, 40, words=True)


def files_of(folder, image_type: str, data: bytes, suffix: str, choice: SopClassChoice) -> list:
    """The DICOM files that an image of this type becomes."""
    (folder / f"ISIC_0000001.{suffix}").write_bytes(data)
    cells = {"image_type": image_type, "lesion_id": "IL_0000001", "tbp_lv_areaMM2": "3"}
    row = row_of(folder, **cells)
    picture = read_picture(folder / f"ISIC_0000001.{suffix}", call, layout_of(row.values), folder)
    files = []
    for number, level in enumerate(picture.levels):
        dataset = map_to_dicom(row, picture, MappingOptions(sop_class=choice), number)
        files.append(folder / f"{number}.dcm")
        if picture.jpeg:
            files[-1].write_bytes(write_part10(dataset))
        else:
            write_with_frames(dataset, level.frames, picture.transfer_syntax_uid, files[-1])
    return files


@CHOICES
@pytest.mark.parametrize("image_type", PHOTOGRAPHS)
@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        pytest.param("jpg", jpeg_bytes(asymmetric(40, 30)), id="jpeg"),
        pytest.param("png", png_bytes(COLOUR), id="png"),
        pytest.param("png", png_bytes(GREY), id="grey png"),
        pytest.param("tif", tiff_bytes(COLOUR, photometric="rgb", tile=(16, 16)), id="tiff"),
    ],
)
def test_photographs_of_every_image_type_and_format(tmp_path, choice, image_type, suffix, data):
    (path,) = files_of(tmp_path, image_type, data, suffix, choice)
    assert errors(path) == []


@pytest.mark.parametrize(
    ("image_type", "suffix", "data"),
    [
        pytest.param("RCM: tile", "png", png_bytes(WORDS), id="tile of words"),
        pytest.param("RCM: tile", "png", png_bytes(GREY), id="tile"),
        pytest.param("RCM: tile", "jpg", jpeg_bytes(asymmetric(40, 30)), id="tile as jpeg"),
        pytest.param("RCM: mosaic", "tif", tiff_bytes(noise(600, 700), tile=(256, 256)), id="mosaic"),
        pytest.param("RCM: mosaic", "jpg", jpeg_bytes(asymmetric(40, 30)), id="mosaic as jpeg"),
    ],
)
def test_of_confocal_images_nothing_is_said_but_that_their_kind_is_not_known(
    tmp_path, image_type, suffix, data
):
    """The release of 2022 in Debian 12 has no confocal IOD: test_isic_confocal.py has their tables."""
    for path in files_of(tmp_path, image_type, data, suffix, SopClassChoice.VL_PHOTOGRAPHIC):
        wrong = [line for line in lines(path) if "Error" in line]
        assert wrong in ([], ["Error - Information Object Not found"])
