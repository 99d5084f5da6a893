"""Time as a value that is passed in: real in a node, virtual in tests."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two clocks. Compare each only with itself."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds that never go back, for leases, deadlines and durations."""
