import hashlib
import json
import subprocess
import sys
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGBaseline8Bit

from app.corpus.isic import uids
from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.part10 import write_part10
from app.corpus.isic.picture import prepare_picture
from app.corpus.isic.rows import read_rows
from app.corpus.isic.subject import SopClassChoice
from app.dicom import private_block as private
from app.errors import NotImportable
from tests.corpus.pictures import SAMPLE, asymmetric, call, jpeg_bytes, pixels, row_of

SMALL = prepare_picture(jpeg_bytes(asymmetric(32, 24)), call)
DEFAULTS = MappingOptions()
DERMOSCOPIC = MappingOptions(sop_class=SopClassChoice.DERMOSCOPIC)


def mapped(folder, options=DEFAULTS, picture=SMALL, **cells) -> Dataset:
    """The data set of one row as a reader sees it, any warning of the reader an error."""
    file = write_part10(map_to_dicom(row_of(folder, **cells), picture, options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = dcmread(BytesIO(file))
        str(dataset)
        dataset.to_json()
    return dataset


def private_value(dataset: Dataset, element: int) -> object:
    block = dataset.private_block(private.GROUP, private.CREATOR)
    return block[element].value if element in block else None


def test_the_sample_is_embedded_unchanged_and_decodes_to_the_same_pixels():
    for row in read_rows(SAMPLE / "metadata.csv"):
        data = (SAMPLE / "images" / f"{row.isic_id}.jpg").read_bytes()
        file = write_part10(map_to_dicom(row, prepare_picture(data, call), MappingOptions()))
        assert len(file) % 2 == 0
        dataset = dcmread(BytesIO(file))
        assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        assert frame == data + b"\0" * (len(data) % 2)
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.4"
        assert dataset.PhotometricInterpretation == "YBR_FULL_422"
        assert dataset.LossyImageCompression == "01"
        assert dataset.ImageType == ["DERIVED", "PRIMARY"]
        assert dataset.DerivationDescription.endswith("bitstream unchanged.")
    assert abs(dataset.pixel_array.astype(int) - pixels(data)).max() <= 3  # pydicom turns YBR to RGB


def test_patient_study_and_series(tmp_path):
    cells = {"patient_id": "IP_1", "lesion_id": "IL_1", "sex": "female", "age_approx": "55"}
    dataset = mapped(tmp_path, image_type="dermoscopic", **cells)
    assert (dataset.PatientID, dataset.PatientName, dataset.IssuerOfPatientID) == ("IP_1", "IP_1", "ISIC")
    assert (dataset.PatientSex, dataset.PatientAge, dataset.PatientBirthDate) == ("F", "055Y", "")
    assert (dataset.StudyDate, dataset.StudyTime) == ("", "")
    assert "ContentDate" not in dataset
    assert "AcquisitionDateTime" not in dataset
    assert dataset.SeriesDescription == "dermoscopic, IL_1"
    assert dataset.Modality == "XC"
    assert (dataset.TrackingID, dataset.TrackingUID) == ("IL_1", uids.tracking_uid("IL_1"))
    assert dataset.InstanceNumber == 1
    same = mapped(tmp_path, isic_id="ISIC_0000002", image_type="dermoscopic", **cells)
    assert same.StudyInstanceUID == dataset.StudyInstanceUID
    assert same.SeriesInstanceUID == dataset.SeriesInstanceUID
    assert same.SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize(
    ("change", "same_study", "same_series"),
    [
        ({"age_approx": "60"}, False, False),
        ({"acquisition_day": "3"}, False, False),
        ({"patient_id": "IP_2"}, False, False),
        ({"lesion_id": "IL_2"}, True, False),
        ({"image_type": "clinical: close-up"}, True, False),
        ({"anatom_site_general": "head/neck"}, True, False),
        ({"diagnosis": "nevus"}, True, True),
    ],
)
def test_what_makes_another_study_or_series(tmp_path, change, same_study, same_series):
    cells = {
        "patient_id": "IP_1",
        "lesion_id": "IL_1",
        "age_approx": "55",
        "acquisition_day": "0",
        "image_type": "dermoscopic",
        "anatom_site_general": "upper extremity",
    }
    one, other = mapped(tmp_path, **cells), mapped(tmp_path, **cells | change)
    assert (one.StudyInstanceUID == other.StudyInstanceUID) is same_study
    assert (one.SeriesInstanceUID == other.SeriesInstanceUID) is same_series
    if same_series:
        for keyword in ("Modality", "BodyPartExamined", "SeriesDescription"):
            assert one[keyword].value == other[keyword].value


def test_strangers_never_share_a_patient(tmp_path):
    assert mapped(tmp_path).PatientID == "ISIC_0000001"
    assert mapped(tmp_path, lesion_id="IL_7").PatientID == "IL_7"
    one, other = mapped(tmp_path), mapped(tmp_path, isic_id="ISIC_0000002")
    assert one.StudyInstanceUID != other.StudyInstanceUID


def test_uids_are_a_promise(tmp_path):
    # Written down: with another value here every installation's UIDs would change.
    assert str(uids.NAMESPACE) == "a8d1a4c3-1a14-48af-bc15-564170abba2b"
    dataset = mapped(tmp_path, patient_id="IP_1", lesion_id="IL_1")
    assert dataset.SOPInstanceUID == "2.25.23416869458141020436087510721962681476"
    for uid in (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID):
        assert uid.is_valid
        assert uid.startswith("2.25.")
    assert mapped(tmp_path, DERMOSCOPIC, patient_id="IP_1").SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize(
    ("cells", "region", "body_part"),
    [
        ({"anatom_site_general": "head/neck"}, ("774007", "SCT"), "HEADNECK"),
        ({"anatom_site_general_challenge": "torso"}, ("22943007", "SCT"), "TRUNK"),
        ({"anatom_site_general": "palms/soles"}, ("39937001", "SCT"), "SKIN"),
        ({"anatom_site_general": "somewhere new"}, ("39937001", "SCT"), "SKIN"),
        ({}, ("39937001", "SCT"), "SKIN"),
        (
            {"anatom_site_1": "Head and neck", "anatom_site_2": "Head", "anatom_site_3": "Scalp"},
            ("43067004", "SCT"),
            "SCALP",
        ),
        (
            {"anatom_site_1": "Trunk", "anatom_site_2": "Posterior trunk", "anatom_site_3": "New place"},
            ("66643007", "SCT"),
            "TRUNK",
        ),
        ({"anatom_site_1": "Upper extremity", "anatom_site_2": "Hand"}, ("33712006", "SCT"), "HAND"),
    ],
)
def test_anatomy_is_always_one_code(tmp_path, cells, region, body_part):
    dataset = mapped(tmp_path, **cells)
    (item,) = dataset.AnatomicRegionSequence
    assert (item.CodeValue, item.CodingSchemeDesignator) == region
    assert dataset.BodyPartExamined == body_part
    assert private_value(dataset, private.ANATOMIC_SITE) == (":".join(cells.values()) or None)


def test_a_nail_is_the_structure(tmp_path):
    dataset = mapped(tmp_path, anatom_site_general="upper extremity", anatom_site_special="fingernail")
    assert dataset.PrimaryAnatomicStructureSequence[0].CodeValue == "770809003"


@pytest.mark.parametrize(
    ("cells", "path"),
    [
        (
            {"diagnosis": "nevus", "benign_malignant": "benign"},
            "Benign:Benign melanocytic proliferations:Nevus",
        ),
        (
            {"diagnosis": "melanoma", "benign_malignant": "malignant"},
            "Malignant:Malignant melanocytic proliferations (Melanoma)",
        ),
        ({"diagnosis": "unknown", "benign_malignant": "benign"}, "Benign"),
        ({"diagnosis": "lichenoid keratosis", "benign_malignant": "benign"}, "Benign"),
        ({"diagnosis": "nevus", "benign_malignant": "malignant"}, "Malignant"),
        ({"benign_malignant": "indeterminate/malignant"}, "Indeterminate"),
        ({"diagnosis_1": "Malignant", "diagnosis_2": "Brand new label"}, "Malignant"),
        ({"iddx_1": "Benign", "iddx_2": "Benign - Other"}, "Benign:Benign - Other"),
        ({"diagnosis": "unknown"}, None),
    ],
)
def test_diagnosis_old_and_new(tmp_path, cells, path):
    dataset = mapped(tmp_path, **cells)
    assert private_value(dataset, private.DIAGNOSIS) == path
    code = "DX" + hashlib.sha256(path.encode()).hexdigest()[:10].upper() if path else None
    assert private_value(dataset, private.DIAGNOSIS_CODE) == code


def test_licence_attribution_and_the_row_as_published_travel_along(tmp_path):
    options = MappingOptions(licence_id="CC-BY-NC", attribution="Hospital Clínic de Barcelona.")
    cells = {
        "copyright_license": "CC-BY",
        "sex": "unknown",
        "brand_new_column": 'a "quoted\\" word'.replace('"', "'"),
    }
    dataset = mapped(tmp_path, options, **cells)
    assert private_value(dataset, private.LICENCE_ID) == "CC-BY-NC"
    assert private_value(dataset, private.LICENCE_URL) == "https://creativecommons.org/licenses/by-nc/4.0/"
    assert private_value(dataset, private.ATTRIBUTION) == "Hospital Clínic de Barcelona."
    assert private_value(dataset, private.ISIC_ID) == "ISIC_0000001"
    published = json.loads(private_value(dataset, private.METADATA_AS_PUBLISHED))
    assert published == {"isic_id": "ISIC_0000001", **cells}
    assert dataset.ImageComments == (
        "ISIC_0000001. Hospital Clínic de Barcelona. Attribution-NonCommercial 4.0 International"
        " https://creativecommons.org/licenses/by-nc/4.0/"
    )
    assert "ConsentForClinicalTrialUseSequence" not in dataset


def test_every_private_element_that_a_row_can_have_is_written(tmp_path):
    dataset = mapped(
        tmp_path,
        MappingOptions(collection="isic-sample"),
        attribution="Anonymous",
        image_type="TBP tile: close-up",
        tbp_tile_type="3D: XP",
        anatom_site_general="torso",
        diagnosis="melanoma",
        diagnosis_confirm_type="histopathology",
        concomitant_biopsy="true",
        melanocytic="true",
        mel_mitotic_index="<1/mm^2",
        mel_thick_mm="0.8",
        mel_ulcer="false",
        clin_size_long_diam_mm="4.25",
        patient_id="IP_0000001",
        lesion_id="IL_0000001",
        rcm_case_id="IRCM_0000001",
        sex="female",
        age_approx="45",
        acquisition_day="3",
        dermoscopic_type="contact polarized",
        image_manipulation="altered",
        fitzpatrick_skin_type="II",
        personal_hx_mm="true",
        family_hx_mm="false",
        anatom_site_special="acral NOS",
        benign_malignant="malignant",
    )
    of_a_snapshot = {private.METADATA_TIME}
    assert {element for element in private.PRIVATE_ELEMENTS if private_value(dataset, element)} == set(
        private.PRIVATE_ELEMENTS
    ) - of_a_snapshot
    for element in private.PRIVATE_ELEMENTS.keys() - of_a_snapshot:
        assert (
            private.PRIVATE_ELEMENTS[element].vr
            == dataset.private_block(private.GROUP, private.CREATOR)[element].VR
        )
    assert dataset.ClinicalTrialProtocolID == "isic-sample"
    assert dataset.ClinicalTrialSponsorName == "ISIC"


def test_acquisition_day_and_deidentification(tmp_path):
    without = mapped(tmp_path)
    assert [item.CodeValue for item in without.DeidentificationMethodCodeSequence] == ["113100", "113108"]
    assert without.PatientIdentityRemoved == "YES"
    assert "BurnedInAnnotation" not in without
    dataset = mapped(tmp_path, acquisition_day="12")
    assert dataset.LongitudinalTemporalOffsetFromEvent == 12.0
    assert dataset.LongitudinalTemporalEventType == "BASELINE"
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence][-1] == "113107"


def test_acquisition_context(tmp_path):
    dataset = mapped(tmp_path, fitzpatrick_skin_type="III", personal_hx_mm="true", family_hx_mm="false")
    items = dataset.AcquisitionContextSequence
    assert [(i.ConceptNameCodeSequence[0].CodeValue, i.ConceptCodeSequence[0].CodeValue) for i in items] == [
        ("443635002", "C74571"),
        ("161432005", "373066001"),
        ("427858005", "373067005"),
    ]
    assert len(mapped(tmp_path).AcquisitionContextSequence) == 0


def test_the_dermoscopic_class_has_its_module_complete(tmp_path):
    dataset = mapped(tmp_path, DERMOSCOPIC, image_type="dermoscopic", dermoscopic_type="contact polarized")
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.7"
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert dataset.Modality == "DMS"
    assert (dataset.ContactMethod, dataset.LightSourcePolarization) == ("CONTACT", "POLARIZED")
    assert dataset.RecognizableVisualFeatures == "NO"
    for keyword in ("EmitterColorTemperature", "OpticalMagnificationFactor", "ImmersionMedia"):
        assert not dataset[keyword].value
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
        assert dataset[keyword].value == "UNKNOWN"
    sole = mapped(tmp_path, DERMOSCOPIC, anatom_site_general="palms/soles")
    assert sole.RecognizableVisualFeatures == "YES"
    assert "ImmersionMedia" not in sole


def test_other_photographs_stay_vl_photographic(tmp_path):
    assert mapped(tmp_path, DERMOSCOPIC, image_type="clinical: overview").Modality == "XC"
    assert mapped(tmp_path, DERMOSCOPIC, image_type="RCM: macroscopic").Modality == "XC"


def test_slice_3d_tiles_have_a_nominal_scale(tmp_path):
    cells = {"image_type": "TBP tile: close-up", "tbp_lv_areaMM2": "3.1"}
    dataset = mapped(tmp_path, **cells)
    assert [float(value) for value in dataset.PixelSpacing] == [15 / 32, 15 / 32]
    assert dataset.PixelSpacingCalibrationType == "GEOMETRY"
    assert dataset.PixelSpacingCalibrationDescription.startswith("Nominal")
    assert "nominal" in dataset.DerivationDescription
    assert "PixelSpacing" not in mapped(tmp_path, image_type="TBP tile: close-up")


def test_manipulated_images_say_so(tmp_path):
    assert mapped(tmp_path, image_manipulation="synthetic").DerivationDescription.endswith("synthetic.")
    assert "manipulation" not in mapped(tmp_path, image_manipulation="instrument only").DerivationDescription


def test_turned_and_encoded_pictures_say_so(tmp_path):
    data = jpeg_bytes(asymmetric(61, 43), 6)
    dataset = mapped(tmp_path, picture=prepare_picture(data, call))
    assert (dataset.Rows, dataset.Columns) == (61, 43)
    assert "encoded again" in dataset.DerivationDescription
    assert dataset.LossyImageCompressionMethod == ["ISO_10918_1", "ISO_10918_1"]
    assert len(dataset.LossyImageCompressionRatio) == 2
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    with Image.open(BytesIO(data)) as image:
        upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert abs(pixels(frame) - upright).mean() < 3


def test_a_grey_picture_and_a_colour_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colour = mapped(
        tmp_path, picture=prepare_picture(jpeg_bytes(asymmetric(16, 16), icc_profile=profile), call)
    )
    assert colour.ICCProfile.rstrip(b"\0") == profile.rstrip(b"\0")
    grey = mapped(
        tmp_path, picture=prepare_picture(jpeg_bytes(asymmetric(16, 16, "L"), icc_profile=profile), call)
    )
    assert (grey.PhotometricInterpretation, grey.SamplesPerPixel) == ("MONOCHROME2", 1)
    assert "PlanarConfiguration" not in grey
    assert "ICCProfile" not in grey


@pytest.mark.parametrize(
    ("cells", "options", "field"),
    [
        ({"copyright_license": ""}, MappingOptions(), "copyright_license"),
        ({"copyright_license": "CC-BY-NC-SA"}, MappingOptions(), "copyright_license"),
        ({"copyright_license": "CC-BY"}, MappingOptions(), "attribution"),
        ({"copyright_license": "CC-0"}, MappingOptions(licence_id="CC-BY"), "attribution"),
        ({"public": "false"}, MappingOptions(), "public"),
    ],
)
def test_what_may_not_be_published_is_refused(tmp_path, cells, options, field):
    with pytest.raises(NotImportable) as caught:
        mapped(tmp_path, options, **cells)
    assert caught.value.field == field


PRINT_DIGEST = """
import hashlib, sys
from pathlib import Path
from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.part10 import write_part10
from app.corpus.isic.picture import Layout, read_picture
from app.corpus.isic.rows import read_rows
sample = Path(sys.argv[1])
row = next(iter(read_rows(sample / "metadata.csv")))
path = sample / "images" / f"{row.isic_id}.jpg"
picture = read_picture(path, lambda f, *a: f(*a), Layout.PHOTOGRAPH, sample)
print(hashlib.sha256(write_part10(map_to_dicom(row, picture, MappingOptions()))).hexdigest())
"""
GOLDEN = "b6d7cfd3b2d8c723e0043b91d38efa26c9ad2bf0fb55aca6ee98497f1aea19ce"


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_same_input_is_the_same_bytes_everywhere(seed):
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST, str(SAMPLE)],
        env={"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        cwd=SAMPLE.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == GOLDEN
