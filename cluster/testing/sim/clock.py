"""The clocks of one simulated machine: each has its own, and none of them is right."""

from __future__ import annotations

from typing import Final

import trio

START_NS: Final = 1_700_000_000 * 1_000_000_000
"""Wall time at the beginning of every run."""

_NANOSECONDS: Final = 1_000_000_000
_READING_SECONDS: Final = 1e-9


class MachineClock:
    """:class:`cluster.clock.Clock` of a machine, on trio's time.

    ``uptime_seconds``: what its monotonic clock shows at the beginning. Reading a clock takes a
    nanosecond: code that waits until a moment is there gets there, as on a real machine, although
    the last 1e-14 s of a difference of two floats are too short to sleep.
    """

    def __init__(self, uptime_seconds: float) -> None:
        self._uptime_seconds = uptime_seconds
        self._wall_offset_ns = 0
        self._rate = 1.0
        self._since = 0.0
        self._elapsed = 0.0
        self._readings = 0
        self._frozen_at: float | None = None

    def now_ns(self) -> int:
        """See :class:`cluster.clock.Clock`."""
        return START_NS + self._wall_offset_ns + round(self._time() * _NANOSECONDS)

    def monotonic(self) -> float:
        """See :class:`cluster.clock.Clock`."""
        return self._uptime_seconds + self._time()

    def _time(self) -> float:
        self._readings += 1
        now = trio.current_time() if self._frozen_at is None else self._frozen_at
        return self._elapsed + (now - self._since) * self._rate + self._readings * _READING_SECONDS

    def jump(self, seconds: float) -> None:
        """The wall clock is set forward, or back."""
        self._wall_offset_ns += round(seconds * _NANOSECONDS)

    def leap(self, seconds: float) -> None:
        """The monotonic clock goes forward at once, as after a suspend."""
        self._uptime_seconds += seconds

    def drift(self, ratio: float) -> None:
        """From now on both clocks run ``1 + ratio`` times as fast as the world's."""
        now = trio.current_time() if self._frozen_at is None else self._frozen_at
        self._elapsed += (now - self._since) * self._rate
        self._since = now
        self._rate = 1.0 + ratio

    def freeze(self) -> None:
        """The process stands still: no time passes for it until :meth:`thaw`."""
        if self._frozen_at is None:
            self._frozen_at = trio.current_time()

    def thaw(self) -> None:
        """All the time that has passed has passed at once."""
        self._frozen_at = None
