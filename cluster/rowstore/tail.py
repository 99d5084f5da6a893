"""Recent committed records in memory, so that followers that keep up cost no disk reads."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import RowStoreKey
from cluster.rowstore.entry import LogRecord
from cluster.rowstore.model import Chunk

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from cluster.rowstore.disk import Buffer

SCAN_RECORDS: Final = 4096
"""Records looked at in one step; a follower of a quiet table must not hold the node's thread."""

_FREED: Final = LogRecord(0, RowStoreKey(0), 0, b"")


class RecentRecords:
    """The newest records of the log, at most ``limit_bytes`` of them, in log order."""

    def __init__(self, limit_bytes: int, start_lsn: int) -> None:
        self._limit_bytes = limit_bytes
        self._lsns: list[int] = []
        self._records: list[LogRecord] = []
        self._head = 0
        self.start_lsn = start_lsn
        self._end_lsn = start_lsn
        self.byte_count = 0

    def append(self, record: LogRecord) -> None:
        """Adds the next record of the log and drops the oldest ones over the limit."""
        size = len(record.raw)
        self._lsns.append(record.lsn)
        self._records.append(record)
        self._end_lsn = record.lsn + size
        self.byte_count += size
        while self.byte_count > self._limit_bytes:
            self.byte_count -= len(self._records[self._head].raw)
            self._records[self._head] = _FREED
            self._head += 1
            self.start_lsn = (
                self._lsns[self._head] if self._head < len(self._lsns) else self._end_lsn
            )
        # Shortened late: deleting from the front of a list moves all that is behind.
        if self._head * 2 > len(self._lsns):
            del self._lsns[: self._head]
            del self._records[: self._head]
            self._head = 0

    def skip_to(self, lsn: int) -> None:
        """The log has nothing for a reader up to ``lsn``."""
        if self._head == len(self._lsns):
            self.start_lsn = lsn
        self._end_lsn = lsn

    def covers(self, lsn: int) -> bool:
        """Whether everything committed from ``lsn`` on is here."""
        return lsn >= self.start_lsn

    def read(
        self,
        lsn: int,
        keys: Container[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """Records from ``lsn`` on; see ``RowStore.read``. May be empty before the end."""
        at = bisect_left(self._lsns, lsn, self._head)
        end = min(len(self._lsns), at + SCAN_RECORDS)
        parts: list[Buffer] = []
        size = 0
        while at < end:
            _, key, end_ordinal, raw = self._records[at]
            if key in keys and end_ordinal > cursors.get(key, 0):
                if parts and size + len(raw) > max_bytes:
                    break
                parts.append(raw)
                size += len(raw)
            at += 1
        next_lsn = self._lsns[at] if at < len(self._lsns) else self._end_lsn
        return Chunk(b"".join(parts), len(parts), next_lsn)
