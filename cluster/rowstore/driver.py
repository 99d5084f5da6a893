"""The row store of a node: stages rows, shows them when durable, reads them for followers.

One trio thread owns all state; worker threads only write, sync, read and recover files.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import trio

from cluster.limits import LIMITS, Limits
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.apply import plan_apply
from cluster.rowstore.choosing import StoreLoad
from cluster.rowstore.contents import Contents
from cluster.rowstore.log import SegmentedLog
from cluster.rowstore.model import (
    Chunk,
    KeyStatistics,
    Outcome,
    Rows,
    RowStoreStatistics,
    Unsealed,
)
from cluster.rowstore.opening import claim_and_recover
from cluster.rowstore.reading import LogReader
from cluster.rowstore.staging import Stager
from cluster.rowstore.ticket import Staged
from cluster.rowstore.times import IngestionTimes
from cluster.rowstore.worker import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.rowstore.disk import Buffer, Disk, FolderLock
    from cluster.rowstore.entry import LogRecord
    from cluster.rowstore.keys import SchemaOf, SealedOf
    from cluster.rowstore.record import RecordHeader, RequestSpan
    from cluster.rowstore.recovery import Recovered
    from cluster.rowstore.ticket import Group

    OnCommit = Callable[[Sequence[LogRecord]], None]


def _nothing_sealed(_: RowStoreKey) -> KeyPosition:
    return START


class RowStore:
    """Fresh rows of many tables in one log. Make one with :meth:`open`.

    ``sync=True`` is a leader's row store: what :meth:`Staged.committed` has confirmed is on
    stable storage and visible, and stays so. ``sync=False`` is a follower's copy: written but
    never synced, because the leader can send it again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        disk: Disk,
        clock: Clock,
        limits: Limits,
        sync: bool,
        schema_of: SchemaOf,
        sealed_of: SealedOf,
        times: IngestionTimes,
        on_commit: OnCommit | None,
        lock: FolderLock,
        recovered: Recovered,
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._sync = sync
        self._schema_of = schema_of
        self._lock = lock
        self._times = times
        self._times.raise_to(recovered.latest_us)
        self._on_commit = on_commit
        self._recovery = recovered.report
        self._freed: deque[pa.RecordBatch] = deque()
        self._has_freed = trio.Event()
        self._log = SegmentedLog(
            disk,
            folder,
            store_id=recovered.store_id,
            segments=recovered.segments,
            segment_bytes=limits.row_store_segment_bytes,
            sync=sync,
        )
        self._commit = GroupCommit(
            self._log,
            disk=disk,
            clock=clock,
            sync=sync,
            publish=self._publish,
            low_water=lambda: self._contents.low_water(self._commit.committed_lsn),
            before_commit=lambda: self._stager.withdraw(),
            before_trim=lambda lsn: self._stager.checkpoint(lsn),
        )
        self._contents = Contents(
            recovered, limits=limits, schema_of=schema_of, sealed_of=sealed_of
        )
        self._stager = Stager(self._contents, self._commit, times=times)
        # Nobody follows a copy; the records of several row stores are kept by their owner.
        keeps_tail = sync and on_commit is None
        tail_bytes = limits.row_store_tail_bytes if keeps_tail else 0
        self._reader = LogReader(
            self._log,
            self._contents,
            disk=disk,
            tail_bytes=tail_bytes,
            end_lsn=lambda: self._commit.committed_lsn,
        )
        self._commit.trim_soon()

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        disk: Disk,
        clock: Clock,
        limits: Limits = LIMITS,
        sync: bool,
        schema_of: SchemaOf,
        sealed_of: SealedOf = _nothing_sealed,
        times: IngestionTimes | None = None,
        on_commit: OnCommit | None = None,
    ) -> Self:
        """Claims the folder, recovers its log and returns the row store.

        ``schema_of(key, version)`` gives the Arrow schema of a table's rows; None for a key the
        catalog does not know (a dropped table), whose records are skipped. ``sealed_of(key)`` is
        the floor of a key in the catalog: records below it are skipped too, and the first one
        kept must begin there. Both are called in a worker thread while this runs.

        ``times`` mints ingestion times, if they are to be unique among several row stores.
        ``on_commit(records)`` is told of each group that became durable, when it is visible and
        before it is acknowledged; this row store then keeps no records in memory for followers.

        Raises :class:`ConflictError` if the folder is in use, :class:`CorruptionError` with file
        and offset if an acknowledged record may be damaged, OSError if the disk fails.
        """

        lock, recovered = await claim_and_recover(
            folder,
            disk=disk,
            clock=clock,
            limits=limits,
            sync=sync,
            schema_of=schema_of,
            sealed_of=sealed_of,
        )
        return cls(
            folder,
            disk=disk,
            clock=clock,
            limits=limits,
            sync=sync,
            schema_of=schema_of,
            sealed_of=sealed_of,
            times=times or IngestionTimes(clock),
            on_commit=on_commit,
            lock=lock,
            recovered=recovered,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits what is staged until cancelled; then commits the rest and closes."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._let_go)
                await self._commit.run(task_status=task_status)
        finally:
            self.close()

    def close(self) -> None:
        """Releases the files and the folder. Loses what is staged; :meth:`run` does not."""
        self._commit.stop()
        self._log.close()
        self._lock.release()

    # Writing

    def stage(
        self,
        key: RowStoreKey,
        schema_version: int,
        batch: pa.RecordBatch,
        spans: Sequence[RequestSpan],
        *,
        with_next: bool = False,
    ) -> Staged:
        """Takes a group of requests for one table; they get the next ordinals of its key.

        ``spans`` say which rows belong to which request, in order. The rows become durable and
        visible together, or not at all; wait with ``await staged.committed()``. Source ids are
        remembered from now on (:meth:`outcome_of`).

        ``with_next``: this record and the next one staged become durable and visible together, or
        neither does. The next one must be staged by the same task before any checkpoint; if it is
        not, or cannot be, nothing of the two was staged.

        Raises :class:`RowStoreFullError`, :class:`RowStoreReadOnlyError`,
        :class:`UnavailableError` after the end of :meth:`run`, :class:`PayloadTooLargeError` for
        a record over its limit, :class:`TableNotFoundError` if the catalog does not know the
        key, ValueError if batch, schema and spans do not fit together. Then nothing is staged.
        """
        owner = trio.lowlevel.current_task()
        return self._stager.stage(
            key, schema_version, batch, spans, with_next=with_next, owner=owner
        )

    def withdraw(self) -> None:
        """Takes back what was staged ``with_next`` and has no next record yet. Idempotent."""
        self._stager.withdraw()

    async def apply(self, records: Buffer) -> tuple[RecordHeader, ...]:
        """Stores shipped records as they are; their rows are visible when this returns.

        Returns the headers of those that were new; records applied before are skipped. Takes all
        that is new or nothing. Source ids are not remembered: a follower answers no writers.

        Raises :class:`ProtocolError` (bad bytes, a gap, an unknown table),
        :class:`DivergenceError`, :class:`PayloadTooLargeError`, :class:`RowStoreFullError`,
        :class:`RowStoreReadOnlyError`, :class:`UnavailableError`. Large records need
        :meth:`run`. Cancelling after the first checkpoint does not undo.
        """
        await trio.lowlevel.checkpoint()
        self._commit.check_writable()
        self._stager.withdraw()
        plan = plan_apply(
            records,
            state_of=self._contents.state,
            schema_of=self._schema_of,
            orphans=self._contents.orphans,
            end_lsn=self._commit.staged_lsn,
            record_bytes_max=self._limits.row_store_record_bytes,
            now_ns=self._clock.now_ns(),
        )
        if not plan.headers:
            return ()
        self._contents.check_room(sum(entry.byte_count for entry in plan.entries))
        self._contents.orphans.difference_update(plan.reset_keys)
        for record in plan.records:
            group = self._commit.add(record)
        for entry in plan.entries:
            group.entries.append(entry)
            self._contents.take(entry)
        self._commit.commit_now_if_cheap()
        await group.wait()
        return plan.headers

    def outcome_of(self, source: bytes) -> Outcome | None:
        """What became of the request with this source digest; None if it is not remembered."""
        found = self._contents.outcomes.get(source)
        if found is None:
            return None
        key, first_ordinal, row_count, group, _ = found
        staged = None if group is None else Staged(key, first_ordinal, row_count, group)
        return Outcome(key, first_ordinal, row_count, staged)

    def forget(self, key: RowStoreKey) -> None:
        """The table was dropped: frees its rows. The catalog must not know the key any more.

        Its records leave the disk when no older record of another table is needed.
        """
        self._contents.void(key)
        self._commit.trim_soon()

    def reset(self, key: RowStoreKey) -> None:
        """Voids all rows of a key that will be used again, from ordinal 0, here and on disk.

        Invisible at once; the log says so before any record that follows, so they do not come
        back at a restart. Raises :class:`RowStoreReadOnlyError`, :class:`UnavailableError`.
        """
        self._commit.check_writable()
        if self._contents.void(key):
            self._stager.reset(key)
            self._commit.commit_now_if_cheap()

    def advance(self, key: RowStoreKey, position: KeyPosition) -> None:
        """Rows below ``position`` are needed no more: they are sealed, or were cleared.

        The catalog says so already (``sealed_of``). Frees their memory, bit by bit, and their
        segments once nothing else in them is needed. Idempotent; a lower position does nothing.
        A copy that does not hold that many rows jumps there: its next record begins there.

        Raises :class:`DivergenceError` if no record ends at the position, ValueError if a leader
        has not that many visible rows.
        """
        state = self._contents.keys.get(key)
        if self._sync and state is not None and position.ordinal > state.visible_ordinal:
            raise ValueError(
                f"key {key:016x} has {state.visible_ordinal} rows, {position.ordinal} are sealed"
            )
        self._freed.extend(self._contents.advance(key, position))
        self._has_freed.set()
        self._commit.trim_soon()

    # Reading

    def rows(self, key: RowStoreKey, from_ordinal: int = 0) -> Rows:
        """The visible rows of a key from an ordinal on: an immutable snapshot.

        Costs a step for each live batch. Begins later if rows below were let go of; see
        ``Rows.first_ordinal``.
        """
        return self._contents.rows(key, from_ordinal)

    def unsealed(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, Unsealed]:
        """Of each key that has any: its visible rows that are not sealed, their size and age."""
        return self._contents.unsealed(keys, self._commit.committed_lsn)

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """The visible position of each key; its floor for keys without rows."""
        return self._contents.position_of(keys)

    def end_lsn(self) -> int:
        """LSN after the last committed record."""
        return self._commit.committed_lsn

    def start_lsn_for(self, cursors: Mapping[RowStoreKey, int], keys: Iterable[RowStoreKey]) -> int:
        """The lowest LSN that can hold a record of ``keys`` at or after their cursors.

        A key without a cursor counts from ordinal 0. The end of the log if there is none.
        """
        return self._contents.start_lsn_for(cursors, keys, self._commit.committed_lsn)

    def lsn_of(self, key: RowStoreKey, ordinal: int) -> int | None:
        """LSN of the oldest record held with rows of a key from ``ordinal`` on; None without."""
        state = self._contents.keys.get(key)
        return None if state is None else state.lsn_of(ordinal)

    async def read(
        self,
        lsn: int,
        keys: Collection[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """Committed records of ``keys`` from ``lsn`` on that reach beyond their key's cursor.

        At most ``max_bytes`` of them, but at least one if there is any. ``lsn`` comes from
        :meth:`start_lsn_for` or an earlier chunk. From memory if recent, else from disk, where
        records are checked again: raises :class:`CorruptionError`.
        """
        return await self._reader.read(lsn, keys, cursors, max_bytes)

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the end of the log is beyond ``lsn``."""
        await self._commit.wait_beyond(lsn)

    def load(self) -> StoreLoad:
        """How busy it is, and whether it takes rows: neither read-only nor stopping nor full."""
        commit = self._commit
        has_room = self._contents.live_bytes < self._limits.row_store_bytes
        return StoreLoad(
            commit.is_writable and has_room, commit.is_filling, commit.is_idle, commit.waiting_bytes
        )

    def key_statistics(self) -> tuple[KeyStatistics, ...]:
        """What is held of each key, in no order."""
        return self._contents.key_statistics()

    def statistics(self) -> RowStoreStatistics:
        """Counters as of now."""
        return RowStoreStatistics(
            **self._contents.counts(),
            **self._commit.counts(),
            tail_bytes=self._reader.tail_bytes,
            disk_reads=self._reader.disk_reads,
            recovery=self._recovery,
        )

    def _publish(self, group: Group) -> None:
        for entry in group.entries:
            self._contents.show(entry)
            self._times.settle(entry.times_us)
        self._reader.append(group.records)
        if self._on_commit is not None:
            self._on_commit(group.records)

    async def _let_go(self) -> None:
        """Frees batches one by one: unmapping a gigabyte at once would stop the node for 0.1 s."""
        while True:
            await self._has_freed.wait()
            while self._freed:
                self._freed.popleft()
                await trio.lowlevel.checkpoint()
            self._has_freed = trio.Event()
