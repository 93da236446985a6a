"""Bodies of metadata and bulk data, as STOW-RS takes them."""

import json
from io import BytesIO

import numpy as np
import pydicom
from PIL import Image

from tests.factories import instance_bytes
from tests.web.storing import BOUNDARY, Client, answer

JSON, XML = "application/dicom+json", "application/dicom+xml"
IMAGE_PIXEL = "0028"
PIXEL_DATA = "7FE00010"
BULK = "bulk/1"


def model(**arguments) -> dict:
    """An instance as DICOM JSON has it, its pixels inline."""
    return pydicom.dcmread(BytesIO(instance_bytes(**arguments))).to_json_dict()


def without_pixels(uri: str | None = BULK, **arguments) -> dict:
    """The metadata of a picture that others describe: no Image Pixel attributes, pixels by reference."""
    attributes = {tag: one for tag, one in model(**arguments).items() if not tag.startswith(IMAGE_PIXEL)}
    del attributes[PIXEL_DATA]
    return attributes | ({PIXEL_DATA: {"vr": "OB", "BulkDataURI": uri}} if uri else {})


def body(*parts: tuple[str, bytes]) -> bytes:
    """A multipart of header lines and contents."""
    content = b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + part + b"\r\n" for head, part in parts)
    return content + f"--{BOUNDARY}--\r\n".encode()


def metadata(*models: dict) -> tuple[str, bytes]:
    return f"Content-Type: {JSON}", json.dumps(models).encode()


def bulk(
    content: bytes, media_type: str = "application/octet-stream", location: str = BULK
) -> tuple[str, bytes]:
    return f"Content-Type: {media_type}\r\nContent-Location: {location}", content


def post(client: Client, *parts: tuple[str, bytes], root: str = JSON, **options):
    content_type = f'multipart/related; type="{root}"; boundary={BOUNDARY}'
    return client.post(body(*parts), Content_Type=content_type, **options)


def held(archive, sop_instance_uid: str | None = None) -> pydicom.FileDataset:
    """The one file that is held, or that of an instance."""
    for key in list(archive.storage.keys()):
        with archive.storage.open(key) as opened:
            dataset = pydicom.dcmread(BytesIO(opened.read(0, opened.size)))
        if sop_instance_uid in {None, dataset.SOPInstanceUID}:
            return dataset
    raise AssertionError("it is not held")


def failures(response) -> list[int]:
    said = answer(response)
    items = [*said.get("FailedSOPSequence", []), *said.get("OtherFailuresSequence", [])]
    return [item.FailureReason for item in items]


def png(pixels: np.ndarray, **options) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()
