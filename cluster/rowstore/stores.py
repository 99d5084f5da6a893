"""All row stores of a node behind one door, with one order of commits for followers.

``folder/rowstore`` is RowStore-0, ``folder/rowstore-1`` and so on are the others. A key lives in
one of them. Each has a log, a lock and a fate of its own: if the disk fails one, the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import trio

from cluster.errors import ConflictError, TableNotFoundError
from cluster.limits import LIMITS, Limits
from cluster.replication.position import START
from cluster.rowstore.choosing import choose_store, enabled_of
from cluster.rowstore.driver import RowStore
from cluster.rowstore.model import Chunk, Rows
from cluster.rowstore.shared import SharedTail
from cluster.rowstore.times import IngestionTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey, RowStoreReference
    from cluster.clock import Clock
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.entry import LogRecord
    from cluster.rowstore.keys import SchemaOf, SealedOf
    from cluster.rowstore.model import KeyStatistics, Outcome, RowStoreStatistics, Unsealed
    from cluster.rowstore.record import RequestSpan
    from cluster.rowstore.ticket import Staged

    StoreOf = Callable[[RowStoreKey], int | None]

_FOLDER: Final = "rowstore"

CATCHING_UP: Final = 0
"""An LSN before everything in memory: reading goes on by the cursors."""


def row_store_name(number: int) -> str:
    """Name of a row store in commands, as of those that Azure Data Explorer makes itself."""
    return f"RowStore-{number}"


def row_store_folder(folder: Path, number: int) -> Path:
    """Where a row store of a node's data folder is."""
    return folder / (f"{_FOLDER}-{number}" if number else _FOLDER)


@dataclass(frozen=True, slots=True)
class RowStoresStatistics:
    """Counters of each row store, in order, and of what they share.

    ``end_lsn`` and ``tail_bytes`` are of the common order; ``catch_up_reads`` counts chunks that
    were read for followers from a log, because memory had them no more.
    """

    stores: tuple[RowStoreStatistics, ...]
    end_lsn: int
    tail_bytes: int
    catch_up_reads: int

    def total(self, counter: str) -> int:
        """The sum of one integer counter over all row stores."""
        return sum(getattr(store, counter) for store in self.stores)


class RowStores:
    """Several :class:`RowStore`, each with ``sync=True``. Make one with :meth:`open`.

    LSNs given out and taken here are global (``shared.py``) and end with the process.
    """

    def __init__(self, *, disk: Disk, clock: Clock, limits: Limits, store_of: StoreOf) -> None:
        self.times = IngestionTimes(clock)
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._store_of = store_of
        self._homes: dict[RowStoreKey, int] = {}
        self._moved: set[RowStoreKey] = set()
        self._stores: list[RowStore] = []
        self._tail = SharedTail(0, 0, 0)
        self._changed = trio.lowlevel.ParkingLot()
        self._listeners: list[Callable[[], None]] = []
        self._catch_up_reads = 0

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        disk: Disk,
        clock: Clock,
        limits: Limits = LIMITS,
        schema_of: SchemaOf,
        sealed_of: SealedOf,
        store_of: StoreOf,
    ) -> Self:
        """Opens ``limits.row_stores`` row stores in a data folder, and all others it has.

        ``store_of(key)`` is the number of the row store that has a key, by the catalog; None for
        a key of no table. The callbacks are called in a worker thread while this runs; raises
        what :meth:`RowStore.open` raises.
        """
        disk.make_folder(folder)
        stores = cls(disk=disk, clock=clock, limits=limits, store_of=store_of)
        try:
            for number in _numbers(disk.list_names(folder), limits.row_stores):
                await stores._open_next(folder, number, schema_of, sealed_of)
        except BaseException:
            stores.close()
            raise
        start_lsn = sum(store.end_lsn() for store in stores._stores)
        stores._tail = SharedTail(len(stores._stores), limits.row_store_tail_bytes, start_lsn)
        return stores

    async def _open_next(
        self, folder: Path, number: int, schema_of: SchemaOf, sealed_of: SealedOf
    ) -> None:
        def schema_here(key: RowStoreKey, version: int) -> pa.Schema | None:
            return schema_of(key, version) if self._store_of(key) == number else None

        self._stores.append(
            await RowStore.open(
                row_store_folder(folder, number),
                disk=self._disk,
                clock=self._clock,
                limits=self._limits,
                sync=True,
                schema_of=schema_here,
                sealed_of=sealed_of,
                times=self.times,
                on_commit=partial(self._committed, number),
            )
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits what is staged until cancelled; then commits the rest and closes."""
        async with trio.open_nursery() as nursery:
            for store in self._stores:
                await nursery.start(store.run)
            task_status.started()

    def close(self) -> None:
        """Releases files and folders. Loses what is staged; :meth:`run` does not."""
        for store in self._stores:
            store.close()

    def __iter__(self) -> Iterator[RowStore]:
        """The row stores, RowStore-0 first."""
        return iter(self._stores)

    # Writing

    def choose(self, references: Sequence[RowStoreReference]) -> RowStoreReference:
        """Which of a table's references its next group of requests should go to.

        Ask just before staging. Prefers to share a sync that is coming anyway; spreads only when
        more than ``limits.row_store_spread_bytes`` wait. Raises :class:`ConflictError` if no
        reference is enabled.
        """
        return self.choose_together((references,))[0]

    def choose_together(
        self, tables: Sequence[Sequence[RowStoreReference]]
    ) -> tuple[RowStoreReference, ...]:
        """The same for several tables whose records belong together: all in one row store.

        Raises :class:`ConflictError` if no row store takes rows of all of them.
        """
        choices = [enabled_of(references) for references in tables]
        common = [number for number in choices[0] if all(number in each for each in choices)]
        if not common:
            raise ConflictError("the tables have no row store in common")
        number = choose_store(
            [(number, self._stores[number].load()) for number in common],
            self._limits.row_store_spread_bytes,
        )
        return tuple(each[number] for each in choices)

    def stage(
        self,
        key: RowStoreKey,
        schema_version: int,
        batch: pa.RecordBatch,
        spans: Sequence[RequestSpan],
        *,
        with_next: bool = False,
    ) -> Staged:
        """See :meth:`RowStore.stage`. Records that belong together must go to one row store."""
        store = self._home(key)
        if store is None:
            raise TableNotFoundError(f"the catalog knows no table with key {key:016x}")
        return store.stage(key, schema_version, batch, spans, with_next=with_next)

    def withdraw(self) -> None:
        """Takes back what was staged ``with_next`` and has no next record yet. Idempotent."""
        for store in self._stores:
            store.withdraw()

    def outcome_of(self, source: bytes) -> Outcome | None:
        """What became of the request with this source digest; None if none remembers it."""
        for store in self._stores:
            outcome = store.outcome_of(source)
            if outcome is not None:
                return outcome
        return None

    def forget(self, key: RowStoreKey) -> None:
        """The table was dropped: frees its rows. The catalog must not know the key any more."""
        self._homes.pop(key, None)
        self._moved.discard(key)
        for store in self._stores:
            store.forget(key)

    def advance(self, key: RowStoreKey, position: KeyPosition) -> None:
        """See :meth:`RowStore.advance`. Harmless for a key that is not here."""
        store = self._home(key)
        if store is not None:
            store.advance(key, position)

    # Reading

    def rows(self, key: RowStoreKey, from_ordinal: int = 0) -> Rows:
        """See :meth:`RowStore.rows`. No rows for a key that is not here."""
        store = self._home(key)
        return Rows((), (), START) if store is None else store.rows(key, from_ordinal)

    def unsealed(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, Unsealed]:
        """See :meth:`RowStore.unsealed`."""
        found: dict[RowStoreKey, Unsealed] = {}
        for key in keys:
            store = self._home(key)
            if store is not None:
                found.update(store.unsealed((key,)))
        return found

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """The visible position of each key; START for one that is not here."""
        found = {}
        for key in keys:
            store = self._home(key)
            found[key] = START if store is None else store.position_of((key,))[key]
        return found

    def take_moved(self) -> set[RowStoreKey]:
        """Keys with rows that became visible since this was called last. For one caller."""
        moved, self._moved = self._moved, set()
        return moved

    def end_lsn(self) -> int:
        """Global LSN after the last committed record."""
        return self._tail.end_lsn

    def start_lsn_for(self, cursors: Mapping[RowStoreKey, int], keys: Iterable[RowStoreKey]) -> int:
        """The lowest global LSN that can hold a record of ``keys`` at or after their cursors.

        A key without a cursor counts from ordinal 0. The end of the log if there is none;
        :data:`CATCHING_UP` if one is not in memory any more.
        """
        start = self._tail.end_lsn
        for key in keys:
            number = self._number_of(key)
            if number is None:
                continue
            lsn = self._stores[number].lsn_of(key, cursors.get(key, 0))
            if lsn is None:
                continue
            place = self._tail.place_of(number, lsn)
            if place is None:
                return CATCHING_UP
            start = min(start, place)
        return start

    async def read(
        self,
        lsn: int,
        keys: Collection[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """Committed records of ``keys`` from ``lsn`` on that reach beyond their key's cursor.

        At most ``max_bytes`` of them, but at least one if there is any. ``lsn`` comes from
        :meth:`start_lsn_for` or an earlier chunk, and the cursors include what earlier chunks
        had. Recent records come in commit order from memory. Older ones are read from the log of
        one row store after the other, in order for each key, and are checked again: raises
        :class:`CorruptionError`.
        """
        if lsn > self._tail.end_lsn:
            raise ValueError(f"LSN {lsn} is beyond the end of the log, {self._tail.end_lsn}")
        while True:
            await trio.lowlevel.checkpoint()
            if lsn >= self._tail.end_lsn:
                return Chunk(b"", 0, lsn)
            if self._tail.records.covers(lsn):
                chunk = self._tail.records.read(lsn, keys, cursors, max_bytes)
                if chunk.count:
                    return chunk
                lsn = max(chunk.next_lsn, self.start_lsn_for(cursors, keys))
                continue
            lsn = self.start_lsn_for(cursors, keys)
            if lsn == CATCHING_UP and not self._tail.records.covers(lsn):
                chunk = await self._catch_up(keys, cursors, max_bytes)
                if chunk.count:
                    return Chunk(chunk.records, chunk.count, CATCHING_UP)

    async def _catch_up(
        self,
        keys: Collection[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """The oldest records of the row store that has the furthest to go."""
        starts: dict[int, int] = {}
        for key in keys:
            number = self._number_of(key)
            if number is None:
                continue
            lsn = self._stores[number].lsn_of(key, cursors.get(key, 0))
            if lsn is not None:
                starts[number] = min(lsn, starts.get(number, lsn))
        behind = {
            number: self._stores[number].end_lsn() - lsn
            for number, lsn in starts.items()
            if self._tail.place_of(number, lsn) is None
        }
        if not behind:
            return Chunk(b"", 0, CATCHING_UP)
        number = max(behind, key=lambda each: behind[each])
        self._catch_up_reads += 1
        return await self._stores[number].read(starts[number], keys, cursors, max_bytes)

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the end of the log is beyond ``lsn``."""
        if self._tail.end_lsn > lsn:
            await trio.lowlevel.checkpoint()
        while self._tail.end_lsn <= lsn:
            await self._changed.park()

    def tell(self, listener: Callable[[], None]) -> None:
        """From now on calls ``listener`` each time the log has grown; it must not raise."""
        self._listeners.append(listener)

    def key_statistics(self, number: int) -> tuple[KeyStatistics, ...]:
        """What a row store holds of each key, in no order."""
        return self._stores[number].key_statistics()

    def statistics(self) -> RowStoresStatistics:
        """Counters as of now."""
        return RowStoresStatistics(
            stores=tuple(store.statistics() for store in self._stores),
            end_lsn=self._tail.end_lsn,
            tail_bytes=self._tail.records.byte_count,
            catch_up_reads=self._catch_up_reads,
        )

    def _committed(self, number: int, records: Sequence[LogRecord]) -> None:
        self._tail.append(number, records)
        self._moved.update([record.key for record in records if record.end_ordinal])
        self._changed.unpark_all()
        for listener in self._listeners:
            listener()

    def _number_of(self, key: RowStoreKey) -> int | None:
        number = self._homes.get(key)
        if number is None:
            number = self._store_of(key)
            if number is None or number >= len(self._stores):
                return None
            self._homes[key] = number
        return number

    def _home(self, key: RowStoreKey) -> RowStore | None:
        number = self._number_of(key)
        return None if number is None else self._stores[number]


def _numbers(names: Iterable[str], wanted: int) -> range:
    """The row stores to open: so many, and all that were made when more were wanted."""
    found = [int(name.removeprefix(f"{_FOLDER}-")) for name in names if _is_numbered(name)]
    return range(max(wanted, *(number + 1 for number in found)) if found else wanted)


def _is_numbered(name: str) -> bool:
    digits = name.removeprefix(f"{_FOLDER}-")
    return digits != name and digits.isascii() and digits.isdigit()
