"""Clocks that can be moved while a process runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.faults.composition import NO_CLOCK_FAULTS

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.faults.composition import ClockFaults


class FaultyClock:
    """A :class:`cluster.clock.Clock` over another one.

    The wall clock is ahead while a fault says so. The monotonic clock leaps forward once for each
    fault that says so, and stays there: it never goes back.
    """

    __slots__ = ("_ahead_ns", "_base", "_leapt", "_leapt_seconds")

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead_ns = 0
        self._leapt_seconds = 0.0
        self._leapt: frozenset[str] = frozenset()

    def suffer(self, faults: ClockFaults = NO_CLOCK_FAULTS) -> None:
        """From now on these, instead of those before."""
        self._ahead_ns = round(faults.wall_seconds * 1e9)
        self._leapt_seconds += sum(
            seconds for fault, seconds in faults.leaps if fault not in self._leapt
        )
        self._leapt |= {fault for fault, _ in faults.leaps}

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        return self._base.now_ns() + self._ahead_ns

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._base.monotonic() + self._leapt_seconds
