"""Command sets (PS3.7 6.3 and Annex E): Implicit VR Little Endian, group 0000, a handful of elements."""

import struct
from collections.abc import Mapping
from enum import IntEnum

from app.dimse.errors import ProtocolError

NO_DATA_SET = 0x0101
_DATA_SET = 0x0001
LONGEST_COMMAND = 64 * 1024

Value = int | str


class Element(IntEnum):
    """The elements of command sets that we read or write (PS3.7 Table E.1-1)."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    OFFENDING_ELEMENT = 0x0901
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008
    REMAINING_SUBOPERATIONS = 0x1020
    COMPLETED_SUBOPERATIONS = 0x1021
    FAILED_SUBOPERATIONS = 0x1022
    WARNING_SUBOPERATIONS = 0x1023
    MOVE_ORIGINATOR_AE_TITLE = 0x1030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031


class Kind(IntEnum):
    """Command Field (0000,0100); a response is its request with the highest bit set."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130
    C_CANCEL_RQ = 0x0FFF


RESPONSE = 0x8000

_UIDS = frozenset(
    {
        Element.AFFECTED_SOP_CLASS_UID,
        Element.REQUESTED_SOP_CLASS_UID,
        Element.AFFECTED_SOP_INSTANCE_UID,
        Element.REQUESTED_SOP_INSTANCE_UID,
    }
)
_TEXTS = frozenset({Element.MOVE_DESTINATION, Element.ERROR_COMMENT, Element.MOVE_ORIGINATOR_AE_TITLE})
_ELEMENTS = {int(element): element for element in Element}  # a quarter of the time that Element() takes
_COMMENT_LENGTH = 64  # of LO

Command = Mapping[Element, Value]

_HEADER = struct.Struct("<HHI")
_SHORT = struct.Struct("<H")


def decode_command(data: bytes | bytearray | memoryview) -> dict[Element, Value]:
    """Read a command set; elements that we do not use are passed over. Raises ProtocolError."""
    command: dict[Element, Value] = {}
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER.size:
            raise ProtocolError("a command set ends within the header of an element")
        group, number, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        if group != 0 or length > len(data) - position:
            raise ProtocolError("a command set holds something else than group 0000")
        element = _ELEMENTS.get(number)
        if element is not None:
            command[element] = _value(element, bytes(data[position : position + length]))
        position += length
    return command


def _value(element: Element, raw: bytes) -> Value:
    if element in _UIDS or element in _TEXTS:
        return raw.decode("latin-1").strip("\0 ")
    if len(raw) < _SHORT.size:
        raise ProtocolError(f"(0000,{element:04X}) of a command set has no value")
    (number,) = _SHORT.unpack_from(raw)
    return int(number)


def encode_command(command: Command, *, has_data_set: bool) -> bytes:
    """Write a command set, its group length first."""
    whole = dict(command)
    whole[Element.COMMAND_DATA_SET_TYPE] = _DATA_SET if has_data_set else NO_DATA_SET
    body = b"".join(_element(element, whole[element]) for element in sorted(whole))
    return _HEADER.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _element(element: Element, value: Value) -> bytes:
    if isinstance(value, int):
        raw = _SHORT.pack(value)
    else:
        if element == Element.ERROR_COMMENT:
            value = value[:_COMMENT_LENGTH].replace("\\", "/")  # one value of LO
        raw = value.encode("ascii", "replace")
        if len(raw) % 2:
            raw += b"\0" if element in _UIDS else b" "
    return _HEADER.pack(0, element, len(raw)) + raw


def number_of(command: Command, element: Element, default: int = 0) -> int:
    """Return the number of an element."""
    value = command.get(element, default)
    return value if isinstance(value, int) else default


def text_of(command: Command, element: Element) -> str:
    """Return the text or UID of an element, empty when there is none."""
    value = command.get(element, "")
    return value if isinstance(value, str) else ""
