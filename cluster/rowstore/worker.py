"""Group commit: one append and one sync for everything staged since the last.

Whatever is staged while a sync is under way becomes the next group, so all who wait share the cost
of a sync (Gray and Reuter, "Transaction Processing"; measured in ``DESIGN.md``).

A write or sync that fails is final. Nothing more is written: after a failed sync the kernel may
have dropped the pages it could not write and will call the next sync a success (PostgreSQL's
"fsyncgate", 2018). Only a restart, which reads back what the device holds, opens the log again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import trio

from cluster.errors import RowStoreReadOnlyError, UnavailableError
from cluster.rowstore.ticket import Group
from cluster.rowstore.writer import LogWriter, call_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.clock import Clock
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.entry import LogRecord
    from cluster.rowstore.log import SegmentedLog

INLINE_BYTES: Final = 128 * 1024
"""An unsynced write up to this size costs less than handing it to another thread (100 us)."""

EARLY_BYTES: Final = 16 * 1024
"""A group of this size is worth a sync of its own while the disk is idle."""


@dataclass(slots=True)
class CommitCounters:
    """Counts since opening. ``seconds`` are of append and sync together."""

    commits: int = 0
    records: int = 0
    requests: int = 0
    requests_max: int = 0
    seconds_total: float = 0.0
    seconds_max: float = 0.0
    trim_failures: int = 0

    def count(self, groups: Sequence[Group], seconds: float) -> None:
        """Groups became durable with one write."""
        requests = sum([group.request_count for group in groups])
        self.commits += 1
        self.records += sum([len(group.records) for group in groups])
        self.requests += requests
        self.requests_max = max(self.requests_max, requests)
        self.seconds_total += seconds
        self.seconds_max = max(self.seconds_max, seconds)


class CommitCounts(TypedDict):
    """See ``RowStoreStatistics``."""

    store_id: int
    folder: str
    segments: int
    first_lsn: int
    end_lsn: int
    log_bytes: int
    waiting_bytes: int
    commits: int
    committed_records: int
    committed_requests: int
    group_requests_max: int
    commit_seconds_total: float
    commit_seconds_max: float
    trim_failures: int
    read_only_reason: str


class GroupCommit:
    """The writing end of a log.

    ``publish(group)`` is called when a group is durable, before anyone who waits for it runs.
    ``low_water()`` gives the LSN below which no record is needed. ``before_commit()`` is called
    before a group is closed, and ``before_trim(lsn)`` before the log is cut below an LSN; if it
    adds a record and says so, that is durable before anything is removed.
    """

    def __init__(
        self,
        log: SegmentedLog,
        *,
        disk: Disk,
        clock: Clock,
        sync: bool,
        publish: Callable[[Group], None],
        low_water: Callable[[], int],
        before_commit: Callable[[], None],
        before_trim: Callable[[int], bool],
    ) -> None:
        self._log = log
        self._disk = disk
        self._sync = sync
        self._publish = publish
        self._low_water = low_water
        self._before_commit = before_commit
        self._before_trim = before_trim
        self._open = Group()
        self._writer = LogWriter(log, disk=disk, clock=clock, written=self._written)
        self._is_stopped = False
        self._work = trio.Event()
        self._trim_work = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self.counters = CommitCounters()
        self.refusal = ""
        self._defect: BaseException | None = None
        self.staged_lsn = self.committed_lsn = log.end_lsn

    def check_writable(self) -> None:
        """Raises :class:`RowStoreReadOnlyError` or :class:`UnavailableError`."""
        if self.refusal:
            raise RowStoreReadOnlyError(self.refusal)
        if self._is_stopped:
            raise UnavailableError("the row store is stopping")

    @property
    def is_writable(self) -> bool:
        """Whether :meth:`check_writable` would raise nothing."""
        return not self.refusal and not self._is_stopped

    @property
    def waiting_bytes(self) -> int:
        """Bytes staged that are not durable yet."""
        return self.staged_lsn - self.committed_lsn

    @property
    def is_idle(self) -> bool:
        """Nothing is staged and nothing is being written."""
        return not self._open.records and not self._writer.is_busy

    @property
    def is_filling(self) -> bool:
        """A group has records and is not closed yet."""
        return bool(self._open.records)

    def group(self) -> Group:
        """The group that is filling. What is put in it needs :meth:`commit_soon`."""
        return self._open

    def add(self, record: LogRecord) -> Group:
        """Puts a record at the end of the log, as part of the group that is filling."""
        assert record.lsn == self.staged_lsn, "records are added in log order"
        self._open.add(record)
        self.staged_lsn += len(record.raw)
        return self._open

    def commit_soon(self) -> None:
        """Wakes the committing task; what is staged until it runs joins the group."""
        self._work.set()

    def commit_early(self) -> None:
        """Closes a group that is large enough while the disk has nothing to do.

        The disk then works while more is staged, which is the next group.
        """
        if self._open.byte_count >= EARLY_BYTES and self._disk.blocks and not self._writer.is_busy:
            self._close_group()

    def commit_now_if_cheap(self) -> None:
        """Commits in place what needs no sync, is small, and has nothing before it under way.

        Else wakes the committing task.
        """
        group = self._open
        if self._sync or self._writer.is_busy or group.byte_count > INLINE_BYTES:
            self._work.set()
        elif group.records:
            self._close_group(here=True)

    def trim_soon(self) -> None:
        """Has segments below the low-water LSN removed, if there are any."""
        if len(self._log.segments) > 1 and self._log.removable_end(self._low_water()) is not None:
            self._trim_work.set()

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the committed end of the log is beyond ``lsn``."""
        if self.committed_lsn > lsn:
            await trio.lowlevel.checkpoint()
        while self.committed_lsn <= lsn:
            await self._changed.park()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits until cancelled, then commits the rest."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._trim_forever)
            task_status.started()
            try:
                while True:
                    await self._work.wait()
                    self._work = trio.Event()
                    await self._commit_all()
            finally:
                self._is_stopped = True
                with trio.CancelScope(shield=True):
                    await self._commit_all()
                    await self._writer.idle()

    def counts(self) -> CommitCounts:
        """The part of ``RowStoreStatistics`` about the log and what was written to it."""
        log, counters = self._log, self.counters
        return CommitCounts(
            store_id=log.store_id,
            folder=str(log.folder),
            segments=len(log.segments),
            first_lsn=log.first_lsn,
            end_lsn=self.committed_lsn,
            log_bytes=log.end_lsn - log.first_lsn,
            waiting_bytes=self.waiting_bytes,
            commits=counters.commits,
            committed_records=counters.records,
            committed_requests=counters.requests,
            group_requests_max=counters.requests_max,
            commit_seconds_total=counters.seconds_total,
            commit_seconds_max=counters.seconds_max,
            trim_failures=counters.trim_failures,
            read_only_reason=self.refusal,
        )

    def stop(self) -> None:
        """Refuses to take more."""
        self._is_stopped = True

    async def _commit_all(self) -> None:
        if self._defect is not None:
            raise self._defect
        if self._disk.blocks:
            self._close_group()
            return
        self._before_commit()
        while self._open.records:
            # As a thread would: what is staged meanwhile is the next group.
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._close_group(here=True)

    def _close_group(self, *, here: bool = False) -> None:
        self._before_commit()
        group = self._open
        if not group.records:
            return
        self._open = Group()
        if here:
            self._writer.write_here(group)
        else:
            self._writer.put(group)

    def _written(
        self, groups: Sequence[Group], seconds: float, error: BaseException | None
    ) -> None:
        """One write has ended."""
        if error is not None:
            self._refuse(groups, error)
            return
        self.counters.count(groups, seconds)
        for group in groups:
            self.committed_lsn += group.byte_count
            self._publish(group)
            group.decide()
        self._changed.unpark_all()

    def _refuse(self, groups: Sequence[Group], error: BaseException) -> None:
        # Also for a defect that is not the disk's: whoever waits must not wait for ever.
        self.refusal = f"writing to {self._log.folder} failed: {error or type(error).__name__}"
        if not isinstance(error, OSError):
            self._defect = error
            self._work.set()
        self._before_commit()
        left, self._open = self._open, Group()
        for failed in (*groups, *self._writer.give_up(), left):
            failed.decide(self.refusal)

    async def _trim_forever(self) -> None:
        while True:
            await self._trim_work.wait()
            self._trim_work = trio.Event()
            if not self.refusal:
                await self._trim()

    async def _trim(self) -> None:
        end = self._log.removable_end(self._low_water())
        if end is None:
            return
        if self._before_trim(end):
            group = self._open
            self.commit_soon()
            await group.done.wait()
            if group.failure:
                return
        self._log.detach_before(end)
        try:
            await call_disk(self._disk, self._log.remove_detached)
        except OSError:
            # Costs space, not data; tried again with the next table that is dropped or sealed.
            self.counters.trim_failures += 1
