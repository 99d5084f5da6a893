"""What a node tells the coordinator with each heartbeat. Pure values; see ``coordinator.proto``."""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.catalog.model import Version
from cluster.replication.position import Position

UNKNOWN_LAG = -1.0
"""Lag of a follower that has heard nothing of its leader."""

NOWHERE = Position(Version(0, 0))
"""Position of a copy that has applied nothing."""


@dataclass(frozen=True, slots=True)
class FollowingReport:
    """One database the node follows.

    ``applied_epoch`` is a promise: nothing of an older epoch is or ever will be visible at this
    node. ``gate`` is ``open`` or ``closed``, ``refusal`` says why it is closed. ``lag_ms`` is never
    too small; -1 when nothing has been heard of the leader. ``newest_epoch`` is the newest that its
    gate has heard of; a heartbeat tells the newest of all.
    """

    leader_cluster: str
    database: str
    applied_epoch: int
    gate: str = "closed"
    refusal: str = ""
    position: Position = field(default=NOWHERE)
    lag_ms: float = UNKNOWN_LAG
    rows_visible: int = 0
    connected: bool = False
    apply_lag_ms_p50: float = 0.0
    apply_lag_ms_p99: float = 0.0
    newest_epoch: int = 0


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """One database the node owns. ``streaming_tables`` have an enabled effective policy."""

    name: str
    streaming_content: bool = False
    streaming_tables: tuple[str, ...] = ()
    position: Position = field(default=NOWHERE)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one heartbeat tells.

    ``following`` names every attachment of the node's view, connected or not, and every database
    the node still shows although its view no longer names it: a database that is missing here is
    one of which this node shows nothing.

    ``drained_revision`` is a promise, until a newer view turns the capability on: that revision
    says off, and since it is applied nothing is being ingested and every row of the databases owned
    is in an extent. 0: it cannot be made. ``drain_trouble`` says why rows could not be sealed.
    """

    following: tuple[FollowingReport, ...] = ()
    databases: tuple[DatabaseReport, ...] = ()
    drained_revision: int = 0
    drain_trouble: str = ""

    @property
    def newest_epoch(self) -> int:
        """The newest epoch any gate of this node has heard of."""
        return max((following.newest_epoch for following in self.following), default=0)
