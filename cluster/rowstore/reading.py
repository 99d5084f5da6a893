"""Reading committed records for followers: from memory if recent, else from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.rowstore.model import Chunk
from cluster.rowstore.tail import RecentRecords
from cluster.rowstore.writer import call_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping, Sequence

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.contents import Contents
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.entry import LogRecord
    from cluster.rowstore.log import SegmentedLog

_READERS_MAX: Final = 2


class LogReader:
    """The reading end of a log; ``end_lsn()`` is where its committed records end."""

    def __init__(
        self,
        log: SegmentedLog,
        contents: Contents,
        *,
        disk: Disk,
        tail_bytes: int,
        end_lsn: Callable[[], int],
    ) -> None:
        self._log = log
        self._contents = contents
        self._disk = disk
        self._end_lsn = end_lsn
        self._tail = RecentRecords(tail_bytes, log.end_lsn)
        self._readers = trio.CapacityLimiter(_READERS_MAX)
        self.disk_reads = 0

    @property
    def tail_bytes(self) -> int:
        """Bytes of records held in memory."""
        return self._tail.byte_count

    def append(self, records: Sequence[LogRecord]) -> None:
        """Records became durable, the next of the log."""
        for record in records:
            self._tail.append(record)

    async def read(
        self,
        lsn: int,
        keys: Collection[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """See ``RowStore.read``."""
        end_lsn = self._end_lsn()
        if lsn > end_lsn:
            raise ValueError(f"LSN {lsn} is beyond the end of the log, {end_lsn}")
        while True:
            await trio.lowlevel.checkpoint()
            if lsn >= self._end_lsn():
                return Chunk(b"", 0, lsn)
            if self._tail.covers(lsn):
                chunk = self._tail.read(lsn, keys, cursors, max_bytes)
            else:
                chunk = await self._read_disk(lsn, keys, cursors, max_bytes)
            if chunk.count:
                return chunk
            # Looking for it through gigabytes of other tables would keep a follower in silence.
            next_lsn = self._contents.start_lsn_for(cursors, keys, self._end_lsn())
            lsn = max(chunk.next_lsn, next_lsn)

    async def _read_disk(
        self,
        lsn: int,
        keys: Container[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        end_lsn = self._end_lsn()
        self.disk_reads += 1
        async with self._readers:
            return await call_disk(
                self._disk, lambda: self._log.read(lsn, end_lsn, keys, cursors, max_bytes)
            )
