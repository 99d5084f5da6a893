"""Which tables to seal, and their rows as the writer takes them. Pure.

A table is sealed when its unsealed rows reach the size of the row-store policy, when the oldest of
them reaches its interval, when its effective streaming policy is gone, when its row store fills up,
and when its oldest row keeps too much of the log on disk (white paper, "streaming ingestion";
``streaming.md`` of 2019 and ``rowstore_policy.md`` of 2018 for the figures).
"""

from __future__ import annotations

from collections import Counter
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
    """When to seal.

    ``pressure_bytes``: unsealed bytes at which a row store seals its largest tables, until it
    would be at ``relief_bytes``. A table whose oldest row keeps more of a log than
    ``log_bytes``, and more than ``log_ratio`` times what is unsealed in that row store, is sealed
    for that: a few rows of one table may not hold the log of all others.
    """

    threshold_bytes: int
    interval_us: int
    pressure_bytes: int
    relief_bytes: int
    log_bytes: int
    log_ratio: float


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one table has in the row stores.

    ``by_store``: bytes in each row store; ``log_by_store``: bytes of the log its oldest row keeps.
    """

    database: str
    table: str
    key: RowStoreKey
    is_streaming: bool
    row_count: int
    byte_count: int
    oldest_us: int
    by_store: Mapping[int, int]
    log_by_store: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class SealTask:
    """Seal this incarnation of a table."""

    database: str
    table: str
    key: RowStoreKey
    reason: SealReason


def plan_seals(tables: Iterable[Streamed], rule: SealRule, now_us: int) -> list[SealTask]:
    """The tables to seal now, the most urgent first: pressure, size, log, policy, age."""
    waiting = [table for table in tables if table.row_count]
    reasons: dict[RowStoreKey, SealReason] = {}
    for table in waiting:
        if now_us - table.oldest_us >= rule.interval_us:
            reasons[table.key] = SealReason.AGE
        if not table.is_streaming:
            reasons[table.key] = SealReason.POLICY
        if table.byte_count >= rule.threshold_bytes:
            reasons[table.key] = SealReason.SIZE
    _free_logs(waiting, rule, reasons)
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
    SealReason.LOG: 2,
    SealReason.POLICY: 3,
    SealReason.AGE: 4,
}


def _free_logs(
    waiting: Sequence[Streamed], rule: SealRule, reasons: dict[RowStoreKey, SealReason]
) -> None:
    """Adds the tables that keep too much of a log, if they have no more urgent reason."""
    held = _held(waiting)
    for table in waiting:
        if any(
            distance > max(rule.log_bytes, rule.log_ratio * held[store])
            for store, distance in table.log_by_store.items()
        ):
            reasons.setdefault(table.key, SealReason.LOG)


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


def next_due_us(tables: Iterable[Streamed], rule: SealRule, now_us: int) -> int:
    """Before that time no table is due for its age: one that has no rows yet neither."""
    oldest = min((table.oldest_us for table in tables if table.row_count), default=now_us)
    return min(oldest, now_us) + rule.interval_us


def slack_bytes(tables: Sequence[Streamed], rule: SealRule) -> int:
    """Before that many bytes have come to the row stores, no table is due for any size.

    0 or less: one is due now. Holds as long as nothing is sealed or cleared.
    """
    held = _held(tables)
    slack: float = min(rule.threshold_bytes, rule.pressure_bytes, rule.log_bytes)
    for table in tables:
        slack = min(slack, rule.threshold_bytes - table.byte_count)
        for store, distance in table.log_by_store.items():
            slack = min(slack, max(rule.log_bytes, rule.log_ratio * held[store]) - distance)
    for byte_count in held.values():
        slack = min(slack, rule.pressure_bytes - byte_count)
    return int(slack)


def _held(tables: Iterable[Streamed]) -> Counter[int]:
    """Unsealed bytes in each row store."""
    held: Counter[int] = Counter()
    for table in tables:
        held.update(table.by_store)
    return held


def slices(rows: Rows, table: Table, *, with_times: bool) -> Iterator[pa.RecordBatch]:
    """Rows of a key in the table's schema in force, in small batches, in ordinal order.

    ``with_times`` adds a last column ``$IngestionTime``. Lazy, and a slice copies nothing: what is
    in memory beyond the row store's own is what the caller keeps.
    """
    at = rows.first_ordinal
    for batch, version in zip(rows.batches, rows.schema_versions, strict=True):
        step = _slice_rows(batch)
        for start in range(0, batch.num_rows, step):
            part = conform(batch.slice(start, step), table, version)
            if with_times:
                times = rows.ingestion_times(at, part.num_rows)
                part = part.append_column(pa.field(INGESTION_TIME, INGESTION_TIME_TYPE), times)
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
