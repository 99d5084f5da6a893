"""What a follower does with shipped records before it stores them: believes nothing.

Every record is checked whole before any is taken, so a call applies all that is new or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.errors import DivergenceError, PayloadTooLargeError, ProtocolError, TableNotFoundError
from cluster.rowstore.decode import check_values, decode_body, join
from cluster.rowstore.entry import Entry, LogRecord
from cluster.rowstore.record import (
    FLAG_RESET,
    RecordDamageError,
    encode_reset,
    iter_records,
    next_checksum,
)
from cluster.rowstore.times import NANOSECONDS_A_MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.disk import Buffer
    from cluster.rowstore.keys import KeyState, SchemaOf
    from cluster.rowstore.record import Record, RecordHeader


@dataclass(slots=True)
class _Run:
    """New records of one key and schema version, adjacent in ordinals."""

    state: KeyState
    schema_version: int
    batches: list[pa.RecordBatch] = field(default_factory=list)
    ordinals: list[int] = field(default_factory=list)
    lsns: list[int] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    byte_count: int = 0
    end_ordinal: int = 0
    checksum: int = 0

    def entry(self) -> Entry:
        return Entry(
            self.state,
            join(self.batches),
            self.schema_version,
            self.byte_count,
            self.end_ordinal,
            self.checksum,
            self.ordinals,
            self.lsns,
            self.times_us,
            self.lengths,
            (),
        )


@dataclass(slots=True)
class ApplyPlan:
    """What a call adds: marks and records for the log in order, rows, and the new headers."""

    headers: tuple[RecordHeader, ...]
    records: list[LogRecord]
    entries: list[Entry]
    reset_keys: tuple[RowStoreKey, ...]


def plan_apply(
    data: Buffer,
    *,
    state_of: Callable[[RowStoreKey], KeyState],
    schema_of: SchemaOf,
    orphans: set[RowStoreKey],
    end_lsn: int,
    record_bytes_max: int,
    now_ns: int,
) -> ApplyPlan:
    """Checks shipped records against what is staged here, and decodes those that are new.

    Raises :class:`ProtocolError` for bytes that are no records, a gap, an unknown table or rows
    that cannot be decoded; :class:`DivergenceError` if what the leader has at a position is not
    what this log has there; :class:`PayloadTooLargeError` for a record over the limit.
    """
    try:
        fresh = _fresh_records(data, state_of, record_bytes_max)
    except TableNotFoundError as error:
        raise ProtocolError(f"the leader shipped rows of an unknown table: {error}") from None
    reset_keys = tuple({r.header.key: None for r in fresh if r.header.key in orphans})
    log_records = []
    lsn = end_lsn
    for key in reset_keys:
        mark = LogRecord(lsn, key, 0, encode_reset(lsn, key, now_ns))
        log_records.append(mark)
        lsn += len(mark.raw)
    runs: dict[RowStoreKey, _Run] = {}
    ended: list[_Run] = []
    for record in fresh:
        header = record.header
        run = runs.get(header.key)
        if run is None or run.schema_version != header.schema_version:
            if run is not None:
                ended.append(run)
            run = runs[header.key] = _Run(state_of(header.key), header.schema_version)
        _extend(run, record, lsn, schema_of)
        log_records.append(LogRecord(lsn, header.key, header.end_ordinal, record.raw))
        lsn += header.length
    return ApplyPlan(
        headers=tuple(record.header for record in fresh),
        records=log_records,
        entries=[run.entry() for run in (*ended, *runs.values())],
        reset_keys=reset_keys,
    )


def _fresh_records(
    data: Buffer, state_of: Callable[[RowStoreKey], KeyState], record_bytes_max: int
) -> list[Record]:
    """The records that are not here yet; each continues its key exactly."""
    fresh = []
    ends: dict[RowStoreKey, tuple[int, int]] = {}
    try:
        for record in iter_records(data):
            header = record.header
            if header.length > record_bytes_max:
                raise PayloadTooLargeError(
                    f"a shipped record has {header.length} bytes, the limit is {record_bytes_max}"
                )
            if header.flags & FLAG_RESET or not header.row_count:
                raise ProtocolError("the leader shipped a record without rows")
            at = ends.get(header.key)
            if at is None:
                state = state_of(header.key)
                at = (state.staged_ordinal, state.staged_checksum)
            if _continues(header, record.body, *at):
                ends[header.key] = (header.end_ordinal, header.checksum)
                fresh.append(record)
    except RecordDamageError as damage:
        raise ProtocolError(f"the leader shipped a bad record: {damage}") from None
    return fresh


def _continues(header: RecordHeader, body: memoryview, ordinal: int, checksum: int) -> bool:
    """True: the next record. False: applied before. Anything else raises."""
    name = f"key {header.key:016x}"
    if header.end_ordinal < ordinal:
        return False
    if header.end_ordinal == ordinal:
        if header.checksum != checksum:
            raise DivergenceError(f"{name} has another checksum at ordinal {ordinal}")
        return False
    if header.first_ordinal > ordinal:
        raise ProtocolError(
            f"{name} has a gap: expected ordinal {ordinal}, got {header.first_ordinal}"
        )
    if header.first_ordinal < ordinal:
        raise DivergenceError(f"{name} has other record bounds around ordinal {ordinal}")
    if next_checksum(checksum, body) != header.checksum:
        raise DivergenceError(f"{name} diverges after ordinal {ordinal}")
    return True


def _extend(run: _Run, record: Record, lsn: int, schema_of: SchemaOf) -> None:
    header = record.header
    schema = run.state.schema(header.schema_version, schema_of)
    if schema is None:
        raise ProtocolError(
            f"rows of key {header.key:016x} came before its schema version {header.schema_version}"
        )
    try:
        batch = decode_body(record.body, schema, header.row_count)
        check_values(batch)
    except ValueError as error:
        raise ProtocolError(f"rows of key {header.key:016x} cannot be decoded: {error}") from error
    run.batches.append(batch)
    run.ordinals.append(header.first_ordinal)
    run.lsns.append(lsn)
    run.times_us.append(header.ingest_time_ns // NANOSECONDS_A_MICROSECOND)
    run.lengths.append(header.length)
    run.byte_count += header.length
    run.end_ordinal = header.end_ordinal
    run.checksum = header.checksum
