"""The one thing we read from EXIF: which way is up (CIPA DC-008, tag 0112H)."""

_ORIENTATION = 0x0112
_SHORT = 3


def read_orientation(tiff: bytes) -> int:
    """Return the orientation 1 to 8 that an EXIF block, from its TIFF header on, tells; 1 without any."""
    little = tiff[:4] == b"II*\0"
    if not little and tiff[:4] != b"MM\0*":
        return 1

    def number(offset: int, length: int) -> int:
        return int.from_bytes(tiff[offset : offset + length], "little" if little else "big")

    directory = number(4, 4)
    for index in range(number(directory, 2)):
        entry = directory + 2 + 12 * index
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == _ORIENTATION and number(entry + 2, 2) == _SHORT:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
