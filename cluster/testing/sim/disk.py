"""The disk of a simulated machine: one that takes time, and fails as disks do."""

from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING

from cluster.testing.disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.rowstore.disk import Buffer
    from cluster.testing.disk import _Handle


class MachineDisk(FakeDisk):
    """A :class:`cluster.testing.disk.FakeDisk` whose calls go to "threads" and take virtual time.

    Chance is a hash of (seed, name, number of the call), as for links.
    """

    def __init__(self, seed: int, name: str, *, sync_seconds: float = 0.0) -> None:
        super().__init__()
        self.sync_seconds = sync_seconds
        self.slow_seconds = 0.0
        self.sync_error_ratio = 0.0
        self.sync_fails_next = False
        self.was_full = False
        self.refused = False
        """A write or sync has failed since this was reset: whoever asked takes no more writes."""
        self._seed = seed
        self._name = name
        self._calls = 0

    @property
    def blocks(self) -> bool:
        """Calls are made where threads make them in production."""
        return True

    def write_seconds(self) -> tuple[float, float]:
        """See :class:`cluster.testing.sim.lives.Writing`."""
        seconds = self.sync_seconds + self.slow_seconds
        share = self.chance("write")
        return seconds * share, seconds * (1 - share)

    def sync_of(self, handle: _Handle) -> None:
        """Called by open files."""
        by_chance = self.sync_error_ratio and self.chance("sync") < self.sync_error_ratio
        if by_chance or self.sync_fails_next:
            self.sync_fails_next, self.refused = False, True
            self.fail("datasync", number=errno.EIO)
        super().sync_of(handle)

    def append_to(self, handle: _Handle, buffers: Sequence[Buffer]) -> None:
        """Called by open files."""
        try:
            super().append_to(handle, buffers)
        except OSError as error:
            self.refused = True
            self.was_full = self.was_full or error.errno == errno.ENOSPC
            raise

    def wipe(self) -> None:
        """Another disk, with nothing on it."""
        self.crash()
        for path in self.paths():
            self.remove(path)
            self.sync_folder(path.parent)

    def used_bytes(self) -> int:
        """Bytes of all files."""
        return sum(len(self.content(path)) for path in self.paths())

    def chance(self, what: str) -> float:
        """A number from 0 to 1, the same for the same call of the same run."""
        self._calls += 1
        key = f"{self._seed}\0{self._name}\0{what}\0{self._calls}".encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64
