"""Which tables to seal, and their rows as the writer takes them. Pure.

A table is sealed when its unsealed rows reach the size of the row-store policy, when the oldest of
them reaches its interval, when its effective streaming policy is gone, and when its row store fills
up (white paper, "streaming ingestion"; ``streaming.md`` of 2019 for the figures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.extents.columns import INGESTION_TIME, INGESTION_TIME_TYPE, by_id
from cluster.extents.keeping import SealReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cluster.catalog.model import RowStoreKey, Table
    from cluster.rowstore.model import Rows

SLICE_ROWS: Final = 65_536
"""Rows given to the writer at once, at most: what bounds memory is not the size of the table."""

SLICE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SealRule:
    """When to seal. ``pressure_bytes``: unsealed bytes at which a row store seals its largest
    tables, until it would be at ``relief_bytes``."""

    threshold_bytes: int
    interval_us: int
    pressure_bytes: int
    relief_bytes: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one table has in the row stores. ``by_store``: bytes in each row store."""

    database: str
    table: str
    key: RowStoreKey
    is_streaming: bool
    row_count: int
    byte_count: int
    oldest_us: int
    by_store: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class SealTask:
    """Seal this incarnation of a table."""

    database: str
    table: str
    key: RowStoreKey
    reason: SealReason


def plan_seals(tables: Iterable[Streamed], rule: SealRule, now_us: int) -> list[SealTask]:
    """The tables to seal now, the most urgent first: pressure, size, policy, age."""
    waiting = [table for table in tables if table.row_count]
    reasons: dict[RowStoreKey, SealReason] = {}
    for table in waiting:
        if now_us - table.oldest_us >= rule.interval_us:
            reasons[table.key] = SealReason.AGE
        if not table.is_streaming:
            reasons[table.key] = SealReason.POLICY
        if table.byte_count >= rule.threshold_bytes:
            reasons[table.key] = SealReason.SIZE
    _relieve(waiting, rule, reasons)
    tasks = [
        SealTask(table.database, table.table, table.key, reasons[table.key])
        for table in sorted(waiting, key=lambda table: -table.byte_count)
        if table.key in reasons
    ]
    tasks.sort(key=lambda task: _URGENCY[task.reason])
    return tasks


_URGENCY: Final = {
    SealReason.PRESSURE: 0,
    SealReason.SIZE: 1,
    SealReason.DRAIN: 1,
    SealReason.COMMAND: 1,
    SealReason.POLICY: 2,
    SealReason.AGE: 3,
}


def _relieve(
    waiting: Sequence[Streamed], rule: SealRule, reasons: dict[RowStoreKey, SealReason]
) -> None:
    """Adds the largest tables of each row store that is too full, as many as it takes."""
    stores: dict[int, list[Streamed]] = {}
    for table in waiting:
        for store in table.by_store:
            stores.setdefault(store, []).append(table)
    for store, members in stores.items():
        held = sum(table.by_store[store] for table in members)
        if held < rule.pressure_bytes:
            continue
        for table in sorted(members, key=lambda table: -table.by_store[store]):
            if held <= rule.relief_bytes:
                break
            held -= table.by_store[store]
            reasons[table.key] = SealReason.PRESSURE


def next_due_us(tables: Iterable[Streamed], rule: SealRule) -> int | None:
    """When the next table is to be sealed for its age, if no row comes; None: never."""
    oldest = [table.oldest_us for table in tables if table.row_count]
    return min(oldest) + rule.interval_us if oldest else None


def slices(rows: Rows, table: Table, *, with_times: bool) -> Iterator[pa.RecordBatch]:
    """Rows of a key in the table's schema in force, in small batches, in ordinal order.

    ``with_times`` adds a last column ``$IngestionTime``. Lazy, and a slice copies nothing: what is
    in memory beyond the row store's own is what the caller keeps.
    """
    times = rows.ingestion_times() if with_times else None
    at = 0
    for batch, version in zip(rows.batches, rows.schema_versions, strict=True):
        step = _slice_rows(batch)
        for start in range(0, batch.num_rows, step):
            part = conform(batch.slice(start, step), table, version)
            if times is not None:
                part = part.append_column(
                    pa.field(INGESTION_TIME, INGESTION_TIME_TYPE), times.slice(at, part.num_rows)
                )
            at += part.num_rows
            yield part


def _slice_rows(batch: pa.RecordBatch) -> int:
    row_bytes = max(1, int(batch.nbytes) // max(1, int(batch.num_rows)))
    return max(1, min(SLICE_ROWS, SLICE_BYTES // row_bytes))


def conform(batch: pa.RecordBatch, table: Table, schema_version: int) -> pa.RecordBatch:
    """Rows of schema ``schema_version`` in the schema in force: by column id, never by name."""
    if schema_version == table.schema_version:
        return batch
    return by_id(batch, table.column_ids[schema_version], table.columns, table.column_ids[-1])
