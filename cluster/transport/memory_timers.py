"""Functions to be run at moments of virtual time, in no task. Pure.

A timer costs a third of a cancel scope whose deadline passes, and less if it is cancelled.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """One function to be run; made by :meth:`Timers.at`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] | None = function


class Timers:
    """Timers in order of time, then of scheduling.

    A timer that is cancelled keeps its place, empty, until it would be the next.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def at(self, time: float, function: Callable[[], None]) -> Timer:
        """Runs ``function`` at that time; it must not raise."""
        timer = Timer(function)
        heapq.heappush(self._entries, (time, next(self._numbers), timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Its function is never run; nothing if it was, or was cancelled before."""
        timer.function = None

    def next_time(self) -> float:
        """When the next timer is due; infinite if there is none."""
        entries = self._entries
        while entries:
            if entries[0][2].function is not None:
                return entries[0][0]
            heapq.heappop(entries)
        return math.inf

    def run_due(self, now: float) -> None:
        """Runs every timer that is due by ``now``, those too that these set."""
        entries = self._entries
        while entries and entries[0][0] <= now:
            timer = heapq.heappop(entries)[2]
            function, timer.function = timer.function, None
            if function is not None:
                function()

    def clear(self) -> None:
        """Forgets all timers."""
        self._entries.clear()
