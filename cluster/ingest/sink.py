"""What the pipeline needs of the row store, so that it can be tested without a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey, RowStoreReference
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.record import RequestSpan


class StagedRows(Protocol):
    """Rows that have their ordinals but are not durable yet (``rowstore.worker.Staged``)."""

    @property
    def key(self) -> RowStoreKey: ...

    @property
    def end_ordinal(self) -> int:
        """One more than the last ordinal of the rows."""

    def when_decided(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` once the rows are durable and visible, or refused."""

    def check_committed(self) -> None:
        """Raises if they were refused."""


class StoredOutcome(Protocol):
    """What the row store remembers of a source id (``rowstore.model.Outcome``)."""

    @property
    def key(self) -> RowStoreKey: ...

    @property
    def row_count(self) -> int: ...

    @property
    def staged(self) -> StagedRows | None: ...


class RowSink(Protocol):
    """What the pipeline needs of ``rowstore.stores.RowStores``; see there for the errors."""

    def choose(self, references: Sequence[RowStoreReference]) -> RowStoreReference:
        """Which of a table's references its next group goes to."""

    def choose_together(
        self, tables: Sequence[Sequence[RowStoreReference]]
    ) -> tuple[RowStoreReference, ...]:
        """The same for tables whose records belong together: all in one row store."""

    def stage(
        self,
        key: RowStoreKey,
        schema_version: int,
        batch: pa.RecordBatch,
        spans: Sequence[RequestSpan],
        *,
        with_next: bool = False,
    ) -> StagedRows:
        """Takes a group of requests of one table; raises, and then nothing is staged.

        ``with_next``: this record and the next one are durable together, or neither is.
        """

    def outcome_of(self, source: bytes) -> StoredOutcome | None:
        """What is remembered of a source digest."""

    def position_of(self, keys: Iterable[RowStoreKey]) -> Mapping[RowStoreKey, KeyPosition]:
        """The visible position of each key."""
