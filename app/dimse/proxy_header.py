"""The PROXY protocol, version 2: what a proxy of ours says of its client before the client's first byte.

A signature, version and command, family and transport, the length of what follows: two addresses,
two ports, and extensions, which are passed over. Version 1, a line of text, is not read.
"""

import struct
from ipaddress import ip_address

from app.dimse.errors import ProtocolError
from app.dimse.pdu import UNRECOGNIZED
from app.throttle.clients import parse_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADER_BYTES = 16
LONGEST_BYTES = 4096  # of what follows; certificates may be among the extensions

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 4, _TCP6: 16}
# Of clients without an address that counts: the proxy itself, sockets of its host.
_NAMELESS = {0x00, 0x31, 0x32}


def following_bytes(header: bytes | bytearray) -> int:
    """Return how many bytes follow the first sixteen; raises ProtocolError where these are no such header."""
    signature, command, _, length = struct.unpack(">12sBBH", header)
    if signature != SIGNATURE:
        raise ProtocolError("a proxy has not begun with the PROXY protocol, version 2", UNRECOGNIZED)
    if command not in {_LOCAL, _PROXY}:
        raise ProtocolError(f"version and command {command:02X}H of the PROXY protocol", UNRECOGNIZED)
    if length > LONGEST_BYTES:
        raise ProtocolError(f"the PROXY protocol's header has {length} bytes more", UNRECOGNIZED)
    return int(length)


def client_address(whole: bytes | bytearray) -> str | None:
    """Return the client's address, None where the proxy speaks for itself; raises ProtocolError.

    An IPv4 address written as IPv6 is IPv4.
    """
    command, family = whole[12], whole[13]
    if command == _LOCAL or family in _NAMELESS:
        return None
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        raise ProtocolError(f"family and transport {family:02X}H of the PROXY protocol", UNRECOGNIZED)
    if len(whole) < HEADER_BYTES + 2 * size + 4:
        raise ProtocolError("the PROXY protocol's header ends within its addresses", UNRECOGNIZED)
    address = ip_address(bytes(whole[HEADER_BYTES : HEADER_BYTES + size]))
    return str(parse_address(str(address)))
