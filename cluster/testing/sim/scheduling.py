"""Runs trio so that the same seed does the same steps in the same order.

Trio shuffles what is runnable with a source of chance of its own, on purpose. It can be told to
sort first and to shuffle with a seed, but only by private names, which are all in this file: if one
moves, :func:`pinned` raises, and no run silently depends on chance.

Threads are taken out: what production hands to a worker thread runs in place, in the life it was
called in (:mod:`.lives`).
"""

from __future__ import annotations

import gc
import logging
import math
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
import trio._core._run as trio_run

from cluster.testing.sim.lives import DirectToken, run_in_place, start_in_place
from cluster.transport.hub import Waiter
from cluster.transport.memory_timers import Timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableSequence

T = TypeVar("T")

COLLECT_SECONDS: Final = 60.0
"""Virtual seconds between looks for garbage among what is new."""

IO_PASSES: Final = 256
"""Passes of the run loop between two looks at sockets, for Ctrl-C; see :class:`_RarelyAsked`."""

_SORTED = "_ALLOW_DETERMINISTIC_SCHEDULING"
_CHANCE = "_r"

_trio_sleep: Final = trio.sleep


class _Chance(random.Random):
    """What the scheduler shuffles with; most often one task or two are runnable."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """See :meth:`random.Random.shuffle`."""
        if len(x) == 2:
            if self.random() < 0.5:
                x.reverse()
        elif len(x) > 1:
            super().shuffle(x)


@contextmanager
def pinned(seed: int) -> Iterator[None]:
    """Inside, trio's scheduler follows ``seed`` and threads run in place.

    Raises RuntimeError if trio has not the names this needs.
    """
    if not isinstance(getattr(trio_run, _SORTED, None), bool) or not hasattr(
        getattr(trio_run, _CHANCE, None), "shuffle"
    ):
        raise RuntimeError(
            f"trio {trio.__version__} schedules in another way than this simulation pins: "
            f"trio._core._run has no {_SORTED} or no {_CHANCE}"
        )
    before = (
        getattr(trio_run, _SORTED),
        getattr(trio_run, _CHANCE),
        trio.to_thread.run_sync,
        trio.lowlevel.start_thread_soon,
        trio.lowlevel.current_trio_token,
    )
    setattr(trio_run, _SORTED, True)
    setattr(trio_run, _CHANCE, _Chance(seed))
    trio.to_thread.run_sync = run_in_place  # type: ignore[assignment]
    trio.lowlevel.start_thread_soon = start_in_place  # type: ignore[assignment]
    trio.lowlevel.current_trio_token = DirectToken  # type: ignore[assignment]
    try:
        yield
    finally:
        setattr(trio_run, _SORTED, before[0])
        setattr(trio_run, _CHANCE, before[1])
        trio.to_thread.run_sync = before[2]
        trio.lowlevel.start_thread_soon = before[3]
        trio.lowlevel.current_trio_token = before[4]


class _RarelyAsked:
    """Trio's sockets, looked at once in many passes of its loop.

    Nothing in a simulated world becomes ready from outside, and a look is a system call: they are
    a twentieth of a run. Two things still come through a socket: Ctrl-C, and trio waking itself
    when it has nothing else to do.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self._passes = 0

    def get_events(self, timeout: float) -> Any:
        """What happened within ``timeout`` seconds; nothing if none are allowed and none looks."""
        self._passes += 1
        if timeout > 0 or self._passes % IO_PASSES == 0:
            return self._real.get_events(timeout)
        return ()

    def process_events(self, events: Any) -> None:
        """Wakes who waits for them."""
        if events:
            self._real.process_events(events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _look_rarely() -> None:
    """Sockets of the run this is called in are rarely looked at from now on."""
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    runner.io_manager = _RarelyAsked(runner.io_manager)  # type: ignore[assignment]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, nothing is collected by the count of objects, and nothing below an error is logged.

    When garbage is collected must follow from the seed: snapshots that wait in a cycle for the
    collector keep files from being removed.
    """
    was_enabled = gc.isenabled()
    gc.freeze()  # what was there before is not looked at: that would take longer than the run
    gc.disable()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        gc.collect()
        gc.unfreeze()
        if was_enabled:
            gc.enable()


async def collect_now_and_then() -> None:
    """Takes new garbage away at moments that follow from the seed, until cancelled."""
    while True:
        await trio.sleep(COLLECT_SECONDS)
        gc.collect(0)


class LeapingClock(Timers, trio.abc.Clock):
    """Virtual time that leaps to what comes next as soon as every task waits.

    As ``MockClock(autojump_threshold=0)``, but it leaps when the run loop asks how long it may
    sleep: one pass of the loop instead of two, and reading it is one attribute. There is nothing
    else to wait for: a simulated world has no files or sockets that become ready.

    It has timers of its own: a scope whose deadline passes costs three times as much (19 us, 6 us).
    At one moment deadlines come first and everything they wake, then timers as they were set.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def start_clock(self) -> None:
        """See :class:`trio.abc.Clock`."""

    def current_time(self) -> float:
        """See :class:`trio.abc.Clock`."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """See :class:`trio.abc.Clock`. Called when no task can run."""
        due = self.next_time()
        if due < deadline:
            self._now = max(self._now, due)
            self.run_due(self._now)
            return 0.0
        if deadline == math.inf:
            return deadline  # the run is over, and trio wakes itself through a socket
        self._now = max(self._now, deadline)
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Stands in for :func:`trio.sleep`."""
        if not 0 < seconds < math.inf:
            await _trio_sleep(seconds)
            return
        waiter = Waiter()
        self.at(self._now + seconds, waiter.wake)
        await waiter.park()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, tasks sleep by it. What is still to come afterwards never comes."""
        trio.sleep = self.sleep
        try:
            yield
        finally:
            trio.sleep = _trio_sleep
            self.clear()


def run_virtual(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """``trio.run`` in virtual time: it leaps whenever every task waits."""
    clock = LeapingClock()

    async def timed() -> T:
        _look_rarely()
        with clock.running():
            return await main()

    with undisturbed(), pinned(seed):
        return trio.run(timed, clock=clock)
