"""Which copies of extent files a node holds, and which go when room is needed (pure).

Copies are named by checksum and size of the content, so that equal files are held once and no
name from elsewhere ever becomes a path.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import LimitExceededError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(slots=True)
class _Copy:
    size_bytes: int
    pins: int = 0


class CopyTable:
    """Copies by name, in the order of their last use. Reserving is all or nothing."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self.total_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._copies)

    def add(self, name: str, size_bytes: int) -> None:
        """Counts a copy that was found on disk, as the one used last so far."""
        self._copies[name] = _Copy(size_bytes)
        self.total_bytes += size_bytes

    def pin(self, sizes: Mapping[str, int]) -> list[str]:
        """Pins all these copies and makes room for those that are not there yet.

        Returns the names that were evicted for it. Raises LimitExceededError if they would not
        fit alone, ThrottledError if they do not fit beside what others have pinned; then nothing
        has changed.
        """
        needed = sum(sizes.values())
        if needed > self._limit:
            raise LimitExceededError(
                f"the request needs {needed} bytes of extent files at once, extent_cache_bytes is "
                f"{self._limit}",
                metadata={"limit": "extent_cache_bytes"},
            )
        held = sum(
            copy.size_bytes
            for name, copy in self._copies.items()
            if copy.pins and name not in sizes
        )
        if held + needed > self._limit:
            raise ThrottledError(
                f"running requests hold {held} bytes of extent files, this one needs {needed} "
                f"more, extent_cache_bytes is {self._limit}",
                metadata={"limit": "extent_cache_bytes"},
            )
        for name, size_bytes in sizes.items():
            if name not in self._copies:
                self.add(name, size_bytes)
            self._copies[name].pins += 1
            self._copies.move_to_end(name)
        return self.evict()

    def unpin(self, names: Iterable[str]) -> None:
        """Takes back one pin of each."""
        for name in names:
            self._copies[name].pins -= 1

    def evict(self) -> list[str]:
        """Drops unpinned copies, least recently used first, down to the limit; their names."""
        if self.total_bytes <= self._limit:
            return []
        evicted = []
        for name, copy in list(self._copies.items()):
            if not copy.pins:
                evicted.append(name)
                self.forget(name)
                if self.total_bytes <= self._limit:
                    break
        self.evictions += len(evicted)
        return evicted

    def forget(self, name: str) -> None:
        """Stops counting a copy."""
        self.total_bytes -= self._copies.pop(name).size_bytes

    def is_pinned(self, name: str) -> bool:
        """Whether a copy may not be removed."""
        copy = self._copies.get(name)
        return copy is not None and copy.pins > 0
