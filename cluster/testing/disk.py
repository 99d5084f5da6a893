"""A disk in memory that fails the way disks do, on request and the same way each time.

What a real disk promises, this one promises and no more: bytes survive a power loss only after
``datasync``, names only after ``sync_folder``. After a failed ``datasync`` the bytes it covered
are lost although reads still show them and the next ``datasync`` succeeds, as on Linux.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cluster.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.rowstore.disk import Buffer, FolderLock, LogFile
    from cluster.rowstore.filememory import FileMemory


class Operation(NamedTuple):
    """One call that changes or syncs something; ``size`` is the number of bytes it was about."""

    kind: str
    path: Path
    size: int = 0


@dataclass(slots=True)
class _Fault:
    kind: str
    successes_left: int
    number: int
    kept_bytes: int


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced_bytes: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)

    def forget_lost(self) -> None:
        for start, end in self.lost:
            end = min(end, len(self.data))
            self.data[start:end] = bytes(max(0, end - start))
        self.lost.clear()


class FakeDisk:
    """A :class:`cluster.rowstore.disk.Disk` in memory.

    ``operations`` records every mutating call in order, failed ones included, so that tests can
    state what must happen before what. ``capacity_bytes`` bounds the contents: beyond it appends
    write what fits and raise ENOSPC.
    """

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.operations: list[Operation] = []
        self.capacity_bytes = capacity_bytes
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}
        self._unsynced: list[tuple[_File, int, int]] = []
        self._folders: set[Path] = set()
        self._locks: dict[Path, _Lock] = {}
        self._faults: list[_Fault] = []
        self._halt_at: tuple[int, int] | None = None
        self._generation = 0

    # Faults

    def fail(
        self, kind: str, *, number: int = errno.EIO, after: int = 0, kept_bytes: int = 0
    ) -> None:
        """Makes one call of ``kind`` fail with this errno, after so many that succeed.

        Kinds are those of ``operations``, and ``read``. A failing append keeps the first
        ``kept_bytes``.
        """
        self._faults.append(_Fault(kind, after, number, kept_bytes))

    def halt_at(self, operation: int, *, kept_bytes: int = 0) -> None:
        """The power fails at the given operation, counted from 0 over ``operations``.

        That call and all later ones raise EIO until :meth:`crash`; if it is an append, its first
        ``kept_bytes`` are written.
        """
        self._halt_at = (operation, kept_bytes)

    def kill(self) -> None:
        """The process dies: open files and locks are gone, everything written stays."""
        self._generation += 1
        self._locks.clear()
        self._faults.clear()
        self._halt_at = None

    def crash(self, *, kept_bytes: int = 0) -> None:
        """The power fails: what is not synced is lost, names and bytes.

        Except the first ``kept_bytes`` of the unsynced bytes, in the order they were written.
        """
        self.kill()
        kept = {id(file): file.synced_bytes for file in self._durable_names.values()}
        for file, start, length in self._unsynced:
            taken = min(length, kept_bytes)
            kept_bytes -= taken
            if id(file) in kept:
                kept[id(file)] = max(kept[id(file)], start + taken)
            if taken < length:
                break
        for file in self._durable_names.values():
            file.forget_lost()
            del file.data[kept[id(file)] :]
            file.synced_bytes = len(file.data)
        self._unsynced.clear()
        self._names = dict(self._durable_names)

    def flip_bit(self, path: Path, offset: int, bit: int = 0) -> None:
        """Damages one bit of a file."""
        self._file(path).data[offset] ^= 1 << bit

    def zero(self, path: Path, offset: int, length: int) -> None:
        """Makes bytes of a file zero, as sectors that were never written back."""
        data = self._file(path).data
        data[offset : offset + length] = bytes(length)

    def overwrite(self, path: Path, content: bytes) -> None:
        """Gives a file this content, durably; makes the file if there is none."""
        file = self._names.setdefault(path, _File())
        self._durable_names[path] = file
        self._folders.add(path.parent)
        file.data[:] = content
        file.synced_bytes = len(content)

    def content(self, path: Path) -> bytes:
        """What a file holds as readers see it."""
        return bytes(self._file(path).data)

    def paths(self) -> list[Path]:
        """All files, sorted."""
        return sorted(self._names)

    @property
    def unsynced_bytes(self) -> int:
        """Bytes written and not synced."""
        return sum(length for _, _, length in self._unsynced)

    # The disk

    @property
    def blocks(self) -> bool:
        """Never: calls run in the trio thread, so tests are deterministic."""
        return False

    def make_folder(self, folder: Path) -> None:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._folders.update((folder, *folder.parents))

    def lock_folder(self, folder: Path) -> FolderLock:
        """See :class:`cluster.rowstore.disk.Disk`."""
        if folder in self._locks:
            raise ConflictError(f"the folder {folder} is in use by process {os.getpid()}")
        lock = self._locks[folder] = _Lock(self._locks, folder)
        return lock

    def list_names(self, folder: Path) -> list[str]:
        """See :class:`cluster.rowstore.disk.Disk`."""
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))
        entries = [*self._names, *self._folders]
        return [path.name for path in entries if path.parent == folder and path != folder]

    def create(self, path: Path) -> LogFile:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._note(Operation("create", path))
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "file exists", str(path))
        self._names[path] = _File()
        return self.open(path)

    def open(self, path: Path) -> LogFile:
        """See :class:`cluster.rowstore.disk.Disk`."""
        return _Handle(self, path, self._file(path), self._generation)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._check(Operation("read", path, length))
        return bytes(self._file(path).data[offset : offset + length])

    def read_all(self, path: Path, memory: FileMemory, *, from_device: bool) -> memoryview:
        """See :class:`cluster.rowstore.disk.Disk`."""
        file = self._file(path)
        self._check(Operation("read", path, len(file.data)))
        if from_device:
            file.forget_lost()
        view = memory.of_size(len(file.data))
        view[:] = file.data
        return view

    def truncate(self, path: Path, size: int) -> None:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._note(Operation("truncate", path, size))
        file = self._file(path)
        del file.data[size:]
        file.synced_bytes = len(file.data)
        self._unsynced = [part for part in self._unsynced if part[0] is not file]

    def remove(self, path: Path) -> None:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._note(Operation("remove", path))
        self._file(path)
        del self._names[path]

    def sync_folder(self, folder: Path) -> None:
        """See :class:`cluster.rowstore.disk.Disk`."""
        self._note(Operation("sync_folder", folder))
        for path in [path for path in self._durable_names if path.parent == folder]:
            del self._durable_names[path]
        self._durable_names.update(
            {path: file for path, file in self._names.items() if path.parent == folder}
        )

    def _file(self, path: Path) -> _File:
        file = self._names.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return file

    def _note(self, operation: Operation) -> None:
        self.operations.append(operation)
        self._check(operation)

    def _check(self, operation: Operation) -> None:
        kept = self._kept_by_fault(operation)
        if kept is not None:
            raise kept[1]

    def _kept_by_fault(self, operation: Operation) -> tuple[int, OSError] | None:
        """The bytes an append keeps and the error to raise, if this call is to fail."""
        if self._halt_at is not None:
            halt_at, kept_bytes = self._halt_at
            number = len(self.operations) - 1
            if number >= halt_at:
                kept_bytes = kept_bytes if number == halt_at else 0
                return kept_bytes, OSError(errno.EIO, "the power is off", str(operation.path))
        for fault in self._faults:
            if fault.kind != operation.kind:
                continue
            if fault.successes_left:
                fault.successes_left -= 1
                continue
            self._faults.remove(fault)
            text = os.strerror(fault.number)
            return fault.kept_bytes, OSError(fault.number, text, str(operation.path))
        return None

    def append_to(self, handle: _Handle, buffers: Sequence[Buffer]) -> None:
        """Called by open files."""
        data = b"".join(buffers)
        operation = Operation("append", handle.path, len(data))
        self.operations.append(operation)
        kept = self._kept_by_fault(operation)
        if kept is None and self.capacity_bytes is not None:
            free = self.capacity_bytes - sum(len(f.data) for f in self._names.values())
            if len(data) > free:
                text = os.strerror(errno.ENOSPC)
                kept = free, OSError(errno.ENOSPC, text, str(handle.path))
        written = data if kept is None else data[: kept[0]]
        file = handle.file
        self._unsynced.append((file, len(file.data), len(written)))
        file.data += written
        if kept is not None:
            raise kept[1]

    def sync_of(self, handle: _Handle) -> None:
        """Called by open files."""
        operation = Operation("datasync", handle.path, len(handle.file.data))
        self.operations.append(operation)
        failed = self._kept_by_fault(operation)
        if failed is not None and self._halt_at is not None:
            raise failed[1]
        file = handle.file
        if failed is not None:
            file.lost.append((file.synced_bytes, len(file.data)))
        file.synced_bytes = len(file.data)
        self._unsynced = [part for part in self._unsynced if part[0] is not file]
        if failed is not None:
            raise failed[1]

    def check_alive(self, generation: int, path: Path) -> None:
        """Raises OSError if the process that opened a file is dead."""
        if generation != self._generation:
            raise OSError(errno.EBADF, "the process that opened this file is dead", str(path))


class _Handle:
    def __init__(self, disk: FakeDisk, path: Path, file: _File, generation: int) -> None:
        self._disk = disk
        self._generation = generation
        self.path = path
        self.file = file

    def append(self, buffers: Sequence[Buffer]) -> None:
        self._disk.check_alive(self._generation, self.path)
        self._disk.append_to(self, buffers)

    def append_and_sync(self, buffers: Sequence[Buffer]) -> None:
        self.append(buffers)
        self.datasync()

    def datasync(self) -> None:
        self._disk.check_alive(self._generation, self.path)
        self._disk.sync_of(self)

    def close(self) -> None:
        self._generation = -1


class _Lock:
    def __init__(self, locks: dict[Path, _Lock], folder: Path) -> None:
        self._locks = locks
        self._folder = folder

    def release(self) -> None:
        if self._locks.get(self._folder) is self:
            del self._locks[self._folder]
