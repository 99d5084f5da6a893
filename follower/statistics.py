"""What a followed database has done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from follower.gate import GateState
    from follower.lag import ApplyLagStatistics
    from follower.session import SessionStatistics


@dataclass(frozen=True, slots=True)
class FollowedDatabaseStatistics:
    """``trouble`` is why the last call to the leader ended; empty while one is healthy."""

    name: str
    gate: GateState
    session: SessionStatistics
    apply_lag: ApplyLagStatistics
    copies_dropped: int
    trouble: str
