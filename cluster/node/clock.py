"""The machine's clocks."""

from __future__ import annotations

import time


def _elapsed_clock() -> int | None:
    """The clock that goes on while the machine sleeps; None where there is none."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return clock


class SystemClock:
    """:class:`cluster.clock.Clock` of this machine.

    A lease must run out while the machine is suspended: to everybody else that time has passed.
    CLOCK_MONOTONIC stands still then on Linux, so CLOCK_BOOTTIME is read, which is the same clock
    with suspended time in it. A process that is stopped, or not scheduled, is late on either.
    Elsewhere it is ``time.monotonic()``. What sleeps for an interval (trio) may wake late after a
    suspend; whatever compares with this clock when it is used is not fooled.
    """

    def __init__(self) -> None:
        self._clock = _elapsed_clock()

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds since an unknown moment, suspended time included where it can be known."""
        if self._clock is None:
            return time.monotonic()
        return time.clock_gettime(self._clock)
