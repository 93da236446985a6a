"""Presentation states: the part, the shutter, what is drawn, the colours (PS3.3 C.7.6.11, C.10, C.11)."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import dcmread

from app.dicom.icc_spaces import space_profile
from app.dicom.presented import render_presented
from app.dicom.rendering_options import PNG, Rendering, Viewport
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import stored, write_gray
from tests.dicom.states import COLOUR, item, make_state, write_state
from tests.factories import make_instance, make_pixels, uid, write_instance

AS_IT_IS = Rendering(media_type=PNG)
FLAT = np.full((64, 96), 100, np.uint8)


@pytest.fixture
def image(tmp_path):
    ramp = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) // 25
    return write_gray(tmp_path / "in.dcm", ramp.astype(np.uint8))


@pytest.fixture
def flat(tmp_path):
    return write_gray(tmp_path / "in.dcm", FLAT)


def presented(image, rendering=AS_IT_IS, **values):
    header = dcmread(image)
    path = write_state(image.parent / "pr.dcm", make_state(header, **values))
    shown = render_presented(stored(path), stored(image), header.SOPInstanceUID, 1, rendering)
    return np.asarray(Image.open(BytesIO(shown))).astype(int)


def area(left, top, right, bottom, **more):
    corners = {
        "DisplayedAreaTopLeftHandCorner": [left, top],
        "DisplayedAreaBottomRightHandCorner": [right, bottom],
    }
    return {**corners, **more}


def test_the_displayed_area_is_cut_out(image):
    """PS3.3 C.10.4 (checklist 51): its corners are pixels, counted from 1, and lie within it."""
    whole = presented(image)
    assert np.array_equal(presented(image, area=area(11, 21, 50, 60)), whole[20:60, 10:50])


def test_what_lies_outside_the_image_is_black(image):
    shown = presented(image, area=area(-9, 1, 96, 64))
    assert shown.shape == (64, 106)
    assert not shown[:, :10].any()
    assert np.array_equal(shown[:, 10:], presented(image))


def test_an_area_without_end_is_refused(image):
    with pytest.raises(NotConvertible, match="too large"):
        presented(image, area=area(-(2**30), 1, 2**30, 64))


def test_the_turn_comes_before_the_flip(image):
    """PS3.3 C.10.6 (checklist 51)."""
    whole = presented(image)
    assert np.array_equal(presented(image, ImageRotation=90), np.rot90(whole, -1))
    assert np.array_equal(
        presented(image, ImageRotation=90, ImageHorizontalFlip="Y"), np.rot90(whole, -1)[:, ::-1]
    )


def test_pixels_that_are_not_square_are_shown_as_they_are(image):
    shown = presented(image, area=area(1, 1, 96, 64, PresentationPixelAspectRatio=[2, 1]))
    assert shown.shape == (128, 96)


def test_the_size_of_a_viewport_fits_the_displayed_area(image):
    """PS3.18 8.3.5.1.3 (checklist 47, 51)."""
    half = Rendering(media_type=PNG, viewport=Viewport(20, 20))
    assert presented(image, half, area=area(1, 1, 40, 20)).shape == (10, 20)


@pytest.mark.parametrize(
    ("values", "open_at", "hidden_at"),
    [
        (
            {
                "ShutterShape": "RECTANGULAR",
                "ShutterLeftVerticalEdge": 10,
                "ShutterRightVerticalEdge": 80,
                "ShutterUpperHorizontalEdge": 5,
                "ShutterLowerHorizontalEdge": 50,
            },
            (5, 10),
            (4, 9),
        ),
        (
            {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [32, 48], "RadiusOfCircularShutter": 20},
            (31, 66),
            (31, 68),
        ),
        (
            {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 1, 60, 60, 1]},
            (10, 10),
            (50, 50),
        ),
    ],
)
def test_a_shutter_hides_what_lies_outside(values, open_at, hidden_at, flat):
    """PS3.3 C.7.6.11 (checklist 51)."""
    shown = presented(flat, ShutterPresentationValue=0x3000, **values)
    assert shown[open_at] == 100
    assert shown[hidden_at] == 0x30


def graphic(kind, points, **more):
    drawn = item(
        GraphicAnnotationUnits="PIXEL",
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points) // 2,
        GraphicData=points,
        GraphicType=kind,
        GraphicFilled="N",
    )
    for keyword, value in more.items():
        setattr(drawn, keyword, value)
    return [item(GraphicLayer="A", GraphicObjectSequence=[drawn])]


@pytest.mark.parametrize(
    ("items", "drawn"),
    [
        (graphic("POLYLINE", [1, 11, 96, 11]), (10, 40)),
        (graphic("CIRCLE", [48, 32, 68, 32]), (31, 67)),
        (graphic("ELLIPSE", [20, 32, 76, 32, 48, 12, 48, 52]), (11, 47)),
        (graphic("INTERPOLATED", [10, 10, 48, 40, 90, 10]), (39, 47)),
        (graphic("POINT", [30, 20]), (19, 29)),
        (graphic("POLYLINE", [0.5, 0.0, 0.5, 1.0], GraphicAnnotationUnits="DISPLAY"), (40, 48)),
        (graphic("POLYLINE", [10, 10, 60, 10, 60, 60, 10, 60, 10, 10], GraphicFilled="Y"), (30, 30)),
    ],
    ids=["line", "circle", "ellipse", "curve", "point", "display", "filled"],
)
def test_graphics_are_drawn(items, drawn, flat):
    """PS3.3 C.10.5 (checklist 51)."""
    shown = presented(flat, GraphicAnnotationSequence=items)
    row, column = drawn
    assert shown[row - 1 : row + 2, column - 1 : column + 2].max() > 220
    assert (shown == 100).mean() > 0.4


def test_graphics_turn_with_the_image(flat):
    shown = presented(flat, GraphicAnnotationSequence=graphic("POLYLINE", [1, 11, 96, 11]), ImageRotation=90)
    assert shown.shape == (96, 64)
    assert shown[40, 52:55].max() > 220


def test_text_is_written_where_its_box_is(flat):
    text = item(
        UnformattedTextValue="NEVUS",
        BoundingBoxAnnotationUnits="PIXEL",
        BoundingBoxTopLeftHandCorner=[10.0, 30.0],
        BoundingBoxBottomRightHandCorner=[90.0, 50.0],
    )
    shown = presented(flat, GraphicAnnotationSequence=[item(GraphicLayer="A", TextObjectSequence=[text])])
    assert (shown[30:50, 10:60] != 100).any()
    assert (shown[:28] == 100).all()


def test_an_overlay_is_shown_only_when_activated(tmp_path):
    """PS3.3 C.11.7 (checklist 51)."""
    path = write_gray(tmp_path / "in.dcm", FLAT)
    header = dcmread(path)
    for element, vr, value in (
        (0x0010, "US", 64),
        (0x0011, "US", 96),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", b"\xff" * (64 * 96 // 8)),
    ):
        header.add_new((0x6000, element), vr, value)
    write_instance(path, header)
    assert (presented(path) == 100).all()
    state = make_state(header)
    state.add_new((0x6000, 0x1001), "CS", "A")
    active = write_state(tmp_path / "active.dcm", state)
    shown = render_presented(stored(active), stored(path), header.SOPInstanceUID, 1, AS_IT_IS)
    assert (np.asarray(Image.open(BytesIO(shown))) == 255).all()


def test_a_colour_state_says_which_colours_they_are(tmp_path):
    """PS3.3 A.33.2, C.11.15 (checklist 50, 51): its profile goes before that of the image."""
    path = write_instance(tmp_path / "in.dcm", make_instance(ICCProfile=space_profile("srgb")))
    header = dcmread(path)
    state = make_state(header, sop_class=COLOUR, ICCProfile=space_profile("adobergb"))
    file = write_state(tmp_path / "pr.dcm", state)
    shown = render_presented(
        stored(file), stored(path), header.SOPInstanceUID, 1, Rendering(media_type=PNG, icc_profile="srgb")
    )
    picture = Image.open(BytesIO(shown))
    assert picture.info["icc_profile"] == space_profile("srgb")
    expected = ImageCms.profileToProfile(
        Image.fromarray(make_pixels()),
        *(ImageCms.ImageCmsProfile(BytesIO(space_profile(name))) for name in ("adobergb", "srgb")),
    )
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).max() <= 1


def test_items_for_other_images_do_not_apply(flat):
    other = [item(ReferencedSOPClassUID="1.2.3", ReferencedSOPInstanceUID=uid("another"))]
    drawn = graphic("POLYLINE", [1, 11, 96, 11])
    drawn[0].ReferencedImageSequence = other
    assert (presented(flat, GraphicAnnotationSequence=drawn) == 100).all()
