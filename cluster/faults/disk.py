"""A disk that can be made to fail while a process runs.

Without faults every call costs one look at a field more than the disk below.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

from cluster.faults.composition import NO_DISK_FAULTS

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.faults.composition import DiskFaults
    from cluster.rowstore.disk import Buffer, Disk, FolderLock, LogFile
    from cluster.rowstore.filememory import FileMemory

LOOK_SECONDS: Final = 0.02
"""How soon an fsync that is held up notices that its fault is over."""


class FaultyDisk:
    """A :class:`cluster.rowstore.disk.Disk` over another one. Faults may change at any time.

    Set from the trio thread, read in worker threads: one reference is replaced as a whole.
    """

    def __init__(self, base: Disk, rng: random.Random) -> None:
        self._base = base
        self._rng = rng
        self._failed_once: set[str] = set()
        self.faults = NO_DISK_FAULTS

    def suffer(self, faults: DiskFaults = NO_DISK_FAULTS) -> None:
        """From now on these, instead of those before."""
        self.faults = NO_DISK_FAULTS if faults == NO_DISK_FAULTS else faults

    def before_growth(self) -> None:
        """Raises OSError (ENOSPC) while the disk is full."""
        if self.faults.is_full:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (a fault)")

    def before_sync(self) -> None:
        """Takes the time a sync takes; raises OSError (EIO) if it fails."""
        faults = self.faults
        if faults is NO_DISK_FAULTS:
            return
        self._linger()
        once = faults.fail_once - self._failed_once
        if once:
            self._failed_once.add(min(once))
        if once or (faults.fsync_error_ratio and self._rng.random() < faults.fsync_error_ratio):
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (a fault of fsync)")

    def _linger(self) -> None:
        began = time.monotonic()
        while (left := began + self.faults.fsync_seconds - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    # Disk

    @property
    def blocks(self) -> bool:
        """See :class:`Disk`."""
        return self._base.blocks

    def make_folder(self, folder: Path) -> None:
        """See :class:`Disk`."""
        self._base.make_folder(folder)

    def lock_folder(self, folder: Path) -> FolderLock:
        """See :class:`Disk`."""
        return self._base.lock_folder(folder)

    def list_names(self, folder: Path) -> list[str]:
        """See :class:`Disk`."""
        return self._base.list_names(folder)

    def create(self, path: Path) -> LogFile:
        """See :class:`Disk`."""
        self.before_growth()
        return _FaultyFile(self._base.create(path), self)

    def open(self, path: Path) -> LogFile:
        """See :class:`Disk`."""
        return _FaultyFile(self._base.open(path), self)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """See :class:`Disk`."""
        return self._base.read(path, offset, length)

    def read_all(self, path: Path, memory: FileMemory, *, from_device: bool) -> memoryview:
        """See :class:`Disk`."""
        return self._base.read_all(path, memory, from_device=from_device)

    def truncate(self, path: Path, size: int) -> None:
        """See :class:`Disk`."""
        self.before_sync()
        self._base.truncate(path, size)

    def remove(self, path: Path) -> None:
        """See :class:`Disk`."""
        self._base.remove(path)

    def sync_folder(self, folder: Path) -> None:
        """See :class:`Disk`."""
        self.before_sync()
        self._base.sync_folder(folder)


class _FaultyFile:
    __slots__ = ("_base", "_disk")

    def __init__(self, base: LogFile, disk: FaultyDisk) -> None:
        self._base = base
        self._disk = disk

    def append(self, buffers: Sequence[Buffer]) -> None:
        if self._disk.faults is not NO_DISK_FAULTS:
            self._disk.before_growth()
        self._base.append(buffers)

    def append_and_sync(self, buffers: Sequence[Buffer]) -> None:
        if self._disk.faults is NO_DISK_FAULTS:
            self._base.append_and_sync(buffers)
            return
        # As two steps: what a failed sync leaves behind is written, and may or may not be kept.
        self.append(buffers)
        self.datasync()

    def datasync(self) -> None:
        self._disk.before_sync()
        self._base.datasync()

    def close(self) -> None:
        self._base.close()
