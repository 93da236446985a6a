"""Confocal tiles and mosaics, held against the tables of their IODs (PS3.3 A.90.1.3, A.90.2.3).

Debian's dciodvfy is of 2022 and does not know these IODs; the tables below are written after the standard's.
"""

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from app.corpus.isic.files import list_pictures
from app.corpus.isic.importer import import_rows
from app.corpus.isic.mapping import MappingOptions
from app.dicom import private_block as private
from tests.corpus.pictures import asymmetric, call, jpeg_bytes
from tests.corpus.rasters import noise, png_bytes, tiff_bytes

TILE_UID, MOSAIC_UID = "1.2.840.10008.5.1.4.1.1.77.1.8", "1.2.840.10008.5.1.4.1.1.77.1.9"

# Attributes of Type 1 (with a value) and 2 (present) of the mandatory modules, by module.
GROUPS = "SharedFunctionalGroupsSequence"
BOTH = {
    "C.7.1.1 Patient": "PatientName:2 PatientID:2 PatientBirthDate:2 PatientSex:2",
    "C.7.2.1 General Study": "StudyInstanceUID:1 StudyDate:2 StudyTime:2 ReferringPhysicianName:2 StudyID:2 "
    "AccessionNumber:2",
    "C.7.3.1 General Series": "Modality:1 SeriesInstanceUID:1 SeriesNumber:2",
    "C.7.4.1 Frame of Reference": "FrameOfReferenceUID:1 PositionReferenceIndicator:2",
    "C.7.5.2 Enhanced General Equipment": "Manufacturer:1 ManufacturerModelName:1 DeviceSerialNumber:1 "
    "SoftwareVersions:1",
    "C.7.6.1 General Image": "InstanceNumber:2 PatientOrientation:2",
    "C.7.6.3 Image Pixel": "SamplesPerPixel:1 PhotometricInterpretation:1 Rows:1 Columns:1 BitsAllocated:1 "
    "BitsStored:1 HighBit:1 PixelRepresentation:1 PixelData:1",
    "C.7.6.16 Multi-frame Functional Groups": f"{GROUPS}:1 InstanceNumber:1 ContentDate:1 ContentTime:1 "
    "NumberOfFrames:1",
    "C.7.6.17 Multi-frame Dimension": "DimensionOrganizationSequence:1 "
    "DimensionOrganizationSequence/DimensionOrganizationUID:1",
    "C.7.6.14 Acquisition Context": "AcquisitionContextSequence:2",
    "C.8.35.1 Confocal Microscopy Image": "ImageType:1 LossyImageCompression:1 ConfocalMode:1 "
    "TissueLocation:1",
    "C.8.35.3 Cutaneous Confocal Microscopy Image Acquisition Parameters": "OpticalMagnificationFactor:2 "
    "ImageAcquisitionDepth:2 FieldOfViewShape:2 FieldOfViewDimensions:2 TrackingID:1 TrackingUID:1",
    "C.8.12.5 Optical Path": "OpticalPathSequence:1 OpticalPathSequence/OpticalPathIdentifier:1 "
    "OpticalPathSequence/IlluminationTypeCodeSequence:1 OpticalPathSequence/IlluminationColorCodeSequence:1",
    "C.12.1 SOP Common": "SOPClassUID:1 SOPInstanceUID:1 SpecificCharacterSet:1",
    "C.7.6.16.2.1 Pixel Measures": f"{GROUPS}/PixelMeasuresSequence:1",
    "C.7.6.16.2.8 Frame Anatomy": f"{GROUPS}/FrameAnatomySequence:1 "
    f"{GROUPS}/FrameAnatomySequence/AnatomicRegionSequence:1 {GROUPS}/FrameAnatomySequence/FrameLaterality:1",
    "C.8.12.6.2 Optical Path Identification": f"{GROUPS}/OpticalPathIdentificationSequence:1 "
    f"{GROUPS}/OpticalPathIdentificationSequence/OpticalPathIdentifier:1",
    "C.8.35.4.1 Confocal Microscopy Image Frame Type": f"{GROUPS}/ConfocalMicroscopyImageFrameTypeSequence:1 "
    f"{GROUPS}/ConfocalMicroscopyImageFrameTypeSequence/FrameType:1",
}
OF_TILES = {
    "C.7.6.17 Multi-frame Dimension": "DimensionIndexSequence:1 "
    "DimensionIndexSequence/DimensionIndexPointer:1 DimensionIndexSequence/FunctionalGroupPointer:1 "
    "DimensionIndexSequence/DimensionOrganizationUID:1",
    "C.7.6.16.2.2 Frame Content": "PerFrameFunctionalGroupsSequence:1 "
    "PerFrameFunctionalGroupsSequence/FrameContentSequence:1 "
    "PerFrameFunctionalGroupsSequence/FrameContentSequence/DimensionIndexValues:1 "
    "PerFrameFunctionalGroupsSequence/FrameContentSequence/StackID:1 "
    "PerFrameFunctionalGroupsSequence/FrameContentSequence/InStackPositionNumber:1",
}
OF_MOSAICS = {
    "C.7.11.1 Multi-Resolution Pyramid": "PyramidUID:1",
    "C.7.6.17 Multi-frame Dimension": "DimensionOrganizationType:1",
    "C.8.12.5 Optical Path": "NumberOfOpticalPaths:1",
    "C.8.12.14 Microscope Slide Layer Tile Organization": "TotalPixelMatrixColumns:1 TotalPixelMatrixRows:1 "
    "TotalPixelMatrixFocalPlanes:1 ImageOrientationSlide:1 TotalPixelMatrixOriginSequence:1 "
    "TotalPixelMatrixOriginSequence/XOffsetInSlideCoordinateSystem:1 "
    "TotalPixelMatrixOriginSequence/YOffsetInSlideCoordinateSystem:1",
    "C.8.35.2 Confocal Microscopy Tiled Pyramidal Image": "VolumetricProperties:1 ImagedVolumeWidth:1 "
    "ImagedVolumeHeight:1 ImagedVolumeDepth:1",
}
OF_RESAMPLED = {
    "C.7.6.16.2.6 Derivation Image": f"{GROUPS}/DerivationImageSequence:1 "
    f"{GROUPS}/DerivationImageSequence/DerivationCodeSequence:1 "
    f"{GROUPS}/DerivationImageSequence/SourceImageSequence:1 "
    f"{GROUPS}/DerivationImageSequence/SourceImageSequence/ReferencedSOPInstanceUID:1",
}


def lacking(dataset: Dataset, modules: dict[str, str]) -> list[str]:
    """What a data set lacks of these modules."""
    missing = []
    for module, attributes in modules.items():
        for attribute in attributes.split():
            path, kind = attribute.split(":")
            items = [dataset]
            *sequences, keyword = path.split("/")
            for sequence in sequences:
                items = [inner for item in items for inner in item.get(sequence, [])]
            sound = items and all(
                keyword in item and (kind == "2" or not item[keyword].is_empty) for item in items
            )
            missing += [] if sound else [f"{module}: {path}"]
    return missing


def imported(folder: Path, files: dict[str, tuple[str, bytes]]) -> dict[str, list[Dataset]]:
    """Import one row for each file: by the file's name, the data sets that its image became."""
    (folder / "images").mkdir()
    lines = ["isic_id,copyright_license,patient_id,lesion_id,rcm_case_id,image_type"]
    for name, (image_type, data) in files.items():
        (folder / "images" / name).write_bytes(data)
        lines.append(f"{Path(name).stem},CC-0,IP_0000001,IL_0000001,IRCM_0000001,{image_type}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    kept = []

    def store(stored):
        read = [dcmread(BytesIO(file) if isinstance(file, bytes) else file) for file in stored]
        kept.extend(read)
        return [type("Result", (), {"error": None, "is_new": True})() for _ in read]

    outcomes = list(
        import_rows(
            list_pictures(folder / "images"),
            folder / "metadata.csv",
            MappingOptions(),
            store,
            call,
            work_in=folder / "work",
        )
    )
    assert [outcome.reason for outcome in outcomes] == [""] * len(files)
    assert list((folder / "work").iterdir()) == []
    found: dict[str, list[Dataset]] = {name: [] for name in files}
    for dataset in kept:
        name = next(name for name in files if dataset.ImageComments.startswith(Path(name).stem))
        found[name].append(dataset)
    return found


WORDS = noise(40, 50, words=True)
MOSAIC = noise(700, 1100)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dataset]]:
    """What a case becomes: a tile of words, a mosaic, a tile and a mosaic as JPEG, a photograph."""
    return imported(
        tmp_path_factory.mktemp("case"),
        {
            "ISIC_0000001.png": ("RCM: tile", png_bytes(WORDS)),
            "ISIC_0000002.tif": ("RCM: mosaic", tiff_bytes(MOSAIC, tile=(256, 256), compression="deflate")),
            "ISIC_0000003.jpg": ("RCM: tile", jpeg_bytes(asymmetric(64, 48))),
            "ISIC_0000004.jpeg": ("RCM: mosaic", jpeg_bytes(asymmetric(640, 480, "L"))),
            "ISIC_0000005.png": ("RCM: macroscopic", png_bytes(noise(30, 20, channels=3))),
        },
    )


def frames(dataset: Dataset) -> list[bytes]:
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))))


def test_a_tile_has_the_modules_of_its_iod(case: dict[str, list[Dataset]]) -> None:
    """PS3.3 A.90.1.3."""
    for name in ("ISIC_0000001.png", "ISIC_0000003.jpg"):
        (dataset,) = case[name]
        assert (dataset.SOPClassUID, dataset.Modality) == (TILE_UID, "CFM")
        assert lacking(dataset, BOTH) == []
        assert lacking(dataset, OF_TILES) == []
        pointed = [index.DimensionIndexPointer for index in dataset.DimensionIndexSequence]
        content = dataset.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]
        assert all(pointer in content for pointer in pointed)
        assert len(content.DimensionIndexValues) == len(pointed)


def test_a_mosaic_has_the_modules_of_its_iod_on_every_level(case: dict[str, list[Dataset]]) -> None:
    """PS3.3 A.90.2.3."""
    levels = case["ISIC_0000002.tif"]
    for dataset in (*levels, *case["ISIC_0000004.jpeg"]):
        assert (dataset.SOPClassUID, dataset.Modality) == (MOSAIC_UID, "CFM")
        assert lacking(dataset, BOTH) == []
        assert lacking(dataset, OF_MOSAICS) == []
        assert "PixelSpacing" not in dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert "nominal" in dataset.DerivationDescription
        down = -(-dataset.TotalPixelMatrixRows // dataset.Rows)
        across = -(-dataset.TotalPixelMatrixColumns // dataset.Columns)
        assert dataset.NumberOfFrames == down * across == len(frames(dataset))
    assert [(d.TotalPixelMatrixRows, d.TotalPixelMatrixColumns) for d in levels] == [
        (700, 1100),
        (350, 550),
        (175, 275),
    ]
    for dataset in levels[1:]:
        assert lacking(dataset, OF_RESAMPLED) == []
        (derivation,) = dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence
        assert derivation.SourceImageSequence[0].ReferencedSOPInstanceUID == levels[0].SOPInstanceUID
        assert dataset.ImageType[3] == "RESAMPLED"
    assert levels[0].ImageType == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert len({dataset.SOPInstanceUID for dataset in levels}) == 3
    for keyword in ("PyramidUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImagedVolumeWidth"):
        assert len({dataset[keyword].value for dataset in levels}) == 1


def test_facts_stand_in_the_full_level_and_terms_in_all(case: dict[str, list[Dataset]]) -> None:
    full, *others = case["ISIC_0000002.tif"]
    facts = {element.tag.element & 0xFF for element in full.group_dataset(private.GROUP)} - {0x10}
    terms = {private.ISIC_ID, private.LICENCE_ID, private.LICENCE_URL, private.COMMERCIAL_USE}
    assert {private.LESION_ID, private.RCM_CASE_ID, private.IMAGE_TYPE} < facts - terms
    for level in others:
        kept = {element.tag.element & 0xFF for element in level.group_dataset(private.GROUP)} - {0x10}
        assert kept == terms
        assert (level.PatientID, level.TrackingID) == (full.PatientID, full.TrackingID)


def test_tiles_and_mosaics_of_a_case_are_one_series_the_photograph_another(
    case: dict[str, list[Dataset]],
) -> None:
    *confocal, photograph = (dataset for datasets in case.values() for dataset in datasets)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesDescription"):
        assert len({dataset[keyword].value for dataset in confocal}) == 1, keyword
    assert confocal[0].SeriesDescription == "RCM, IL_0000001, IRCM_0000001"
    assert photograph.StudyInstanceUID == confocal[0].StudyInstanceUID
    assert photograph.SeriesInstanceUID != confocal[0].SeriesInstanceUID
    assert (photograph.Modality, photograph.SeriesDescription[:16]) == ("XC", "RCM: macroscopic")


def test_words_stay_words_without_loss(case: dict[str, list[Dataset]]) -> None:
    (dataset,) = case["ISIC_0000001.png"]
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 16, 15)
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80"
    assert (dataset.LossyImageCompression, "LossyImageCompressionRatio" in dataset) == ("00", False)
    decoded = imagecodecs.jpegls_decode(frames(dataset)[0])
    np.testing.assert_array_equal(decoded, WORDS)


def test_a_jpeg_is_embedded_unchanged(case: dict[str, list[Dataset]]) -> None:
    (tile,) = case["ISIC_0000003.jpg"]
    (mosaic,) = case["ISIC_0000004.jpeg"]
    for dataset, picture in ((tile, asymmetric(64, 48)), (mosaic, asymmetric(640, 480, "L"))):
        assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert frames(dataset)[0].rstrip(b"\0") == jpeg_bytes(picture).rstrip(b"\0")
        assert dataset.LossyImageCompression == "01"
    assert tile.OpticalPathSequence[0].ICCProfile[36:40] == b"acsp"  # required for colour (C.8.12.5)
    assert "ICCProfile" not in mosaic.OpticalPathSequence[0]
    assert (mosaic.TotalPixelMatrixRows, mosaic.Rows) == (480, 480)


def test_the_same_picture_is_the_same_files(case: dict[str, list[Dataset]], tmp_path: Path) -> None:
    again = imported(
        tmp_path,
        {"ISIC_0000002.tif": ("RCM: mosaic", tiff_bytes(MOSAIC, rowsperstrip=33, compression="lzw"))},
    )
    assert again["ISIC_0000002.tif"] == case["ISIC_0000002.tif"]


def test_a_mosaic_of_one_tile_is_padded_and_says_its_size(tmp_path: Path) -> None:
    small = Image.fromarray(noise(20, 30))
    data = BytesIO()
    small.save(data, "PNG")
    (dataset,) = imported(tmp_path, {"ISIC_0000001.png": ("RCM: mosaic", data.getvalue())})[
        "ISIC_0000001.png"
    ]
    assert (dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns) == (20, 30)
    assert (dataset.Rows, dataset.Columns, dataset.NumberOfFrames) == (512, 512, 1)
