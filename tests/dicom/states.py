"""Softcopy presentation states in a few lines (PS3.3 A.33), for an image data set."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from tests.factories import instance_bytes, uid

GRAYSCALE = "1.2.840.10008.5.1.4.1.1.11.1"
COLOUR = "1.2.840.10008.5.1.4.1.1.11.2"


def item(**values):
    """A data set of these values; a list of data sets is a sequence."""
    made = Dataset()
    for keyword, value in values.items():
        is_items = isinstance(value, list) and value and isinstance(value[0], Dataset)
        setattr(made, keyword, Sequence(value) if is_items else value)
    return made


def reference(image):
    return item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def make_state(image, name="state", sop_class=GRAYSCALE, area=None, **values):
    """A state that shows the whole image as it is, but for `values`."""
    state = item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=sop_class,
        SOPInstanceUID=uid(name),
        StudyDate="",
        StudyTime="",
        AccessionNumber="",
        ReferringPhysicianName="",
        PatientName=image.PatientName,
        PatientID=image.PatientID,
        PatientBirthDate="",
        PatientSex="",
        StudyInstanceUID=image.StudyInstanceUID,
        SeriesInstanceUID=uid(f"{name} series"),
        StudyID="",
        SeriesNumber=9,
        InstanceNumber=1,
        Modality="PR",
        Manufacturer="",
        ContentLabel="VIEW",
        ContentDescription="",
        ContentCreatorName="",
        PresentationCreationDate="20200102",
        PresentationCreationTime="030405",
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedImageSequence=[reference(image)])
        ],
        DisplayedAreaSelectionSequence=[
            item(
                **{
                    "DisplayedAreaTopLeftHandCorner": [1, 1],
                    "DisplayedAreaBottomRightHandCorner": [image.Columns, image.Rows],
                    "PresentationSizeMode": "SCALE TO FIT",
                    "PresentationPixelAspectRatio": [1, 1],
                    **(area or {}),
                }
            )
        ],
        PresentationLUTShape="IDENTITY",
    )
    for keyword, value in item(**values).items():
        state[keyword] = value
    state.file_meta = FileMetaDataset()
    state.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return state


def write_state(path, state):
    path.write_bytes(instance_bytes(state))
    return path
