"""What the pixels of an image look like, to find others alike. All of this runs inside the cage."""

import hashlib
import struct

import numpy as np
from PIL import Image

from app.dicom.dicom_file import DicomFile
from app.dicom.fingerprint_size import SMALL
from app.dicom.image_pixel import read_image_pixel
from app.dicom.pixels import decoded_frame, number_of_frames
from app.dicom.rendering import displayed

MOST_FRAMES = 64  # of which the samples are compared; what has more is a volume or a mosaic
MOST_PIXELS = 2**26


def fingerprint(file: DicomFile) -> tuple[bytes, bytes]:
    """Return the SHA-256 of the decoded samples, and a grey picture of SMALL x SMALL bytes.

    The same samples have the same hash however they are compressed without loss and whatever the header
    says besides. Raises NotConvertible when the pixels cannot be decoded.
    """
    header = file.read_header()
    image = read_image_pixel(header, file.transfer_syntax_uid)
    digest = hashlib.sha256()
    frames = number_of_frames(file, image)
    digest.update(struct.pack("<4Q", frames, image.rows, image.columns, image.samples_per_pixel))
    most = max(1, min(MOST_FRAMES, MOST_PIXELS // max(1, image.rows * image.columns)))
    for number in range(1, min(frames, most) + 1):
        samples = decoded_frame(file, image, number)
        digest.update(np.ascontiguousarray(samples).data)
    return digest.digest(), _small(file)


def _small(file: DicomFile) -> bytes:
    shown = displayed(file, file.read_header(), 1, None).shown
    picture = Image.fromarray(shown).convert("L").resize((SMALL, SMALL), Image.Resampling.BOX)
    return picture.tobytes()
