"""From a poller thread into trio: one wake-up for a batch of events.

Waking trio costs a write to a socket and a pass through its loop, so finished events are queued
and one callback runs them all (measured: the busier the server, the bigger the batch and the
cheaper a call).
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable


class Hub:
    """Runs functions in the trio thread, in the order posted. Make it inside ``trio.run``."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._queue: collections.deque[tuple[Callable[..., None], tuple[Any, ...]]] = (
            collections.deque()
        )
        self._kicked = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Has ``function(*args)`` run in the trio thread. Call from any thread.

        Functions must not raise. After ``trio.run`` has ended the function is dropped: nobody is
        left to see its effect.
        """
        # Append before the test: a drain that is running either sees the item or has already
        # cleared the flag, so no item is left behind without a drain to come.
        self._queue.append((function, args))
        if not self._kicked:
            self._kicked = True
            self._kick()

    def _kick(self) -> None:
        try:
            self._token.run_sync_soon(self._drain)
        except trio.RunFinishedError:
            self._queue.clear()

    def _drain(self) -> None:
        self._kicked = False
        # Only what is there now: a poller that posts faster than we drain must not starve trio.
        for _ in range(len(self._queue)):
            function, args = self._queue.popleft()
            function(*args)
        if self._queue and not self._kicked:
            self._kicked = True
            self._kick()


class Waiter:
    """One task that waits to be woken once. ``wake`` and ``park`` run in the trio thread only.

    Made, handed to the waker, then parked without a checkpoint in between; the waker goes through
    :class:`Hub`, so it cannot run before the task is parked.
    """

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = current_task()

    def wake(self) -> None:
        """Lets the parked task go on; nothing if it was cancelled or woken before."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    async def park(self, on_cancel: Callable[[], None] | None = None) -> None:
        """Waits for :meth:`wake`. ``on_cancel`` runs when the wait is cancelled instead."""

        def abort(_: object) -> Abort:
            self._task = None
            if on_cancel is not None:
                on_cancel()
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
