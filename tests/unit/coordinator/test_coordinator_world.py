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
import tempfile
from dataclasses import replace
from pathlib import Path

from gate_world import DATABASES, FOLLOWERS, LEADERS, SLOWEST, Life, Process
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.coordinator import events
from cluster.coordinator.identity import begin
from cluster.coordinator.machine import handle
from cluster.coordinator.state import ChangeKind, Durable, State, restore
from cluster.coordinator.store import FILE_NAME, Store
from cluster.coordinator.views import grants, view
from cluster.errors import RemoraError
from cluster.limits import LIMITS
from cluster.replication.authority import Capability, NodeView

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Files live in memory where they can: a SIGKILL loses no page, so no fsync is tested here."""

pick = st.integers(0, 10_000)


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="remora-world-", dir=MEMORY))
        self.store = Store.open(self.folder / "0")
        self.lives = 0
        self.now = 100.0
        self.saved: Durable = self.store.load()
        self.state: State = restore(self.saved, self.now, LIMITS)
        self.processes: list[Process] = []
        self.requests = 0
        self.questions: dict[int, events.Request] = {}
        self.replying: dict[int, tuple[Process, float]] = {}
        self.heartbeats: list[tuple[Process, float, events.Heartbeat]] = []
        self.renewals: list[tuple[Process, float, events.Renewed]] = []
        self.pushes: list[tuple[Process, NodeView]] = []
        self.hidden: set[str] = set()  # clusters whose off is done
        self.gone: set[tuple[str, str, str]] = set()  # attachments whose detach is done
        self.trusted: set[Life] = set()  # lives whose answers count
        self.excused: set[str] = set()  # processes an old copy may open: they know no better
        self.outdated = False  # it runs on an old copy that has not adopted anybody
        self.copy: Durable | None = None
        self.shadow: State | None = None
        self.begin(adopts=False)

    def teardown(self) -> None:
        if self.processes:
            self.quiet()
        self.store.close()
        shutil.rmtree(self.folder)

    # The coordinator's process.

    def begin(self, *, adopts: bool) -> None:
        """A life begins on what is saved."""
        durable = begin(self.saved, coordinator="c", instance=f"life {self.lives}")
        self.store.save(self.saved, durable)
        self.saved = durable
        self.trusted.add(durable.issuer.life)
        self.state = restore(durable, self.now, LIMITS, adopts=adopts)

    def send(self, event: events.Event) -> None:
        step = handle(self.state, event, self.now, LIMITS)
        if step.state.durable != self.saved:
            assert step.state.durable.epoch >= self.saved.epoch
            assert step.state.durable.revision >= self.saved.revision
            self.check_revision(step.state.durable)
            if step.state.durable.issuer != self.saved.issuer:
                assert isinstance(event, events.Heartbeat)
                assert step.state.durable.epoch > event.newest_epoch
                assert step.state.durable.revision > event.applied_revision
                self.adopted(step.state.durable)
            self.store.save(self.saved, step.state.durable)
            self.saved = step.state.durable
        self.state = step.state
        for reply in step.replies:
            self.answered(self.questions.pop(reply.request), reply.request, reply.outcome)

    def adopted(self, durable: Durable) -> None:
        """From now on what the adopting coordinator knows is the truth."""
        self.trusted.add(durable.issuer.life)
        self.hidden = {
            name for name in self.hidden if not durable.clusters[name].streaming_ingestion
        }
        self.gone = {
            key
            for key in self.gone
            if not any(
                (g.leader_cluster, g.database, g.follower_cluster) == key for g in grants(durable)
            )
        }
        self.excused.clear()
        self.outdated = False

    def check_revision(self, after: Durable) -> None:
        """What nodes see changes only under a new revision, a grant only under a new epoch."""
        for cluster in self.saved.clusters:
            old, new = view(self.saved, cluster), view(after, cluster)
            assert old == new or new.revision > old.revision
        before = {(g.leader_cluster, g.database, g.follower_cluster): g for g in grants(self.saved)}
        for grant in grants(after):
            old_grant = before.get((grant.leader_cluster, grant.database, grant.follower_cluster))
            assert grant == old_grant or grant.epoch > self.saved.epoch

    def answered(
        self, question: events.Request, request: int, outcome: events.Answer | RemoraError
    ) -> None:
        if isinstance(outcome, events.Renewed):
            process, sent_at = self.replying.pop(request)
            self.renewals.append((process, sent_at, outcome))
        elif isinstance(question, events.SetCapability):
            if not question.streaming_ingestion and not isinstance(outcome, RemoraError):
                self.hidden.add(question.cluster)
                assert isinstance(outcome, events.CapabilitySet)
                self.check_sealed(question.cluster, outcome.certainty)
        elif isinstance(outcome, events.Detached):
            assert isinstance(question, events.Detach)
            key = (question.leader_cluster, question.database, question.follower_cluster)
            self.gone.add(key)

    def check_sealed(self, cluster: str, certainty: events.Certainty) -> None:
        """Nothing is left in a row store that the coordinator could know of."""
        newest = [p for p in self.processes if p.cluster == cluster][-1]
        if self.saved.nodes[f"{cluster}/0"].instance == newest.instance:
            assert not (newest.rows and newest.reported and newest.life in self.trusted)
            if certainty is events.Certainty.CONFIRMED:
                assert not newest.rows

    def ask(self, event: events.Request) -> None:
        self.questions[event.request] = event
        self.send(event)

    def number(self) -> int:
        self.requests += 1
        return self.requests

    def restart(self, durable: Durable | None = None, *, adopts: bool = False) -> None:
        """SIGKILL: a copy of the files as they are is all the next life has."""
        self.lives += 1
        before, folder = self.folder / str(self.lives - 1), self.folder / str(self.lives)
        folder.mkdir()
        if durable is None:
            for file in before.glob(FILE_NAME + "*"):
                shutil.copy(file, folder)
        self.store.close()
        self.store = Store.open(folder)
        if durable is None:
            assert self.store.load() == self.saved
        else:
            self.store.save(Durable(), durable)
            self.saved = durable
        self.questions.clear()
        self.replying.clear()
        self.begin(adopts=adopts)
        self.send(events.Tick())

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
        durable = begin(
            _before_this_start(self.saved), coordinator="c", instance=f"shadow {self.lives}"
        )
        self.shadow = restore(durable, self.now, LIMITS)

    @precondition(lambda self: self.shadow is not None)
    @rule(back=st.integers(0, 7))
    def hear_the_other(self, back: int) -> None:
        """A process reaches the other coordinator, which gives it a lease if it may."""
        assert self.shadow is not None
        process = self.process(back)
        event = self.beat_of(process)
        registers = events.RegisterNode(
            0, process.cluster, f"{process.cluster}/0", process.instance, "h:1"
        )
        for one in registers, event:
            step = handle(self.shadow, one, self.now, LIMITS)
            self.shadow = step.state
            for reply in step.replies:
                if isinstance(reply.outcome, events.Renewed):
                    self.renewals.append((process, process.clock(self.now), reply.outcome))
        self.deliver_renewal(len(self.renewals) - 1, twice=False)

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

    def register(self, process: Process) -> None:
        self.ask(
            events.RegisterNode(
                self.number(),
                process.cluster,
                f"{process.cluster}/0",
                process.instance,
                "h:1",
                initial_streaming_ingestion=True,
            )
        )

    @rule(back=st.integers(0, 7))
    def register_again(self, back: int) -> None:
        """A request to register that is late or comes twice."""
        self.register(self.process(back))

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
        return events.Heartbeat(
            0,
            process.cluster,
            f"{process.cluster}/0",
            process.instance,
            seen.revision if seen else 0,
            process.report(),
            process.authority.issuer,
            process.newest_epoch(),
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
        fields = (event.cluster, event.node, event.instance, event.applied_revision, event.report)
        known = self.saved.nodes.get(event.node)
        self.ask(events.Heartbeat(number, *fields, event.obeys, event.newest_epoch))
        renewed = bool(self.renewals) and self.renewals[-1][0] is process
        if known is not None and known.instance == process.instance and renewed:
            process.reported = any(d.streaming_content for d in event.report.databases)

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


def _before_this_start(durable: Durable) -> Durable:
    issuer = replace(durable.issuer, generation=durable.issuer.generation - 1)
    return replace(durable, issuer=issuer, revision=durable.issuer.began)


World.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
