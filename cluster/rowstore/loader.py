"""Records of a log, in order, to rows in memory: what opening makes of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.rowstore.checkpoint import decode_checkpoint
from cluster.rowstore.decode import decode_body, joined_copy
from cluster.rowstore.keys import KeyState
from cluster.rowstore.memory import SETTLED_BYTES
from cluster.rowstore.record import (
    FLAG_OUTCOMES,
    FLAG_RESET,
    FLAG_WITH_NEXT,
    has_sources,
    next_checksum,
    spans_of,
    spans_view,
)
from cluster.rowstore.segment import corruption
from cluster.rowstore.times import NANOSECONDS_A_MICROSECOND

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.errors import CorruptionError
    from cluster.rowstore.checkpoint import OutcomeCheckpoint
    from cluster.rowstore.keys import SchemaOf, SealedOf
    from cluster.rowstore.record import Record, RecordHeader, RequestSpan

_RUN_BATCHES: Final = 256


class RecoveredRequests(NamedTuple):
    """The requests of a record, still as the bytes of its request table."""

    key: RowStoreKey
    first_ordinal: int
    lsn: int
    table: bytes

    @property
    def spans(self) -> tuple[RequestSpan, ...]:
        """Source and rows of each."""
        return spans_of(self.table)


@dataclass(slots=True)
class _Run:
    """Batches of one key and schema version that will be joined."""

    schema_version: int
    batches: list[pa.RecordBatch] = field(default_factory=list)
    byte_count: int = 0


class RowLoader:
    """Feeds records, in log order, into key states.

    ``keys``: of tables in the catalog; ``orphans``: void keys without a reset mark yet;
    ``outcomes``: the newest requests; ``checkpoint``: those remembered from before them.
    ``chain_start`` is the offset of a record whose successor has not come yet.
    """

    def __init__(
        self, schema_of: SchemaOf, sealed_of: SealedOf, *, outcome_limit: int, copy: bool
    ) -> None:
        self._schema_of = schema_of
        self._sealed_of = sealed_of
        self._copy = copy
        self._outcome_limit = outcome_limit
        self._runs: dict[RowStoreKey, _Run] = {}
        self._beheaded: dict[RowStoreKey, CorruptionError] = {}
        self._chain: list[tuple[Record, int, str]] = []
        self.keys: dict[RowStoreKey, KeyState] = {}
        self.orphans: set[RowStoreKey] = set()
        self.outcomes: deque[RecoveredRequests] = deque(maxlen=outcome_limit)
        self.checkpoint: OutcomeCheckpoint | None = None
        self.latest_us = 0
        self.records = 0
        self.skipped = 0
        self.sealed = 0

    @property
    def chain_start(self) -> int | None:
        """Offset of the first record of an unfinished chain in the segment being read."""
        return self._chain[0][0].start if self._chain else None

    def add(self, record: Record, lsn: int, path: str) -> None:
        """Takes the record at ``lsn``, found in a file. Raises :class:`CorruptionError`."""
        # In a copy the records around it may be missing: they are of databases not followed.
        chained = record.header.flags & FLAG_WITH_NEXT and not self._copy
        if not chained and not self._chain:
            self._add(record, lsn, path)
            return
        self._chain.append((record, lsn, path))
        if not chained:
            chain, self._chain = self._chain, []
            for item in chain:
                self._add(*item)

    def _add(self, record: Record, lsn: int, path: str) -> None:
        header = record.header
        key = header.key
        self.records += 1
        self.latest_us = max(self.latest_us, header.ingest_time_ns // NANOSECONDS_A_MICROSECOND)
        if header.flags & (FLAG_RESET | FLAG_OUTCOMES):
            self._add_mark(record, path)
            return
        state = self.keys.get(key)
        if state is None:
            if self._schema_of(key, 0) is None:
                self.orphans.add(key)
                self.skipped += 1
                return
            state = self.keys[key] = KeyState(key, self._sealed_of(key))
            state.is_logged = True
        if key in self._beheaded:
            return
        if self._outcome_limit:
            self._remember(record, lsn)
        is_first = state.staged_ordinal == state.floor.ordinal
        if is_first and header.end_ordinal <= state.floor.ordinal:
            self.sealed += 1
            return
        error = self._misfit(state, record, path)
        if error is None:
            self._take(state, record, lsn, path)
        elif is_first:
            # Its beginning is gone. Right if the key is void here and a reset mark follows.
            self._beheaded[key] = error
        else:
            raise error

    def _add_mark(self, record: Record, path: str) -> None:
        if record.header.flags & FLAG_OUTCOMES:
            try:
                self.checkpoint = decode_checkpoint(record)
            except ValueError as error:
                raise corruption(path, record.start, str(error)) from error
            return
        for held in (self.keys, self._runs, self._beheaded):
            held.pop(record.header.key, None)
        self.orphans.discard(record.header.key)

    def _remember(self, record: Record, lsn: int) -> None:
        table = bytes(spans_view(record))
        # Requests without a source id must not push out those that have one.
        if has_sources(table):
            header = record.header
            self.outcomes.append(RecoveredRequests(header.key, header.first_ordinal, lsn, table))

    def _misfit(self, state: KeyState, record: Record, path: str) -> CorruptionError | None:
        header = record.header
        if header.first_ordinal != state.staged_ordinal:
            return corruption(
                path,
                record.start,
                f"key {header.key:016x} continues at ordinal {header.first_ordinal}, "
                f"expected {state.staged_ordinal}",
            )
        if next_checksum(state.staged_checksum, record.body) != header.checksum:
            return corruption(
                path, record.start, f"the rolling checksum of key {header.key:016x} is broken"
            )
        return None

    def _take(self, state: KeyState, record: Record, lsn: int, path: str) -> None:
        header = record.header
        schema = state.schema(header.schema_version, self._schema_of)
        if schema is None:
            raise corruption(
                path,
                record.start,
                f"schema version {header.schema_version} of key {header.key:016x} is unknown",
            )
        try:
            batch = decode_body(record.body, schema, header.row_count)
        except ValueError as error:
            raise corruption(path, record.start, f"the rows cannot be decoded: {error}") from error
        state.stage(header.end_ordinal, header.checksum, header.length)
        state.index.extend(
            (header.first_ordinal,),
            (lsn,),
            (header.ingest_time_ns // NANOSECONDS_A_MICROSECOND,),
            (header.length,),
        )
        self._extend_run(state, batch, header)

    def _extend_run(self, state: KeyState, batch: pa.RecordBatch, header: RecordHeader) -> None:
        run = self._runs.get(state.key)
        if run is not None and run.schema_version != header.schema_version:
            self._end_run(state, run)
            run = None
        if run is None:
            run = self._runs[state.key] = _Run(header.schema_version)
        run.batches.append(batch)
        run.byte_count += header.length
        if len(run.batches) >= _RUN_BATCHES or run.byte_count >= SETTLED_BYTES:
            self._end_run(state, run)
            del self._runs[state.key]

    def _end_run(self, state: KeyState, run: _Run) -> None:
        state.rows.append(joined_copy(run.batches), run.schema_version, run.byte_count)

    def end_segment(self) -> None:
        """Copies what is pending out of the segment's memory, which will be used again."""
        self._chain.clear()
        for key, run in self._runs.items():
            self._end_run(self.keys[key], run)
        self._runs.clear()

    def finish(self) -> None:
        """The end of the log: what is staged is visible.

        A key whose beginning is missing is corrupt; in a copy it is void and will be sent again.
        """
        self.end_segment()
        for key, error in self._beheaded.items():
            if not self._copy:
                raise error
            del self.keys[key]
            self.orphans.add(key)
        for state in self.keys.values():
            state.show(state.staged_ordinal, state.staged_checksum)
