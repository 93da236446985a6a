"""Decoding and encoding a picture again, for what JPEG Baseline cannot carry. Runs in the cage."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from app.corpus.isic.jpeg import MAX_PIXELS
from app.errors import NotImportable

QUALITY = 95
SUBSAMPLING = "4:2:2"  # what YBR_FULL_422 names


def encode_again(data: bytes, orientation: int) -> bytes:
    """Decode a JPEG, turn it upright, encode it as Baseline, grey or YCbCr 4:2:2; NotImportable if broken."""
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise NotImportable("image", "is larger than its own header said")
            image.load()
            turned = _upright(image, orientation)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise NotImportable("image", f"cannot be decoded: {error}") from None
    if turned.mode not in {"L", "RGB"}:
        turned = turned.convert("RGB")
    encoded = BytesIO()
    # No metadata: the caller puts back what may stay.
    turned.save(
        encoded, "JPEG", quality=QUALITY, subsampling=SUBSAMPLING, optimize=False, exif=b"", icc_profile=None
    )
    return encoded.getvalue()


_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)
