"""Leader and follower machines under random interleavings, faults and restarts."""

from __future__ import annotations

from dataclasses import replace

from follow_world import LIMITS, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

TABLES = ("A", "B")


class Histories(RuleBasedStateMachine):
    """Every rule is one event; the guarantees are checked after each, convergence at the end."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.world.create_table("A")
        self.world.tell_leader()
        self.world.tell_follower()
        self.world.connect()
        self.world.settle()

    # -- what users do

    @precondition(lambda self: self.world.database.tables)
    @rule(table=st.sampled_from(TABLES), rows=st.integers(1, 3))
    def ingest(self, table, rows):
        if table in self.world.database.tables:
            self.world.ingest(table, rows, place=rows)

    @rule(table=st.sampled_from(TABLES), records=st.sampled_from([1, 2, 100]))
    def seal(self, table, records):
        if table in self.world.database.tables:
            self.world.seal(table, records)

    @rule(table=st.sampled_from(TABLES), clear=st.booleans())
    def change_extents(self, table, clear):
        if table in self.world.database.tables:
            if clear:
                self.world.clear(table)
            else:
                self.world.merge(table)

    @rule(table=st.sampled_from(TABLES))
    def create_or_drop(self, table):
        if table in self.world.database.tables:
            self.world.drop_table(table)
        elif not self.world.restore_table(table):
            self.world.create_table(table, keys=2)

    @rule(table=st.sampled_from(TABLES))
    def add_column(self, table):
        if table in self.world.database.tables:
            self.world.add_column(table)

    @rule()
    def forget_deltas(self):
        self.world.kept = len(self.world.history)

    # -- what the coordinator does

    @rule(follower_on=st.booleans())
    def decide(self, follower_on):
        self.world.decide(follower_on=follower_on)

    @rule()
    def tell_leader(self):
        self.world.tell_leader()

    @rule()
    def tell_follower(self):
        self.world.tell_follower()

    # -- what machines do

    @precondition(lambda self: not self.world.connected)
    @rule()
    def connect(self):
        self.world.connect()

    @rule(steps=st.integers(1, 5))
    def leader_steps(self, steps):
        for _ in range(steps):
            self.world.leader_step()

    @rule()
    def finish_read(self):
        self.world.finish_read()

    @rule(frames=st.integers(1, 4))
    def follower_receives(self, frames):
        for _ in range(frames):
            if self.world.down:
                self.world.follower_receive()
            self.world.check()

    @rule(frames=st.integers(1, 4))
    def leader_receives(self, frames):
        for _ in range(frames):
            if self.world.up:
                self.world.leader_receive()

    @rule()
    def settle(self):
        self.world.settle()

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0, 6.0]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    @rule(follower_on=st.booleans())
    def decide_and_tell(self, follower_on):
        self.world.decide(follower_on=follower_on)
        self.world.tell_follower()
        self.world.tell_leader()

    @rule(rows=st.integers(1, 3), steps=st.integers(1, 6))
    def ingest_and_ship(self, rows, steps):
        for table in self.world.database.tables:
            self.world.ingest(table, rows)
        for _ in range(steps):
            self.world.leader_step()
            self.world.finish_read()

    # -- what goes wrong

    @rule()
    def break_call(self):
        self.world.hang_up()

    @rule()
    def restart_follower(self):
        self.world.restart_follower()

    @precondition(lambda self: self.world.down or self.world.up)
    @rule(
        down=st.booleans(), what=st.sampled_from(["lose", "repeat", "swap"]), at=st.integers(0, 9)
    )
    def disturb_link(self, down, what, at):
        frames = self.world.down if down else self.world.up
        if not frames:
            return
        at %= len(frames)
        if what == "lose":
            del frames[at]
        elif what == "repeat":
            frames.insert(at, frames[at])
        else:
            frames[at], frames[0] = frames[0], frames[at]

    @rule()
    def distort_copy(self):
        self.world.distort()

    @invariant()
    def guarantees(self):
        self.world.check()

    def teardown(self):
        """Faults end, the coordinator allows: everything arrives exactly once, lag comes down."""
        world = self.world
        world.decide(follower_on=True)
        for _ in range(12):
            world.tell_leader()
            world.tell_follower()
            if not world.connected:
                world.connect()
            world.settle()
            world.check()
            world.pass_time(LIMITS.heartbeat_seconds)
            world.settle()
            world.check()
        assert world.connected, world.errors[-3:]
        assert world.stored_database == replace(world.database, storage_root=world.root)
        assert world.visible() == world.committed()
        assert world.session.lag_seconds(world.now) <= 2 * LIMITS.heartbeat_seconds


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
