"""A storage root across the network: Azure Blob or S3, through obstore.

obstore's own retries are off: tries are counted, spread by a random generator that is passed in,
and bounded in number as well as in time, by ``retry.py``.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import obstore
import trio
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from xxhash import xxh3_64

from cluster.errors import (
    ConflictError,
    FileMissingError,
    LimitExceededError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents.checking import checksum_file
from cluster.extents.disk import storage_error
from cluster.extents.retry import retry_delays
from cluster.extents.root import StorageRootStatistics, StoredObject, check_name, check_prefix
from cluster.extents.worker import Threads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from obstore.store import ObjectStore

    from cluster.errors import RemoraError
    from cluster.limits import Limits

    T = TypeVar("T")

_REFUSALS: Final = (
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
    NotSupportedError,
    InvalidPathError,
)
"""What another try does not change."""

_NOT_FOUND: Final = (NotFoundError, FileNotFoundError)
"""obstore 0.12 raises the second; it documents the first."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_PASSING_STATUSES: Final = ("408", "409", "429")
_QUERY: Final = re.compile(r"\?\S*")

_UPLOADS: Final = 2
"""Blocks of a long file on their way at once; that many are in memory."""

_CHUNK_BYTES: Final = 1 << 20


class RemoteRoot:
    """A :class:`cluster.extents.root.StorageRoot` that obstore reaches.

    A cancelled call returns at once; the request it had sent may still be carried out.
    """

    def __init__(self, url: str, store: ObjectStore, *, limits: Limits, rng: random.Random) -> None:
        self._url = url
        self._store = store
        self._limits = limits
        self._rng = rng
        self._threads = Threads(blocks=True, count=limits.extent_fetches)
        self._calls = self._retries = self._failures = self._put_bytes = self._get_bytes = 0

    @property
    def url(self) -> str:
        """Scheme, container or bucket, and prefix."""
        return self._url

    @property
    def blocks(self) -> bool:
        """Requests run in worker threads."""
        return True

    async def put(self, name: str, data: bytes) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)

        def put() -> None:
            obstore.put(self._store, name, data, mode="create", use_multipart=False)

        def is_ours() -> bool:
            return bytes(obstore.get(self._store, name).bytes()) == data

        await self._create(name, put, is_ours)
        self._put_bytes += len(data)

    async def put_file(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`.

        A file longer than ``limits.storage_upload_bytes`` goes in blocks. No service creates an
        object from blocks on condition that there is none: it is looked for before.
        """
        check_name(name)
        block_bytes = self._limits.storage_upload_bytes
        size_bytes = await self._local_size(name, local)

        def put() -> None:
            if size_bytes <= block_bytes:
                obstore.put(self._store, name, local, mode="create", use_multipart=False)
                return
            if self._exists(name):
                raise AlreadyExistsError(name)
            obstore.put(
                self._store,
                name,
                local,
                use_multipart=True,
                chunk_size=block_bytes,
                max_concurrency=_UPLOADS,
            )

        def is_ours() -> bool:
            if obstore.head(self._store, name)["size"] != size_bytes:
                return False
            hasher = xxh3_64()
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=_CHUNK_BYTES):
                hasher.update(bytes(chunk))
            return hasher.intdigest() == checksum_file(local)[1]

        await self._create(name, put, is_ours)
        self._put_bytes += size_bytes

    async def _local_size(self, name: str, local: Path) -> int:
        try:
            return await self._threads.run(lambda: local.stat().st_size)
        except OSError as error:
            raise storage_error(error, f"cannot read the file to be written as {name}") from error

    def _exists(self, name: str) -> bool:
        try:
            obstore.head(self._store, name)
        except _NOT_FOUND:
            return False
        return True

    async def _create(
        self, name: str, put: Callable[[], None], is_ours: Callable[[], bool]
    ) -> None:
        """Puts, with further tries: one whose answer was lost may have made the object."""
        tries = 0

        def create() -> None:
            nonlocal tries
            tries += 1
            try:
                put()
            except AlreadyExistsError:
                if tries == 1 or not is_ours():
                    raise

        await self._call(f"cannot write {name}", create, name=None)

    def _block(self, name: str, start: int, length: int) -> bytes:
        return bytes(obstore.get_range(self._store, name, start=start, length=length))

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
        check_name(name)
        size_bytes = await self.size_of(name)
        length = min(length, size_bytes - start)
        if length <= 0:
            return b""
        data = await self._call(
            f"cannot read {name}", lambda: self._block(name, start, length), name=name
        )
        self._get_bytes += len(data)
        return data

    async def size_of(self, name: str) -> int:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)
        return await self._call(
            f"cannot read {name}", lambda: obstore.head(self._store, name)["size"], name=name
        )

    async def download(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`.

        In blocks of ``limits.storage_upload_bytes``, each with its own tries.
        """
        size_bytes = await self.size_of(name)
        block_bytes = self._limits.storage_upload_bytes
        try:
            with local.open("xb") as file:
                for start in range(0, size_bytes, block_bytes):
                    length = min(block_bytes, size_bytes - start)
                    data = await self._block_of(name, start, length)
                    await self._threads.run(functools.partial(file.write, data))
        except OSError as error:
            _discard(local)
            raise storage_error(error, f"cannot write a copy of {name}") from error
        except BaseException:
            _discard(local)
            raise
        self._get_bytes += size_bytes

    async def _block_of(self, name: str, start: int, length: int) -> bytes:
        return await self._call(
            f"cannot read {name}", lambda: self._block(name, start, length), name=name
        )

    async def delete(self, names: Sequence[str]) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        for name in names:
            check_name(name)
        left = list(names)

        def delete() -> None:
            # From the end, and taken off when done: a further try goes on where this one failed.
            while left:
                with suppress(*_NOT_FOUND):
                    obstore.delete(self._store, left[-1])
                left.pop()

        await self._call(f"cannot delete {len(names)} objects", delete, name=None)

    async def list(self, prefix: str = "") -> list[StoredObject]:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_prefix(prefix)

        def find() -> list[StoredObject]:
            found = [
                StoredObject(entry["path"], entry["size"])
                for page in obstore.list(self._store, prefix or None)
                for entry in page
            ]
            return sorted(found, key=lambda item: item.name)

        return await self._call(f"cannot list {prefix or 'the objects'}", find, name=None)

    async def sweep(self) -> int:
        """See :class:`cluster.extents.root.StorageRoot`.

        The services show no half-written object. Blocks that were uploaded and never became an
        object are theirs to remove: Azure after a week, S3 by a rule of the bucket.
        """
        await trio.lowlevel.checkpoint()
        return 0

    def local_path(self, name: str) -> None:
        """See :class:`cluster.extents.root.StorageRoot`. Nothing is on this machine."""
        check_name(name)

    def statistics(self) -> StorageRootStatistics:
        """See :class:`cluster.extents.root.StorageRoot`."""
        return StorageRootStatistics(
            self._url,
            self._calls,
            self._retries,
            self._failures,
            self._put_bytes,
            self._get_bytes,
        )

    async def _call(self, what: str, function: Callable[[], T], *, name: str | None) -> T:
        """Runs a request in a worker thread, again after failures that may pass.

        ``name``: the object that is read; if the service finds nothing, that is what is missing.
        For other requests it is the container or bucket.
        """
        self._calls += 1
        delays = retry_delays(self._limits, self._rng)
        while True:
            try:
                return await self._threads.run(function, abandon=True)
            except (BaseError, OSError) as error:
                final = self._final_error(error, what, name)
                failed = error
            delay = next(delays, None) if final is None else None
            if delay is None:
                if not isinstance(final, ConflictError | FileMissingError):
                    self._failures += 1
                raise final or StorageUnavailableError(
                    f"{what} in the storage root {self._url} after "
                    f"{self._limits.storage_attempts} tries: {_summary(failed)}",
                    metadata={"storage_root": self._url},
                ) from failed
            self._retries += 1
            await trio.sleep(delay)

    def _final_error(
        self, error: BaseError | OSError, what: str, name: str | None
    ) -> RemoraError | None:
        """What a failure means if another try would not help, else None."""
        metadata = {"storage_root": self._url}
        where = f"{what} in the storage root {self._url}"
        if isinstance(error, AlreadyExistsError):
            return ConflictError(f"{where}: there is such an object already", metadata=metadata)
        if isinstance(error, _NOT_FOUND) and name is not None:
            return FileMissingError(
                f"{where}: there is no such object", metadata={**metadata, "file": name}
            )
        if isinstance(error, _NOT_FOUND):
            return StorageRefusedError(
                f"{where}: there is no such container or bucket", metadata=metadata
            )
        if isinstance(error, OSError):
            return storage_error(error, where)
        if isinstance(error, _REFUSALS) or _is_refusal(str(error)):
            return StorageRefusedError(f"{where}: {_summary(error)}", metadata=metadata)
        return None


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


def _is_refusal(text: str) -> bool:
    """Whether the service answered with a status that says the request itself is wrong."""
    found = _STATUS.search(text)
    return found is not None and found[1].startswith("4") and found[1] not in _PASSING_STATUSES


def _summary(error: BaseException) -> str:
    """obstore's message without what the service sent, and without queries of URLs.

    A query may hold a signature.
    """
    return _QUERY.sub("", str(error).partition("\n")[0].partition(": <")[0])
