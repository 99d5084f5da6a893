"""The shape of a simulated setup: which processes there are, and how small everything is. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from cluster.limits import Limits

PORT: Final = 7000
"""Where every process listens, on its own host."""

COORDINATOR: Final = "coordinator"
CONTROL: Final = "control"
"""Host of whoever changes capabilities and attachments."""

SIMULATED_LIMITS: Final = Limits(
    # Long beside the steps of a run, so that hundreds of virtual seconds are few heartbeats.
    lease_seconds=30.0,
    heartbeat_seconds=10.0,
    follow_retry_first_seconds=0.5,
    follow_retry_longest_seconds=8.0,
    seal_check_seconds=10.0,
    seal_retry_first_seconds=5.0,
    seal_retry_longest_seconds=20.0,
    merge_check_seconds=30.0,
    upkeep_check_seconds=60.0,
    garbage_grace_seconds=60.0,
    garbage_follower_seconds=120.0,
    orphan_grace_seconds=300.0,
    storage_rest_seconds=20.0,
    # Small beside the rows of a run, so that whatever has a bound meets it.
    row_stores=2,
    row_store_bytes=64 * 1024,
    row_store_segment_bytes=6000,
    row_store_tail_bytes=3000,
    replication_frame_bytes=2000,
    replication_window_bytes=8000,
    catalog_snapshot_bytes=8000,
    catalog_history_deltas=2,
    stream_window_messages=8,
    ingest_requests_per_core=6,
)


class Reach(enum.Enum):
    """How a follower comes to the files of its leader's extents."""

    LINKED = "they lie on the same machine"
    DOWNLOADED = "from the leader's storage root"
    FETCHED = "through the leader: its storage root cannot be opened here"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run's world is made of; everything follows from the seed.

    ``delay_seconds`` is what every frame takes, ``sync_seconds`` every sync of a disk, and
    ``think_seconds`` at most a query between pinning and reading.
    """

    seed: int
    leaders: tuple[str, ...] = ("leader",)
    followers: tuple[str, ...] = ("follower1", "follower2")
    streaming: frozenset[str] = frozenset({"leader", "follower1"})
    strict: frozenset[str] = frozenset()
    reach: tuple[tuple[str, Reach], ...] = ()
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    sync_seconds: float = 0.0
    think_seconds: float = 0.0
    limits: Limits = SIMULATED_LIMITS

    @property
    def clusters(self) -> tuple[str, ...]:
        """All of them; each is one node, ``<cluster>/0``, on the host of that name."""
        return self.leaders + self.followers

    def reach_of(self, cluster: str) -> Reach:
        """How a cluster comes to extents of its leaders."""
        return dict(self.reach).get(cluster, Reach.LINKED)
