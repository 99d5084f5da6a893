"""The row store of a node: stages rows, shows them when durable, reads them for followers.

One trio thread owns all state; worker threads only write, sync, read and recover files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import trio
from xxhash import xxh3_64_intdigest

from cluster.limits import LIMITS, Limits
from cluster.rowstore.apply import plan_apply
from cluster.rowstore.contents import Contents
from cluster.rowstore.entry import Entry, LogRecord
from cluster.rowstore.log import SegmentedLog
from cluster.rowstore.model import Chunk, Outcome, Rows, RowStoreStatistics
from cluster.rowstore.record import (
    FLAG_DURABLE_BEFORE,
    RecordHeader,
    RequestSpan,
    encode_record,
    encode_reset,
    next_checksum,
    record_length,
)
from cluster.rowstore.recovery import Recovered, recover
from cluster.rowstore.tail import RecentRecords
from cluster.rowstore.worker import GroupCommit, Staged, call_disk

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.disk import Buffer, Disk, FolderLock
    from cluster.rowstore.keys import SchemaOf
    from cluster.rowstore.worker import Group

_READERS_MAX: Final = 2


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
        lock: FolderLock,
        recovered: Recovered,
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._sync = sync
        self._schema_of = schema_of
        self._lock = lock
        self._recovery = recovered.report
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
        )
        self._contents = Contents(recovered, limits=limits, schema_of=schema_of)
        # Nobody follows a copy, so it keeps no tail.
        self._tail = RecentRecords(limits.row_store_tail_bytes if sync else 0, self._log.end_lsn)
        self._readers = trio.CapacityLimiter(_READERS_MAX)
        self._disk_reads = 0
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
    ) -> Self:
        """Claims the folder, recovers its log and returns the row store.

        ``schema_of(key, version)`` gives the Arrow schema of a table's rows; None for a key the
        catalog does not know (a dropped table), whose records are skipped. It is called in a
        worker thread while this runs.

        Raises :class:`ConflictError` if the folder is in use, :class:`CorruptionError` with file
        and offset if an acknowledged record may be damaged, OSError if the disk fails.
        """

        def load() -> tuple[FolderLock, Recovered]:
            disk.make_folder(folder)
            lock = disk.lock_folder(folder)
            try:
                recovered = recover(
                    disk,
                    folder,
                    sync=sync,
                    schema_of=schema_of,
                    outcome_limit=limits.source_id_window,
                    new_store_id=xxh3_64_intdigest(f"{folder}|{clock.now_ns()}".encode()),
                )
            except BaseException:
                lock.release()
                raise
            return lock, recovered

        started = clock.monotonic()
        lock, recovered = await call_disk(disk, load)
        seconds = clock.monotonic() - started
        recovered.report = replace(recovered.report, seconds=seconds)
        return cls(
            folder,
            disk=disk,
            clock=clock,
            limits=limits,
            sync=sync,
            schema_of=schema_of,
            lock=lock,
            recovered=recovered,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits what is staged until cancelled; then commits the rest and closes."""
        try:
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
    ) -> Staged:
        """Takes a group of requests for one table; they get the next ordinals of its key.

        ``spans`` say which rows belong to which request, in order. The rows become durable and
        visible together, or not at all; wait with ``await staged.committed()``. Source ids are
        remembered from now on (:meth:`outcome_of`).

        Raises :class:`RowStoreFullError`, :class:`RowStoreReadOnlyError`,
        :class:`UnavailableError` after the end of :meth:`run`, :class:`PayloadTooLargeError` for
        a record over its limit, :class:`TableNotFoundError` if the catalog does not know the
        key, ValueError if batch, schema and spans do not fit together. Then nothing is staged.
        """
        self._commit.check_writable()
        contents = self._contents
        state = contents.state(key)
        contents.check_batch(state, schema_version, batch)
        body = batch.serialize()
        length = record_length(len(spans), body.size)
        contents.check_record(length)
        contents.check_room(length)
        if key in contents.orphans:
            self._stage_reset(key)
        commit = self._commit
        header = RecordHeader(
            lsn=commit.staged_lsn,
            key=key,
            first_ordinal=state.staged_ordinal,
            checksum=next_checksum(state.staged_checksum, body),
            ingest_time_ns=self._clock.now_ns(),
            length=length,
            row_count=batch.num_rows,
            schema_version=schema_version,
            request_count=len(spans),
            flags=FLAG_DURABLE_BEFORE if self._sync and commit.begins_group else 0,
        )
        raw = encode_record(header, spans, body)
        group = commit.add(LogRecord(header.lsn, key, header.end_ordinal, raw))
        self._take(
            group,
            Entry(
                state=state,
                batch=batch,
                schema_version=schema_version,
                byte_count=length,
                end_ordinal=header.end_ordinal,
                checksum=header.checksum,
                ordinals=(header.first_ordinal,),
                lsns=(header.lsn,),
                spans=spans,
            ),
        )
        contents.outcomes.remember(key, header.first_ordinal, spans, group)
        commit.commit_soon()
        return Staged(key, header.first_ordinal, header.row_count, group)

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
            self._take(group, entry)
        self._commit.commit_now_if_cheap()
        await group.wait()
        return plan.headers

    def outcome_of(self, source: bytes) -> Outcome | None:
        """What became of the request with this source digest; None if it is not remembered."""
        found = self._contents.outcomes.get(source)
        if found is None:
            return None
        key, first_ordinal, row_count, group = found
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
            self._stage_reset(key)
            self._commit.commit_now_if_cheap()

    # Reading

    def rows(self, key: RowStoreKey) -> Rows:
        """The visible rows of a key: an immutable snapshot, a step for each live batch."""
        return self._contents.rows(key)

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """The visible position of each key; START for keys without rows."""
        return self._contents.position_of(keys)

    def end_lsn(self) -> int:
        """LSN after the last committed record."""
        return self._commit.committed_lsn

    def start_lsn_for(self, cursors: Mapping[RowStoreKey, int], keys: Iterable[RowStoreKey]) -> int:
        """The lowest LSN that can hold a record of ``keys`` at or after their cursors.

        A key without a cursor counts from ordinal 0. The end of the log if there is none.
        """
        return self._contents.start_lsn_for(cursors, keys, self._commit.committed_lsn)

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
        end_lsn = self._commit.committed_lsn
        if lsn > end_lsn:
            raise ValueError(f"LSN {lsn} is beyond the end of the log, {end_lsn}")
        while True:
            await trio.lowlevel.checkpoint()
            if lsn >= self._commit.committed_lsn:
                return Chunk(b"", 0, lsn)
            if self._tail.covers(lsn):
                chunk = self._tail.read(lsn, keys, cursors, max_bytes)
            else:
                chunk = await self._read_disk(lsn, keys, cursors, max_bytes)
            if chunk.count:
                return chunk
            # Looking for it through gigabytes of other tables would keep a follower in silence.
            next_lsn = self._contents.start_lsn_for(cursors, keys, self._commit.committed_lsn)
            lsn = max(chunk.next_lsn, next_lsn)

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the end of the log is beyond ``lsn``."""
        await self._commit.wait_beyond(lsn)

    def statistics(self) -> RowStoreStatistics:
        """Counters as of now."""
        segments = self._log.segments
        counters = self._commit.counters
        states = self._contents.keys.values()
        return RowStoreStatistics(
            keys=len(states),
            segments=len(segments),
            log_bytes=self._log.end_lsn - self._log.first_lsn,
            live_bytes=self._contents.live_bytes,
            visible_rows=sum(state.visible_ordinal for state in states),
            live_batches=sum(state.rows.batch_count for state in states),
            tail_bytes=self._tail.byte_count,
            end_lsn=self._commit.committed_lsn,
            commits=counters.commits,
            committed_records=counters.records,
            committed_requests=counters.requests,
            group_requests_max=counters.requests_max,
            commit_seconds_total=counters.seconds_total,
            commit_seconds_max=counters.seconds_max,
            source_ids=len(self._contents.outcomes),
            disk_reads=self._disk_reads,
            trim_failures=counters.trim_failures,
            read_only_reason=self._commit.refusal,
            recovery=self._recovery,
        )

    def _stage_reset(self, key: RowStoreKey) -> None:
        lsn = self._commit.staged_lsn
        self._commit.add(LogRecord(lsn, key, 0, encode_reset(lsn, key, self._clock.now_ns())))
        self._contents.orphans.discard(key)

    def _take(self, group: Group, entry: Entry) -> None:
        group.entries.append(entry)
        group.request_count += len(entry.spans)
        self._contents.take(entry)

    def _publish(self, group: Group) -> None:
        for entry in group.entries:
            self._contents.show(entry)
        for record in group.records:
            self._tail.append(record)

    async def _read_disk(
        self,
        lsn: int,
        keys: Container[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        end_lsn = self._commit.committed_lsn
        self._disk_reads += 1
        async with self._readers:
            return await call_disk(
                self._disk, lambda: self._log.read(lsn, end_lsn, keys, cursors, max_bytes)
            )
