"""The image itself: pixels, anatomy, acquisition and the Dermoscopic Image module."""

from collections.abc import Mapping

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from app.corpus.isic import uids
from app.corpus.isic.codes import YES_NO, code_item, context_item
from app.corpus.isic.fields import CONTACTS, FITZPATRICK
from app.corpus.isic.levels import Level
from app.corpus.isic.picture import Picture
from app.corpus.isic.vocabulary import Code, Site

FITZPATRICK_SCALE = Code("SCT", "443635002", "Fitzpatrick classification of skin type")
HISTORY = {
    "personal_hx_mm": Code("SCT", "161432005", "History of malignant melanoma"),
    "family_hx_mm": Code("SCT", "427858005", "Family history of malignant melanoma"),
}
# SLICE-3D: every tile is a crop of 15 mm by 15 mm, known by the columns that only this set has.
_SLICE_3D_COLUMN = "tbp_lv_areaMM2"
_SLICE_3D_SIDE_MM = 15
# Skin that shows fingerprints, or a face.
_RECOGNIZABLE = ("palm", "sole", "acral", "finger", "toe", "hand", "foot", "face")


def add_general_image(dataset: Dataset, values: Mapping[str, str], picture: Picture) -> None:
    """Add General Image (PS3.3 C.7.6.1) and VL Image (C.8.12.1).

    Content Date and Time are left out: an empty one is an error, and ISIC publishes none.
    """
    digits = values["isic_id"].rpartition("_")[2]
    dataset.InstanceNumber = str(int(digits)) if digits.isdigit() and len(digits) < 10 else ""
    dataset.PatientOrientation = ""
    # ISIC encodes again whatever it is sent.
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    manipulation = values.get("image_manipulation", "instrument only")
    changed = () if manipulation == "instrument only" else (f"ISIC image manipulation: {manipulation}.",)
    dataset.DerivationDescription = " ".join((*picture.derivation, *changed))[:1024]
    dataset.LossyImageCompression = "01" if picture.compression_ratios else "00"
    if picture.compression_ratios:
        dataset.LossyImageCompressionRatio = [f"{ratio:.2f}" for ratio in picture.compression_ratios]
        dataset.LossyImageCompressionMethod = ["ISO_10918_1"] * len(picture.compression_ratios)


def add_pixels(dataset: Dataset, picture: Picture, level: Level) -> None:
    """Add Image Pixel (C.7.6.3) for one level of a picture.

    An embedded JPEG is in it, one fragment with its offset (PS3.5 A.4); other frames are written behind it.
    """
    dataset.SamplesPerPixel = picture.samples_per_pixel
    dataset.PhotometricInterpretation = picture.photometric_interpretation
    if picture.samples_per_pixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.Rows = level.frame_rows
    dataset.Columns = level.frame_columns
    dataset.BitsAllocated = picture.bits
    dataset.BitsStored = picture.bits
    dataset.HighBit = picture.bits - 1
    dataset.PixelRepresentation = 0
    if picture.jpeg:
        dataset.PixelData = encapsulate([picture.jpeg.data], has_bot=True)
        dataset["PixelData"].is_undefined_length = True


def usable_profile(picture: Picture) -> bytes | None:
    """Return the colour profile if it may stand in a data set (C.11.15.1.1): input, display or space, RGB."""
    profile = picture.icc_profile
    if picture.samples_per_pixel == 3 and profile and profile[16:20] == b"RGB ":
        return profile if profile[12:16] in _ICC_CLASSES else None
    return None


def add_profile(dataset: Dataset, picture: Picture) -> None:
    """Add the ICC Profile module (C.11.15) where there is one."""
    if profile := usable_profile(picture):
        dataset.ICCProfile = profile


_ICC_CLASSES = {b"scnr", b"mntr", b"spac"}


def add_anatomy(dataset: Dataset, values: Mapping[str, str], site: Site) -> None:
    """Add the Anatomic Region (PS3.3 10.5), always one, and the lesion's identity."""
    add_region(dataset, site)
    add_lesion(dataset, values)


def add_region(dataset: Dataset, site: Site) -> None:
    """Add the Anatomic Region (PS3.3 10.5), always one."""
    dataset.AnatomicRegionSequence = [code_item(site.region)]
    if site.structure:
        dataset.PrimaryAnatomicStructureSequence = [code_item(site.structure)]


def add_lesion(dataset: Dataset, values: Mapping[str, str]) -> None:
    """Add the lesion's identity, wherever it was photographed."""
    if "lesion_id" in values:
        dataset.TrackingID = values["lesion_id"]
        dataset.TrackingUID = uids.tracking_uid(values["lesion_id"])


def add_acquisition(dataset: Dataset, values: Mapping[str, str], published: Mapping[str, str]) -> None:
    """Add Acquisition Context (C.7.6.14) and, where it is known, how the skin was touched, lit and scaled."""
    items = []
    if "fitzpatrick_skin_type" in values:
        skin_type = values["fitzpatrick_skin_type"]
        code = Code("NCIt", FITZPATRICK[skin_type], f"Fitzpatrick Skin Type {skin_type}")
        items.append(context_item(FITZPATRICK_SCALE, code))
    items += [context_item(HISTORY[name], YES_NO[values[name]]) for name in HISTORY if name in values]
    dataset.AcquisitionContextSequence = items
    if "dermoscopic_type" in values:
        dataset.ContactMethod, dataset.LightSourcePolarization = CONTACTS[values["dermoscopic_type"]]
    if _SLICE_3D_COLUMN in published and values.get("image_type") == "TBP tile: close-up":
        # By the columns: an edge that was cut makes no pixel longer than wide.
        dataset.PixelSpacing = [f"{_SLICE_3D_SIDE_MM / int(dataset.Columns):.6g}"] * 2
        # 10.7.1.2: the scale of the body's surface, not of an object in the picture.
        dataset.PixelSpacingCalibrationType = "GEOMETRY"
        dataset.PixelSpacingCalibrationDescription = "Nominal: the tile is a crop of 15 mm by 15 mm"
        dataset.DerivationDescription += " Pixel Spacing is nominal: the tile is a crop of 15 mm by 15 mm."


def add_dermoscopic(dataset: Dataset, site: Site) -> None:
    """Complete the Dermoscopic Image module (C.8.12.13); what ISIC does not tell stays empty."""
    # The IOD has the Frame of Reference module (C.7.4.1), of which a series has one.
    dataset.FrameOfReferenceUID = uids.frame_of_reference_uid(dataset.SeriesInstanceUID)
    dataset.PositionReferenceIndicator = ""
    where = site.path.lower()
    recognizable = any(word in where for word in _RECOGNIZABLE)
    dataset.RecognizableVisualFeatures = "YES" if recognizable else "NO"
    for keyword in (
        "LightSourcePolarization",
        "EmitterColorTemperature",
        "ContactMethod",
        "OpticalMagnificationFactor",
    ):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if dataset.ContactMethod == "CONTACT":
        dataset.ImmersionMedia = ""
