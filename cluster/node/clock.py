"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """:class:`cluster.clock.Clock` of this machine."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC in seconds."""
        return time.monotonic()
