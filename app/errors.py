"""What can go wrong, in the archive's own words; no protocol codes.

    ArchiveError
    ├── InvalidQuery            the question itself is wrong
    ├── SearchTooBroad          looking for it takes longer than is allowed
    ├── NotFound                no such study, series, instance or frame
    │   └── Gone                it was held, and is withdrawn
    ├── Unreadable              the bytes are not DICOM that we can understand
    ├── Unaddressable           DICOM, but its UIDs cannot name it
    ├── UnsupportedTransferSyntax  the pixels are compressed in a way that cannot be kept
    ├── UnsupportedSopClass     the SOP Class is not one whose instances are stored
    ├── NotPublic               an image that nobody is to be shown, and nothing is kept of
    ├── NotLicensed             held, but not on terms on which its pixels may be served
    ├── DuplicateInstance       the SOP Instance UID is taken by other bytes
    ├── DuplicateTransaction    the Transaction UID names another request already
    ├── CollectionRefused       a collection is locked, its name is taken, or it would show too much
    ├── NotImportable           an image or its metadata lacks what publishing it needs
    ├── NotConvertible          held, but not available in the form asked for
    ├── CagedFailure            reading or decoding it crashed or ran out of its allowance
    ├── StorageFull             no room left for more bytes
    ├── StorageFailed           the disk refused; nothing was kept
    ├── InstanceUnavailable     catalogued, but its bytes are gone or changed
    └── CatalogUnavailable      the database is locked or away
    SettingsError               the program cannot start as configured

web/errors.py and dimse/status.py say what each means in their protocol.
"""


class ArchiveError(Exception):
    """Something the caller can be told; str() is a sentence for a person."""


class InvalidQuery(ArchiveError):
    """The question itself is wrong."""


class SearchTooBroad(ArchiveError):
    """Looking for it takes longer than one search may."""


class NotFound(ArchiveError):
    """No such study, series, instance or frame."""


class Gone(NotFound):
    """It was held and is withdrawn; the reason is told."""


class Unreadable(ArchiveError):
    """The bytes are not DICOM that we can understand."""


class Unaddressable(ArchiveError):
    """DICOM, but without the valid UIDs that would name it."""


class UnsupportedTransferSyntax(ArchiveError):
    """The pixels are compressed in a way that cannot be kept, or has no transfer syntax."""


class UnsupportedSopClass(ArchiveError):
    """The SOP Class is not one whose instances are stored."""


class NotPublic(ArchiveError):
    """An image that nobody is to be shown: nothing of it is kept."""


class NotLicensed(ArchiveError):
    """Held, but its licence or whom to name is not known: its pixels are not served."""


class DuplicateInstance(ArchiveError):
    """The SOP Instance UID is taken by other bytes; the first are kept."""


class DuplicateTransaction(ArchiveError):
    """The Transaction UID names another request already."""


class CollectionRefused(ArchiveError):
    """What is asked of a collection does not go with what it is: locked, its name taken, not public."""


class NotImportable(ArchiveError):
    """An image, or what the metadata say of it, lacks what publishing it needs.

    `field` names the column or the part of the picture that is wrong.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class NotConvertible(ArchiveError):
    """Held, but not available in the form asked for."""


class CagedFailure(ArchiveError):
    """Reading or decoding crashed, or ran out of its memory, processor time or patience."""


class StorageFull(ArchiveError):
    """No room left for more bytes."""


class StorageFailed(ArchiveError):
    """The disk refused; nothing was kept."""


class InstanceUnavailable(ArchiveError):
    """Catalogued, but its bytes are gone or were changed behind our back."""


class CatalogUnavailable(ArchiveError):
    """The database is locked or away; a later try may succeed."""


class SettingsError(Exception):
    """The program cannot start as configured; str() says what to type."""
