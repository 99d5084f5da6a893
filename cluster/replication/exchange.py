"""What passes between a leader session and its driver: questions, answers, statistics. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.catalog.model import Database, RowStoreKey, Version
    from cluster.errors import RemoraError
    from cluster.replication.authority import Decision
    from cluster.replication.position import KeyPosition, Position
    from cluster.replication.protocol import LeaderFrame, MetadataDelta, RecordSpan


@dataclass(frozen=True, slots=True)
class Moment:
    """What is true now, gathered by the driver before each call of :meth:`LeaderSession.next`.

    ``version`` is the database's newest metadata version, None if there is no such database;
    ``database_id`` is its id, another one if it was dropped and made again. ``end_lsn`` is the
    log's committed end, in bytes. ``leader_time_ns`` is the wall clock.
    """

    decision: Decision
    version: Version | None
    database_id: str
    end_lsn: int
    leader_time_ns: int


@dataclass(frozen=True, slots=True)
class MetadataRead:
    """Answer to :class:`ReadMetadata`: ``deltas`` None means they are no longer kept.

    ``database`` names its storage root by URL. ``ends`` tells how far each row store key of the
    database has come on the leader: a question, because that of 40,000 keys takes 0.1 s, and most
    transactions need no answer.
    """

    database: Database
    deltas: tuple[MetadataDelta, ...] | None
    ends: Callable[[], Mapping[RowStoreKey, KeyPosition]]


@dataclass(frozen=True, slots=True)
class RowsRead:
    """Answer to :class:`ReadRows`; ``generation`` is the request's."""

    generation: int
    records: bytes
    spans: tuple[RecordSpan, ...]
    next_lsn: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame now."""

    frame: LeaderFrame


@dataclass(frozen=True, slots=True)
class ReadMetadata:
    """Read what was committed after this version; None: everything."""

    after: Version | None


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Read whole records of these keys from ``lsn``, leaving out what ``cursors`` include.

    ``lsn`` None: from the first record that some cursor does not include.
    """

    generation: int
    lsn: int | None
    cursors: Mapping[RowStoreKey, int]
    max_bytes: int


@dataclass(frozen=True, slots=True)
class End:
    """End the call with this error."""

    error: RemoraError


Output = Send | ReadMetadata | ReadRows | End


@dataclass(frozen=True, slots=True)
class LeaderSessionStatistics:
    """Counts since the session began; bytes are bytes of records.

    ``frames_waiting`` are of metadata that was read and is not sent yet: at most one reading of
    what the catalog keeps, because the next one is read when they have left.
    """

    follower_cluster: str
    database: str
    frames_sent: int
    frames_waiting: int
    records_sent: int
    bytes_sent: int
    bytes_unacknowledged: int
    window_waits: int
    snapshots_sent: int
    chunks_discarded: int
    gate_open: bool
    acknowledged: Position | None


@dataclass(frozen=True, slots=True)
class ReplicationStatistics:
    """``sessions`` are the calls under way; totals count ended ones too.

    ``extents_sent_total`` files of extents were sent whole, for followers that cannot read the
    storage root; ``extent_bytes_sent_total`` counts also those that were not sent whole.
    ``metadata_encoded_total`` trees and transactions were encoded, each for all who need it;
    ``metadata_kept_bytes`` of them are held.
    """

    sessions: tuple[LeaderSessionStatistics, ...]
    sessions_total: int
    records_sent_total: int
    bytes_sent_total: int
    extents_sent_total: int
    extent_bytes_sent_total: int
    metadata_encoded_total: int
    metadata_kept_bytes: int
