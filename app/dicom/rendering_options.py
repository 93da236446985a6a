"""What may be asked of a rendered picture (PS3.18 8.3.5.1): plain values for the server and the cage."""

from dataclasses import dataclass
from typing import Literal

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
JPEG_2000 = "image/jp2"
WEBP = "image/webp"

# In the order in which the server prefers them; the first is the default (PS3.18 8.7.4).
PICTURE_TYPES = (JPEG, PNG, GIF, JPEG_2000, WEBP)
CARRY_A_PROFILE = frozenset({JPEG, PNG, JPEG_2000, WEBP})

# Of one animated GIF.
MOST_ANIMATED_FRAMES = 1000
MOST_ANIMATED_PIXELS = 2**25

Function = Literal["linear", "linear-exact", "sigmoid"]
Annotation = Literal["patient", "technique"]
IccProfile = Literal["no", "yes", "srgb", "adobergb", "rommrgb"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of PS3.3 C.11.2.1.2, in values after the modality transformation."""

    center: float
    width: float
    function: Function = "linear"


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size to fit the picture in and the part of the image to show (PS3.18 8.3.5.1.3), in pixels.

    A negative source width or height shows that part mirrored; None is the rest of the image.
    """

    width: int
    height: int
    source_x: float = 0
    source_y: float = 0
    source_width: float | None = None
    source_height: float | None = None

    @property
    def shows_all(self) -> bool:
        """Whether the whole image is shown as it is."""
        return (self.source_x, self.source_y, self.source_width, self.source_height) == (0, 0, None, None)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a client may ask of a picture; the default changes nothing."""

    media_type: str = JPEG
    quality: int | None = None  # 1 to 100
    viewport: Viewport | None = None
    window: Window | None = None
    annotations: frozenset[Annotation] = frozenset()
    icc_profile: IccProfile | None = None  # None: that of the source where the media type can carry it

    @property
    def changes_nothing(self) -> bool:
        """Whether the picture may be the stored one."""
        return self == Rendering()
