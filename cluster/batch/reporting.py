"""What the logs of the node are told of batch ingestion. Pure but for the log it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.batch.properties import described
from cluster.history.records import DataOperation, DataOperationKind, IngestionFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.batch.ports import Request
    from cluster.catalog.model import Extent
    from cluster.clock import Clock
    from cluster.errors import RemoraError
    from cluster.history.log import History


class BatchReports:
    """Tells ``.show data operations`` and ``.show ingestion failures``."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock

    def failed(self, request: Request, source: str, error: RemoraError) -> None:
        """An ingestion was refused. ``source`` is what of it may be printed."""
        self._history.ingestion_failure(
            IngestionFailure(
                operation_id=request.operation_id,
                database=request.database,
                table=request.table,
                failed_ns=self._clock.now_ns(),
                source=source,
                details=error.message,
                is_permanent=error.permanent,
                error_code=error.code,
                operation_kind=request.kind,
                from_update_policy=error.code.startswith("UpdatePolicy_"),
                properties=str(dict(described(request.properties))),
            )
        )

    def stored(
        self, request: Request, stored: Mapping[str, Sequence[Extent]], seconds: float
    ) -> None:
        """Extents by table are visible: those of the request's table and what followed."""
        for table, extents in stored.items():
            if table == request.table:
                by_query = request.kind.startswith("Table")
                kind = DataOperationKind.SET_OR_APPEND if by_query else _INGESTED
                properties = described(request.properties)
            else:
                kind = DataOperationKind.UPDATE_POLICY
                properties = {"SourceTable": request.table}
            self._history.data_operation(
                DataOperation(
                    kind=kind,
                    database=request.database,
                    table=table,
                    ended_ns=self._clock.now_ns(),
                    duration_seconds=seconds,
                    row_count=sum(extent.row_count for extent in extents),
                    extent_count=len(extents),
                    original_bytes=sum(extent.original_bytes for extent in extents),
                    extent_bytes=sum(extent.file_bytes for extent in extents),
                    properties=properties,
                )
            )


_INGESTED = DataOperationKind.BATCH_INGEST
