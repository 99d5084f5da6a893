"""Copies of extent files in a folder of bounded size, made when needed, verified, held in use."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from cluster.errors import (
    CorruptionError,
    RemoraError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents.cache import CopyTable
from cluster.extents.checking import verify_file
from cluster.extents.disk import make_folder, storage_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cluster.catalog.model import Database, Extent
    from cluster.extents.root import StorageRoot
    from cluster.extents.worker import Threads
    from cluster.limits import Limits

logger = logging.getLogger(__name__)

_PARTIAL: Final = ".partial"

_TRIES: Final = 2
"""Times a file is asked of one place if what comes is damaged: it may have been on the way."""


class Fetch(Protocol):
    """Asks the leader of a followed database for an extent file."""

    async def __call__(self, database: Database, extent: Extent, path: Path) -> None:
        """Writes the content to a new file. Raises RemoraError; the file may then be there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a database are.

    ``root``: its storage root, None if it cannot be reached from here. ``in_place``: the root is
    this node's own, so that its local files can be used where they lie; the files of others may be
    removed while they are used. ``fetch``: what to do when the root does not give a file.
    """

    root: StorageRoot | None
    in_place: bool = False
    fetch: Fetch | None = None


class Copies:
    """The copies of one cache folder, which is of this process alone.

    ``counts`` has linked, downloaded, fetched, hits, verified, corrupt, prefetched and
    prefetch_failures.
    """

    def __init__(self, folder: Path, *, threads: Threads, limits: Limits) -> None:
        self._folder = folder
        self._threads = threads
        self._fetches = trio.CapacityLimiter(limits.extent_fetches)
        self._limit_bytes = limits.extent_cache_bytes
        self._rest_seconds = limits.storage_rest_seconds
        self._resting: dict[str, float] = {}
        self.table = CopyTable(limits.extent_cache_bytes)
        self.counts: Counter[str] = Counter()
        self._present: set[str] = set()
        self._good: set[str] = set()
        self._loading: dict[str, trio.Event] = {}
        self._numbers = itertools.count()
        make_folder(folder)
        for path in self._find():
            path.unlink()

    def _find(self) -> Iterator[Path]:
        """Counts the copies an earlier process left; yields what is to be removed."""
        found = []
        for path in self._folder.iterdir():
            if path.name.endswith(_PARTIAL):
                yield path
            else:
                status = path.stat()
                found.append((status.st_mtime_ns, path.name, status.st_size))
        for _, name, size_bytes in sorted(found):
            self.table.add(name, size_bytes)
            self._present.add(name)
        for name in self.table.evict():
            self._present.discard(name)
            yield self._folder / name

    def present(self, extent: Extent) -> Path | None:
        """The copy of an extent's file if there is one; it may not have been verified."""
        name = copy_name(extent)
        return self._folder / name if name in self._present else None

    @asynccontextmanager
    async def hold(
        self, database: Database, place: Place, wanted: Mapping[str, Extent]
    ) -> AsyncIterator[dict[str, Path]]:
        """Copies of all files wanted, verified; none is removed before the block ends.

        Raises as :meth:`cluster.extents.files.ExtentFiles.acquire`.
        """
        names = {file: copy_name(extent) for file, extent in wanted.items()}
        sizes = {names[file]: extent.file_bytes for file, extent in wanted.items()}
        evicted = self.table.pin(sizes)
        try:
            await self._remove(evicted)
            missing = [
                (extent, names[file])
                for file, extent in wanted.items()
                if names[file] not in self._good
            ]
            self.counts["hits"] += len(wanted) - len(missing)
            await self._provide_all(database, place, missing)
            yield {file: self._folder / name for file, name in names.items()}
        finally:
            self.table.unpin(sizes)
            for name in sizes:
                # What was reserved and never came is not counted any longer.
                if name not in self._present and not self.table.is_pinned(name):
                    self.table.forget(name)

    async def prefetch(self, database: Database, place: Place, extents: Iterable[Extent]) -> None:
        """Makes copies of the newest of these files that fit the folder, until one fails."""
        scope = trio.CancelScope()

        async def make(file: str, extent: Extent) -> None:
            try:
                async with self.hold(database, place, {file: extent}):
                    self.counts["prefetched"] += 1
            except RemoraError as error:
                self.counts["prefetch_failures"] += 1
                logger.info("not prefetched: %s", error)
                scope.cancel()

        with scope:
            async with trio.open_nursery() as nursery:
                for file, extent in _newest(extents, self._limit_bytes).items():
                    nursery.start_soon(make, file, extent)

    async def _provide_all(
        self, database: Database, place: Place, missing: Iterable[tuple[Extent, str]]
    ) -> None:
        failures: list[RemoraError] = []

        async def provide(extent: Extent, name: str) -> None:
            try:
                await self._provide(database, place, extent, name)
            except RemoraError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for extent, name in missing:
                nursery.start_soon(provide, extent, name)
        if failures:
            raise failures[0]

    async def _provide(self, database: Database, place: Place, extent: Extent, name: str) -> None:
        """Returns when there is a good copy. One task makes it, others wait for that."""
        while name not in self._good:
            loading = self._loading.get(name)
            if loading is not None:
                await loading.wait()
                continue
            self._loading[name] = trio.Event()
            try:
                async with self._fetches:
                    await self._load(database, place, extent, name)
                self._good.add(name)
            finally:
                self._loading.pop(name).set()

    async def _load(self, database: Database, place: Place, extent: Extent, name: str) -> None:
        if name in self._present:
            try:
                await self._verify(extent, self._folder / name)
            except CorruptionError:
                await self._remove([name])
            else:
                self.counts["hits"] += 1
                return
        failed: RemoraError | None = None
        for kind, way in self._ways(database, place, extent):
            for _ in range(_TRIES):
                try:
                    linked = await self._make(extent, name, way)
                except CorruptionError as error:
                    failed = error
                except RemoraError as error:
                    failed = error
                    self.let_rest(place, error)
                    break
                else:
                    self.counts["linked" if linked else kind] += 1
                    return
        raise failed or StorageUnavailableError(
            f"there is no way to the extent file {extent.file} of the database {database.name}",
            metadata={"file": extent.file, "database": database.name},
        )

    def _ways(
        self, database: Database, place: Place, extent: Extent
    ) -> Iterator[tuple[str, Callable[[Path], Awaitable[None]]]]:
        """What to try, in order: the name of its count, and what makes a file."""
        root, fetch = place.root, place.fetch
        if root is not None and not self.is_resting(place):
            yield "downloaded", lambda path: root.download(extent.file, path)
        if fetch is not None:
            yield "fetched", lambda path: fetch(database, extent, path)

    def let_rest(self, place: Place, error: RemoraError) -> None:
        """A root that cannot be reached costs many tries: for a while only the leader is asked."""
        unreachable = isinstance(error, StorageRefusedError | StorageUnavailableError)
        if unreachable and place.root is not None and place.fetch is not None:
            until = trio.current_time() + self._rest_seconds
            self._resting.setdefault(place.root.url, until)

    def is_resting(self, place: Place) -> bool:
        """Whether the root of a place failed a short while ago and the leader is there instead."""
        if place.root is None or place.fetch is None:
            return False
        until = self._resting.get(place.root.url)
        if until is not None and trio.current_time() >= until:
            del self._resting[place.root.url]
            return False
        return until is not None

    async def _make(
        self, extent: Extent, name: str, way: Callable[[Path], Awaitable[None]]
    ) -> bool:
        """Makes a copy in one way; it has its name when it is whole and good.

        True if it is a hard link to a file that is elsewhere too.
        """
        partial = self._folder / f"{name}.{next(self._numbers)}{_PARTIAL}"
        try:
            await way(partial)
            links = await self._verify(extent, partial)
            partial.rename(self._folder / name)
            self._present.add(name)
        except OSError as error:
            raise storage_error(error, f"cannot keep a copy of {extent.file}") from error
        finally:
            partial.unlink(missing_ok=True)
        return links > 1

    async def _verify(self, extent: Extent, path: Path) -> int:
        """Compares a copy with its checksum; returns how many names the file has."""

        def verify() -> int:
            verify_file(path, extent)
            return path.stat().st_nlink

        self.counts["verified"] += 1
        try:
            return await self._threads.run(verify)
        except CorruptionError:
            self.counts["corrupt"] += 1
            raise
        except OSError as error:
            raise storage_error(error, f"cannot read a copy of {extent.file}") from error

    async def _remove(self, names: Iterable[str]) -> None:
        """Removes copies. Their names are free at once; the bytes go in a worker thread."""
        doomed = []
        for name in names:
            self._good.discard(name)
            if name in self._present:
                self._present.discard(name)
                path = self._folder / f"{name}.{next(self._numbers)}{_PARTIAL}"
                with suppress(FileNotFoundError):  # somebody else has cleaned the folder
                    (self._folder / name).rename(path)
                    doomed.append(path)

        def unlink() -> None:
            for path in doomed:
                path.unlink(missing_ok=True)

        if doomed:
            with trio.CancelScope(shield=True):
                await self._threads.run(unlink)


def copy_name(extent: Extent) -> str:
    """The name of a copy: checksum and size of the content."""
    return f"{extent.file_checksum:016x}-{extent.file_bytes}.parquet"


def _newest(extents: Iterable[Extent], limit_bytes: int) -> dict[str, Extent]:
    """The newest files, as many as fit together."""
    found: dict[str, Extent] = {}
    room = limit_bytes
    by_age = sorted(extents, key=lambda item: (item.created_max_us, item.extent_id), reverse=True)
    for extent in by_age:
        if extent.file not in found:
            room -= extent.file_bytes
            if room < 0:
                break
            found[extent.file] = extent
    return found
