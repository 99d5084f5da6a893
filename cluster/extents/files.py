"""Extent files at hand: local, verified, and held while they are used.

The files of a node's own local root are used where they lie. Those of a remote root, or of a
leader, are used as copies in a folder of bounded size: a hard link if the leader's root is on the
same file system, else downloaded from the root, else fetched through the leader. A copy that is
damaged is fetched again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptionError, FileMissingError, RemoraError
from cluster.extents.checking import (
    TAIL_BYTES,
    decode_tail,
    footer_bytes,
    read_footer,
    verify_file,
)
from cluster.extents.copies import Copies, Place
from cluster.extents.disk import storage_error
from cluster.extents.stats import StatisticsCache
from cluster.extents.worker import Threads
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from cluster.catalog.model import Database, Extent
    from cluster.extents.footer import Footer
    from cluster.extents.root import StorageRoot
    from cluster.extents.stats import ExtentStatistics
    from cluster.limits import Limits

_FILES_A_CALL: Final = 32
"""Files looked at in one call of a worker thread."""


@dataclass(frozen=True, slots=True)
class ExtentFilesStatistics:
    """Counts since construction, and what is held now.

    ``cached_bytes``, ``cached_files``: copies in the cache folder. ``pinned_files``: files that
    somebody uses now, in place or as copies. ``linked``, ``downloaded``, ``fetched``: how copies
    came; ``hits``: uses of a copy that was there. ``verified``: files whose checksum was compared;
    ``corrupt``: how many of them were damaged; ``evictions``: copies removed to make room;
    ``prefetched``: files that were there before they were asked for; ``prefetch_failures``: times
    one could not be had. ``statistics_entries``: files whose footer is remembered.
    """

    cached_bytes: int
    cached_files: int
    pinned_files: int
    linked: int
    downloaded: int
    fetched: int
    hits: int
    verified: int
    corrupt: int
    evictions: int
    prefetched: int
    prefetch_failures: int
    statistics_entries: int


class ExtentFiles:
    """The extent files that a node uses.

    ``place_of`` tells where the files of a database are. ``cache`` is a folder of this process
    alone; the copies in it are found again after a restart, and verified again when first used.
    ``statistics`` may be shared with an ExtentWriter, which knows those of new files.
    """

    def __init__(
        self,
        *,
        place_of: Callable[[Database], Place],
        cache: Path,
        statistics: StatisticsCache | None = None,
        limits: Limits = LIMITS,
        blocks: bool = True,
        processors: tuple[int, ...] = (),
    ) -> None:
        self._place_of = place_of
        self._known = (
            StatisticsCache(limits.extent_statistics_entries) if statistics is None else statistics
        )
        self._threads = Threads(blocks=blocks, count=limits.extent_fetches, processors=processors)
        self._copies = Copies(cache, threads=self._threads, limits=limits)
        self._pins: Counter[str] = Counter()
        self._verified: dict[str, dict[str, Path]] = {}

    @asynccontextmanager
    async def acquire(
        self, database: Database, extents: Iterable[Extent]
    ) -> AsyncIterator[Mapping[str, Path]]:
        """Holds the files of these extents; gives their local paths by ``Extent.file``.

        Each file was compared with its checksum since this process started. None of them is
        removed before the block ends. Raises CorruptionError if a file is damaged and no good one
        can be had, FileMissingError if there is none, LimitExceededError or ThrottledError if the
        copies do not fit the cache folder, and the errors of the storage root.
        """
        wanted = {extent.file: extent for extent in extents}
        self._pins.update(wanted.keys())
        try:
            place = self._place_of(database)
            root = place.root
            if place.in_place and root is not None and _is_local(root, wanted):
                yield await self._in_place(root, wanted)
            else:
                async with self._copies.hold(database, place, wanted) as paths:
                    yield paths
        finally:
            for file in wanted:
                self._pins[file] -= 1
                if not self._pins[file]:
                    del self._pins[file]

    async def prefetch(self, database: Database, extents: Iterable[Extent]) -> None:
        """Makes copies of these files ahead of their use: the newest that the cache folder holds.

        What cannot be had is passed over, and the rest with it: :meth:`acquire` says why. Nothing
        happens for files of the node's own root.
        """
        place = self._place_of(database)
        if not place.in_place:
            await self._copies.prefetch(database, place, extents)

    def is_pinned(self, file: str) -> bool:
        """Whether somebody holds a file of this name now."""
        return file in self._pins

    def forget(self, files: Iterable[str]) -> None:
        """Forgets what is known of files that are being removed for good."""
        gone = set(files)
        for file in gone:
            self._known.forget(file)
            for verified in self._verified.values():
                verified.pop(file, None)

    async def _in_place(
        self, root: StorageRoot, wanted: Mapping[str, Extent]
    ) -> Mapping[str, Path]:
        """Paths in the node's own root; verifies the files that were not before."""
        verified = self._verified.setdefault(root.url, {})
        unknown = [
            (extent, path)
            for file, extent in wanted.items()
            if file not in verified and (path := root.local_path(file)) is not None
        ]
        for first in range(0, len(unknown), _FILES_A_CALL):
            await self._verify(verified, unknown[first : first + _FILES_A_CALL])
        return {file: verified[file] for file in wanted}

    async def _verify(
        self, verified: dict[str, Path], files: Sequence[tuple[Extent, Path]]
    ) -> None:
        def verify() -> None:
            for extent, path in files:
                self._threads.check_cancelled()
                verify_file(path, extent)

        self._copies.counts["verified"] += len(files)
        try:
            await self._run(verify)
        except CorruptionError:
            self._copies.counts["corrupt"] += 1
            raise
        verified.update((extent.file, path) for extent, path in files)

    async def _run(self, function: Callable[[], None]) -> None:
        try:
            await self._threads.run(function)
        except FileNotFoundError as error:
            raise FileMissingError(
                f"there is no extent file {error.filename}", metadata={"file": str(error.filename)}
            ) from error
        except OSError as error:
            raise storage_error(error, "cannot read an extent file") from error

    async def statistics_of(
        self, database: Database, extents: Iterable[Extent]
    ) -> Mapping[str, ExtentStatistics]:
        """Statistics by ``Extent.file``, from memory or the footers; no file is fetched for them.

        The footer is verified, the file need not be. What only the leader can give is left out.
        Raises CorruptionError, FileMissingError and the errors of the storage root for the files
        of the node's own root; of another's, what cannot be had is left out: :meth:`acquire` has
        more ways to them.
        """
        place = self._place_of(database)
        found: dict[str, ExtentStatistics] = {}
        local: list[tuple[Extent, Path]] = []
        remote: list[Extent] = []
        for extent in extents:
            known = self._known.get(extent.file)
            if known is not None:
                found[extent.file] = known
            elif (path := self._path_at_hand(place, extent)) is not None:
                local.append((extent, path))
            else:
                remote.append(extent)
        for first in range(0, len(local), _FILES_A_CALL):
            part = local[first : first + _FILES_A_CALL]
            await self._read_footers(part, found, is_strict=place.in_place)
        await self._read_remote_footers(place, remote, found)
        return found

    def _path_at_hand(self, place: Place, extent: Extent) -> Path | None:
        path = None if place.in_place else self._copies.present(extent)
        if path is None and place.root is not None:
            path = place.root.local_path(extent.file)
        return path or self._copies.present(extent)

    async def _read_remote_footers(
        self, place: Place, extents: Sequence[Extent], found: dict[str, ExtentStatistics]
    ) -> None:
        if place.root is None or self._copies.is_resting(place):
            return
        for extent in extents:
            try:
                footer = await _remote_footer(place.root, extent)
            except RemoraError as error:
                if place.in_place:
                    raise
                self._copies.let_rest(place, error)
                return
            found[extent.file] = footer.statistics
            self._known.put(extent.file, footer.statistics)

    async def _read_footers(
        self,
        files: Sequence[tuple[Extent, Path]],
        found: dict[str, ExtentStatistics],
        *,
        is_strict: bool,
    ) -> None:
        footers: list[tuple[Extent, Footer]] = []

        def read() -> None:
            for extent, path in files:
                try:
                    footers.append((extent, read_footer(path, extent)))
                except (CorruptionError, OSError):
                    if is_strict:
                        raise

        await self._run(read)
        for extent, footer in footers:
            found[extent.file] = footer.statistics
            self._known.put(extent.file, footer.statistics)

    def statistics(self) -> ExtentFilesStatistics:
        """Counts since construction, and what is held now."""
        counts, table = self._copies.counts, self._copies.table
        return ExtentFilesStatistics(
            cached_bytes=table.total_bytes,
            cached_files=len(table),
            pinned_files=len(self._pins),
            linked=counts["linked"],
            downloaded=counts["downloaded"],
            fetched=counts["fetched"],
            hits=counts["hits"],
            verified=counts["verified"],
            corrupt=counts["corrupt"],
            evictions=table.evictions,
            prefetched=counts["prefetched"],
            prefetch_failures=counts["prefetch_failures"],
            statistics_entries=len(self._known),
        )


def _is_local(root: StorageRoot, files: Iterable[str]) -> bool:
    """Whether the files of a root are on this machine: all of them are, or none."""
    return all(root.local_path(file) is not None for file in itertools.islice(files, 1))


async def _remote_footer(root: StorageRoot, extent: Extent) -> Footer:
    """Reads the end of a remote file."""
    start = max(0, extent.file_bytes - TAIL_BYTES)
    tail = await root.get_range(extent.file, start, TAIL_BYTES)
    length = footer_bytes(tail, extent.file_bytes) or 0
    if length > len(tail):
        tail = await root.get_range(extent.file, extent.file_bytes - length, length)
    return decode_tail(tail[len(tail) - length :], extent, f"{extent.file} of {root.url}")
