"""The words of Follow, as values: what each side says to the other. Pure.

::

    follower                                  leader
    Hello(position, database id)  --------->  grant? strict? history?
                                  <---------  Snapshot | MetadataDelta ...   (metadata)
                                  <---------  LeaderGate (Refusal)           (its end of the gate)
                                  <---------  Progress                       (session begins)
    FollowerGate(sequence, open)  --------->
                                  <---------  RowRecords(epoch, sequence) ...
    FollowAck(position, stamp)    --------->
                                  <---------  Progress(position, stamp)

Rule 1: rows pass only while both ends of the gate are open at one epoch. Each end decides on its
own from the coordinator's word; neither can open the other.

Rule 2: rows name the ``FollowerGate`` they answer. A follower drops rows that answer an older one,
because the newer one says where the leader resumes. Without it, rows sent before the leader heard
of a close could arrive after the next open at the same epoch, and leave a hole.

Rule 3: metadata goes before any row that needs it, and rows go in the order of the leader's log.

Rule 4: a position that is not part of the leader's history is answered with
``Snapshot(reset_rows=True)``: the follower drops its rows and starts again. Never with silence.

Rule 5: rows below a key's floor (``RowStoreReference.sealed_ordinal``) are in extents, or were
cleared, and never travel. With the metadata that moves a floor both sides raise their positions to
it: the leader those it has sent when it hands the metadata over, the follower those it has stored
when it applies it. So a follower whose gate is closed, or that is far behind, jumps.

Rule 6: both ends count the row store keys of shared tables only, so they must mean the same
sharing (``Hello.sharing``), or there is no session. A change of it ends the session; the next one
begins where the follower is under the new one.

Rule 7: acknowledgements and bookmarks name the keys that moved since the one before, and are
numbered, so that a lost one is noticed. A gate report names all and is the base of what follows.

:mod:`cluster.replication.wire` turns these values into messages and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.following import EVERYTHING
from cluster.errors import FollowRefusedError

if TYPE_CHECKING:
    from cluster.catalog.changes import Change
    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database, RowStoreKey, Version
    from cluster.replication.authority import Capability, Grant
    from cluster.replication.position import Position


@dataclass(frozen=True, slots=True)
class RecordSpan:
    """What a record of the log holds, without its rows: ordinals ``first_ordinal .. end - 1``.

    ``checksum`` is the key's rolling checksum after the record.
    """

    key: RowStoreKey
    schema_version: int
    first_ordinal: int
    row_count: int
    checksum: int

    @property
    def end(self) -> int:
        """Ordinal after the last row."""
        return self.first_ordinal + self.row_count


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a session. ``position`` None: the follower has nothing.

    ``database_id`` names the database the position belongs to; ``storage_root`` is where the
    follower's tree says that its extents are. ``sharing`` is what the follower takes to be shared
    with it: its position has keys of those tables only.
    """

    follower_cluster: str
    follower_node: str
    database: str
    position: Position | None = None
    database_id: str = ""
    streaming_ingestion: bool = False
    epoch: int = 0
    strict: bool = False
    storage_root: str = ""
    sharing: Sharing = EVERYTHING


@dataclass(frozen=True, slots=True)
class FollowAck:
    """Everything up to ``position`` is applied.

    ``position`` has the keys that moved since the FollowAck or FollowerGate before. ``stamp`` is
    the follower's own clock in nanoseconds, opaque to the leader; 0 asks for no answer.
    ``sequence`` names the newest FollowerGate sent before; ``number`` counts 1, 2, 3 in the call.
    """

    position: Position
    stamp: int = 0
    sequence: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class FollowerGate:
    """The follower's end of the gate. Rows resume at ``position``, when both ends are open."""

    sequence: int
    epoch: int
    open: bool
    position: Position


FollowerFrame = Hello | FollowAck | FollowerGate
"""Follower to leader."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole metadata tree; ``reset_rows`` also drops every row (Rule 4)."""

    database: Database
    reset_rows: bool


@dataclass(frozen=True, slots=True)
class MetadataDelta:
    """One metadata transaction, on top of exactly ``from_version``."""

    from_version: Version
    to_version: Version
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class RowRecords:
    """Whole records in log order, byte for byte; ``spans`` describes them in the same order."""

    epoch: int
    sequence: int
    records: bytes
    spans: tuple[RecordSpan, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to ``position`` was delivered before this.

    ``position`` has the keys that moved since the Progress before, or since the position the
    session or the newest gate report began with. ``stamp``: newest one of the follower's for which
    ``position`` holds everything this follower may see that was committed when the leader received
    the stamp; 0: none. ``sequence``: newest FollowerGate received before; the position counts on
    from that one's. ``number`` counts 1, 2, 3 in the call.
    """

    position: Position
    leader_time_ns: int
    stamp: int = 0
    sequence: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class LeaderGate:
    """The leader's end of the gate, at the epoch of the grant the leader knows."""

    epoch: int
    open: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows are refused; metadata and sealed data go on (unless the follower is strict)."""

    message: str
    leader_cluster: str
    follower_cluster: str
    database: str
    leader_capability: Capability
    follower_capability: Capability
    epoch: int
    reason: str = FollowRefusedError.reason


LeaderFrame = Snapshot | MetadataDelta | RowRecords | Progress | LeaderGate | Refusal
"""Leader to follower."""


def refusal_of(grant: Grant) -> Refusal:
    """The refusal a grant without the right to rows stands for."""
    message = grant.reason or (
        f"Cluster '{grant.follower_cluster}' may not follow the streaming data of database "
        f"'{grant.database}' of cluster '{grant.leader_cluster}': streaming ingestion is "
        f"{grant.follower_capability.value} on the follower."
    )
    return Refusal(
        message=message,
        leader_cluster=grant.leader_cluster,
        follower_cluster=grant.follower_cluster,
        database=grant.database,
        leader_capability=grant.leader_capability,
        follower_capability=grant.follower_capability,
        epoch=grant.epoch,
    )


def refusal_error(refusal: Refusal) -> FollowRefusedError:
    """The refusal as the error that ends a strict follower's call, with every fact in metadata."""
    return FollowRefusedError(
        refusal.message,
        metadata={
            "leader_cluster": refusal.leader_cluster,
            "follower_cluster": refusal.follower_cluster,
            "database": refusal.database,
            "leader_streaming_capability": refusal.leader_capability.value,
            "follower_streaming_capability": refusal.follower_capability.value,
            "epoch": str(refusal.epoch),
        },
    )
