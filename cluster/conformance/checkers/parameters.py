"""Bounds that rules need and no history tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class RuleParameters:
    """Thresholds of the rules; times are seconds of the observer's clock.

    ``lease_seconds``: how long a node may act on what the coordinator told it last.
    ``lease_slack_seconds``: added to it, for clocks that differ and frames on their way.
    ``notice_seconds``: while nothing is broken, a decision has reached every process by then.
    ``start_slack_seconds``: a process may serve so long before its start is noted.
    ``late_effect_seconds``: a change of capability or attachment, or a command, whose outcome is
    unknown takes effect by then or never. A write may do so at any time.
    ``unsealed_seconds``: no row is sealed so soon after it was sent; 0: nobody knows.
    ``shortest_reason_letters``: a reason that is shorter tells nobody anything.
    The others bound what :class:`~cluster.conformance.notes.Resources` may tell of one process.
    """

    lease_seconds: float = 30.0
    lease_slack_seconds: float = 5.0
    notice_seconds: float = 15.0
    start_slack_seconds: float = 5.0
    late_effect_seconds: float = 60.0
    staleness_slack_seconds: float = 0.001
    unsealed_seconds: float = 0.0
    shortest_reason_letters: int = 8
    row_store_bytes: int = 1024 * _MIB
    unacknowledged_bytes: int = 64 * _MIB
    tasks: int = 10_000
    calls: int = 10_000

    @property
    def lease_over_seconds(self) -> float:
        """After a decision, nobody acts on the one before any more."""
        return self.lease_seconds + self.lease_slack_seconds
