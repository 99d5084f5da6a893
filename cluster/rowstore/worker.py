"""Group commit: one append and one sync for everything staged since the last.

Whatever is staged while a sync is under way becomes the next group, so all who wait share the cost
of a sync (Gray and Reuter, "Transaction Processing"; measured in ``DESIGN.md``).

A write or sync that fails is final. Nothing more is written: after a failed sync the kernel may
have dropped the pages it could not write and will call the next sync a success (PostgreSQL's
"fsyncgate", 2018). Only a restart, which reads back what the device holds, opens the log again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from cluster.errors import RowStoreReadOnlyError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.errors import TransientError
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.entry import Entry, LogRecord
    from cluster.rowstore.log import SegmentedLog

Result = TypeVar("Result")

INLINE_BYTES: Final = 128 * 1024
"""An unsynced write up to this size costs less than handing it to another thread (100 us)."""


async def call_disk(disk: Disk, function: Callable[[], Result]) -> Result:
    """Calls ``function`` where it does not hold up the trio thread. Cannot be cancelled.

    A disk that does not block is called in place, so that simulations stay deterministic. Else
    this is ``trio.to_thread.run_sync`` without its limiter, contexts and thread names: 36 us
    instead of 53, on every commit. Callers bound how many run at once.
    """
    if not disk.blocks:
        await trio.lowlevel.cancel_shielded_checkpoint()
        return function()
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()

    def deliver(result: Outcome[Result]) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, result)

    # Without a name: giving a cached thread its name again costs 3 us a commit.
    trio.lowlevel.start_thread_soon(function, deliver)
    result: Result = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
    return result


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

    def count(self, group: Group, seconds: float) -> None:
        """One group became durable."""
        self.commits += 1
        self.records += len(group.records)
        self.requests += group.request_count
        self.requests_max = max(self.requests_max, group.request_count)
        self.seconds_total += seconds
        self.seconds_max = max(self.seconds_max, seconds)


class Group:
    """Everything staged between two commits. Its fate is one: durable, or refused."""

    __slots__ = (
        "byte_count",
        "callbacks",
        "done",
        "entries",
        "error",
        "failure",
        "records",
        "request_count",
    )

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.entries: list[Entry] = []
        self.byte_count = 0
        self.request_count = 0
        self.failure = ""
        self.error: type[TransientError] = RowStoreReadOnlyError
        self.done = trio.Event()
        self.callbacks: list[Callable[[], None]] = []

    def decide(self, failure: str = "") -> None:
        """Its fate is known: tells everyone who waits, callbacks first and in order."""
        self.failure = failure
        self.done.set()
        for callback in self.callbacks:
            callback()
        self.callbacks.clear()

    def check(self) -> None:
        """Raises :class:`RowStoreReadOnlyError` if it was refused."""
        if self.failure:
            raise self.error(self.failure)

    def add(self, record: LogRecord) -> None:
        """Takes the next record of the log."""
        self.records.append(record)
        self.byte_count += len(record.raw)

    async def wait(self) -> None:
        """Returns when durable and visible; raises :class:`RowStoreReadOnlyError` if never."""
        await self.done.wait()
        self.check()


class Staged:
    """Rows that have their ordinals but are not durable yet. Acknowledge after committed()."""

    __slots__ = ("_group", "first_ordinal", "key", "row_count")

    def __init__(self, key: RowStoreKey, first_ordinal: int, row_count: int, group: Group) -> None:
        self.key = key
        self.first_ordinal = first_ordinal
        self.row_count = row_count
        self._group = group

    async def committed(self) -> None:
        """Returns when the rows are durable and visible. Any number of tasks may wait.

        Raises :class:`RowStoreReadOnlyError` if they could not be made durable; whether they
        are there after a restart is then unknown. Raises :class:`UnavailableError` if they were
        withdrawn, with the chain they belong to. Cancelling the wait does not unstage them.
        """
        await self._group.wait()

    def withdraw(self, reason: str) -> None:
        """The rows will not be written: their chain was not completed."""
        self._group = Group()
        self._group.error = UnavailableError
        self._group.decide(reason)

    def when_decided(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` in the trio thread once :meth:`check_committed` can be asked.

        At once if it can be asked now. Costs less than a task that waits. It must not raise.
        """
        if self._group.done.is_set():
            callback()
        else:
            self._group.callbacks.append(callback)

    def check_committed(self) -> None:
        """Raises as :meth:`committed` does, without waiting; ask after the decision only."""
        assert self._group.done.is_set(), "nobody knows yet whether it will be durable"
        self._group.check()


class GroupCommit:
    """The writing end of a log.

    ``publish(group)`` is called when a group is durable, before anyone who waits for it runs.
    ``low_water()`` gives the LSN below which no record is needed. ``before_commit()`` is called
    before a group is taken, and ``before_trim(lsn)`` before the log is cut below an LSN; if it adds
    a record and says so, that is durable before anything is removed.
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
        self._clock = clock
        self._sync = sync
        self._publish = publish
        self._low_water = low_water
        self._before_commit = before_commit
        self._before_trim = before_trim
        self._open: Group | None = None
        self._is_writing = False
        self._is_trim_due = False
        self._is_stopped = False
        self._work = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self.counters = CommitCounters()
        self.refusal = ""
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
    def begins_group(self) -> bool:
        """Whether the next record is the first of its group.

        It is then written when everything before it is durable.
        """
        return self._open is None or not self._open.records

    @property
    def waiting_bytes(self) -> int:
        """Bytes staged that are not durable yet."""
        return self.staged_lsn - self.committed_lsn

    @property
    def is_idle(self) -> bool:
        """Nothing is staged and nothing is being written."""
        return not self._is_writing and self.begins_group

    @property
    def is_filling(self) -> bool:
        """A group has records and its write has not begun."""
        return not self.begins_group

    def group(self) -> Group:
        """The group that is filling. What is put in it needs :meth:`commit_soon`."""
        if self._open is None:
            self._open = Group()
        return self._open

    def add(self, record: LogRecord) -> Group:
        """Puts a record at the end of the log, as part of the group that is filling."""
        assert record.lsn == self.staged_lsn, "records are added in log order"
        group = self.group()
        group.add(record)
        self.staged_lsn += len(record.raw)
        return group

    def commit_soon(self) -> None:
        """Wakes the committing task; what is staged until it runs joins the group."""
        self._work.set()

    def commit_now_if_cheap(self) -> None:
        """Commits in place what needs no sync, is small, and has nothing before it under way.

        Else wakes the committing task.
        """
        group = self._open
        if (
            group is None
            or not group.records
            or self._sync
            or self._is_writing
            or group.byte_count > INLINE_BYTES
        ):
            self._work.set()
            return
        self._open = None
        self._append_inline(group)

    def trim_soon(self) -> None:
        """Has the committing task remove segments below the low-water LSN, if there are any."""
        if len(self._log.segments) > 1 and self._log.removable_end(self._low_water()) is not None:
            self._is_trim_due = True
            self._work.set()

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the committed end of the log is beyond ``lsn``."""
        if self.committed_lsn > lsn:
            await trio.lowlevel.checkpoint()
        while self.committed_lsn <= lsn:
            await self._changed.park()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits until cancelled, then commits the rest."""
        task_status.started()
        try:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                await self._do_work()
        finally:
            self._is_stopped = True
            await self._do_work()

    def stop(self) -> None:
        """Refuses to take more."""
        self._is_stopped = True

    async def _do_work(self) -> None:
        await self._commit_all()
        if self._is_trim_due and not self.refusal:
            self._is_trim_due = False
            await self._trim()

    async def _commit_all(self) -> None:
        self._before_commit()
        while (group := self._open) is not None and group.records:
            self._open = None
            await self._commit(group)
            self._before_commit()

    async def _commit(self, group: Group) -> None:
        if not self._sync and group.byte_count <= INLINE_BYTES:
            self._append_inline(group)
            return
        self._is_writing = True
        buffers = [record.raw for record in group.records]
        started = self._clock.monotonic()
        try:
            await call_disk(self._disk, lambda: self._log.append(buffers))
        except BaseException as error:
            self._refuse(group, error)
            if not isinstance(error, OSError):
                raise
        else:
            self._finish(group, started)
        finally:
            self._is_writing = False

    def _append_inline(self, group: Group) -> None:
        started = self._clock.monotonic()
        try:
            self._log.append([record.raw for record in group.records])
        except BaseException as error:
            self._refuse(group, error)
            if not isinstance(error, OSError):
                raise
        else:
            self._finish(group, started)

    def _finish(self, group: Group, started: float) -> None:
        self.counters.count(group, self._clock.monotonic() - started)
        self.committed_lsn = self._log.end_lsn
        self._publish(group)
        group.decide()
        self._changed.unpark_all()

    def _refuse(self, group: Group, error: BaseException) -> None:
        # Also for a defect that is not the disk's: whoever waits must not wait for ever.
        self.refusal = f"writing to {self._log.folder} failed: {error or type(error).__name__}"
        for failed in (group, self._open):
            if failed is not None:
                failed.decide(self.refusal)
        self._open = None

    async def _trim(self) -> None:
        end = self._log.removable_end(self._low_water())
        if end is None:
            return
        if self._before_trim(end):
            await self._commit_all()
            if self.refusal:
                return
        try:
            await call_disk(self._disk, lambda: self._log.remove_before(end))
        except OSError:
            # Costs space, not data; tried again with the next table that is dropped or sealed.
            self.counters.trim_failures += 1
