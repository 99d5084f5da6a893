"""The disk of a simulated machine: one that takes time, and fails as disks do."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

from cluster.testing.disk import FakeDisk
from cluster.testing.sim.lives import LIFE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.rowstore.disk import Buffer, FolderLock, LogFile
    from cluster.testing.disk import Operation, _Handle


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
        if self._sync_fails():
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

    def check_file_write(self) -> None:
        """Raises OSError if a database file of this machine cannot be written now."""
        if self.capacity_bytes is not None:
            self.was_full = self.refused = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._sync_fails():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _sync_fails(self) -> bool:
        by_chance = self.sync_error_ratio and self.chance("sync") < self.sync_error_ratio
        if by_chance or self.sync_fails_next:
            self.sync_fails_next, self.refused = False, True
            return True
        return False

    def lock_folder(self, folder: Path) -> FolderLock:
        """See :class:`cluster.rowstore.disk.Disk`. OSError for a process that is dead."""
        _check_alive()
        return super().lock_folder(folder)

    def open(self, path: Path) -> LogFile:
        """See :class:`cluster.rowstore.disk.Disk`. OSError for a process that is dead."""
        _check_alive()
        return super().open(path)

    def _note(self, operation: Operation) -> None:
        _check_alive()
        super()._note(operation)

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


def _check_alive() -> None:
    """What a killed process had begun in a thread does not go on."""
    life = LIFE.get()
    if life is not None:
        life.check()
