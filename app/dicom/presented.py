"""An image as a softcopy presentation state has it (PS3.3 C.11, PS3.4 Annex N); runs inside the cage.

The state's transformations replace those of the image, which are not applied as well (PS3.4 N.2). What is
drawn: shutters, activated overlays, graphic and text objects, the displayed area, rotation and flip.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from app.dicom.dicom_file import DicomFile
from app.dicom.displayed_area import Geometry, read_geometry
from app.dicom.graphic_annotation import draw_annotations
from app.dicom.icc import source_profile
from app.dicom.image_formats import encoded
from app.dicom.overlays import activated_groups, embedded_overlays, overlays
from app.dicom.rendering import covered, displayed, finished
from app.dicom.rendering_options import Rendering
from app.dicom.shutter import shuttered

# What a state says of the values, and what the image says of the same.
_MODALITY = ("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope")
_VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
_PRESENTATION = ("PresentationLUTSequence", "PresentationLUTShape")
_GROUPS_OF_FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def render_presented(
    state_file: DicomFile, image_file: DicomFile, sop_instance_uid: str, number: int, rendering: Rendering
) -> bytes:
    """Return frame `number` (from 1) of an image, shown by a state, as a picture; errors as of render()."""
    state, header = state_file.read_header(), image_file.read_header()
    applied = _applied(header, state, sop_instance_uid, number)
    decoded = displayed(image_file, applied, number, None)
    groups = activated_groups(state)
    planes = [
        plane
        for plane in (
            *overlays(state, 1),
            *overlays(header, number),
            *embedded_overlays(header, decoded.image, decoded.samples),
        )
        if plane.group in groups
    ]
    shown = shuttered(covered(decoded.shown, planes), state)
    area = next(_matching(state, "DisplayedAreaSelectionSequence", sop_instance_uid, number), Dataset())
    geometry = read_geometry(state, area, shown.shape[1], shown.shape[0])
    picture = _placed(Image.fromarray(np.ascontiguousarray(shown)), geometry)
    draw_annotations(
        picture, _matching(state, "GraphicAnnotationSequence", sop_instance_uid, number), state, geometry
    )
    profile = None
    if picture.mode == "RGB":
        # The profile of a colour state takes the place of the image's (C.11.15).
        profile = source_profile(state, None) or source_profile(header, None)
    picture, profile = finished(picture, header, profile, rendering)
    return encoded(picture, rendering.media_type, rendering.quality, profile)


def _applied(header: Dataset, state: Dataset, sop_instance_uid: str, number: int) -> Dataset:
    """Return the image's header with the state's transformations in place of its own."""
    applied = Dataset()
    applied.update(header)
    for keyword in (*_MODALITY, *_VOI, *_PRESENTATION, *_GROUPS_OF_FRAMES):
        if keyword in applied:
            del applied[keyword]
    voi = next(_matching(state, "SoftcopyVOILUTSequence", sop_instance_uid, number), None)
    if voi is None and header.get("SamplesPerPixel", 1) == 1:
        applied.update(_whole_range(header, state))
    for source, keywords in ((state, _MODALITY), (voi or Dataset(), _VOI), (state, _PRESENTATION)):
        for keyword in keywords:
            if keyword in source:
                applied[keyword] = source[keyword]
    if "PresentationLUTShape" not in state and "PresentationLUTSequence" not in state:
        applied.PresentationLUTShape = "IDENTITY"
    return applied


def _whole_range(header: Dataset, state: Dataset) -> Dataset:
    """Return the window that shows all that the modality transformation can give (PS3.4 N.2.1.2)."""
    bits = int(header.get("BitsStored") or 8)
    low = -(1 << bits - 1) if header.get("PixelRepresentation") == 1 else 0
    high = low + (1 << bits) - 1
    table = state.get("ModalityLUTSequence")
    if table:
        low, high = 0, (1 << int(table[0].LUTDescriptor[2])) - 1
    elif "RescaleSlope" in state:
        slope, intercept = float(state.RescaleSlope), float(state.get("RescaleIntercept") or 0)
        low, high = sorted((low * slope + intercept, high * slope + intercept))  # type: ignore[assignment]
    window = Dataset()
    window.WindowCenter, window.WindowWidth = (low + high) / 2, max(high - low, 1)
    window.VOILUTFunction = "LINEAR_EXACT"
    return window


def _matching(state: Dataset, keyword: str, sop_instance_uid: str, number: int) -> Iterator[Dataset]:
    """Yield the items that apply to a frame: those that name its image, or none (C.10.4, C.11.8)."""
    for item in state.get(keyword) or []:
        named = item.get("ReferencedImageSequence") or []
        if not named or any(_names(one, sop_instance_uid, number) for one in named):
            yield item


def _names(reference: Dataset, sop_instance_uid: str, number: int) -> bool:
    frames = reference.get("ReferencedFrameNumber")
    listed = [frames] if isinstance(frames, int) else list(frames or [])
    return reference.get("ReferencedSOPInstanceUID") == sop_instance_uid and (not listed or number in listed)


def _placed(picture: Image.Image, geometry: Geometry) -> Image.Image:
    """Cut the displayed area out, black where there is no image, then rotate and flip (C.10.4, C.10.6)."""
    picture = picture.crop(geometry.box)
    if geometry.rotation:
        turns = {
            90: Image.Transpose.ROTATE_270,  # Pillow turns the other way round
            180: Image.Transpose.ROTATE_180,
            270: Image.Transpose.ROTATE_90,
        }
        picture = picture.transpose(turns[geometry.rotation])
    if geometry.is_flipped:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return (
        picture if picture.size == geometry.size else picture.resize(geometry.size, Image.Resampling.BICUBIC)
    )
