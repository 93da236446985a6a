"""Confocal images: a tile is one frame (PS3.3 A.90.1), a mosaic a pyramid of tiles (A.90.2).

ISIC tells neither scale, position nor device. What the standard wants with a value and nobody knows is
nominal, and said to be so in Derivation Description; what it allows to be empty is empty.
"""

from collections.abc import Mapping

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from app.corpus.isic import uids
from app.corpus.isic.codes import code_item
from app.corpus.isic.image import add_lesion, add_region, usable_profile
from app.corpus.isic.picture import Layout, Picture
from app.corpus.isic.vocabulary import Code, Site
from app.dicom.icc_spaces import space_profile

# Content Date and Time are of Type 1 in multi-frame images (C.7.6.16): a dummy, as PS3.15 Table E.1-1 has it.
_DUMMY_DATE, _DUMMY_TIME = "19000101", "000000"
_OPTICAL_PATH = "1"
# Reflectance confocal microscopes for skin light it with a near infrared laser.
_REFLECTION = Code("DCM", "111742", "Reflection illumination")  # CID 8123
_INFRARED = Code("SCT", "414497003", "Infrared")  # CID 8122
_RESAMPLING = Code("DCM", "113085", "Spatial resampling")  # CID 7203
_SOURCE_IMAGE = Code("DCM", "121322", "Source image for image processing operation")  # CID 7202
_NOMINAL_PIXEL_UM = 0.5  # 1000 pixels for the 0.5 mm that the usual microscope sees at a time
_NOMINAL_DEPTH_UM = 5.0  # the usual optical section


def add_confocal(
    dataset: Dataset, values: Mapping[str, str], site: Site, picture: Picture, layout: Layout, number: int
) -> None:
    """Complete the data set of level `number` of a picture as its IOD asks."""
    is_resampled = number > 0
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if is_resampled else "NONE"]
    # C.8.35.1
    dataset.ConfocalMode = "REFLECTANCE"
    dataset.TissueLocation = "INVIVO"
    dataset.FrameOfReferenceUID = uids.frame_of_reference_uid(dataset.SeriesInstanceUID)
    dataset.PositionReferenceIndicator = ""
    dataset.ContentDate, dataset.ContentTime = _DUMMY_DATE, _DUMMY_TIME
    if dataset["InstanceNumber"].is_empty:  # here it is of Type 1
        dataset.InstanceNumber = "1"
    dataset.NumberOfFrames = len(picture.levels[number].frames)
    add_lesion(dataset, values)
    _add_acquisition_parameters(dataset)
    dataset.OpticalPathSequence = [_optical_path(picture)]
    dataset.SharedFunctionalGroupsSequence = [
        _shared_groups(dataset, values, site, is_resampled=is_resampled)
    ]
    if layout is Layout.MOSAIC:
        _add_pyramid(dataset, values, picture, number)
    else:
        _add_single_frame(dataset)


def _add_acquisition_parameters(dataset: Dataset) -> None:
    """Cutaneous Confocal Microscopy Image Acquisition Parameters (C.8.35.3)."""
    dataset.FieldOfViewShape = "RECTANGLE"
    for keyword in ("FieldOfViewDimensions", "ImageAcquisitionDepth", "OpticalMagnificationFactor"):
        setattr(dataset, keyword, None)


def _optical_path(picture: Picture) -> Dataset:
    """Return the one optical path (C.8.12.5)."""
    path = Dataset()
    path.OpticalPathIdentifier = _OPTICAL_PATH
    path.IlluminationTypeCodeSequence = [code_item(_REFLECTION)]
    path.IlluminationColorCodeSequence = [code_item(_INFRARED)]
    if picture.samples_per_pixel > 1:  # required for colour
        path.ICCProfile = usable_profile(picture) or space_profile("srgb")
    return path


def _shared_groups(dataset: Dataset, values: Mapping[str, str], site: Site, *, is_resampled: bool) -> Dataset:
    """Return what holds for all frames (A.90.1.5, A.90.2.5).

    Pixel Measures without Pixel Spacing: not required of what is DISTORTED (C.7.6.16.2.1).
    """
    groups = Dataset()
    groups.PixelMeasuresSequence = [Dataset()]
    anatomy = Dataset()
    add_region(anatomy, site)
    anatomy.FrameLaterality = "U"  # ISIC does not tell the side
    groups.FrameAnatomySequence = [anatomy]
    frame_type = Dataset()
    frame_type.FrameType = dataset.ImageType
    groups.ConfocalMicroscopyImageFrameTypeSequence = [frame_type]
    path = Dataset()
    path.OpticalPathIdentifier = _OPTICAL_PATH
    groups.OpticalPathIdentificationSequence = [path]
    if is_resampled:
        groups.DerivationImageSequence = [_derivation(dataset, values)]
    return groups


def _derivation(dataset: Dataset, values: Mapping[str, str]) -> Dataset:
    """Name the full level as what this one was made of (C.7.6.16.2.6)."""
    source = Dataset()
    source.ReferencedSOPClassUID = dataset.SOPClassUID
    source.ReferencedSOPInstanceUID = uids.level_instance_uid(values["isic_id"], dataset.SOPClassUID, 0)
    source.PurposeOfReferenceCodeSequence = [code_item(_SOURCE_IMAGE)]
    derivation = Dataset()
    derivation.DerivationCodeSequence = [code_item(_RESAMPLING)]
    derivation.SourceImageSequence = [source]
    return derivation


def _add_dimensions(dataset: Dataset) -> Dataset:
    """Add the organization of dimensions, named by the series; return its item (C.7.6.17)."""
    organization = Dataset()
    organization.DimensionOrganizationUID = uids.derive_uid("dimensions", dataset.SeriesInstanceUID)
    dataset.DimensionOrganizationSequence = [organization]
    return organization


def _add_single_frame(dataset: Dataset) -> None:
    """Add the dimensions of a stack of one frame (C.7.6.16.2.2, C.7.6.17)."""
    organization = _add_dimensions(dataset)
    dataset.DimensionIndexSequence = []
    for pointer in ("StackID", "InStackPositionNumber"):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer = Tag(pointer)
        index.FunctionalGroupPointer = Tag("FrameContentSequence")
        dataset.DimensionIndexSequence.append(index)
    content = Dataset()
    content.StackID = "1"
    content.InStackPositionNumber = 1
    content.DimensionIndexValues = [1, 1]
    frame = Dataset()
    frame.FrameContentSequence = [content]
    dataset.PerFrameFunctionalGroupsSequence = [frame]


def _add_pyramid(dataset: Dataset, values: Mapping[str, str], picture: Picture, number: int) -> None:
    """Add the tiling (C.8.12.14, C.7.6.17.3): all tiles in rows from the top left; and the pyramid."""
    level, full = picture.levels[number], picture.levels[0]
    _add_dimensions(dataset)
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.PyramidUID = uids.derive_uid("pyramid", values["isic_id"])
    dataset.TotalPixelMatrixColumns = level.columns
    dataset.TotalPixelMatrixRows = level.rows
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.NumberOfOpticalPaths = 1
    origin = Dataset()  # of a coordinate system that begins with the mosaic
    origin.XOffsetInSlideCoordinateSystem = "0"
    origin.YOffsetInSlideCoordinateSystem = "0"
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = [1, 0, 0, 0, 1, 0]
    # C.8.35.2
    dataset.VolumetricProperties = "DISTORTED"
    dataset.ImagedVolumeWidth = full.columns * _NOMINAL_PIXEL_UM / 1000
    dataset.ImagedVolumeHeight = full.rows * _NOMINAL_PIXEL_UM / 1000
    dataset.ImagedVolumeDepth = _NOMINAL_DEPTH_UM
    dataset.DerivationDescription += " Imaged Volume is nominal: ISIC tells no scale."
    if number:
        scale = f" Level {number} of its pyramid, 1 : {2**number}, each pixel the mean of four."
        dataset.DerivationDescription += scale
