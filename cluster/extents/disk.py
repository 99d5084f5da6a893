"""A storage root that is a folder of this machine.

obstore has one too, but it does not sync: after a power loss an object it confirmed may be empty
or gone. Here a put returns when bytes and names are on stable storage.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.errors import (
    ConflictError,
    FileMissingError,
    LimitExceededError,
    StorageFullError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents.root import StorageRootStatistics, StoredObject, check_name, check_prefix
from cluster.extents.worker import Threads
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from cluster.errors import RemoraError
    from cluster.limits import Limits

    T = TypeVar("T")

_INCOMING: Final = ".incoming"
"""Subfolder for what is being written; :func:`check_name` allows no object there."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset(
    {errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
_FOREIGN_BYTES: Final = 1 << 20


def storage_error(error: OSError, what: str) -> RemoraError:
    """The typed error of a failed call of the file system; ``what`` says what was tried, where."""
    metadata = {"file": str(error.filename)} if error.filename else {}
    text = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return StorageFullError(text, metadata=metadata)
    if error.errno in _REFUSED:
        return StorageRefusedError(text, metadata=metadata)
    return StorageUnavailableError(text, metadata=metadata)


def sync_file(path: Path) -> None:
    """Returns when the bytes of a file are on stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and its missing parents, durably. Fine if it exists."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def link_or_copy(source: Path, target: Path) -> bool:
    """Gives a file a second name; where that is impossible, copies it. True if linked.

    Raises FileExistsError if there is a target. A copy may be left half written by an OSError.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        return True
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, _FOREIGN_BYTES)
    return False


class LocalRoot:
    """A :class:`cluster.extents.root.StorageRoot` that is a folder. Makes the folder if needed."""

    def __init__(
        self, folder: Path, *, limits: Limits = LIMITS, threads: Threads | None = None
    ) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - keeps symbolic links
        self._limits = limits
        self._threads = threads or Threads(blocks=True, count=limits.extent_fetches)
        self._token = os.urandom(8).hex()  # process ids come again, in containers at each start
        self._temporary_numbers = itertools.count()  # next() is atomic: worker threads call it
        self._calls = self._failures = self._put_bytes = self._get_bytes = 0

    @property
    def url(self) -> str:
        """``file://`` and the absolute path."""
        return self._folder.as_uri()

    @property
    def blocks(self) -> bool:
        """Whether calls run in worker threads."""
        return self._threads.blocks

    async def put(self, name: str, data: bytes) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)

        def put() -> None:
            temporary = self._new_temporary()
            try:
                temporary.write_bytes(data)
                self._publish(temporary, name)
            finally:
                temporary.unlink(missing_ok=True)

        await self._run(f"cannot write {name}", put)
        self._put_bytes += len(data)

    async def put_file(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)

        def put() -> int:
            temporary = self._new_temporary()
            try:
                link_or_copy(local, temporary)
                self._publish(temporary, name)
                return local.stat().st_size
            finally:
                temporary.unlink(missing_ok=True)

        self._put_bytes += await self._run(f"cannot write {name}", put)

    def _new_temporary(self) -> Path:
        folder = self._folder / _INCOMING
        make_folder(folder)
        return folder / f"{os.getpid()}-{self._token}-{next(self._temporary_numbers)}"

    def _publish(self, temporary: Path, name: str) -> None:
        """Gives a file its name, when and only when its bytes are durable."""
        sync_file(temporary)
        path = self._folder / name
        make_folder(path.parent)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise ConflictError(
                f"the storage root {self.url} has an object {name} already",
                metadata={"file": name},
            ) from None
        sync_folder(path.parent)

    async def get(self, name: str) -> bytes:
        """See :class:`cluster.extents.root.StorageRoot`."""
        size_bytes = await self.size_of(name)
        if size_bytes > self._limits.storage_object_bytes:
            raise LimitExceededError(
                f"{name} has {size_bytes} bytes, storage_object_bytes is "
                f"{self._limits.storage_object_bytes}"
            )
        return await self.get_range(name, 0, size_bytes)

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`cluster.extents.root.StorageRoot`."""
        path = self._path(name)

        def read() -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        data = await self._run(f"cannot read {name}", read)
        self._get_bytes += len(data)
        return data

    async def size_of(self, name: str) -> int:
        """See :class:`cluster.extents.root.StorageRoot`."""
        path = self._path(name)
        return await self._run(f"cannot read {name}", lambda: path.stat().st_size)

    async def download(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`. A hard link where possible."""
        path = self._path(name)

        def download() -> int:
            try:
                link_or_copy(path, local)
            except FileExistsError:
                raise
            except OSError:
                local.unlink(missing_ok=True)
                raise
            return local.stat().st_size

        self._get_bytes += await self._run(f"cannot read {name}", download)

    async def delete(self, names: Sequence[str]) -> None:
        """See :class:`cluster.extents.root.StorageRoot`. Folders that become empty stay."""
        paths = [self._path(name) for name in names]

        def delete() -> None:
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                if folder.is_dir():
                    sync_folder(folder)

        await self._run(f"cannot delete {len(names)} objects", delete)

    async def list(self, prefix: str = "") -> list[StoredObject]:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_prefix(prefix)
        folder = self._folder / prefix
        return await self._run(
            f"cannot list {prefix or 'the objects'}",
            lambda: sorted(self._objects(folder), key=lambda found: found.name),
        )

    def _objects(self, folder: Path) -> Iterator[StoredObject]:
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(parent, name)
                yield StoredObject(path.relative_to(self._folder).as_posix(), path.stat().st_size)

    async def sweep(self) -> int:
        """See :class:`cluster.extents.root.StorageRoot`.

        What other processes that live are writing stays, should they share the folder.
        """
        folder = self._folder / _INCOMING

        def sweep() -> int:
            found = list(folder.iterdir()) if folder.is_dir() else []
            left = [path for path in found if self._is_left(path.name)]
            for path in left:
                path.unlink()
            return len(left)

        return await self._run("cannot remove half-written files", sweep)

    def _is_left(self, name: str) -> bool:
        """Whether nobody writes a temporary file any more."""
        process, _, rest = name.partition("-")
        if rest.startswith(self._token):
            return False
        if not process.isdecimal() or int(process) == os.getpid():
            return True
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # it lives, and is somebody else's
        return False

    def local_path(self, name: str) -> Path:
        """See :class:`cluster.extents.root.StorageRoot`."""
        return self._path(name)

    def statistics(self) -> StorageRootStatistics:
        """See :class:`cluster.extents.root.StorageRoot`. A folder is never tried again."""
        return StorageRootStatistics(
            self.url, self._calls, 0, self._failures, self._put_bytes, self._get_bytes
        )

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._folder / name

    async def _run(self, what: str, function: Callable[[], T]) -> T:
        self._calls += 1
        try:
            with self._typed(what):
                return await self._threads.run(function)
        except (StorageFullError, StorageRefusedError, StorageUnavailableError):
            self._failures += 1
            raise

    @contextmanager
    def _typed(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FileMissingError(
                f"{what}: there is no such file in the storage root {self.url}",
                metadata={"file": str(error.filename)},
            ) from error
        except OSError as error:
            raise storage_error(error, f"{what} in the storage root {self.url}") from error
