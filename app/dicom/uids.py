"""Unique identifiers (PS3.5 chapter 9): what may name an object, and those that reading depends on."""

import re

# PS3.5 9.1 allows no leading zero in a component; real files have them, they name one object all the same.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_LONGEST = 64

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
UNCOMPRESSED = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})

# The whole data set is one deflated stream (PS3.5 A.5, A.7, A.12).
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})

# All frames are one stream of video (PS3.5 8.2.5 to 8.2.8, 8.2.12, 8.2.13): no fragment is a frame.
VIDEO = frozenset(
    f"1.2.840.10008.1.2.4.{number}{fragmentable}" for number in range(100, 109) for fragmentable in ("", ".1")
)

# All storage SOP classes of the standard (PS3.4 B.5, GG.3; the retired hard copies and prints), but not those
# that search; a class that the standard has not named yet lies among them too.
_NO_INSTANCES = re.compile(r"1\.2\.840\.10008\.(?!5\.1\.4\.(?!1\.2\.)|5\.1\.1\.(27|29|30)$)")

# Who made a File Meta Information that a file lacked (PS3.10 7.1); derived from a random UUID (PS3.5 B.2).
IMPLEMENTATION_CLASS_UID = "2.25.294598639294026513575939509025408280420"
IMPLEMENTATION_VERSION_NAME = "DERMZOO"


def is_valid_uid(text: str) -> bool:
    """Whether this names an object: 1 to 64 digits and dots with no empty component.

    Text that passes is safe in a URL and in a path.
    """
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None


def has_instances(sop_class_uid: str) -> bool:
    """Whether a SOP class may be one of stored instances: private ones may, a standard service may not."""
    return _NO_INSTANCES.match(sop_class_uid) is None


def is_standard(transfer_syntax_uid: str) -> bool:
    """Whether DICOM, not a vendor, defines it: then it is known how it is written (PS3.5 Annex A)."""
    return f"{transfer_syntax_uid}.".startswith("1.2.840.10008.1.2.")
