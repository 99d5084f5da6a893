"""The logs of a node, in memory and bounded: the oldest entry goes when a log is full.

They do not survive a restart; nothing that counts is kept only here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cluster.history.records import (
    DataOperation,
    Executed,
    IngestionFailure,
    Operation,
    OperationState,
)
from cluster.history.streaming import StreamingHistory
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.clock import Clock

DAY_NS: Final = 24 * 3600 * 1_000_000_000
OPERATION_RETENTION_NS: Final = 14 * DAY_NS
"""``.show operations`` without an id (``show-operations.md``)."""

OPERATION_BY_ID_RETENTION_NS: Final = 6 * 3600 * 1_000_000_000
"""``.show operations ID`` finds an operation for so long after its last change."""

INGESTION_RETENTION_NS: Final = 14 * DAY_NS
EXECUTED_RETENTION_NS: Final = 30 * DAY_NS

Entry = TypeVar("Entry")


class BoundedLog(Generic[Entry]):
    """The newest entries, at most ``entries`` of them and none older than the retention."""

    def __init__(self, entries: int, retention_ns: int, time_of: Callable[[Entry], int]) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries)
        self._retention_ns = retention_ns
        self._time_of = time_of
        self.count = 0

    def add(self, entry: Entry) -> None:
        """Takes the newest entry."""
        self._entries.append(entry)
        self.count += 1

    def entries(self, now_ns: int) -> tuple[Entry, ...]:
        """Oldest first."""
        oldest = now_ns - self._retention_ns
        return tuple(entry for entry in self._entries if self._time_of(entry) >= oldest)


@dataclass(frozen=True, slots=True)
class HistoryStatistics:
    """Entries taken since the start, those that have left included."""

    operations: int
    data_operations: int
    ingestion_failures: int
    executed: int
    running: int


class History:
    """All logs of a node. Everything is called in the node's thread."""

    def __init__(self, clock: Clock, limits: Limits = LIMITS) -> None:
        self._clock = clock
        entries = limits.history_entries
        self._entries = entries
        self._operations = BoundedLog[Operation](
            entries, OPERATION_RETENTION_NS, lambda entry: entry.updated_ns
        )
        self._by_id: OrderedDict[str, Operation] = OrderedDict()
        self._data = BoundedLog[DataOperation](
            entries, INGESTION_RETENTION_NS, lambda entry: entry.ended_ns
        )
        self._failures = BoundedLog[IngestionFailure](
            entries, INGESTION_RETENTION_NS, lambda entry: entry.failed_ns
        )
        self._executed = BoundedLog[Executed](
            entries, EXECUTED_RETENTION_NS, lambda entry: entry.updated_ns
        )
        self._running: dict[str, Executed] = {}
        self.streaming = StreamingHistory(entries, INGESTION_RETENTION_NS)

    # Operations

    def operation(self, operation: Operation) -> None:
        """A state of an operation: one entry a change."""
        self._operations.add(operation)
        self._by_id.pop(operation.operation_id, None)
        self._by_id[operation.operation_id] = operation
        if len(self._by_id) > self._entries:
            self._by_id.popitem(last=False)

    def operation_changed(
        self, operation_id: str, state: OperationState, status: str = "", *, retry: bool = False
    ) -> None:
        """The operation, which must be known, has another state now."""
        present = self._by_id[operation_id]
        self.operation(
            replace(
                present,
                updated_ns=self._clock.now_ns(),
                state=state,
                status=status,
                should_retry=retry,
            )
        )

    def operations(self) -> tuple[Operation, ...]:
        """Every change of every operation of the last two weeks, oldest first."""
        return self._operations.entries(self._clock.now_ns())

    def operations_by_id(self, ids: Iterable[str]) -> tuple[Operation, ...]:
        """The newest state of each of them that changed within six hours."""
        oldest = self._clock.now_ns() - OPERATION_BY_ID_RETENTION_NS
        found = (self._by_id.get(operation_id) for operation_id in ids)
        return tuple(entry for entry in found if entry is not None and entry.updated_ns >= oldest)

    # Data

    def data_operation(self, entry: DataOperation) -> None:
        """Data changed."""
        self._data.add(entry)

    def data_operations(self) -> tuple[DataOperation, ...]:
        """Those of the last two weeks, oldest first."""
        return self._data.entries(self._clock.now_ns())

    def ingestion_failure(self, entry: IngestionFailure) -> None:
        """An ingestion failed."""
        self._failures.add(entry)

    def ingestion_failures(self) -> tuple[IngestionFailure, ...]:
        """Those of the last two weeks, oldest first."""
        return self._failures.entries(self._clock.now_ns())

    # Queries and commands

    def begun(self, entry: Executed) -> None:
        """A query or command is running."""
        self._running[entry.activity_id] = entry

    def ended(self, entry: Executed) -> None:
        """It has ended."""
        self._running.pop(entry.activity_id, None)
        self._executed.add(entry)

    def executed(self) -> tuple[Executed, ...]:
        """Ended ones of the last thirty days, oldest first."""
        return self._executed.entries(self._clock.now_ns())

    def running(self) -> tuple[Executed, ...]:
        """Those under way, oldest first."""
        return tuple(self._running.values())

    def statistics(self) -> HistoryStatistics:
        """Counts since the start."""
        return HistoryStatistics(
            operations=self._operations.count,
            data_operations=self._data.count,
            ingestion_failures=self._failures.count,
            executed=self._executed.count,
            running=len(self._running),
        )
