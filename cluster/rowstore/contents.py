"""What a row store holds, without its files: keys, rows, positions, remembered requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from cluster.errors import (
    DivergenceError,
    PayloadTooLargeError,
    RowStoreFullError,
    TableNotFoundError,
)
from cluster.rowstore.keys import KeyState
from cluster.rowstore.model import KeyStatistics, Rows, Unsealed
from cluster.rowstore.outcomes import OutcomeWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.limits import Limits
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.entry import Entry
    from cluster.rowstore.keys import SchemaOf, SealedOf
    from cluster.rowstore.recovery import Recovered


class ContentsCounts(TypedDict):
    """See ``RowStoreStatistics``."""

    keys: int
    live_bytes: int
    visible_rows: int
    live_batches: int
    source_ids: int


class Contents:
    """Everything in memory.

    ``orphans`` are keys whose records in the log are void although no reset mark says so yet;
    such a key gets its mark before it is used again. ``live_bytes`` counts the records of
    existing keys, staged ones included.
    """

    def __init__(
        self,
        recovered: Recovered,
        *,
        limits: Limits,
        schema_of: SchemaOf,
        sealed_of: SealedOf,
    ) -> None:
        self._limits = limits
        self._schema_of = schema_of
        self._sealed_of = sealed_of
        self.keys = recovered.keys
        self.orphans = recovered.orphans
        self.outcomes = OutcomeWindow(limits.source_id_window)
        if recovered.checkpoint is not None:
            self.outcomes.restore(recovered.checkpoint)
        for found in recovered.outcomes:
            self.outcomes.remember(found.key, found.first_ordinal, found.spans, None, found.lsn)
        self.live_bytes = sum(state.byte_count for state in self.keys.values())

    def state(self, key: RowStoreKey) -> KeyState:
        """The state of a key. Raises :class:`TableNotFoundError` if the catalog has no such key."""
        state = self.keys.get(key)
        if state is None:
            if self._schema_of(key, 0) is None:
                raise TableNotFoundError(f"the catalog knows no table with key {key:016x}")
            state = self.keys[key] = KeyState(key, self._sealed_of(key))
        return state

    def check_batch(self, state: KeyState, version: int, batch: pa.RecordBatch) -> None:
        """Raises ValueError unless the batch has rows and can be read back with this schema."""
        if not batch.num_rows:
            raise ValueError("the batch has no rows")
        schema = state.schema(version, self._schema_of)
        if schema is None or not batch.schema.equals(schema):
            raise ValueError(f"the batch does not have schema {version} of key {state.key:016x}")

    def check_record(self, length: int) -> None:
        """Raises :class:`PayloadTooLargeError` for a record over its limit."""
        limit = self._limits.row_store_record_bytes
        if length > limit:
            raise PayloadTooLargeError(
                f"the record has {length} bytes, the limit is {limit}",
                metadata={"limit": "row_store_record_bytes", "bytes": str(limit)},
            )

    def check_room(self, added: int) -> None:
        """Raises :class:`RowStoreFullError` if so many more bytes exceed the limit."""
        limit = self._limits.row_store_bytes
        if self.live_bytes + added > limit:
            raise RowStoreFullError(
                f"the row store holds {self.live_bytes} bytes; {added} more exceed {limit}",
                metadata={"limit": "row_store_bytes", "bytes": str(limit)},
            )

    def take(self, entry: Entry) -> None:
        """Rows are on their way to the log."""
        entry.state.stage(entry.end_ordinal, entry.checksum, entry.byte_count)
        self.live_bytes += entry.byte_count

    def withdraw(self, entry: Entry, before: KeyPosition) -> None:
        """The rows, the last that were taken of their key, will not get to the log."""
        entry.state.unstage(before.ordinal, before.checksum, entry.byte_count)
        self.live_bytes -= entry.byte_count

    def show(self, entry: Entry) -> None:
        """The rows are durable: visible from now on. Harmless if their key is gone by now."""
        state = entry.state
        state.rows.append(entry.batch, entry.schema_version, entry.byte_count)
        state.index.extend(entry.ordinals, entry.lsns, entry.times_us, entry.lengths)
        state.show(entry.end_ordinal, entry.checksum)
        self.outcomes.settle(state.key, entry.ordinals[0], entry.spans, entry.lsns[0])
        if state.floor.ordinal > state.first_ordinal:
            self._trim(state)

    def advance(self, key: RowStoreKey, position: KeyPosition) -> Sequence[pa.RecordBatch]:
        """See ``RowStore.advance``. Returns batches for the caller to let go of.

        Raises :class:`DivergenceError` unless a record ends at the position, or it is beyond
        everything held.
        """
        state = self.keys.get(key)
        if state is None:
            if self._schema_of(key, 0) is None:
                return ()
            state = self.keys[key] = KeyState(key, self._sealed_of(key))
        if position.ordinal <= state.floor.ordinal:
            return ()
        if position.ordinal > state.staged_ordinal:
            # What is held, and what may be on its way to the log, is below the new floor.
            fresh = self.keys[key] = KeyState(key, position)
            fresh.is_logged = state.is_logged
            self.live_bytes -= state.byte_count
            return state.rows.drop_first(state.rows.row_count)
        if position.ordinal <= state.visible_ordinal and not state.is_boundary(position):
            raise DivergenceError(
                f"key {key:016x} is sealed up to ordinal {position.ordinal} with checksum "
                f"{position.checksum:016x}; no record here ends there"
            )
        state.floor = position
        return self._trim(state)

    def _trim(self, state: KeyState) -> Sequence[pa.RecordBatch]:
        freed, batches = state.trim()
        if self.keys.get(state.key) is state:
            self.live_bytes -= freed
        return batches

    def unsealed(self, keys: Iterable[RowStoreKey], end_lsn: int) -> dict[RowStoreKey, Unsealed]:
        """See ``RowStore.unsealed``."""
        found = {}
        for key in keys:
            state = self.keys.get(key)
            if state is None or not state.rows.row_count:
                continue
            first_lsn, oldest_us = state.index.first_lsn, state.index.oldest_us
            assert first_lsn is not None, "rows come in records"
            assert oldest_us is not None, "and records with a time"
            found[key] = Unsealed(
                rows=state.rows.row_count,
                bytes=state.rows.byte_count,
                oldest_ingest_us=oldest_us,
                position=state.position,
                log_distance_bytes=end_lsn - first_lsn,
            )
        return found

    def void(self, key: RowStoreKey) -> bool:
        """Frees a key. True if the log has records of it, which are void from now on."""
        state = self.keys.pop(key, None)
        if state is not None:
            self.live_bytes -= state.byte_count
            if state.is_logged:
                self.orphans.add(key)
        return key in self.orphans

    def rows(self, key: RowStoreKey, from_ordinal: int) -> Rows:
        """See ``RowStore.rows``."""
        state = self.keys.get(key)
        if state is None:
            position = self._sealed_of(key)
            return Rows((), (), position, position.ordinal)
        batches, versions = state.rows.snapshot()
        first = state.first_ordinal
        runs = state.index.runs(state.visible_ordinal)
        rows = Rows(batches, versions, state.position, first, runs)
        return rows if from_ordinal <= first else rows.since(from_ordinal)

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """See ``RowStore.position_of``."""
        found = self.keys
        sealed_of = self._sealed_of
        return {key: found[key].position if key in found else sealed_of(key) for key in keys}

    def start_lsn_for(
        self, cursors: Mapping[RowStoreKey, int], keys: Iterable[RowStoreKey], end_lsn: int
    ) -> int:
        """See ``RowStore.start_lsn_for``."""
        start = end_lsn
        for key in keys:
            state = self.keys.get(key)
            lsn = None if state is None else state.lsn_of(cursors.get(key, 0))
            if lsn is not None and lsn < start:
                start = lsn
        return start

    def key_statistics(self) -> tuple[KeyStatistics, ...]:
        """See ``RowStore.key_statistics``."""
        return tuple(
            KeyStatistics(
                key=state.key,
                first_ordinal=state.first_ordinal,
                end_ordinal=state.visible_ordinal,
                bytes=state.rows.byte_count,
                first_lsn=state.index.first_lsn,
                latest_ingest_us=state.index.latest_us,
            )
            for state in self.keys.values()
        )

    def counts(self) -> ContentsCounts:
        """The part of ``RowStoreStatistics`` about what is held."""
        states = self.keys.values()
        return ContentsCounts(
            keys=len(states),
            live_bytes=self.live_bytes,
            visible_rows=sum(state.rows.row_count for state in states),
            live_batches=sum(state.rows.batch_count for state in states),
            source_ids=len(self.outcomes),
        )

    def low_water(self, end_lsn: int) -> int:
        """LSN below which no existing key has a committed record."""
        needed = [state.first_lsn for state in self.keys.values()]
        return min((lsn for lsn in needed if lsn is not None), default=end_lsn)
