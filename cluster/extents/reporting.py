"""Counts and reports of the keeper's jobs."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.errors import RemoraError
from cluster.extents.keeping import JobKind, JobReport, KeeperStatistics
from cluster.history.records import DataOperation, DataOperationKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cluster.catalog.model import Extent
    from cluster.clock import Clock


@dataclass(slots=True)
class Work:
    """One job under way; whoever does it fills in what it did."""

    row_count: int = 0
    extent_count: int = 0
    original_bytes: int = 0
    extent_bytes: int = 0
    is_abandoned: bool = False
    details: Mapping[str, object] = field(default_factory=dict)

    def wrote(self, extents: Sequence[Extent]) -> None:
        """These extents were written and committed."""
        self.extent_count += len(extents)
        self.row_count += sum(extent.row_count for extent in extents)
        self.original_bytes += sum(extent.original_bytes for extent in extents)
        self.extent_bytes += sum(extent.file_bytes for extent in extents)


class Reporter:
    """Tells of every job that did something, or failed; counts all."""

    def __init__(
        self,
        clock: Clock,
        on_report: Callable[[JobReport], None] | None,
        on_data_operation: Callable[[DataOperation], None] | None,
    ) -> None:
        self._clock = clock
        self._on_report = on_report
        self._on_data_operation = on_data_operation
        self._done: Counter[JobKind] = Counter()
        self._failed: Counter[JobKind] = Counter()
        self._abandoned: Counter[JobKind] = Counter()
        self._running: Counter[JobKind] = Counter()
        self._extents: Counter[JobKind] = Counter()
        self._rows: Counter[JobKind] = Counter()
        self._bytes: Counter[JobKind] = Counter()
        self._left_behind = 0
        self._last_failure = ""

    @contextmanager
    def work(self, kind: JobKind, database: str = "", table: str = "") -> Iterator[Work]:
        """Measures the block; an exception that leaves it is its failure."""
        started = self._clock.monotonic()
        work = Work()
        self._running[kind] += 1
        try:
            yield work
        except Exception as error:
            self._failed[kind] += 1
            words = error.message if isinstance(error, RemoraError) else repr(error)
            self._last_failure = f"{kind.value} of '{database}.{table}': {words}"
            self._tell(kind, database, table, started, work, words)
            raise
        finally:
            self._running[kind] -= 1
        self._abandoned[kind] += work.is_abandoned
        if work.extent_count or work.details:
            self._done[kind] += 1
            self._extents[kind] += work.extent_count
            self._rows[kind] += work.row_count
            self._bytes[kind] += work.extent_bytes
            self._tell(kind, database, table, started, work, "")

    def left_behind(self, count: int, error: RemoraError) -> None:
        """So many files could not be removed; the sweep will."""
        self._left_behind += count
        self._last_failure = f"{count} files could not be removed: {error.message}"

    def _tell(
        self, kind: JobKind, database: str, table: str, started: float, work: Work, failure: str
    ) -> None:
        report = JobReport(
            kind=kind,
            database=database,
            table=table,
            ended_ns=self._clock.now_ns(),
            duration_seconds=self._clock.monotonic() - started,
            row_count=work.row_count,
            extent_count=work.extent_count,
            original_bytes=work.original_bytes,
            extent_bytes=work.extent_bytes,
            failure=failure,
            details=work.details,
        )
        if self._on_report is not None:
            self._on_report(report)
        if kind is JobKind.SEAL and not failure and self._on_data_operation is not None:
            self._on_data_operation(_data_operation(report))

    def statistics(self, *, retry_tables: int) -> KeeperStatistics:
        """Counts of this moment."""
        seal, merge = JobKind.SEAL, JobKind.MERGE
        return KeeperStatistics(
            seals=self._done[seal],
            sealed_rows=self._rows[seal],
            sealed_bytes=self._bytes[seal],
            seals_running=self._running[seal],
            seal_failures=self._failed[seal],
            seals_abandoned=self._abandoned[seal],
            merges=self._done[merge],
            merged_rows=self._rows[merge],
            merges_running=self._running[merge],
            merge_failures=self._failed[merge],
            merges_abandoned=self._abandoned[merge],
            dropped_extents=self._extents[JobKind.RETAIN],
            deleted_files=self._extents[JobKind.COLLECT],
            swept_files=self._extents[JobKind.SWEEP],
            upkeep_failures=sum(
                self._failed[kind] for kind in (JobKind.RETAIN, JobKind.COLLECT, JobKind.SWEEP)
            ),
            left_behind_files=self._left_behind,
            retry_tables=retry_tables,
            last_failure=self._last_failure,
        )


def _data_operation(report: JobReport) -> DataOperation:
    """A seal as ``.show data operations`` knows it."""
    return DataOperation(
        kind=DataOperationKind.ROW_STORE_SEAL,
        database=report.database,
        table=report.table,
        ended_ns=report.ended_ns,
        duration_seconds=report.duration_seconds,
        row_count=report.row_count,
        extent_count=report.extent_count,
        original_bytes=report.original_bytes,
        extent_bytes=report.extent_bytes,
        cpu_seconds=report.cpu_seconds,
        properties=report.details,
    )
