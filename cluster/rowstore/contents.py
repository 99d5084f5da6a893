"""What a row store holds, without its files: keys, rows, positions, remembered requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.errors import PayloadTooLargeError, RowStoreFullError, TableNotFoundError
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.keys import KeyState
from cluster.rowstore.model import Rows
from cluster.rowstore.outcomes import OutcomeWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.limits import Limits
    from cluster.rowstore.entry import Entry
    from cluster.rowstore.keys import SchemaOf
    from cluster.rowstore.recovery import Recovered


class Contents:
    """Everything in memory.

    ``orphans`` are keys whose records in the log are void although no reset mark says so yet;
    such a key gets its mark before it is used again. ``live_bytes`` counts the records of
    existing keys, staged ones included.
    """

    def __init__(self, recovered: Recovered, *, limits: Limits, schema_of: SchemaOf) -> None:
        self._limits = limits
        self._schema_of = schema_of
        self.keys = recovered.keys
        self.orphans = recovered.orphans
        self.outcomes = OutcomeWindow(limits.source_id_window)
        for key, first_ordinal, spans in recovered.outcomes:
            self.outcomes.remember(key, first_ordinal, spans, None)
        self.live_bytes = sum(state.byte_count for state in self.keys.values())

    def state(self, key: RowStoreKey) -> KeyState:
        """The state of a key. Raises :class:`TableNotFoundError` if the catalog has no such key."""
        state = self.keys.get(key)
        if state is None:
            if self._schema_of(key, 0) is None:
                raise TableNotFoundError(f"the catalog knows no table with key {key:016x}")
            state = self.keys[key] = KeyState(key)
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

    def show(self, entry: Entry) -> None:
        """The rows are durable: visible from now on. Harmless if their key is gone by now."""
        state = entry.state
        state.rows.append(entry.batch, entry.schema_version, entry.byte_count)
        state.index(entry.ordinals, entry.lsns)
        state.show(entry.end_ordinal, entry.checksum)
        self.outcomes.settle(state.key, entry.ordinals[0], entry.spans)

    def void(self, key: RowStoreKey) -> bool:
        """Frees a key. True if the log has records of it, which are void from now on."""
        state = self.keys.pop(key, None)
        if state is not None:
            self.live_bytes -= state.byte_count
            if state.byte_count:
                self.orphans.add(key)
        return key in self.orphans

    def rows(self, key: RowStoreKey) -> Rows:
        """See ``RowStore.rows``."""
        state = self.keys.get(key)
        if state is None:
            return Rows((), (), START)
        batches, versions = state.rows.snapshot()
        return Rows(batches, versions, state.position)

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """See ``RowStore.position_of``."""
        found = self.keys
        return {key: found[key].position if key in found else START for key in keys}

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

    def low_water(self, end_lsn: int) -> int:
        """LSN below which no existing key has a committed record."""
        needed = [state.first_lsn for state in self.keys.values()]
        return min((lsn for lsn in needed if lsn is not None), default=end_lsn)
