"""From what the parts of a node tell to what its history keeps. No I/O of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.commands.credentials import without_credentials
from cluster.commands.lexer import fit_for_logs
from cluster.extents.keeping import JobKind
from cluster.history.records import Executed, Operation, OperationState
from cluster.query.records import QueryState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.extents.files import ExtentFilesStatistics
    from cluster.extents.keeping import JobReport, KeeperStatistics
    from cluster.gateway.http.server import HttpStatistics
    from cluster.history.log import History
    from cluster.node.link import LinkStatistics
    from cluster.query.binding import ScanStatistics
    from cluster.query.records import QueryRecord
    from cluster.replication.exchange import ReplicationStatistics
    from follower.driver import FollowerStatistics

_STATES: Final[Mapping[QueryState, OperationState]] = {
    QueryState.IN_PROGRESS: OperationState.IN_PROGRESS,
    QueryState.COMPLETED: OperationState.COMPLETED,
    QueryState.FAILED: OperationState.FAILED,
    QueryState.THROTTLED: OperationState.THROTTLED,
    QueryState.CANCELLED: OperationState.CANCELED,
}

_OPERATIONS: Final = frozenset({JobKind.MERGE, JobKind.RETAIN, JobKind.SEAL})
"""Jobs that are listed among the operations; the others are the node's housekeeping."""

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """The parts of a node that are about other processes and clients, and about extents.

    ``http`` is None where the node has no HTTP door.
    """

    link: LinkStatistics
    followers: FollowerStatistics
    replication: ReplicationStatistics
    keeper: KeeperStatistics
    files: ExtentFilesStatistics
    http: HttpStatistics | None


@dataclass(frozen=True, slots=True)
class HistoryReports:
    """Callbacks for the query engine and the keeper of extents. ``new_id`` gives random guids."""

    history: History
    new_id: Callable[[], str]
    _activities: dict[int, str]

    @classmethod
    def of(cls, history: History, new_id: Callable[[], str]) -> HistoryReports:
        """Reports to ``history``."""
        return cls(history, new_id, {})

    def query(self, record: QueryRecord) -> None:
        """A query has begun, or ended."""
        is_running = record.state is QueryState.IN_PROGRESS
        activity = self._activities.pop(record.number, "")
        request = record.request
        activity = activity or request.activity_id or self.new_id()
        entry = Executed(
            activity_id=activity,
            kind="Query",
            text=fit_for_logs(record.text),
            database=record.database,
            started_ns=record.started_ns,
            updated_ns=record.updated_ns or record.started_ns,
            state=_STATES[record.state],
            failure=without_credentials(record.failure),
            client_request_id=request.request_id,
            principal=request.caller.principal,
            user=request.caller.name or request.user,
            application=request.application,
            options=request.options,
            cpu_seconds=record.cpu_seconds,
            row_count=record.row_count,
            result_bytes=record.result_bytes,
            statistics=_scanned(record.scanned),
        )
        if is_running:
            self._activities[record.number] = activity
            self.history.begun(entry)
        else:
            self.history.ended(entry)

    def number_of(self, activity_id: str) -> int | None:
        """The number of a running query, by its activity id or its client request id."""
        for number, known in self._activities.items():
            if known == activity_id:
                return number
        for entry in self.history.running():
            if entry.client_request_id == activity_id:
                return self.number_of(entry.activity_id)
        return None

    def job(self, report: JobReport) -> None:
        """The keeper has done something with extents, or failed to."""
        if report.kind not in _OPERATIONS:
            return
        state = OperationState.FAILED if report.failure else OperationState.COMPLETED
        self.history.operation(
            Operation(
                operation_id=self.new_id(),
                kind=report.kind.value,
                database=report.database,
                text=f"{report.kind.value} of table {report.table}" if report.table else "",
                started_ns=report.ended_ns - round(report.duration_seconds * _NANOSECONDS),
                updated_ns=report.ended_ns,
                state=state,
                status=report.failure,
                should_retry=bool(report.failure),
            )
        )


def _scanned(scanned: ScanStatistics) -> Mapping[str, object]:
    """As ``.show queries`` prints it in ``ScannedExtentsStatistics``."""
    return {
        "TotalExtentsCount": scanned.extents_total,
        "ScannedExtentsCount": scanned.extents_hot + scanned.extents_cold,
        "HotExtentsCount": scanned.extents_hot,
        "TotalRowsCount": scanned.rows_total,
        "RowStoreRowsCount": scanned.streamed_rows,
    }
