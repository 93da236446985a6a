"""How a cell of the metadata is read: text to canonical text; ValueError says what is wrong with it."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from math import isfinite

# How the challenges' CSVs and common tools write "not known"; the archive itself leaves the cell blank.
UNKNOWN = frozenset({"", "unknown", "na", "n/a", "nan"})
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)\s*(?P<unit>um|mm|cm)", re.IGNORECASE)
_DELIMITER = re.compile(r"[\\\x00-\x1f\x7f]")  # PS3.5 6.2: not within a value of UC and LO


def text(value: str) -> str:
    """Take text as it is."""
    if _CONTROL.search(value):
        raise ValueError("holds a control character")
    if len(value) > 5000:  # Image Comments (LT) holds 10240
        raise ValueError("is longer than 5000 characters")
    return value


def label(value: str) -> str:
    """Take one value of UC: no delimiter in it."""
    if _DELIMITER.search(value):
        raise ValueError("holds a control character or a backslash")
    if len(value) > 300:
        raise ValueError("is longer than 300 characters")
    return value


def short_label(value: str) -> str:
    """Take one value of LO."""
    if len(value) > 64:  # LO
        raise ValueError("is longer than 64 characters")
    return label(value)


def identifier(value: str) -> str:
    """Take what may be a Patient ID and a file name."""
    # It becomes a Patient ID (LO) and a file name: nothing to which a path or a query gives a meaning.
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError(f"{value!r} is not 1 to 64 letters, digits, hyphens and underscores")
    return value


def decimal(value: str) -> str:
    """Take a number that is not negative, as DS writes it."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    written = format(number.normalize(), "f") if number.is_finite() and abs(number.adjusted()) < 7 else ""
    if not written or len(written) > 16 or number < 0:  # DS holds 16 characters
        raise ValueError(f"{value!r} is out of range")
    return written


def millimetres(value: str) -> str:
    """Take a length: millimetres, or with its unit, then rounded to a tenth as the archive does."""
    found = _LENGTH.fullmatch(value)
    if not found:
        return decimal(value)
    millimetre = {"um": Decimal("0.001"), "mm": Decimal(1), "cm": Decimal(10)}[found["unit"].lower()]
    length = Decimal(found["number"]) * millimetre
    return decimal(str(round(length, 1) if found["unit"].lower() != "mm" else length))


def integer(value: str) -> str:
    """Take a whole number that is not negative."""
    # Spreadsheets and data frames write 45 as 45.0.
    digits = decimal(value)
    if not digits.isdigit():
        raise ValueError(f"{value!r} is not a whole number")
    return digits


def age(value: str) -> str:
    """Take an age in years."""
    years = "85" if value == "85+" else integer(value)
    if int(years) > 120:
        raise ValueError(f"{value!r} is not an age in years")
    return years


def day(value: str) -> str:
    """Take a day as ISO 8601 writes it: 2027-01-31."""
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is not a day such as 2027-01-31") from None


def boolean(value: str) -> str:
    """Take true or false, as YES or NO."""
    match value.lower():
        case "true" | "1" | "1.0" | "yes":
            return "YES"
        case "false" | "0" | "0.0" | "no":
            return "NO"
    raise ValueError(f"{value!r} is not true or false")


def measurement(value: str) -> str:
    """Take a number of any sign, as the shortest text that means it."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not isfinite(number):
        raise ValueError(f"{value!r} is out of range")
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
