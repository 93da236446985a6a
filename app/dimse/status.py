"""The one table of statuses: per service which, and when (PS3.4, PS3.7 Annex C); and error -> status."""

from typing import NamedTuple

from app.errors import (
    ArchiveError,
    CatalogUnavailable,
    DuplicateInstance,
    DuplicateTransaction,
    Gone,
    InvalidQuery,
    NotPublic,
    SearchTooBroad,
    StorageFailed,
    StorageFull,
)
from app.proxy.errors import UpstreamError


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
OUT_OF_RESOURCES_MATCHES = Status(0xA701, "Refused: out of resources, unable to calculate number of matches")
OUT_OF_RESOURCES_SUBOPERATIONS = Status(0xA702, "Refused: out of resources, unable to perform sub-operations")
DESTINATION_UNKNOWN = Status(0xA801, "Refused: Move Destination unknown")
IDENTIFIER_MISMATCH = Status(0xA900, "Error: Identifier does not match SOP Class")
DATA_SET_MISMATCH = Status(0xA900, "Error: Data Set does not match SOP Class")
CANNOT_UNDERSTAND = Status(0xC000, "Error: cannot understand")
UNABLE_TO_PROCESS = Status(0xC001, "Failed: unable to process")

PROCESSING_FAILURE = Status(0x0110, "Processing failure")
DUPLICATE_INSTANCE = Status(0x0111, "Duplicate SOP Instance")
NO_SUCH_INSTANCE = Status(0x0112, "No such SOP Instance")
INVALID_ARGUMENT = Status(0x0115, "Invalid argument value")
INVALID_OBJECT_INSTANCE = Status(0x0117, "Invalid SOP Instance")
SOP_CLASS_NOT_SUPPORTED = Status(0x0122, "SOP Class not supported")
NO_SUCH_ACTION = Status(0x0123, "No such action")
NOT_AUTHORIZED = Status(0x0124, "Refused: not authorized")
NOT_LICENSED = Status(0x0124, "Refused: licence or attribution is not known")  # of a sub-operation
DUPLICATE_INVOCATION = Status(0x0210, "Duplicate invocation")
UNRECOGNIZED_OPERATION = Status(0x0211, "Unrecognized operation")
MISTYPED_ARGUMENT = Status(0x0212, "Mistyped argument")
RESOURCE_LIMITATION = Status(0x0213, "Resource limitation")

_GOES_ON = "the first sub-operation ended, or another after a while; others remain"
_SUCCESSFUL = "every sub-operation succeeded, or there was none to do"
_SOME_FAILED = "some sub-operations failed, others did not; Failed SOP Instance UID List names them"
_OVER_BUDGET = "the budget is used up: the comment says when to ask again"
_STORE_AWAY = "the catalogue is away or the disk refuses"
_UPSTREAM_FAILS = "the upstream whose AE title was called fails, or is left alone: the comment says why"
_CANCELLED = "C-CANCEL arrived"
_OTHER_CONTEXT = "the request does not belong in its presentation context"
_MAY_NOT = "the caller may not: peers.toml does not say that it may"
_NO_UNIQUE_KEYS = (
    "there is no identifier; its level is not one of the model; a unique key is missing, or has a wild card "
    "where it has to be one value; a value is not of its VR; or a sequence has more than one item"
)

# What is answered to which request, and when. tests/dimse/test_statuses.py has a scenario for each row, and
# no test of that folder lets a status pass that stands in no row.
STATUSES: dict[str, tuple[tuple[Status, str], ...]] = {
    "C-ECHO": (
        (SUCCESS, "always, in its presentation context"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
    ),
    "C-STORE": (
        (SUCCESS, "the instance is on the disk and in the catalogue, or was there with the same data set"),
        (OUT_OF_RESOURCES, f"{_STORE_AWAY} or is full; or {_OVER_BUDGET}"),
        (DATA_SET_MISMATCH, "its SOP Class UID or SOP Instance UID is not that of the request"),
        (CANNOT_UNDERSTAND, "the data set cannot be read, or its UIDs cannot name it"),
        (DUPLICATE_INSTANCE, "the SOP Instance UID is held with another data set; the first is kept"),
        (INVALID_OBJECT_INSTANCE, "Affected SOP Instance UID is not a UID"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
        (NOT_AUTHORIZED, f"{_MAY_NOT}; or the instance was withdrawn, or is of an image that is not public"),
        (MISTYPED_ARGUMENT, "there is no data set"),
    ),
    "C-FIND": (
        (PENDING, "one match"),
        (
            PENDING_UNSUPPORTED_KEYS,
            "one match; a key of a lower level, of bytes, or that an upstream does not return is not matched",
        ),
        (SUCCESS, "there are no more matches"),
        (CANCEL, _CANCELLED),
        (
            OUT_OF_RESOURCES,
            f"{_OVER_BUDGET}; the search takes too long; {_STORE_AWAY}; or {_UPSTREAM_FAILS}",
        ),
        (IDENTIFIER_MISMATCH, _NO_UNIQUE_KEYS),
        (UNABLE_TO_PROCESS, "the identifier cannot be read"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
        (NOT_AUTHORIZED, _MAY_NOT),
    ),
    "C-GET": (
        (PENDING, _GOES_ON),
        (SUCCESS, _SUCCESSFUL),
        (WARNING_SUBOPERATIONS, _SOME_FAILED),
        (CANCEL, _CANCELLED),
        (OUT_OF_RESOURCES, _OVER_BUDGET),
        (OUT_OF_RESOURCES_MATCHES, f"{_STORE_AWAY}; or {_UPSTREAM_FAILS}"),
        (OUT_OF_RESOURCES_SUBOPERATIONS, "every sub-operation failed; the list names them"),
        (IDENTIFIER_MISMATCH, _NO_UNIQUE_KEYS),
        (UNABLE_TO_PROCESS, "the identifier cannot be read"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
        (NOT_AUTHORIZED, _MAY_NOT),
    ),
    "C-MOVE": (
        (PENDING, _GOES_ON),
        (SUCCESS, _SUCCESSFUL),
        (WARNING_SUBOPERATIONS, _SOME_FAILED),
        (CANCEL, _CANCELLED),
        (OUT_OF_RESOURCES, _OVER_BUDGET),
        (OUT_OF_RESOURCES_MATCHES, f"{_STORE_AWAY}; or {_UPSTREAM_FAILS}"),
        (
            OUT_OF_RESOURCES_SUBOPERATIONS,
            "every sub-operation failed, or the destination cannot be reached; the list names them",
        ),
        (DESTINATION_UNKNOWN, "the destination is not in peers.toml"),
        (IDENTIFIER_MISMATCH, _NO_UNIQUE_KEYS),
        (UNABLE_TO_PROCESS, "the identifier cannot be read"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
        (NOT_AUTHORIZED, _MAY_NOT),
    ),
    "N-ACTION": (
        (SUCCESS, "the request is kept; a report follows"),
        (NO_SUCH_INSTANCE, "not the well-known SOP Instance of storage commitment"),
        (INVALID_ARGUMENT, "a UID is missing or not valid, or the data set cannot be read"),
        (SOP_CLASS_NOT_SUPPORTED, _OTHER_CONTEXT),
        (NO_SUCH_ACTION, "Action Type ID is not 1"),
        (NOT_AUTHORIZED, _MAY_NOT),
        (DUPLICATE_INVOCATION, "the Transaction UID names another request"),
        (MISTYPED_ARGUMENT, "there is no data set"),
        (RESOURCE_LIMITATION, f"{_OVER_BUDGET}; or {_STORE_AWAY}"),
    ),
    "any other": ((UNRECOGNIZED_OPERATION, "we serve no such operation"),),
}

# C-STORE (PS3.4 B.2.3): what keeps an instance from being stored.
STORE: dict[type[ArchiveError], Status] = {
    StorageFull: OUT_OF_RESOURCES,
    StorageFailed: OUT_OF_RESOURCES,
    CatalogUnavailable: OUT_OF_RESOURCES,
    DuplicateInstance: DUPLICATE_INSTANCE,
    Gone: NOT_AUTHORIZED,
    NotPublic: NOT_AUTHORIZED,
}

# C-FIND (PS3.4 C.4.1): what keeps a query from being answered.
QUERY: dict[type[ArchiveError], Status] = {
    InvalidQuery: IDENTIFIER_MISMATCH,
    SearchTooBroad: OUT_OF_RESOURCES,
    CatalogUnavailable: OUT_OF_RESOURCES,
    UpstreamError: OUT_OF_RESOURCES,
}

# C-GET and C-MOVE (PS3.4 C.4.2, C.4.3): what keeps a retrieval from beginning.
RETRIEVE: dict[type[ArchiveError], Status] = {
    InvalidQuery: IDENTIFIER_MISMATCH,
    CatalogUnavailable: OUT_OF_RESOURCES_MATCHES,
    UpstreamError: OUT_OF_RESOURCES_MATCHES,
}

# N-ACTION of storage commitment (PS3.4 J.3.2.1.4).
COMMITMENT: dict[type[ArchiveError], Status] = {
    DuplicateTransaction: DUPLICATE_INVOCATION,
    CatalogUnavailable: RESOURCE_LIMITATION,
}


def status_of(error: ArchiveError, table: dict[type[ArchiveError], Status], default: Status) -> Status:
    """Look up an error by its class, or the nearest class above it in the table."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), default)
