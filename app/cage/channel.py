"""Messages over a stream socket, each behind its length: written in one call, and mostly read in one."""

import os
import struct

_LENGTH = struct.Struct("!Q")
_TOGETHER_BYTES = 2**16  # what is written and read in one piece; a longer message takes more


class Channel:
    """One end; used by one thread at a time. Raises EOFError when the other end is gone, else OSError."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""  # of what was read: the other end may write messages faster than they are taken

    def send(self, message: bytes) -> None:
        """Write a message."""
        length = _LENGTH.pack(len(message))
        if len(message) < _TOGETHER_BYTES:
            self._write(length + message)
        else:
            self._write(length)
            self._write(message)

    def receive(self, longest: int) -> bytes:
        """Wait for the next message; one that is longer than `longest` is an OSError."""
        head = self._rest or self._read(_TOGETHER_BYTES)
        while len(head) < _LENGTH.size:
            head += self._read(_TOGETHER_BYTES)
        (length,) = _LENGTH.unpack_from(head)
        if length > longest:
            raise OSError("a message is longer than any may be")
        end = _LENGTH.size + length
        if len(head) >= end:
            self._rest = head[end:]
            return head[_LENGTH.size : end]
        self._rest = b""
        pieces, missing = [head[_LENGTH.size :]], end - len(head)
        while missing:
            pieces.append(self._read(min(missing, 2**20)))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _read(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        if not data:
            raise EOFError
        return data
