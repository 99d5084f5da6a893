"""One order for the records of several row stores: that in which they became durable.

A global LSN counts the bytes of all records since the node started. It means nothing in another
life, and nothing for records from before this one or that left the memory since: those are found
by the cursor of their key, in the log of their row store.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from cluster.rowstore.entry import LogRecord
from cluster.rowstore.tail import RecentRecords

if TYPE_CHECKING:
    from collections.abc import Sequence

_PRUNE_AT: Final = 1024


class _Places:
    """Where groups of one row store begin: LSN in its own log, and global LSN."""

    __slots__ = ("global_lsns", "keep", "lsns")

    def __init__(self) -> None:
        self.lsns: list[int] = []
        self.global_lsns: list[int] = []
        self.keep = _PRUNE_AT

    def prune(self, start_lsn: int) -> None:
        if len(self.lsns) < self.keep:
            return
        first = max(bisect_right(self.global_lsns, start_lsn) - 1, 0)
        del self.lsns[:first]
        del self.global_lsns[:first]
        self.keep = 2 * len(self.lsns) + _PRUNE_AT


class SharedTail:
    """The newest records of all row stores, at most ``limit_bytes``, in commit order."""

    def __init__(self, store_count: int, limit_bytes: int, start_lsn: int) -> None:
        self.records = RecentRecords(limit_bytes, start_lsn)
        self.end_lsn = start_lsn
        self._places = [_Places() for _ in range(store_count)]

    def append(self, store: int, records: Sequence[LogRecord]) -> None:
        """Takes a group of one row store that became durable; adjacent in its log."""
        places = self._places[store]
        places.lsns.append(records[0].lsn)
        places.global_lsns.append(self.end_lsn)
        places.prune(self.records.start_lsn)
        for _, key, end_ordinal, raw in records:
            if end_ordinal:
                self.records.append(LogRecord(self.end_lsn, key, end_ordinal, raw))
            self.end_lsn += len(raw)
        self.records.skip_to(self.end_lsn)

    def place_of(self, store: int, lsn: int) -> int | None:
        """Global LSN of the record at ``lsn`` of a row store; None if it is not in memory."""
        places = self._places[store]
        at = bisect_right(places.lsns, lsn) - 1
        if at < 0:
            return None
        place = places.global_lsns[at] + lsn - places.lsns[at]
        return place if self.records.covers(place) else None
