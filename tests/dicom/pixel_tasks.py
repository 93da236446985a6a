"""What the pixel tests share: files as the catalogue describes them, and tasks to run in the cage."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate

from app.dicom.dicom_file import DicomFile
from app.dicom.rendering import render
from app.dicom.rendering_options import Rendering
from app.dicom.scan import scan
from tests.factories import instance_bytes, make_instance

BEST = Rendering(quality=100)


def stored(path):
    """Describe a file as its catalogue entry would."""
    found = scan(Path(path).read_bytes())
    return DicomFile(str(path), found.transfer_syntax_uid, found.prefix, found.offset, found.frames)


def peak_memory_bytes():
    """Return the most resident memory this process ever had."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def write_jpeg(path, instance, frame):
    """Write an instance whose one encapsulated frame is these bytes."""
    instance.PixelData = encapsulate([frame])
    instance["PixelData"].is_undefined_length = True
    path.write_bytes(instance_bytes(instance))


def picture(cage, path, parameters=BEST, number=1):
    return Image.open(BytesIO(cage.run(render, stored(path), (number,), parameters)))


def near(ours, theirs, tolerance=2):
    ours, theirs = np.asarray(ours).astype(int), np.asarray(theirs).astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance


def write_gray(path, samples, **attributes):
    """Write a monochrome or palette instance with these samples."""
    instance = make_instance(rows=samples.shape[0], columns=samples.shape[1])
    del instance.PlanarConfiguration
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * samples.itemsize
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = bits, bits, bits - 1
    instance.PixelRepresentation = int(samples.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(instance, keyword, value)
    instance.PixelData = samples.tobytes()
    instance["PixelData"].VR = "OW"
    path.write_bytes(instance_bytes(instance))
    return path
