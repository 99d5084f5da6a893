"""The bounded window of remembered source ids: what makes a retry harmless."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cluster.rowstore.record import NO_SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.record import RequestSpan
    from cluster.rowstore.worker import Group

    Remembered: TypeAlias = tuple[RowStoreKey, int, int, Group | None]
    """Key, first ordinal, number of rows, and the group while they are not durable.

    A plain tuple: it is made twice for each request, and a named one costs 0.3 us more.
    """


class OutcomeWindow:
    """The last ``limit`` source digests, oldest forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._outcomes: OrderedDict[bytes, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outcomes)

    def remember(
        self,
        key: RowStoreKey,
        first_ordinal: int,
        spans: Sequence[RequestSpan],
        group: Group | None,
    ) -> None:
        """Remembers the requests of a record; with ``group`` while it is not durable yet."""
        outcomes = self._outcomes
        for source, rows in spans:
            if source and source != NO_SOURCE:
                outcomes[source] = (key, first_ordinal, rows, group)
                outcomes.move_to_end(source)
                if len(outcomes) > self._limit:
                    outcomes.popitem(last=False)
            first_ordinal += rows

    def settle(self, key: RowStoreKey, first_ordinal: int, spans: Sequence[RequestSpan]) -> None:
        """The record is durable. Ids forgotten in the meantime stay forgotten."""
        outcomes = self._outcomes
        for source, rows in spans:
            if source in outcomes:
                outcomes[source] = (key, first_ordinal, rows, None)
            first_ordinal += rows

    def get(self, source: bytes) -> Remembered | None:
        """Where the rows of a request are; None if its source id is not remembered."""
        return self._outcomes.get(source)
