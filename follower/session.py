"""Following one database: the follower's end of Follow, over any number of calls. Pure.

``handle(event) -> outputs``: frames to send, and effects for the driver to carry out in order.
What may happen when is :data:`follower.session_table.TABLE`; what an event does is a method.

Rule 1: an effect that changes stored data (:data:`Change`) is answered, by ``MetadataApplied`` or
``RowsApplied``, before
the next frame is handed in. So the session always knows exactly what is stored.

Rule 2: nothing is applied that does not follow on what is stored: a delta starts at our version, a
record at our ordinal of its key, of a table and schema we know. Anything else is a ProtocolError,
which ends the call; the next one resumes from our own position.

Rule 3: rows are applied only while our gate is open, and only those that answer our newest report
of it. Others are dropped: that report says where the leader resumes.

Rule 4: a bookmark is believed only if it holds exactly what was stored since the last one, and none
is missing; else a frame was lost.

Rule 5: the lag is measured on one clock. The leader returns our own stamp once everything it had
when it received the stamp was delivered; until then the lag grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.model import Version
from cluster.errors import ProtocolError
from cluster.limits import LIMITS, Limits
from cluster.replication.position import Position
from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderFrame,
    LeaderGate,
    MetadataDelta,
    Progress,
    Refusal,
    RowRecords,
    Snapshot,
)
from follower.exchange import (
    ApplyDelta,
    ApplyRows,
    Begin,
    Change,
    Drained,
    Event,
    GateMoved,
    HangUp,
    Identity,
    InstallSnapshot,
    LeaderSays,
    Lost,
    MetadataApplied,
    Output,
    Received,
    Retry,
    RowsApplied,
    Send,
    Stop,
    Tick,
)
from follower.session_table import TABLE, SessionInput, SessionState
from follower.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


NANOSECONDS: Final = 1_000_000_000
STAMPS_A_HEARTBEAT: Final = 10
"""How often the lag is measured while rows flow; at rest it is once a heartbeat."""

NO_VERSION: Final = Version(0, 0)
"""Before every version of any database."""

ACK_BYTES: Final = 64 * 1024
"""Rows applied without an acknowledgement, at most, between two measures of the lag."""


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """Counts since the node started. ``frames_dropped`` answered an older gate report.

    ``resets`` are snapshots that replaced what was stored, because it was not the leader's.
    """

    state: SessionState
    calls: int
    frames_received: int
    records_applied: int
    frames_dropped: int
    snapshots_installed: int
    resets: int


class FollowSession:
    """State of following one database."""

    def __init__(self, identity: Identity, limits: Limits = LIMITS) -> None:
        self.state = SessionState.WAITING
        self._identity = identity
        self._limits = limits
        self._gate = GateMoved(open=False, epoch=0)
        self._reported: GateMoved | None = None
        self._sequence = 0
        self._stored = Stored()
        self._pending: Change | None = None
        self._distrust = False  # what is stored is not the leader's: begin from nothing
        self._acks = self._bookmarks = 0  # of this call
        self._unacknowledged = 0  # bytes of records
        self._ack_bytes = min(
            ACK_BYTES,
            limits.replication_window_bytes // 8,
            # The leader waits when less than a frame is left of the window.
            max(0, limits.replication_window_bytes - limits.replication_frame_bytes),
        )
        self._heard_at = 0.0
        self._stamped_at = float("-inf")
        self._current: dict[bool, int] = {}  # newest stamp answered, by gate open or closed
        self._failures = 0
        self._worked = False  # this call: something was applied, or the leader answered a stamp
        self._calls = self._frames = self._records = self._dropped = self._snapshots = (
            self._resets
        ) = 0

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Takes an event; returns what to do, in order.

        Raises ProtocolError if the leader broke the protocol: end the call, then tell Lost.
        """
        kind = _FRAMES[type(event.frame)] if isinstance(event, Received) else _EVENTS[type(event)]
        after = TABLE[self.state][kind]
        if after is None:
            if isinstance(event, Received):
                raise ProtocolError(f"{type(event.frame).__name__} while {self.state.value}")
            raise AssertionError(f"{kind.value} while {self.state.value}")
        if isinstance(event, Received):
            assert self._pending is None, "answer a change before the next frame"
            self._frames += 1
            self._heard_at = event.now
            outputs = tuple(_HANDLERS[kind](self, event.frame))
        else:
            outputs = tuple(_HANDLERS[kind](self, event))
        before, self.state = self.state, after
        if after is SessionState.FOLLOWING and before is not after:
            return (*outputs, *self._report_gate())
        return outputs

    def position(self) -> Position | None:
        """What is stored, and about to be stored; None before the first snapshot."""
        return self._stored.position()

    def lag_seconds(self, now: float) -> float | None:
        """How far behind the leader we may be, never too small; None: not known.

        With the gate open it counts rows; with the gate closed, what may be seen: metadata.
        """
        stamp = self._current.get(self._gate.open)
        return None if stamp is None else max(0.0, now - stamp / NANOSECONDS)

    def forget_lag(self) -> None:
        """Another part of the database is shown from now on; how old it is nobody knows yet."""
        self._current.clear()

    def statistics(self) -> SessionStatistics:
        """Counts for people."""
        return SessionStatistics(
            state=self.state,
            calls=self._calls,
            frames_received=self._frames,
            records_applied=self._records,
            frames_dropped=self._dropped,
            snapshots_installed=self._snapshots,
            resets=self._resets,
        )

    # -- calls ----------------------------------------------------------------------------------

    def _begin(self, event: Begin) -> Iterable[Output]:
        self._calls += 1
        self._worked = False
        self._pending = None
        self._reported = None
        self._sequence = 0
        self._acks = self._bookmarks = 0
        self._heard_at = event.now
        self._stored.begin(event.database, event.keys)
        known = None if self._distrust else event.database
        yield Send(
            Hello(
                follower_cluster=self._identity.follower_cluster,
                follower_node=self._identity.follower_node,
                database=self._identity.database,
                position=self.position() if known else None,
                database_id=known.database_id if known else "",
                streaming_ingestion=event.streaming_ingestion,
                epoch=self._gate.epoch,
                strict=self._identity.strict,
                storage_root=known.storage_root if known else "",
                sharing=event.sharing,
            )
        )

    def _lost(self, event: Lost) -> Iterable[Output]:
        self._pending = None
        self._distrust = self._distrust or event.diverged
        if self.state is SessionState.STOPPED:
            return
        # A snapshot after which the copy diverges again is no progress.
        if event.at_once or (self._worked and not event.diverged):
            self._failures = 0
        delay = min(
            self._limits.follow_retry_longest_seconds,
            self._limits.follow_retry_first_seconds * 2.0 ** min(self._failures, 30),
        )
        self._failures += 1
        yield Retry(0.0 if event.at_once else delay * (0.5 + event.chance / 2))

    def _stop(self, event: Stop) -> Iterable[Output]:
        del event
        self._pending = None
        return ()

    # -- metadata -------------------------------------------------------------------------------

    def _snapshot(self, frame: Snapshot) -> Iterable[Output]:
        if not frame.reset_rows and (self._stored.database is None or self._distrust):
            raise ProtocolError("a snapshot that keeps rows, for a follower without a position")
        self._pending = InstallSnapshot(frame.database, frame.reset_rows)
        yield self._pending

    def _delta(self, frame: MetadataDelta) -> Iterable[Output]:
        version = self._version
        if frame.from_version != version or self._distrust:
            raise ProtocolError(f"a delta from {frame.from_version}; stored is {version}")
        self._pending = ApplyDelta(frame)
        yield self._pending

    def _applied(self, event: MetadataApplied | RowsApplied) -> Iterable[Output]:
        pending, self._pending = self._pending, None
        self._worked = True
        if isinstance(event, RowsApplied):
            assert isinstance(pending, ApplyRows)
            self._records += len(pending.frame.spans)
            self._unacknowledged += len(pending.frame.records)
            return
        assert isinstance(pending, InstallSnapshot | ApplyDelta)
        self._snapshots += isinstance(pending, InstallSnapshot)
        if not (isinstance(pending, InstallSnapshot) and pending.reset_rows):
            self._stored.learn(event.database)
            return
        self._resets += self._stored.database is not None
        self._stored.reset(event.database)
        self._distrust = False
        self._reported = None  # the position reported is void
        self.forget_lag()
        if self.state is SessionState.FOLLOWING:
            yield from self._report_gate()

    @property
    def _version(self) -> Version | None:
        return self._stored.database.version if self._stored.database else None

    # -- rows -----------------------------------------------------------------------------------

    def _rows(self, frame: RowRecords) -> Iterable[Output]:
        if frame.sequence > self._sequence:
            raise ProtocolError(f"rows answer gate report {frame.sequence} of {self._sequence}")
        if frame.sequence < self._sequence:
            self._dropped += 1
            return
        if self._reported is None or not self._reported.open:
            raise ProtocolError("rows although the gate was reported closed")
        if frame.epoch != self._reported.epoch:
            raise ProtocolError(f"rows of epoch {frame.epoch}; reported was {self._reported.epoch}")
        self._stored.take(frame)
        self._pending = ApplyRows(frame)
        yield self._pending

    # -- bookmarks and gate ---------------------------------------------------------------------

    def _progress(self, frame: Progress) -> Iterable[Output]:
        if frame.sequence > self._sequence:
            raise ProtocolError(f"Progress after gate report {frame.sequence} of {self._sequence}")
        self._bookmarks += 1
        if frame.number != self._bookmarks:
            raise ProtocolError(f"Progress {frame.number} instead of {self._bookmarks}")
        version = self._version
        if frame.position.version != version or self._distrust:
            raise ProtocolError(f"Progress at {frame.position.version}; stored is {version}")
        if frame.sequence == self._sequence:
            if not self._stored.agrees(frame.position.keys):
                raise ProtocolError("Progress holds rows that are not stored, or lacks some")
            if frame.stamp and self._reported is not None:
                self._worked = True
                opened = self._reported.open
                self._current[opened] = max(self._current.get(opened, 0), frame.stamp)
        return ()

    def _leader_says(self, frame: LeaderGate | Refusal) -> Iterable[Output]:
        yield LeaderSays(frame)

    def _gate_moved(self, event: GateMoved) -> Iterable[Output]:
        self._gate = event
        if self.state is SessionState.FOLLOWING and self._reported != event:
            yield from self._report_gate()

    def _report_gate(self) -> Iterable[Output]:
        position = self.position()
        assert position is not None, "the first Progress comes after the metadata"
        self._sequence += 1
        self._reported = self._gate
        self._stored.rebase()
        self._unacknowledged = 0
        yield Send(FollowerGate(self._sequence, self._gate.epoch, self._gate.open, position))

    def _drained(self, event: Drained) -> Iterable[Output]:
        # Also a part of a frame, and whatever came while one was being stored.
        self._heard_at = event.now
        if self.state is not SessionState.FOLLOWING or not self._stored.has_moved:
            return
        # A message costs more than applying a small frame, and the window is large: wait a while.
        since_stamp = event.now - self._stamped_at
        measure = since_stamp >= self._limits.heartbeat_seconds / STAMPS_A_HEARTBEAT
        if measure or self._unacknowledged >= self._ack_bytes:
            yield self._ack(event.now, stamped=measure)

    def _tick(self, event: Tick) -> Iterable[Output]:
        if self.state not in (SessionState.GREETED, SessionState.FOLLOWING):
            return
        silent = event.now - self._heard_at
        busy = event.busy or self._pending is not None
        if silent > self._limits.lease_seconds and not busy:
            yield HangUp(silent)
        elif self.state is SessionState.FOLLOWING and not busy:
            yield self._ack(event.now, stamped=True)
        else:
            yield self._life_sign()

    def _life_sign(self) -> Send:
        """An acknowledgement of nothing new, so that the leader does not take us for dead.

        A large tree may take longer than a lease to arrive, to be read and to be stored.
        """
        self._acks += 1
        at = Position(self._version or NO_VERSION)
        return Send(FollowAck(at, 0, self._sequence, self._acks))

    def _ack(self, now: float, *, stamped: bool) -> Send:
        self._acks += 1
        self._unacknowledged = 0
        if stamped:
            self._stamped_at = now
        stamp = max(1, int(now * NANOSECONDS)) if stamped else 0
        return Send(FollowAck(self._stored.acknowledge(), stamp, self._sequence, self._acks))


_EVENTS: Final[Mapping[type[Event], SessionInput]] = {
    Begin: SessionInput.BEGIN,
    MetadataApplied: SessionInput.APPLIED,
    RowsApplied: SessionInput.APPLIED,
    Drained: SessionInput.DRAINED,
    GateMoved: SessionInput.GATE_MOVED,
    Tick: SessionInput.TICK,
    Lost: SessionInput.LOST,
    Stop: SessionInput.STOP,
}

_FRAMES: Final[Mapping[type[LeaderFrame], SessionInput]] = {
    Snapshot: SessionInput.SNAPSHOT,
    MetadataDelta: SessionInput.DELTA,
    RowRecords: SessionInput.ROWS,
    Progress: SessionInput.PROGRESS,
    LeaderGate: SessionInput.LEADER_GATE,
    Refusal: SessionInput.REFUSAL,
}

# Any: each input goes with the one event or frame type that its handler takes.
_HANDLERS: Final[Mapping[SessionInput, Callable[[FollowSession, Any], Iterable[Output]]]] = {
    SessionInput.BEGIN: FollowSession._begin,
    SessionInput.SNAPSHOT: FollowSession._snapshot,
    SessionInput.DELTA: FollowSession._delta,
    SessionInput.ROWS: FollowSession._rows,
    SessionInput.PROGRESS: FollowSession._progress,
    SessionInput.LEADER_GATE: FollowSession._leader_says,
    SessionInput.REFUSAL: FollowSession._leader_says,
    SessionInput.APPLIED: FollowSession._applied,
    SessionInput.DRAINED: FollowSession._drained,
    SessionInput.GATE_MOVED: FollowSession._gate_moved,
    SessionInput.TICK: FollowSession._tick,
    SessionInput.LOST: FollowSession._lost,
    SessionInput.STOP: FollowSession._stop,
}
