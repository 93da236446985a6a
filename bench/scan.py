"""How long one scan of a dermatology header takes, beside pydicom on the same bytes.

    python bench/scan.py [rounds]

A VL Photographic Image of about 80 elements, with sequences and a private block as imported ones have, and a
JPEG frame of 20 KB. Ratios are what to quote: both sides run in turn, on one core, in one process.
"""

import io
import logging
import statistics
import sys
import time
from collections.abc import Callable

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from app.dicom.scan import scan

VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"
UID = "2.25.1308451549621248467898559526904423206"


def coded(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def add_sequences(data_set: Dataset) -> None:
    region = coded("39937001", "Skin of trunk")
    region.AnatomicRegionModifierSequence = [coded("7771000", "Left")]
    data_set.AnatomicRegionSequence = [region]
    data_set.AcquisitionContextSequence = []
    finding = Dataset()
    finding.ValueType = "CODE"
    finding.ConceptNameCodeSequence = [coded("439401001", "Diagnosis")]
    finding.ConceptCodeSequence = [coded("400010006", "Melanocytic nevus of skin")]
    data_set.AcquisitionContextSequence = [finding]
    method = coded("113100", "Basic Application Confidentiality Profile")
    data_set.DeidentificationMethodCodeSequence = [method]


PLAIN = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "InstanceCreationDate": "20240305",
    "InstanceCreationTime": "101112",
    "SOPClassUID": VL_PHOTOGRAPHIC,
    "SOPInstanceUID": UID + "1",
    "StudyDate": "20200101",
    "SeriesDate": "20200101",
    "AcquisitionDate": "20200101",
    "ContentDate": "20200101",
    "AcquisitionDateTime": "20200101101112",
    "StudyTime": "101112",
    "SeriesTime": "101112",
    "ContentTime": "101112",
    "AccessionNumber": "ISIC2020",
    "Modality": "XC",
    "ConversionType": "DI",
    "Manufacturer": "Unknown",
    "InstitutionName": "Hospital Clinic de Barcelona",
    "ReferringPhysicianName": "",
    "StudyDescription": "Dermoscopy",
    "SeriesDescription": "Dermoscopic image",
    "ManufacturerModelName": "Unknown",
    "LossyImageCompression": "01",
    "PatientName": "IP_0000123",
    "PatientID": "IP_0000123",
    "PatientBirthDate": "",
    "PatientSex": "F",
    "PatientAge": "045Y",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Removed by the data provider",
    "BodyPartExamined": "TRUNK",
    "DeviceSerialNumber": "1",
    "SoftwareVersions": "1.0",
    "ProtocolName": "Dermoscopy",
    "StudyInstanceUID": UID + "2",
    "SeriesInstanceUID": UID + "3",
    "StudyID": "1",
    "SeriesNumber": 1,
    "InstanceNumber": 12,
    "PatientOrientation": "",
    "Laterality": "",
    "FrameOfReferenceUID": UID + "4",
    "ImageComments": "https://www.isic-archive.com",
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "YBR_FULL_422",
    "PlanarConfiguration": 0,
    "Rows": 1600,
    "Columns": 2400,
    "PixelSpacing": [0.02, 0.02],
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
    "BurnedInAnnotation": "NO",
    "LossyImageCompressionRatio": 10.5,
    "LossyImageCompressionMethod": "ISO_10918_1",
    "ClinicalTrialSponsorName": "ISIC",
    "ClinicalTrialProtocolID": "2020",
    "ClinicalTrialProtocolName": "SIIM-ISIC 2020",
    "ClinicalTrialSubjectID": "IP_0000123",
    "SpecimenShortDescription": "skin",
    "AcquisitionDeviceProcessingDescription": "none",
    "PresentationLUTShape": "IDENTITY",
    "ImagesInAcquisition": 1,
    "TimezoneOffsetFromUTC": "+0000",
}


def specimen() -> bytes:
    data_set = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    for keyword, value in PLAIN.items():
        setattr(data_set, keyword, value)
    add_sequences(data_set)
    block = data_set.private_block(0x0011, "ISIC ARCHIVE", create=True)
    for number, value in enumerate(("ISIC_0052212", "nevus", "benign", "True", "CC-BY-NC", "ISIC", "70"), 1):
        block.add_new(number, "LO", value)
    data_set.ICCProfile = bytes(588)
    data_set.PixelData = encapsulate([b"\xff\xd8\xff" + bytes(20_000)])
    data_set["PixelData"].is_undefined_length = True
    data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def microseconds(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats * 1e6


def main(rounds: int) -> None:
    logging.disable(logging.CRITICAL)
    content = specimen()
    count = len(list(pydicom.dcmread(io.BytesIO(content)).iterall()))
    contenders: dict[str, Callable[[], object]] = {
        "scan": lambda: scan(content),
        "dcmread, no pixels": lambda: pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True),
        "dcmread + to_json": lambda: pydicom.dcmread(io.BytesIO(content)).to_json(
            bulk_data_threshold=256, bulk_data_element_handler=lambda _: "http://here"
        ),
    }
    for function in contenders.values():
        microseconds(function, 50)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            times[name].append(microseconds(function, 300))
    print(f"{count} elements, {len(content)} bytes, document of {len(scan(content).document)} bytes")
    scanned = statistics.median(times["scan"])
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:20} {median:8.1f} microseconds, {1e6 / median:8.0f}/s, {median / scanned:5.2f} x scan")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
