"""How long records take from the leader's commit to visibility here. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

RECORDS_REMEMBERED: Final = 10_000
NANOSECONDS_A_MILLISECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ApplyLagStatistics:
    """Milliseconds over the newest ``records`` records; 0 without any."""

    records: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class ApplyLag:
    """Apply lags of the newest 10,000 records.

    Wall clock here minus the leader's wall clock when it staged the record: right on one machine,
    else off by the difference of the clocks. For a bound that never is, see
    ``FollowSession.lag_seconds``.
    """

    __slots__ = ("_lags_ns", "_summary")

    def __init__(self) -> None:
        self._lags_ns: deque[int] = deque(maxlen=RECORDS_REMEMBERED)
        self._summary: ApplyLagStatistics | None = None

    def add(self, ingest_time_ns: int, visible_at_ns: int) -> None:
        """A record became visible."""
        self._lags_ns.append(max(0, visible_at_ns - ingest_time_ns))
        self._summary = None

    def statistics(self) -> ApplyLagStatistics:
        """Nearest-rank percentiles."""
        if self._summary is None:
            ordered = sorted(self._lags_ns)
            count = len(ordered)

            def rank(percent: int) -> float:
                return ordered[max(0, -(-count * percent // 100) - 1)] / NANOSECONDS_A_MILLISECOND

            self._summary = (
                ApplyLagStatistics(count, rank(50), rank(99), rank(100))
                if count
                else ApplyLagStatistics(0, 0.0, 0.0, 0.0)
            )
        return self._summary
