"""What passes between a follow session and its driver: events and outputs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.following import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database, RowStoreKey
    from cluster.replication.position import KeyPosition
    from cluster.replication.protocol import (
        FollowerFrame,
        LeaderFrame,
        LeaderGate,
        MetadataDelta,
        Refusal,
        RowRecords,
    )


@dataclass(frozen=True, slots=True)
class Begin:
    """A call is open. ``database`` is the tree stored, None if there is none.

    ``keys`` is what is stored of each row store key; ``now`` is monotonic, in seconds.
    ``streaming_ingestion`` is our cluster's capability, for the leader's information. ``sharing``
    is what tree and keys are the part of.
    """

    database: Database | None
    keys: Mapping[RowStoreKey, KeyPosition]
    now: float
    streaming_ingestion: bool = False
    sharing: Sharing = EVERYTHING


@dataclass(frozen=True, slots=True)
class Received:
    """A frame has come."""

    frame: LeaderFrame
    now: float


@dataclass(frozen=True, slots=True)
class MetadataApplied:
    """The snapshot or delta asked for is stored, with the floors it names: the tree after it."""

    database: Database


@dataclass(frozen=True, slots=True)
class RowsApplied:
    """The rows asked for are stored, whole and verified."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Every frame that had come is handled: time to acknowledge."""

    now: float


@dataclass(frozen=True, slots=True)
class GateMoved:
    """Our end of the gate, after a change."""

    open: bool
    epoch: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A heartbeat interval has passed. ``busy``: frames that came are still being read."""

    now: float
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The call is over. ``diverged``: what we hold is not what the leader holds.

    ``chance`` in [0, 1) spreads the retries of many followers.
    """

    chance: float
    diverged: bool = False
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Detached, or the node stops."""


Event = Begin | Received | MetadataApplied | RowsApplied | Drained | GateMoved | Tick | Lost | Stop


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: FollowerFrame


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """Replace the metadata; drop all rows first if ``reset_rows``, else rows of missing tables."""

    database: Database
    reset_rows: bool


@dataclass(frozen=True, slots=True)
class ApplyDelta:
    """Apply one metadata transaction; drop rows of the tables it drops."""

    delta: MetadataDelta


@dataclass(frozen=True, slots=True)
class ApplyRows:
    """Store these records and make them visible."""

    frame: RowRecords


@dataclass(frozen=True, slots=True)
class LeaderSays:
    """Tell the gate what the leader said; answer with GateMoved if it moved."""

    word: LeaderGate | Refusal


@dataclass(frozen=True, slots=True)
class Retry:
    """Call again after this many seconds."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call: the leader has been silent for too long."""

    silent_seconds: float


Change = InstallSnapshot | ApplyDelta | ApplyRows
Output = Send | Change | LeaderSays | Retry | HangUp


@dataclass(frozen=True, slots=True)
class Identity:
    """Who follows what; goes into Hello."""

    follower_cluster: str
    follower_node: str
    database: str
    strict: bool = False
