"""A leader, a follower and a coordinator around the pure machines: no I/O, every step by hand.

The world keeps the truth (what is committed and when, what the coordinator decided) and checks the
guarantees of Follow after every step. Links may lose, repeat and reorder frames within a call,
which no transport of ours does: the machines must notice and begin again, never distort.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from follow_leader_data import RECORD_BYTES, LeaderData

from cluster.catalog.journal import Delta, advance
from cluster.errors import DivergenceError, InternalError, RemoraError
from cluster.limits import Limits
from cluster.replication.authority import Authority, Capability, Grant, NodeView
from cluster.replication.exchange import End, Moment, ReadMetadata, ReadRows
from cluster.replication.exchange import Send as LeaderSend
from cluster.replication.floors import floors_of, raised
from cluster.replication.leader import LeaderSession
from cluster.replication.position import START, KeyPosition
from cluster.replication.protocol import RowRecords
from follower import exchange as x
from follower.gate import Gate, Word
from follower.session import FollowSession
from follower.session_table import SessionState

LIMITS = Limits(
    replication_frame_bytes=32,
    replication_window_bytes=64,
    lease_seconds=5.0,
    heartbeat_seconds=1.0,
)
IDENTITY = x.Identity("follower", "follower/0", "db")


@dataclass(frozen=True)
class Decision:
    """What the coordinator decided: one epoch each."""

    epoch: int
    follower_on: bool

    @property
    def grant(self):
        return Grant(
            "leader",
            "db",
            "follower",
            self.epoch,
            self.follower_on,
            "" if self.follower_on else "streaming ingestion is off on follower",
            follower_capability=Capability.ON if self.follower_on else Capability.OFF,
            leader_capability=Capability.ON,
        )


class World(LeaderData):
    """Both ends and the links between them on the leader's data, and what must always hold."""

    def __init__(self, limits=LIMITS):
        super().__init__(limits)
        self.notes = []  # frames as they are sent, for stories
        # the coordinator
        self.decision = Decision(1, True)
        # the leader
        self.leader_authority = Authority()
        self.leader_session = None
        self.pending_read = None
        # the follower
        self.stored_database = None
        self.stored = {}
        self.distorted = set()  # spans a test tampered with
        self.gate = Gate()
        self.session = FollowSession(IDENTITY, limits)
        self.snapshots = 0
        self.jumps = 0  # of keys to a floor beyond what was stored
        # the link of the present call
        self.down = deque()
        self.up = deque()
        self.connected = False
        self.errors = []

    # -- the leader -----------------------------------------------------------------------------

    def moment(self):
        decision = self.leader_authority.followed("db", "follower", self.now)
        return Moment(
            decision,
            self.database.version,
            self.database.database_id,
            len(self.log) * RECORD_BYTES,
            int(self.now * 1e9),
        )

    def leader_step(self):
        """Asks the session what is due and does it; False if nothing is."""
        if self.leader_session is None or self.pending_read is not None:
            return False
        moment = self.moment()
        output = self.leader_session.next(moment)
        match output:
            case None:
                return False
            case LeaderSend(frame):
                if isinstance(frame, RowRecords):
                    assert moment.decision.open, "rows sent while the leader's gate is closed"
                    assert frame.epoch == moment.decision.epoch
                self.down.append(frame)
                self.notes.append(("leader", frame))
            case ReadMetadata(after):
                self.leader_session.metadata_read(self.read_metadata(after))
            case ReadRows():
                self.pending_read = output
            case End(error):
                self.hang_up(error)
        return True

    def finish_read(self):
        """The read that is under way completes with what was in the log when it was asked."""
        asked, self.pending_read = self.pending_read, None
        if asked is None or self.leader_session is None:
            return
        self.leader_session.rows_read(self.read_rows(asked))

    def leader_receive(self):
        frame = self.up.popleft()
        if self.leader_session is None:
            return
        try:
            self.leader_session.receive(frame)
        except RemoraError as error:
            self.hang_up(error)

    # -- the follower ---------------------------------------------------------------------------

    def connect(self):
        assert not self.connected
        self.connected = True
        self.leader_session = LeaderSession(self.limits)
        self.pending_read = None
        self.perform(self.session.handle(x.Begin(self.stored_database, self.positions(), self.now)))

    def hang_up(self, error=None):
        if not self.connected:
            return
        assert not isinstance(error, InternalError), error
        self.connected = False
        self.errors.append(error)
        self.leader_session = None
        self.pending_read = None
        self.down.clear()
        self.up.clear()
        if self.session.state is not SessionState.WAITING:
            self.session.handle(x.Lost(0.0, diverged=isinstance(error, DivergenceError)))

    def positions(self):
        if self.stored_database is None:
            return {}
        ends = {
            key: KeyPosition(spans[-1].end, spans[-1].checksum)
            for key, spans in self.stored.items()
            if spans
        }
        return raised(ends, floors_of(self.stored_database))

    def follower_receive(self):
        frame = self.down.popleft()
        self.tick_gate()
        try:
            self.perform(self.session.handle(x.Received(frame, self.now)))
            self.perform(self.session.handle(x.Drained(self.now)))
        except RemoraError as error:
            self.hang_up(error)

    def perform(self, outputs):
        for output in outputs:
            match output:
                case x.Send(frame):
                    self.up.append(frame)
                    self.notes.append(("follower", frame))
                case x.InstallSnapshot(database, reset_rows):
                    self.snapshots += 1
                    if reset_rows:
                        self.stored = {}
                    self.learn(database)
                case x.ApplyDelta(delta):
                    change = Delta(delta.from_version, delta.to_version, delta.changes)
                    self.learn(advance(self.stored_database, change))
                case x.ApplyRows(frame):
                    self.store_rows(frame)
                case x.LeaderSays(told):
                    says = (
                        self.gate.leader_refuses
                        if hasattr(told, "message")
                        else self.gate.leader_says
                    )
                    if says(told):
                        self.gate_moved()
                case x.HangUp():
                    self.hang_up()

    def learn(self, database):
        kept, before = {}, self.positions()
        self.stored_database = database
        for key, floor in floors_of(database).items():
            kept[key] = [span for span in self.stored.get(key, []) if span.end > floor.ordinal]
            for span in kept[key][:1]:
                assert span.first_ordinal == floor.ordinal, "a record was cut by its floor"
            self.jumps += before.get(key, START).ordinal < floor.ordinal
        self.stored = {key: spans for key, spans in kept.items() if spans}
        self.perform(self.session.handle(x.MetadataApplied(database)))

    def store_rows(self, frame):
        assert self.gate.open, "rows applied while the follower's gate is closed"
        floors = floors_of(self.stored_database)
        for span in frame.spans:
            spans = self.stored.setdefault(span.key, [])
            end = spans[-1].end if spans else floors[span.key].ordinal
            assert span.first_ordinal == end, "a gap or a repetition was applied"
            if spans and spans[-1] in self.distorted:
                # What a real row store finds by computing the rolling checksum.
                raise DivergenceError("the checksum does not continue ours")
            spans.append(span)
        self.perform(self.session.handle(x.RowsApplied()))

    def restart_follower(self):
        """Memory is lost, the disk is not."""
        self.hang_up()
        self.gate = Gate()
        self.session = FollowSession(IDENTITY, self.limits)

    def distort(self):
        """Somebody changes a stored row: its checksum is another one from there on."""
        for spans in self.stored.values():
            if spans:
                before = spans[-1]
                spans[-1] = replace(before, checksum=before.checksum ^ 1)
                if before in self.distorted:
                    self.distorted.discard(before)  # it is what it was
                else:
                    self.distorted.add(spans[-1])
                self.hang_up()
                self.session.handle(x.Lost(0.0))
                return

    # -- the coordinator ------------------------------------------------------------------------

    def decide(self, *, follower_on):
        self.decision = Decision(self.decision.epoch + 1, follower_on)

    def view(self):
        decision = self.decision
        capability = Capability.ON if decision.follower_on else Capability.OFF
        return (
            NodeView(decision.epoch, Capability.ON, followed=(decision.grant,)),
            NodeView(decision.epoch, capability, following=(decision.grant,)),
        )

    def tell_leader(self):
        self.leader_authority.renew(self.view()[0], self.now, self.limits.lease_seconds)

    def tell_follower(self):
        capability = Capability.ON if self.decision.follower_on else Capability.OFF
        lease_until = self.now + self.limits.lease_seconds
        if self.gate.hear(Word(self.decision.grant, capability, lease_until), self.now):
            self.gate_moved()

    def gate_moved(self):
        self.perform(self.session.handle(x.GateMoved(self.gate.open, self.gate.epoch)))

    def tick_gate(self):
        if self.gate.tick(self.now):
            self.gate_moved()

    # -- time and truth -------------------------------------------------------------------------

    def pass_time(self, seconds):
        self.now += seconds
        self.tick_gate()
        if self.leader_session is not None:
            self.leader_session.heartbeat()
        self.perform(self.session.handle(x.Tick(self.now)))

    def settle(self):
        """Runs both ends until nothing is due and nothing is on its way."""
        for _ in range(10_000):
            if self.pending_read is not None:
                self.finish_read()
            elif self.leader_step():
                pass
            elif self.up:
                self.leader_receive()
            elif self.down:
                self.follower_receive()
            else:
                return
        raise AssertionError("the two ends never come to rest")

    def visible(self):
        """Spans a query sees now, by key."""
        if not self.gate.visible(self.now) or self.stored_database is None:
            return {}
        return {key: list(spans) for key, spans in self.stored.items() if spans}

    def true_lag(self):
        """Seconds since the oldest commit that is stored nowhere here."""
        held = self.positions()
        keys = set(self.database.row_store_keys())
        missing = (
            record.committed_at
            for record in self.log
            if record.span.key in keys
            and record.span.end > held.get(record.span.key, START).ordinal
        )
        return max(0.0, self.now - min(missing, default=self.now))

    def check(self):
        """Every guarantee that must hold at every instant."""
        if self.same_history():
            self.check_pin()
            if self.gate.visible(self.now):
                lag = self.session.lag_seconds(self.now)
                assert lag is None or lag >= self.true_lag() - 1e-6, "an optimistic lag"
        if self.gate.visible(self.now):
            assert self.gate.epoch <= self.decision.epoch
        if self.gate.epoch == self.decision.epoch and not self.decision.follower_on:
            assert not self.visible(), "the close was confirmed, rows are visible"
        if self.stored_database is not None:
            for table in self.stored_database.tables.values():
                for key in table.keys:
                    spans = self.stored.get(key, [])
                    assert all(span.schema_version < len(table.schemas) for span in spans)

    def check_pin(self):
        """Tree and rows are one moment of the leader: every row once, sealed or streamed."""
        database = self.stored_database
        told = self.trees[database.version]
        assert replace(database, storage_root="") == told, "another tree"
        everything = {}
        for record in self.log:
            everything.setdefault(record.span.key, []).append(record.span)
        for key, floor in floors_of(told).items():
            spans = self.stored.get(key, [])
            truth = [s for s in everything.get(key, []) if s.first_ordinal >= floor.ordinal]
            same = [span for span in spans if span not in self.distorted]
            assert same == truth[: len(same)], "not a prefix above the floor"
            assert len(same) >= len(spans) - 1, "only the last one can be another"
        session = self.leader_session
        if session is not None and (acknowledged := session.statistics().acknowledged):
            assert acknowledged.version <= database.version, "claims more than is stored"

    def same_history(self):
        known = self.stored_database
        return known is not None and known.database_id == self.database.database_id
