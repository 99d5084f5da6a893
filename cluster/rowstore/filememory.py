"""Memory that one file after the other is read into."""

from __future__ import annotations


class FileMemory:
    """Memory for one file after the other.

    Memory that was used before costs nothing; new memory costs as much as reading into it again,
    in page faults.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def of_size(self, size: int) -> memoryview:
        """So much of it, with any content. What was given out before is overwritten."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]
