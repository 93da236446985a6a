"""The one table of what can go wrong, in the words of PS3.4 and PS3.7 (Annex C): error -> status."""

from typing import NamedTuple

from app.errors import (
    ArchiveError,
    CagedFailure,
    CatalogUnavailable,
    DuplicateInstance,
    DuplicateTransaction,
    InstanceUnavailable,
    InvalidQuery,
    NotConvertible,
    NotFound,
    SearchTooBroad,
    StorageFailed,
    StorageFull,
    Unaddressable,
    Unreadable,
)


class Status(NamedTuple):
    """A Status (0000,0900) with its meaning."""

    code: int
    meaning: str


SUCCESS = Status(0x0000, "Success")
PENDING = Status(0xFF00, "Pending")
PENDING_UNSUPPORTED_KEYS = Status(0xFF01, "Pending, optional keys are not supported")
CANCEL = Status(0xFE00, "Terminated due to Cancel request")
WARNING_SUBOPERATIONS = Status(0xB000, "Sub-operations complete, one or more failures")

OUT_OF_RESOURCES = Status(0xA700, "Refused: out of resources")
OUT_OF_RESOURCES_SUBOPERATIONS = Status(0xA702, "Refused: out of resources, unable to perform sub-operations")
DESTINATION_UNKNOWN = Status(0xA801, "Refused: Move Destination unknown")
IDENTIFIER_MISMATCH = Status(0xA900, "Error: Identifier does not match SOP Class")
DATA_SET_MISMATCH = Status(0xA900, "Error: Data Set does not match SOP Class")
CANNOT_UNDERSTAND = Status(0xC000, "Error: cannot understand")
UNABLE_TO_PROCESS = Status(0xC001, "Failed: unable to process")

NO_SUCH_INSTANCE = Status(0x0112, "No such object instance")
PROCESSING_FAILURE = Status(0x0110, "Processing failure")
DUPLICATE_INSTANCE = Status(0x0111, "Duplicate SOP Instance")
INVALID_ARGUMENT = Status(0x0115, "Invalid argument value")
INVALID_OBJECT_INSTANCE = Status(0x0117, "Invalid object instance")
SOP_CLASS_NOT_SUPPORTED = Status(0x0122, "SOP Class not supported")
NO_SUCH_ACTION = Status(0x0123, "No such action type")
NOT_AUTHORIZED = Status(0x0124, "Refused: not authorized")
DUPLICATE_INVOCATION = Status(0x0210, "Duplicate invocation")
UNRECOGNIZED_OPERATION = Status(0x0211, "Unrecognized operation")
MISTYPED_ARGUMENT = Status(0x0212, "Mistyped argument")

# C-STORE (PS3.4 B.2.3): what keeps an instance from being stored.
STORE = {
    StorageFull: OUT_OF_RESOURCES,
    StorageFailed: OUT_OF_RESOURCES,
    CatalogUnavailable: OUT_OF_RESOURCES,
    CagedFailure: CANNOT_UNDERSTAND,
    Unreadable: CANNOT_UNDERSTAND,
    Unaddressable: CANNOT_UNDERSTAND,
    DuplicateInstance: DUPLICATE_INSTANCE,
}

# C-FIND, C-GET and C-MOVE (PS3.4 C.4): what keeps a request from being answered.
QUERY = {
    InvalidQuery: IDENTIFIER_MISMATCH,
    SearchTooBroad: OUT_OF_RESOURCES,
    Unreadable: UNABLE_TO_PROCESS,
    CatalogUnavailable: OUT_OF_RESOURCES,
    StorageFull: OUT_OF_RESOURCES,
    StorageFailed: OUT_OF_RESOURCES,
}

# A C-STORE sub-operation that failed before it was sent.
SUBOPERATION = {
    NotFound: NO_SUCH_INSTANCE,
    InstanceUnavailable: PROCESSING_FAILURE,
    NotConvertible: SOP_CLASS_NOT_SUPPORTED,
    CagedFailure: PROCESSING_FAILURE,
}


# N-ACTION of storage commitment (PS3.4 J.3.2.1.4).
COMMITMENT = {
    InvalidQuery: INVALID_ARGUMENT,
    Unreadable: INVALID_ARGUMENT,
    DuplicateTransaction: DUPLICATE_INVOCATION,
    CatalogUnavailable: OUT_OF_RESOURCES,
}


def status_of(error: ArchiveError, table: dict[type[ArchiveError], Status], default: Status) -> Status:
    """Look up an error by its class, or the nearest class above it in the table."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), default)
