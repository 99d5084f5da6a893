"""The leader's end of one Follow call. Pure.

Nothing happens by itself: the driver tells the session what it received (:meth:`receive`), hands
over what it read (:meth:`metadata_read`, :meth:`rows_read`), and asks :meth:`next` what is due,
again and again until the answer is None. The answer follows from comparing two things: what the
follower has been told, and what is true at this moment (:class:`Moment`). So a decision of the
coordinator is looked at again before every single frame, and a change that comes while rows are
being read from the log still stops them.

What is due, in this order (:data:`DUTIES`):

1. *end*: no grant, no database, sharing that follower and coordinator do not agree on, or a strict
   follower without the right to rows: the call ends.
2. *deliver*: metadata that has been read goes out before anything else.
3. *catch up*: the metadata told is not the newest: read it.
4. *announce*: the leader's end of the gate changed: say so, once.
5. *ship*: both ends open at one epoch and the window has room: read rows, send rows.
6. *bookmark*: a heartbeat is due or a stamp can be answered: Progress.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cluster.catalog.following import EVERYTHING
from cluster.errors import (
    DatabaseNotFoundError,
    FollowNotGrantedError,
    InternalError,
    ProtocolError,
    UnavailableError,
)
from cluster.limits import LIMITS, Limits
from cluster.replication.authority import NO_VIEW, Decision
from cluster.replication.exchange import (
    End,
    LeaderSessionStatistics,
    MetadataRead,
    Moment,
    Output,
    ReadMetadata,
    RowsRead,
    Send,
)
from cluster.replication.floors import has_rows_above, is_prefix, key_changes
from cluster.replication.position import Position
from cluster.replication.protocol import (
    FollowAck,
    FollowerFrame,
    FollowerGate,
    Hello,
    LeaderFrame,
    LeaderGate,
    Progress,
    Refusal,
    RowRecords,
    Snapshot,
    refusal_error,
    refusal_of,
)
from cluster.replication.sharing import SharedTree
from cluster.replication.shipping import Shipping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.catalog.model import Database, RowStoreKey, Version
    from cluster.replication.position import KeyPosition


class LeaderSession:
    """State of one Follow call at the leader."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._hello: Hello | None = None
        self._ended = False
        self._told: Database | None = None  # the newest tree handed over
        self._shared = SharedTree(EVERYTHING)  # the part of it whose rows may be sent
        self._queue: deque[LeaderFrame] = deque()
        self._has_streaming_content: bool | None = None  # not known since the newest metadata
        self._ends: Callable[[], Mapping[RowStoreKey, KeyPosition]] = dict
        self._peer: FollowerGate | None = None
        self._announced: tuple[LeaderGate, Refusal | None] | None = None
        self._shipping = Shipping(limits)
        self._acknowledged: Version | None = None
        self._acks = 0
        self._bookmark_due = True
        self._stamp = 0  # newest one received
        self._target: tuple[int, int] | None = None  # a stamp, and the LSN that answers it
        self._answered = 0
        self._frames = self._snapshots = self._bookmarks = 0

    # -- what the driver tells ------------------------------------------------------------------

    def receive(self, frame: FollowerFrame) -> None:
        """Takes a frame of the follower. Raises ProtocolError or DivergenceError: end the call."""
        if isinstance(frame, Hello):
            if self._hello is not None:
                raise ProtocolError("a second Hello in one session")
            self._hello = frame
            self._shared = SharedTree(frame.sharing)
        elif self._hello is None:
            raise ProtocolError(f"{type(frame).__name__} before Hello")
        elif isinstance(frame, FollowerGate):
            self._receive_gate(frame)
        else:
            self._receive_ack(frame)

    def metadata_read(self, read: MetadataRead) -> None:
        """Takes the answer to ReadMetadata."""
        hello, database, shipping = self._hello, read.database, self._shipping
        assert hello is not None
        before, shared = self._shared.tree, self._shared.of(database)
        shipping.learn(key_changes(before, shared))
        reset = moved = False
        if self._told is None:
            known = hello.position
            is_same = known is not None and hello.database_id == database.database_id
            # Also one whose rows are dropped shows its tree until it has the snapshot.
            self._acknowledged = known.version if known and is_same else database.version
            if known is None or not _same_history(hello, known, read, shared):
                reset, known = True, None
            moved = hello.storage_root != database.storage_root
            shipping.restart(known.keys if known else {})
        if reset or moved or read.deltas is None:
            self._queue.append(Snapshot(database, reset))
            self._snapshots += 1
        else:
            self._queue.extend(read.deltas)
        self._told = database
        self._bookmark_due = True
        self._has_streaming_content, self._ends = None, read.ends

    def rows_read(self, read: RowsRead) -> None:
        """Takes the answer to ReadRows. Whether it may still be sent is decided by :meth:`next`."""
        self._shipping.take(read)

    def heartbeat(self) -> None:
        """A heartbeat interval has passed: Progress becomes due."""
        self._bookmark_due = True

    # -- what is due ----------------------------------------------------------------------------

    def next(self, moment: Moment) -> Output | None:
        """The next thing to do at this moment; None: wait until something changes."""
        if self._hello is None or self._ended:
            return None
        for duty in DUTIES:
            output = duty(self, moment)
            if output is not None:
                self._ended = isinstance(output, End)
                self._frames += isinstance(output, Send)
                return output
        return None

    def waiting_beyond(self, moment: Moment) -> int | None:
        """The LSN beyond which a commit makes rows due; None: no commit can.

        Ask after :meth:`next` has answered None.
        """
        shipping = self._shipping
        if not self._may_ship(moment) or shipping.chunk is not None or not shipping.has_room():
            return None
        return shipping.lsn

    def statistics(self) -> LeaderSessionStatistics:
        """Counts for people."""
        hello, shipping = self._hello, self._shipping
        return LeaderSessionStatistics(
            follower_cluster=hello.follower_cluster if hello else "",
            database=hello.database if hello else "",
            frames_sent=self._frames,
            frames_waiting=len(self._queue),
            records_sent=shipping.records_sent,
            bytes_sent=shipping.bytes_sent,
            bytes_unacknowledged=shipping.unacknowledged,
            window_waits=shipping.waits,
            snapshots_sent=self._snapshots,
            chunks_discarded=shipping.discarded,
            gate_open=self._announced is not None and self._announced[0].open,
            acknowledged=self._position_acknowledged(),
        )

    @property
    def acknowledged_version(self) -> Version | None:
        """The oldest metadata version this follower may still read files of; None: none yet.

        It is what the follower has stored, as far as it has said; while it installs its first
        snapshot it is that one's.
        """
        return self._acknowledged

    # -- duties ---------------------------------------------------------------------------------

    def _end(self, moment: Moment) -> Output | None:
        """No grant, no database, other sharing, or strict without the right to rows: ends."""
        decision, hello = moment.decision, self._hello
        assert hello is not None
        if decision.grant is None:
            if decision.reason == NO_VIEW:
                return End(UnavailableError(f"This leader is not ready: {decision.reason}."))
            return End(
                FollowNotGrantedError(
                    f"Cluster '{hello.follower_cluster}' may not follow database "
                    f"'{hello.database}': {decision.reason}.",
                    metadata={
                        "follower_cluster": hello.follower_cluster,
                        "database": hello.database,
                    },
                )
            )
        if moment.version is None:
            return End(
                DatabaseNotFoundError(
                    f"Database '{hello.database}' does not exist on this leader.",
                    metadata={"database": hello.database},
                )
            )
        if decision.grant.sharing != hello.sharing:
            return End(
                UnavailableError(
                    f"What is shared of database '{hello.database}' with cluster "
                    f"'{hello.follower_cluster}' has changed."
                )
            )
        if self._told is not None and moment.database_id != self._told.database_id:
            return End(UnavailableError(f"Database '{hello.database}' is another one now."))
        strict = hello.strict or decision.grant.strict
        if strict and (refusal := self._refusal(decision)) is not None:
            return End(refusal_error(refusal))
        return None

    def _deliver(self, moment: Moment) -> Output | None:
        """Metadata that has been read goes out before anything else."""
        del moment
        return Send(self._queue.popleft()) if self._queue else None

    def _catch_up(self, moment: Moment) -> Output | None:
        """The metadata told is not the newest: reads it."""
        if self._told is not None:
            told = self._told.version
            return None if told == moment.version else ReadMetadata(told)
        hello = self._hello
        assert hello is not None
        return ReadMetadata(hello.position.version if hello.position else None)

    def _announce(self, moment: Moment) -> Output | None:
        """This end of the gate has changed: says so, once."""
        decision = moment.decision
        reason = "" if decision.open else decision.reason
        due = (LeaderGate(decision.epoch, decision.open, reason), self._refusal(decision))
        told, self._announced = self._announced, due
        if told == due:
            return None
        self._bookmark_due = True
        if due[1] is not None and (told is None or told[1] != due[1]):
            self._queue.append(due[1])
        if told is None or told[0] != due[0]:
            return Send(due[0])
        return self._deliver(moment)

    def _ship(self, moment: Moment) -> Output | None:
        """Both ends open at one epoch and room in the window: reads rows, sends rows."""
        shipping, peer = self._shipping, self._peer
        if peer is None or not self._may_ship(moment):
            shipping.discard()
            return None
        if (chunk := shipping.chunk) is not None:
            if not shipping.fits(len(chunk.records)):
                return None
            shipping.chunk = None
            shipping.lsn = chunk.next_lsn
            if chunk.spans:
                try:
                    shipping.launch(chunk)
                except InternalError as error:
                    return End(error)
                return Send(RowRecords(peer.epoch, peer.sequence, chunk.records, chunk.spans))
        if shipping.lsn is not None and moment.end_lsn <= shipping.lsn:
            return None
        if not shipping.has_room():
            shipping.waits += 1
            return None
        return shipping.read_request()

    def _bookmark(self, moment: Moment) -> Output | None:
        """A heartbeat is due, or a stamp can be answered: sends Progress."""
        if self._target is None and self._stamp > self._answered:
            self._target = (self._stamp, moment.end_lsn)
        if self._target is not None and self._delivered(moment, self._target[1]):
            self._answered, self._target, self._bookmark_due = self._target[0], None, True
        if not self._bookmark_due:
            return None
        self._bookmark_due = False
        assert self._told is not None
        self._bookmarks += 1
        return Send(
            Progress(
                Position(self._told.version, self._shipping.bookmark()),
                moment.leader_time_ns,
                self._answered,
                self._peer.sequence if self._peer else 0,
                self._bookmarks,
            )
        )

    # -- details --------------------------------------------------------------------------------

    def _receive_gate(self, gate: FollowerGate) -> None:
        expected = 1 if self._peer is None else self._peer.sequence + 1
        if gate.sequence != expected:
            raise ProtocolError(f"FollowerGate {gate.sequence} instead of {expected}")
        if self._announced is None:
            raise ProtocolError("FollowerGate before the leader's first Progress")
        self._shipping.check(gate.position.keys)
        self._shipping.restart(gate.position.keys)
        self._peer = gate
        self._acknowledged = gate.position.version
        self._bookmark_due = True
        # The position went back, so what was answered for the old one must be earned again.
        self._target, self._answered = None, 0

    def _receive_ack(self, ack: FollowAck) -> None:
        known = 0 if self._peer is None else self._peer.sequence
        if ack.sequence != known:
            raise ProtocolError(f"Ack follows gate report {ack.sequence}; received was {known}")
        if ack.number != self._acks + 1:
            raise ProtocolError(f"Ack {ack.number} instead of {self._acks + 1}")
        self._acks = ack.number
        self._shipping.check(ack.position.keys)
        self._shipping.acknowledge(ack.position.keys)
        if self._peer is not None:  # before, it is a sign of life while the metadata is stored
            self._acknowledged = ack.position.version
        self._stamp = max(self._stamp, ack.stamp)

    def _refusal(self, decision: Decision) -> Refusal | None:
        """The refusal to show: only of streaming content, and only by decision, not by doubt."""
        grant = decision.grant
        if grant is None or grant.rows or decision.is_doubt:
            return None
        if self._has_streaming_content is None:
            # Looked at only here: with 10,000 tables it takes longer than a transaction.
            tree = self._shared.tree
            self._has_streaming_content = tree is not None and (
                bool(tree.streaming_tables()) or has_rows_above(tree, self._ends())
            )
        return refusal_of(grant) if self._has_streaming_content else None

    def _may_ship(self, moment: Moment) -> bool:
        peer = self._peer
        return (
            peer is not None
            and peer.open
            and moment.decision.open
            and peer.epoch == moment.decision.epoch
            and self._told is not None
            and self._told.version == moment.version
        )

    def _position_acknowledged(self) -> Position | None:
        if self._acknowledged is None or self._peer is None:
            return None
        return Position(self._acknowledged, self._shipping.acknowledged())

    def _delivered(self, moment: Moment, target_lsn: int) -> bool:
        """Everything up to the target that this follower may see has been sent.

        A follower that shows rows is not current while this end is closed.
        """
        if self._peer is None or not self._peer.open:
            return True
        lsn = self._shipping.lsn
        return self._may_ship(moment) and lsn is not None and lsn >= target_lsn


DUTIES: Final[tuple[Callable[[LeaderSession, Moment], Output | None], ...]] = (
    LeaderSession._end,
    LeaderSession._deliver,
    LeaderSession._catch_up,
    LeaderSession._announce,
    LeaderSession._ship,
    LeaderSession._bookmark,
)
"""In order of priority; see the module's docstring."""


def _same_history(hello: Hello, position: Position, read: MetadataRead, shared: Database) -> bool:
    """Whether the follower's position is a point of this leader's past."""
    if hello.database_id != shared.database_id or position.version > shared.version:
        return False
    return is_prefix(position.keys, read.ends(), shared)
