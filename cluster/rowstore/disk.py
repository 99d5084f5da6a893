"""The disk as the row store sees it: few operations, each with its durability stated."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Protocol

from cluster.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeAlias

    from cluster.rowstore.filememory import FileMemory

    Buffer: TypeAlias = bytes | bytearray | memoryview

_LOCK_NAME = "LOCK"
_BUFFERS_PER_WRITE = 1024  # IOV_MAX on Linux

_SYNCED_WRITE = getattr(os, "RWF_DSYNC", 0)
"""Flag of a write that returns when it is durable; 0 where the system has none."""

_CANNOT_SYNC_WRITES = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LogFile(Protocol):
    """A file that only grows, open for appending. Every method raises OSError on failure."""

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Writes all the bytes at the end. After an error any prefix of them may be there."""

    def append_and_sync(self, buffers: Sequence[Buffer]) -> None:
        """:meth:`append` and :meth:`datasync` in one step."""

    def datasync(self) -> None:
        """Returns when everything appended is on stable storage.

        After an error nothing is known about what was appended, and trying again proves
        nothing: the kernel may have dropped the pages it could not write.
        """

    def close(self) -> None:
        """Closes the file. Does not sync."""


class FolderLock(Protocol):
    """An exclusive claim on a folder, held until released or the process ends."""

    def release(self) -> None:
        """Gives the claim up. Idempotent."""


class Disk(Protocol):
    """Where files live: a real file system, or the fake one of the tests."""

    @property
    def blocks(self) -> bool:
        """Whether calls may block for long, so that they belong in a worker thread."""

    def make_folder(self, folder: Path) -> None:
        """Makes a folder and its missing parents, durably. Fine if it exists."""

    def lock_folder(self, folder: Path) -> FolderLock:
        """Claims a folder. Raises :class:`ConflictError` if another holder has it."""

    def list_names(self, folder: Path) -> list[str]:
        """Names of the files and folders in a folder, in no order."""

    def create(self, path: Path) -> LogFile:
        """Makes an empty file. Raises FileExistsError if there is one.

        Its name is durable only after :meth:`sync_folder`.
        """

    def open(self, path: Path) -> LogFile:
        """Opens an existing file for appending."""

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Reads up to ``length`` bytes; fewer only at the end of the file."""

    def read_all(self, path: Path, memory: FileMemory, *, from_device: bool) -> memoryview:
        """Reads a whole file into ``memory``, over what was read there before.

        ``from_device`` asks for what the device holds, as far as the system can tell: after a
        failed sync its cache may hold bytes that never reached the device.
        """

    def truncate(self, path: Path, size: int) -> None:
        """Cuts a file and syncs it."""

    def remove(self, path: Path) -> None:
        """Removes a file; durable only after :meth:`sync_folder`."""

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names in the folder are on stable storage."""


class RealDisk:
    """The operating system's files. Linux; other POSIX systems work with fewer promises."""

    @property
    def blocks(self) -> bool:
        """Real disks block."""
        return True

    def make_folder(self, folder: Path) -> None:
        """See :class:`Disk`."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self.sync_folder(folder.parent)

    def lock_folder(self, folder: Path) -> FolderLock:
        """See :class:`Disk`. The lock file holds the owner's process id, for people."""
        path = folder / _LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConflictError(
                f"the folder {folder} is in use by process {owner}",
                remedy="Stop that process, or use another data folder.",
                metadata={"folder": str(folder), "pid": owner},
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return _RealLock(descriptor)

    def list_names(self, folder: Path) -> list[str]:
        """See :class:`Disk`."""
        return os.listdir(folder)  # noqa: PTH208 - names are what is asked for

    def create(self, path: Path) -> LogFile:
        """See :class:`Disk`."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _RealFile(os.open(path, flags, 0o644))

    def open(self, path: Path) -> LogFile:
        """See :class:`Disk`."""
        return _RealFile(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """See :class:`Disk`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_fully(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def read_all(self, path: Path, memory: FileMemory, *, from_device: bool) -> memoryview:
        """See :class:`Disk`. Clean pages are dropped first; dirty ones stay and are read."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if from_device and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            view = memory.of_size(os.fstat(descriptor).st_size)
            done = 0
            while done < len(view) and (count := os.preadv(descriptor, [view[done:]], done)):
                done += count
            return view[:done]
        finally:
            os.close(descriptor)

    def truncate(self, path: Path, size: int) -> None:
        """See :class:`Disk`."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """See :class:`Disk`."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """See :class:`Disk`."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_fully(descriptor: int, offset: int, length: int) -> bytes:
    first = os.pread(descriptor, length, offset)
    if len(first) in (0, length):
        return first
    parts = [first]
    done = len(first)
    while done < length and (part := os.pread(descriptor, length - done, offset + done)):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


class _RealFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, buffers: Sequence[Buffer]) -> None:
        for start in range(0, len(buffers), _BUFFERS_PER_WRITE):
            self._write(buffers[start : start + _BUFFERS_PER_WRITE])

    def _write(self, buffers: Sequence[Buffer]) -> None:
        written = os.writev(self._descriptor, buffers)
        if written < sum(map(len, buffers)):
            self._push(buffers, written)

    def _push(self, buffers: Sequence[Buffer], written: int) -> None:
        """Writes what a short write (a signal, a full disk) has left."""
        rest = memoryview(b"".join(buffers))[written:]
        while rest:
            written = os.write(self._descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "write() took no bytes")
            rest = rest[written:]

    def append_and_sync(self, buffers: Sequence[Buffer]) -> None:
        # One system call instead of two: in a worker thread each return from one waits for the
        # interpreter's lock, for up to its switch interval when the trio thread is busy.
        if _SYNCED_WRITE and len(buffers) <= _BUFFERS_PER_WRITE:
            try:
                written = os.pwritev(self._descriptor, buffers, 0, _SYNCED_WRITE)
            except OSError as error:
                if error.errno not in _CANNOT_SYNC_WRITES:
                    raise
                written = 0  # this file system knows no such writes; nothing was written
            if written == sum(map(len, buffers)):
                return
            self._push(buffers, written)
        else:
            self.append(buffers)
        self.datasync()

    def datasync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _RealLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
