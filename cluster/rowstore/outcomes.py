"""The bounded window of remembered source ids: what makes a retry harmless."""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile
from typing import TYPE_CHECKING

from cluster.rowstore.checkpoint import OutcomeCheckpoint, RememberedRequest
from cluster.rowstore.record import NO_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.ticket import Group

    Remembered: TypeAlias = tuple[RowStoreKey, int, int, Group | None, int]
    """Key, first ordinal, number of rows, the group while they are not durable, and the LSN.

    A plain tuple: it is made twice for each request, and a named one costs 0.3 us more.
    """


class OutcomeWindow:
    """The last ``limit`` source digests, oldest forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._outcomes: OrderedDict[bytes, Remembered] = OrderedDict()
        self._covered_lsn = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def remember(
        self,
        key: RowStoreKey,
        first_ordinal: int,
        spans: Iterable[tuple[bytes, int]],
        group: Group | None,
        lsn: int,
    ) -> None:
        """Remembers the requests of the record at ``lsn``; with ``group`` until it is durable."""
        outcomes = self._outcomes
        for source, rows in spans:
            if source and source != NO_SOURCE:
                outcomes[source] = (key, first_ordinal, rows, group, lsn)
                outcomes.move_to_end(source)
                if len(outcomes) > self._limit:
                    outcomes.popitem(last=False)
            first_ordinal += rows

    def settle(
        self, key: RowStoreKey, first_ordinal: int, spans: Iterable[tuple[bytes, int]], lsn: int
    ) -> None:
        """The record is durable. Ids forgotten in the meantime stay forgotten."""
        outcomes = self._outcomes
        for source, rows in spans:
            if source in outcomes:
                outcomes[source] = (key, first_ordinal, rows, None, lsn)
            first_ordinal += rows

    def restore(self, checkpoint: OutcomeCheckpoint) -> None:
        """Remembers what a checkpoint holds; comes before all records from its LSN on."""
        self._covered_lsn = checkpoint.below_lsn
        for source, key, first_ordinal, row_count in checkpoint.requests:
            self.remember(key, first_ordinal, ((source, row_count),), None, 0)

    def uncovered_below(self, lsn: int) -> OutcomeCheckpoint | None:
        """What is remembered of records before ``lsn``, for a checkpoint that will be written.

        They must be durable. None if there are none, or an earlier checkpoint has all of them.
        """
        if lsn <= self._covered_lsn:
            return None
        # Remembered in log order, so these are the first ones.
        older = takewhile(lambda item: item[1][4] < lsn, self._outcomes.items())
        requests = tuple(RememberedRequest(source, *found[:3]) for source, found in older)
        if not requests:
            return None
        self._covered_lsn = lsn
        return OutcomeCheckpoint(lsn, requests)

    def get(self, source: bytes) -> Remembered | None:
        """Where the rows of a request are; None if its source id is not remembered."""
        return self._outcomes.get(source)
