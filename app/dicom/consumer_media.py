"""Pictures that are no DICOM, as bulk data of Pixel Data (PS3.18 10.5.1): what they say of themselves.

A JPEG stays as it is, a frame in the transfer syntax of its own process, and so does an MP4. A PNG, which no
transfer syntax holds, is decoded. All run in the cage.
"""

import io
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.dicom.codestream import Claims, read_jpeg_claims
from app.dicom.image_pixel import PIXEL_BUDGET_BYTES
from app.dicom.json_model import Attribute
from app.dicom.media_types import EXPLICIT_VR_LITTLE_ENDIAN, LOSSY
from app.dicom.mp4 import Film, read_film
from app.dicom.parts import MP4, WRITTEN, Elsewhere, Picture
from app.dicom.rendering_options import JPEG
from app.errors import NotConvertible, Unreadable, UnsupportedTransferSyntax

# Where a JPEG's frame header stands at the latest: behind a colour profile and a preview.
_HEAD_BYTES = 4 << 20
# ITU-T T.81 Table B.1: the processes that PS3.5 A.4.1 has a transfer syntax for.
_OF_PROCESS = {
    0xC0: "1.2.840.10008.1.2.4.50",
    0xC1: "1.2.840.10008.1.2.4.51",
    0xC2: "1.2.840.10008.1.2.4.55",
    0xC3: "1.2.840.10008.1.2.4.57",
}
_H264 = frozenset({"1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.104"})
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">4s4sIIBB").unpack_from  # length, IHDR, columns, rows, bits, colour type
_PNG_BYTES = 256 << 20
_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # PNG 11.2.1, a palette as the colours it stands for
_PROFILE_BYTES = 4 << 20


def read_picture(path: str, offset: int, length: int, media_type: str, target: str) -> Picture:
    """Read the picture that a range of a file holds; its pixels, if decoded, go to the end of `target`.

    Raises Unreadable or UnsupportedTransferSyntax.
    """
    try:
        if media_type == JPEG:
            return _jpeg(_read(path, offset, min(length, _HEAD_BYTES)), length)
        if media_type == MP4:
            with Path(path).open("rb") as file:
                file.seek(offset)
                return _video(read_film(file, length), length)
        if length > _PNG_BYTES:
            raise Unreadable(f"the PNG is larger than {_PNG_BYTES >> 20} MiB")
        return _png(_read(path, offset, length), target)
    except NotConvertible as error:
        raise Unreadable(str(error)) from None


def _read(path: str, offset: int, length: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _jpeg(data: bytes, length: int) -> Picture:
    claims = read_jpeg_claims(data)
    syntax = _OF_PROCESS.get(claims.process)
    if syntax is None:
        raise UnsupportedTransferSyntax(
            f"no transfer syntax is known for a JPEG of process SOF{claims.process - 0xC0}"
        )
    if claims.samples not in {1, 3}:
        raise Unreadable(f"a JPEG of {claims.samples} components is no DICOM image, which has 1 or 3")
    is_lossy = syntax in LOSSY
    if claims.samples == 1:
        photometric: tuple[str, ...] = ("MONOCHROME2", "MONOCHROME1")
    elif claims.colour_space == "RGB" or (not is_lossy and claims.colour_space is None):
        photometric = ("RGB",)
    else:
        photometric = ("YBR_FULL_422", "YBR_FULL") if is_lossy else ("YBR_FULL",)
    attributes = _image_pixel(claims, photometric[0])
    if is_lossy:
        native = claims.rows * claims.columns * claims.samples * (2 if claims.bits > 8 else 1)
        attributes["00282110"] = _valued("CS", "01")
        attributes["00282112"] = _valued("DS", round(native / length, 2))
        attributes["00282114"] = _valued("CS", "ISO_10918_1")
    return Picture(syntax, attributes, photometric)


def _video(film: Film, length: int) -> Picture:
    """Return a film with the Cine and Multi-frame Modules (PS3.3 C.7.6.5, C.7.6.6; PS3.5 8.2.7)."""
    claims = Claims(film.rows, film.columns, 3, film.bits)
    photometric = "YBR_PARTIAL_420"
    native = film.rows * film.columns * 3 * film.frames * (2 if film.bits > 8 else 1)
    is_h264 = film.transfer_syntax_uid in _H264
    attributes = _image_pixel(claims, photometric) | {
        "00180040": _valued("IS", max(1, round(1000 / film.frame_time_ms)) if film.frame_time_ms else 1),
        "00181063": _valued("DS", film.frame_time_ms),
        "00280008": _valued("IS", film.frames),
        "00280009": _valued("AT", "00181063"),
        "00282110": _valued("CS", "01"),
        "00282112": _valued("DS", round(native / length, 2)),
        "00282114": _valued("CS", "ISO_14496_10" if is_h264 else "ISO_23008_2"),
    }
    return Picture(film.transfer_syntax_uid, attributes, (photometric,))


def _png(data: bytes, target: str) -> Picture:
    if not data.startswith(_PNG_START) or len(data) < 33:
        raise Unreadable("it is not a PNG file")
    _, kind, columns, rows, bits, colour = _PNG_HEADER(data, len(_PNG_START))
    if kind != b"IHDR" or colour not in _SAMPLES:
        raise Unreadable("it is not a PNG file")
    if rows * columns * _SAMPLES[colour] * (2 if bits == 16 else 1) > PIXEL_BUDGET_BYTES:
        raise Unreadable(
            f"the PNG of {columns} x {rows} pixels is larger than {PIXEL_BUDGET_BYTES >> 20} MiB"
        )
    pixels = _decoded(data)
    samples = 1 if pixels.ndim == 2 else 3
    claims = Claims(pixels.shape[0], pixels.shape[1], samples, pixels.itemsize * 8)
    photometric = ("MONOCHROME2", "MONOCHROME1") if samples == 1 else ("RGB",)
    attributes = _image_pixel(claims, photometric[0])
    if samples == 3 and (profile := _profile(data)):
        attributes["00282000"] = {"vr": "OB", "InlineBinary": b64encode(profile).decode()}
    with Path(target).open("ab") as out:
        start = out.tell()
        out.write(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())
        return Picture(
            EXPLICIT_VR_LITTLE_ENDIAN, attributes, photometric, Elsewhere(WRITTEN, start, out.tell() - start)
        )


def _decoded(data: bytes) -> NDArray[Any]:
    """Decode to (rows, columns) or (rows, columns, 3); an alpha channel has to be opaque throughout."""
    try:
        pixels: NDArray[Any] = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, ValueError) as error:
        raise Unreadable(f"the PNG is damaged: {error}") from None
    if pixels.ndim == 3 and pixels.shape[2] in {2, 4}:
        if (pixels[:, :, -1] != np.iinfo(pixels.dtype).max).any():
            raise Unreadable("the PNG is transparent in places, which no DICOM image is")
        pixels = pixels[:, :, :-1]
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _profile(data: bytes) -> bytes:
    """Return the colour profile of RGB (PNG 11.3.3.3), or nothing."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            profile: bytes = picture.info.get("icc_profile") or b""
    except (OSError, ValueError, SyntaxError):
        return b""
    # ICC.1 7.2: the size stands first, the colour space at 16, the signature at 36.
    sound = profile[36:40] == b"acsp" and int.from_bytes(profile[:4], "big") == len(profile)
    return profile if sound and profile[16:20] == b"RGB " and len(profile) <= _PROFILE_BYTES else b""


def _image_pixel(claims: Claims, photometric: str) -> dict[str, Attribute]:
    """Return the Image Pixel Module (PS3.3 C.7.6.3) of one picture."""
    if not (0 < claims.rows <= 0xFFFF and 0 < claims.columns <= 0xFFFF and 0 < claims.bits <= 16):
        raise Unreadable(
            f"a picture of {claims.columns} x {claims.rows} pixels with {claims.bits} bits is no DICOM image"
        )
    attributes = {
        "00280002": _valued("US", claims.samples),
        "00280004": _valued("CS", photometric),
        "00280010": _valued("US", claims.rows),
        "00280011": _valued("US", claims.columns),
        "00280100": _valued("US", 16 if claims.bits > 8 else 8),
        "00280101": _valued("US", claims.bits),
        "00280102": _valued("US", claims.bits - 1),
        "00280103": _valued("US", 0),
    }
    if claims.samples > 1:
        attributes["00280006"] = _valued("US", 0)
    return attributes


def _valued(vr: str, value: float | str) -> Attribute:
    return {"vr": vr, "Value": [value]}
