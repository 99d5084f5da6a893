"""What is told of a query, and rows given to one by the node itself. Pure."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES, arrow_schema
from cluster.catalog.model import ScalarType
from cluster.query.binding import (
    NOTHING_SCANNED,
    QueryResult,
    ResultColumn,
    ScanStatistics,
)
from cluster.request import NODE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.catalog.model import Column
    from cluster.query.binding import BoundTable
    from cluster.query.relation import Input
    from cluster.request import ClientRequest


class QueryState(enum.Enum):
    """State of a query as ``.show queries`` prints it."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    THROTTLED = "Throttled"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One query, told when it begins and again when it ends. Times are nanoseconds since 1970 UTC.

    ``number`` counts the queries of this process. ``cpu_seconds`` is processor time of the thread
    that ran it, ``result_bytes`` the size of its answer in memory. ``request`` says who asked.
    """

    number: int
    text: str
    database: str
    started_ns: int
    request: ClientRequest = NODE_REQUEST
    updated_ns: int = 0
    state: QueryState = QueryState.IN_PROGRESS
    failure: str = ""
    row_count: int = 0
    result_bytes: int = 0
    cpu_seconds: float = 0.0
    scanned: ScanStatistics = NOTHING_SCANNED

    def ended(
        self,
        now_ns: int,
        state: QueryState,
        failure: str,
        results: Sequence[QueryResult] = (),
        cpu_seconds: float = 0.0,
    ) -> QueryRecord:
        """The same query at its end. It has ``results`` if it has completed."""
        record = replace(self, updated_ns=now_ns, state=state, failure=failure)
        if not results:
            return record
        return replace(
            record,
            row_count=sum(result.table.num_rows for result in results),
            result_bytes=sum(result.table.nbytes for result in results),
            cpu_seconds=cpu_seconds,
            scanned=together([result.scanned for result in results]),
        )


def together(statistics: Sequence[ScanStatistics]) -> ScanStatistics:
    """What several queries read."""
    if len(statistics) == 1:
        return statistics[0]
    return ScanStatistics(*(sum(values) for values in zip(*map(astuple, statistics), strict=True)))


def counted(name: str, bound: BoundTable) -> QueryResult:
    """The answer of ``T | count``, without reading anything."""
    count = bound.row_count
    column = ResultColumn(name, ScalarType.LONG)
    table = pa.table({name: pa.array([count], pa.int64())})
    statistics = ScanStatistics(tables=1, extents_total=len(bound.extents), rows_total=count)
    return QueryResult((column,), table, scanned=statistics)


def scanned(inputs: Sequence[Input]) -> ScanStatistics:
    """What a query over these inputs reads."""
    read = [source for source in inputs if not source.use.counted]
    return ScanStatistics(
        tables=len(inputs),
        streamed_rows=sum(
            batch.num_rows
            for source in read
            for rows in source.bound.fresh
            for batch in rows.batches
        ),
        extents_total=sum(len(source.bound.extents) for source in inputs),
        extents_hot=sum(len(part.members) for source in read for part in source.hot),
        extents_cold=sum(len(part.extents) for source in read for part in source.cold),
        rows_total=sum(source.bound.row_count for source in inputs),
    )


_NEVER_NULL: Final = ScalarType.STRING


def given_batch(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> pa.RecordBatch:
    """Rows of a command's result in the storage schema of their columns."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [_array(column, given) for column, given in zip(columns, values, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))


def _array(column: Column, values: Iterable[object]) -> pa.Array:
    if column.type is _NEVER_NULL:
        return pa.array(["" if value is None else str(value) for value in values], pa.string())
    if column.type is ScalarType.GUID:
        return pa.array(
            [uuid.UUID(str(value)).bytes if value else None for value in values], pa.binary(16)
        )
    if column.type is ScalarType.DATETIME:
        values = [
            value.astimezone(dt.UTC).replace(tzinfo=None)
            if isinstance(value, dt.datetime) and value.tzinfo is not None
            else value
            for value in values
        ]
    return pa.array(list(values), ARROW_TYPES[column.type])


def storage_batches(result: QueryResult) -> tuple[pa.RecordBatch, ...]:
    """A query's answer in the Arrow types rows are stored in: only ``guid`` differs."""
    table = result.table
    for index, column in enumerate(result.columns):
        if column.type is ScalarType.GUID:
            chunks = [_guids(chunk) for chunk in table.column(index).chunks]
            whole = pa.chunked_array(chunks, pa.binary(16))
            table = table.set_column(index, pa.field(column.name, pa.binary(16)), whole)
    return tuple(table.to_batches())


def _guids(chunk: pa.Array) -> pa.Array:
    return pa.array(
        [None if text is None else uuid.UUID(text).bytes for text in chunk.to_pylist()],
        pa.binary(16),
    )
