"""Random worlds: nothing is visible after "off is done", whatever is late, lost, doubled or killed.

The coordinator is the real state machine on the real store. Nodes are real ``Authority`` and
``Gate`` objects in processes that may be superseded and run on. The network delivers what is in
flight in any order, late, twice or never. The coordinator is killed between any two steps and
before any save, comes back with an old copy of its data, or runs twice on copies of it.

What cannot be known is not asked for: a process that obeys the second of two coordinators, or one
that had heard nothing when an old copy came back, is not judged by what the first had answered.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

from coordinator_world import CoordinatorWorld
from gate_world import DATABASES, FOLLOWERS, LEADERS, SLOWEST, Process
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from cluster.coordinator import events
from cluster.coordinator.identity import begin
from cluster.coordinator.machine import handle
from cluster.coordinator.state import ChangeKind, restore
from cluster.coordinator.views import grants, view
from cluster.limits import LIMITS
from cluster.replication.authority import Capability

pick = st.integers(0, 10_000)


class World(CoordinatorWorld):
    def teardown(self) -> None:
        if self.processes:
            self.quiet()
        self.store.close()
        shutil.rmtree(self.folder)

    @rule()
    def kill_and_start(self) -> None:
        self.restart()

    @rule(cluster=st.sampled_from(FOLLOWERS + LEADERS), on=st.booleans())
    def killed_before_the_save(self, cluster: str, on: bool) -> None:
        handle(self.state, events.SetCapability(self.number(), cluster, on), self.now, LIMITS)
        self.restart()

    @rule()
    def back_up(self) -> None:
        self.copy = self.saved

    @precondition(lambda self: self.copy is not None and self.shadow is None)
    @rule(adopts=st.booleans())
    def restore_old_copy(self, adopts: bool) -> None:
        """The newest data is lost. Whoever has heard of nothing newer cannot know that."""
        assert self.copy is not None
        copy, lost = self.copy, self.saved
        if copy.revision == lost.revision:
            return
        self.excused |= {
            p.instance
            for p in self.processes
            if p.authority.view is None or p.authority.view.revision <= copy.revision
        }
        self.outdated = True
        self.restart(copy, adopts=adopts)

    @precondition(lambda self: self.shadow is None)
    @rule()
    def run_twice(self) -> None:
        """A second process on a copy of the data folder, taken before the last start."""
        durable = begin(self.before_start, coordinator="c", instance=f"shadow {self.lives}")
        self.shadow = restore(durable, self.now, LIMITS)

    @precondition(lambda self: self.shadow is not None)
    @rule(back=st.integers(0, 7))
    def hear_the_other(self, back: int) -> None:
        """A process reaches the other coordinator, which gives it a lease if it may."""
        assert self.shadow is not None
        process = self.process(back)
        registers = events.RegisterNode(
            0, process.cluster, f"{process.cluster}/0", process.instance, "h:1"
        )
        step = handle(self.shadow, registers, self.now, LIMITS)
        (registered,) = (reply.outcome for reply in step.replies)
        if isinstance(registered, events.Registered):
            process.registered(registered, self.now)
        step = handle(step.state, self.beat_of(process), self.now, LIMITS)
        self.shadow = step.state
        for reply in step.replies:
            if isinstance(reply.outcome, events.Renewed):
                self.renewals.append((process, process.clock(self.now), reply.outcome))
        self.deliver_renewal(len(self.renewals) - 1, twice=False)

    @precondition(lambda self: self.shadow is not None)
    @rule()
    def start_the_other_again(self) -> None:
        """Its starts and what it counts go on as those of the first do."""
        assert self.shadow is not None
        self.requests += 1
        durable = begin(
            self.shadow.durable, coordinator="c", instance=f"shadow again {self.requests}"
        )
        self.shadow = restore(durable, self.now, LIMITS)

    @precondition(lambda self: self.shadow is not None)
    @rule()
    def stop_the_other(self) -> None:
        self.shadow = None

    # People.

    @initialize()
    def everybody_registers(self) -> None:
        for cluster in LEADERS + FOLLOWERS:
            self.start(cluster, slow=cluster in FOLLOWERS)
        self.attach_or_detach("leader", "A", "follower", on=True)
        self.all_is_well()
        assert self.processes[1].open("leader", "A", self.now)
        assert self.processes[0].sends("A", self.now)

    @rule(cluster=st.sampled_from(LEADERS + FOLLOWERS * 2), slow=st.booleans())
    def start(self, cluster: str, slow: bool) -> None:
        instance = str(len(self.processes))
        process = Process(cluster, instance, SLOWEST if slow else 1.0)
        before = [p for p in self.processes if p.cluster == cluster]
        if before:
            process.rows = before[-1].rows  # they are in its data folder
            process.tables = before[-1].tables
            process.reported = before[-1].reported
        self.processes.append(process)
        if self.outdated:
            self.excused.add(instance)  # it has forgotten what the process before had seen
        self.register(process)
        self.heartbeat(process)
        self.deliver_heartbeat(len(self.heartbeats) - 1, twice=False)
        if self.renewals and self.renewals[-1][0] is process:
            self.deliver_renewal(len(self.renewals) - 1, twice=False)

    def register(self, process: Process, *, is_heard: bool = True) -> None:
        number = self.number()
        if is_heard:
            self.registering[number] = process
        self.ask(
            events.RegisterNode(
                number,
                process.cluster,
                f"{process.cluster}/0",
                process.instance,
                "h:1",
                initial_streaming_ingestion=True,
            )
        )

    @rule(index=pick)
    def register_again(self, index: int) -> None:
        """A request to register that is late or comes twice: nobody waits for its answer."""
        self.register(self.processes[index % len(self.processes)], is_heard=False)

    @rule(cluster=st.sampled_from(FOLLOWERS * 3 + LEADERS), on=st.booleans())
    def set_capability(self, cluster: str, on: bool) -> None:
        if on and self.state.contest is None:
            self.hidden.discard(cluster)
        self.ask(events.SetCapability(self.number(), cluster, on))

    @rule(
        leader=st.sampled_from(LEADERS),
        database=st.sampled_from(DATABASES),
        follower=st.sampled_from(FOLLOWERS),
        on=st.booleans(),
    )
    def attach_or_detach(self, leader: str, database: str, follower: str, on: bool) -> None:
        if on:
            if self.state.contest is None:
                self.gone.discard((leader, database, follower))
            self.ask(events.Attach(self.number(), leader, database, follower))
        else:
            self.ask(events.Detach(self.number(), leader, database, follower))

    @rule(tables=st.sampled_from([(), (), ("T",)]))
    def alter_policy(self, tables: tuple[str, ...]) -> None:
        self.process(6).tables = tables

    @rule()
    def ingest(self) -> None:
        leader = self.process(6)
        if leader.tables:
            leader.ingest()

    @rule()
    def seal(self) -> None:
        self.process(6).rows = False

    # Nodes and the network.

    def process(self, back: int) -> Process:
        """One of the processes, the newest follower first."""
        followers = [p for p in self.processes if p.cluster in FOLLOWERS]
        leaders = [p for p in self.processes if p.cluster in LEADERS]
        ordered = (followers[::-1] * 2 + leaders[::-1]) if back < 6 else leaders[::-1]
        return ordered[back % len(ordered)] if back < 6 else ordered[(back - 6) % len(ordered)]

    @rule(back=st.integers(0, 7), lost=st.sampled_from(["", "", "request", "answer"]))
    def talk(self, back: int, lost: str) -> None:
        """A heartbeat of a process. What is lost stays in flight and may come later."""
        process = self.process(back)
        self.heartbeat(process)
        if lost == "request":
            return
        self.deliver_heartbeat(len(self.heartbeats) - 1, twice=False)
        if lost != "answer" and self.renewals and self.renewals[-1][0] is process:
            self.deliver_renewal(len(self.renewals) - 1, twice=False)

    def beat_of(self, process: Process) -> events.Heartbeat:
        seen = process.authority.view
        process.sequence += 1
        return events.Heartbeat(
            0,
            process.cluster,
            f"{process.cluster}/0",
            process.instance,
            seen.revision if seen else 0,
            process.report(),
            process.authority.issuer,
            process.newest_epoch(),
            process.registration,
            process.sequence,
        )

    def heartbeat(self, process: Process) -> None:
        self.heartbeats.append((process, process.clock(self.now), self.beat_of(process)))

    @precondition(lambda self: self.heartbeats)
    @rule(index=pick, twice=st.booleans())
    def deliver_heartbeat(self, index: int, twice: bool) -> None:
        index %= len(self.heartbeats)
        process, sent_at, event = self.heartbeats[index]
        if not twice:
            del self.heartbeats[index]
        number = self.number()
        self.replying[number] = (process, sent_at)
        self.ask(replace(event, request=number))
        known = self.saved.nodes.get(event.node)
        renewed = bool(self.renewals) and self.renewals[-1][0] is process
        is_news = event.sequence > self.arrived.get(process.instance, 0)
        if known is not None and known.instance == process.instance and renewed and is_news:
            process.reported = any(d.streaming_content for d in event.report.databases)
            self.arrived[process.instance] = event.sequence

    @precondition(lambda self: self.renewals)
    @rule(index=pick, twice=st.booleans())
    def deliver_renewal(self, index: int, twice: bool) -> None:
        if not self.renewals:
            return
        index %= len(self.renewals)
        process, sent_at, answer = self.renewals[index]
        if not twice:
            del self.renewals[index]
        now = process.clock(self.now)
        process.authority.renew(
            answer.view, sent_at, answer.lease_seconds, now=now, doubt=answer.doubt
        )

    @rule(back=st.integers(0, 7), late=st.booleans())
    def push(self, back: int, late: bool) -> None:
        process = self.process(back)
        self.pushes.append((process, view(self.state.durable, process.cluster)))
        if not late:
            self.deliver_push(len(self.pushes) - 1, twice=False)

    @precondition(lambda self: self.pushes)
    @rule(index=pick, twice=st.booleans())
    def deliver_push(self, index: int, twice: bool) -> None:
        index %= len(self.pushes)
        process, pushed = self.pushes[index]
        if not twice:
            del self.pushes[index]
        process.authority.apply(pushed, process.clock(self.now))

    @rule(back=st.integers(0, 5))
    def gates_settle(self, back: int) -> None:
        self.process(back).settle(self.now)

    def newest(self) -> list[Process]:
        return [[p for p in self.processes if p.cluster == c][-1] for c in LEADERS + FOLLOWERS]

    @rule()
    def all_is_well(self) -> None:
        """Everybody who is registered hears and confirms everything."""
        for _ in range(2):
            for process in self.newest():
                self.heartbeat(process)
                self.deliver_heartbeat(len(self.heartbeats) - 1, twice=False)
                if self.renewals and self.renewals[-1][0] is process:
                    self.deliver_renewal(len(self.renewals) - 1, twice=False)
                process.settle(self.now)

    @rule(seconds=st.sampled_from([0.01, 0.9, 4.0, 5.01]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.send(events.Tick())

    def quiet(self) -> None:
        """Faults are over: an operator has put the coordinator right, and everything converges."""
        self.shadow = None
        self.heartbeats.clear()
        self.renewals.clear()
        self.restart(adopts=True)
        for process in self.newest():
            process.tables, process.rows = (), False
        for _ in range(8):
            for process in self.newest():
                known = self.saved.nodes.get(f"{process.cluster}/0")
                if known is None or known.instance != process.instance:
                    self.register(process)
            self.all_is_well()
            self.nothing_is_visible_after_off_is_done()
            self.wait(LIMITS.lease_seconds / 2)
        self.all_is_well()
        assert self.state.contest is None
        assert not self.saved.changes
        for grant in grants(self.saved):
            leader, follower = self.newest()
            assert follower.open("leader", grant.database, self.now) is grant.rows
            assert leader.sends(grant.database, self.now) is grant.rows

    # What must hold, always.

    @invariant()
    def nothing_is_visible_after_off_is_done(self) -> None:
        for process in self.processes:
            if process.life not in self.trusted or process.instance in self.excused:
                continue
            for leader in LEADERS:
                for database in DATABASES:
                    if process.open(leader, database, self.now):
                        assert process.cluster not in self.hidden
                        assert (leader, database, process.cluster) not in self.gone

    @invariant()
    def rows_are_granted_only_to_followers_that_are_on(self) -> None:
        for grant in grants(self.state.durable):
            follower = self.state.durable.clusters[grant.follower_cluster]
            assert grant.rows is follower.streaming_ingestion
            assert grant.rows is (grant.follower_capability is Capability.ON)
            assert bool(grant.reason) is not grant.rows

    @invariant()
    def pending_changes_have_somebody_to_wait_for(self) -> None:
        assert self.state.waiting.keys() == self.state.durable.changes.keys()
        if self.state.contest is None:
            for key, waiting in self.state.waiting.items():
                assert waiting.holders or key.kind is ChangeKind.DRAIN
            assert all(inquiry.holders for inquiry in self.state.inquiries.values())


World.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
