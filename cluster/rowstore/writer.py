"""The thread that writes a log: it takes the next groups itself, as long as there are any.

Waking a sleeping thread costs 50 us and more on a virtual machine, twice for each commit, while the
disk has nothing to do. So the thread is started when there is something to write, goes on with
what was put in its queue meanwhile, several groups with one write, and ends when there is nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outcome import Outcome

    from cluster.clock import Clock
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.log import SegmentedLog
    from cluster.rowstore.ticket import Group

    Written = Callable[[Sequence[Group], float, BaseException | None], None]

Result = TypeVar("Result")

WRITE_BYTES: Final = 8 * 1024 * 1024
"""More than this is not written at once: those who wait for the first of it would wait long."""


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


class LogWriter:
    """Writes closed groups in order. ``written`` is told in the trio thread, in order too.

    Groups in the queue belong to the thread; nobody adds to them. The queue is the only thing both
    threads touch, and its operations are atomic. After an error nothing more is written.
    """

    def __init__(self, log: SegmentedLog, *, disk: Disk, clock: Clock, written: Written) -> None:
        self._log = log
        self._disk = disk
        self._clock = clock
        self._written = written
        self._queue: deque[Group] = deque()
        self._is_running = False
        self._has_failed = False
        self._parked = trio.lowlevel.ParkingLot()

    @property
    def is_busy(self) -> bool:
        """Something is being written, or will be."""
        return self._is_running

    def put(self, group: Group) -> None:
        """Has a group written after those before it."""
        self._queue.append(group)
        self._start()

    def write_here(self, group: Group) -> None:
        """Writes a group in this thread, at once. Only if not busy."""
        assert not self._is_running, "groups are written in order"
        self._written(*self._write([group]))

    def give_up(self) -> list[Group]:
        """Takes back what is in the queue and was not begun; only after a failure."""
        left = list(self._queue)
        self._queue.clear()
        return left

    async def idle(self) -> None:
        """Returns when nothing is being written, and nothing will be before the next put."""
        await trio.lowlevel.checkpoint()
        while self._is_running:
            await self._parked.park()

    def _start(self) -> None:
        if self._is_running or self._has_failed or not self._queue:
            return
        self._is_running = True
        token = trio.lowlevel.current_trio_token()
        # Without a name: giving a cached thread its name again costs 3 us.
        trio.lowlevel.start_thread_soon(
            lambda: self._work(token), lambda _: token.run_sync_soon(self._ended)
        )

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while self._queue and not self._has_failed:
            groups = [self._queue.popleft()]
            size = groups[0].byte_count
            while self._queue and size + self._queue[0].byte_count <= WRITE_BYTES:
                groups.append(self._queue.popleft())
                size += groups[-1].byte_count
            result = self._write(groups)
            token.run_sync_soon(self._written, *result)

    def _ended(self) -> None:
        self._is_running = False
        self._start()  # what was put in the queue when the thread had looked for the last time
        if not self._is_running:
            self._parked.unpark_all()

    def _write(self, groups: list[Group]) -> tuple[list[Group], float, BaseException | None]:
        started = self._clock.monotonic()
        try:
            self._log.append([record.raw for group in groups for record in group.records])
        except BaseException as error:
            self._has_failed = True
            return groups, 0.0, error
        return groups, self._clock.monotonic() - started, None
