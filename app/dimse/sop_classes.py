"""The SOP classes and transfer syntaxes that the listener takes; the conformance statement reads them."""

from enum import Enum

from pydicom.uid import UID_dictionary
from pynetdicom.sop_class import _STORAGE_CLASSES

from app.dicom.matching import Level
from app.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


class Root(Enum):
    """The information models of query and retrieve (PS3.4 C.6)."""

    PATIENT = "Patient Root"
    STUDY = "Study Root"


class Service(Enum):
    """What a SOP class of query and retrieve does."""

    FIND = "C-FIND"
    MOVE = "C-MOVE"
    GET = "C-GET"


QUERY_RETRIEVE = {
    "1.2.840.10008.5.1.4.1.2.1.1": (Root.PATIENT, Service.FIND),
    "1.2.840.10008.5.1.4.1.2.1.2": (Root.PATIENT, Service.MOVE),
    "1.2.840.10008.5.1.4.1.2.1.3": (Root.PATIENT, Service.GET),
    "1.2.840.10008.5.1.4.1.2.2.1": (Root.STUDY, Service.FIND),
    "1.2.840.10008.5.1.4.1.2.2.2": (Root.STUDY, Service.MOVE),
    "1.2.840.10008.5.1.4.1.2.2.3": (Root.STUDY, Service.GET),
}

# Those of the library, and the retired ones and those of neighbours in PS3.6. What belongs to no study,
# as a protocol or an inventory, has no place here.
_NOT_OF_STUDIES = ("1.2.840.10008.5.1.4.1.1.200.", "1.2.840.10008.5.1.4.1.1.201.")
# Retired, of studies, with UIDs of elsewhere: stored prints, hardcopies, an instruction on trial.
_ELSEWHERE = frozenset(
    {
        "1.2.840.10008.5.1.1.27",
        "1.2.840.10008.5.1.1.29",
        "1.2.840.10008.5.1.1.30",
        "1.2.840.10008.5.1.4.34.1",
    }
)
STORAGE = (
    frozenset(str(uid) for uid in _STORAGE_CLASSES.values())
    | frozenset(
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class"
        and "Storage" in name
        and uid.startswith("1.2.840.10008.5.1.4.1.1.")
        and not uid.startswith(_NOT_OF_STUDIES)
    )
    | _ELSEWHERE
)

# What messages without pixels are written in.
PLAIN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

# Every transfer syntax that PS3.6 names for data sets; papyrus and the MIME and XML encodings are none.
TRANSFER_SYNTAXES = frozenset(
    uid
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind == "Transfer Syntax"
    and not uid.startswith(("1.2.840.10008.1.20", "1.2.840.10008.1.2.6", "1.2.840.10008.1.2.7"))
)

LEVELS = {"STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
PATIENT_LEVEL = "PATIENT"


def is_storage(sop_class_uid: str, *, private_too: bool) -> bool:
    """Whether instances of it may be stored; private SOP classes only where the operator says so."""
    if sop_class_uid in STORAGE:
        return True
    return private_too and not sop_class_uid.startswith("1.2.840.10008.")
