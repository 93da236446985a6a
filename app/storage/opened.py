"""Open files: descriptors with a known size, read at offsets, shared by managed and in-place files."""

import os
from types import TracebackType
from typing import Self

from app.errors import InstanceUnavailable


class OpenedFile:
    """A plain descriptor and the size it had when it was opened."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    @property
    def descriptor(self) -> int:
        """The operating system's number of the open file; -1 once closed."""
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raise InstanceUnavailable if there are fewer."""
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise InstanceUnavailable(
                        f"The file ends {length - len(data)} bytes before what the catalogue says of it."
                    )
                data += more
        except OSError as error:
            raise InstanceUnavailable(f"The disk could not be read: {error.strerror}.") from error
        return data

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
