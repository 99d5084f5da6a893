"""Random worlds: nothing is visible after "off is done", whatever is late, lost or killed.

The coordinator is the real state machine on the real store; nodes are real ``Authority`` objects
in processes that may be superseded and run on; the network delivers what is in flight in any
order, late or never; the coordinator is killed between any two steps and before any save.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.coordinator import events
from cluster.coordinator.machine import handle
from cluster.coordinator.reports import DatabaseReport, FollowingReport, Report
from cluster.coordinator.state import Durable, State, restore
from cluster.coordinator.store import FILE_NAME, Store
from cluster.coordinator.views import grants, view
from cluster.errors import RemoraError
from cluster.limits import LIMITS
from cluster.replication.authority import Authority, Capability, Grant, NodeView

LEADERS = ("leader",)
FOLLOWERS = ("follower",)
DATABASES = ("A", "B")
SLOWEST = 1 / (1 + LIMITS.clock_drift_ratio)

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Files live in memory where they can: a SIGKILL loses no page, so no fsync is tested here."""

pick = st.integers(0, 10_000)


@dataclass
class Process:
    """One process of a node. Its clock may be slow; it may not know that it is superseded.

    Its gates act on a copy of the grant and the lease, taken when they last had time to.
    """

    cluster: str
    instance: str
    rate: float
    authority: Authority = field(default_factory=Authority)
    gates: dict[tuple[str, str], tuple[Grant, float]] = field(default_factory=dict)
    tables: tuple[str, ...] = ()

    def clock(self, now: float) -> float:
        return now * self.rate

    def open(self, leader: str, database: str, now: float) -> bool:
        grant, lease_until = self.gates.get((leader, database), (None, 0.0))
        return grant is not None and grant.rows and self.clock(now) < lease_until

    def settle(self) -> None:
        """Its gates apply the newest view and the lease it is held under."""
        grants = self.authority.view.following if self.authority.view else ()
        until = self.authority.lease_until
        self.gates = {(g.leader_cluster, g.database): (g, until) for g in grants}

    def report(self) -> Report:
        owned = tuple(DatabaseReport(d, bool(self.tables), self.tables) for d in DATABASES)
        return Report(
            tuple(FollowingReport(*key, gate[0].epoch) for key, gate in self.gates.items()),
            owned if self.cluster in LEADERS else (),
        )


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

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # The coordinator's process.

    def send(self, event: events.Event) -> None:
        step = handle(self.state, event, self.now, LIMITS)
        if step.state.durable != self.saved:
            assert step.state.durable.epoch >= self.saved.epoch
            assert step.state.durable.revision >= self.saved.revision
            self.check_revision(step.state.durable)
            self.store.save(self.saved, step.state.durable)
            self.saved = step.state.durable
        self.state = step.state
        for reply in step.replies:
            self.answered(self.questions.pop(reply.request), reply.request, reply.outcome)

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
        elif isinstance(outcome, events.Detached):
            assert isinstance(question, events.Detach)
            key = (question.leader_cluster, question.database, question.follower_cluster)
            self.gone.add(key)

    def ask(self, event: events.Request) -> None:
        self.questions[event.request] = event
        self.send(event)

    def number(self) -> int:
        self.requests += 1
        return self.requests

    @rule()
    def kill_and_start(self) -> None:
        """SIGKILL: a copy of the files as they are is all the next life has."""
        self.lives += 1
        before, folder = self.folder / str(self.lives - 1), self.folder / str(self.lives)
        folder.mkdir()
        for file in before.glob(FILE_NAME + "*"):
            shutil.copy(file, folder)
        self.store.close()
        self.store = Store.open(folder)
        assert self.store.load() == self.saved
        self.state = restore(self.saved, self.now, LIMITS)
        self.questions.clear()
        self.send(events.Tick())

    @rule(cluster=st.sampled_from(FOLLOWERS + LEADERS), on=st.booleans())
    def killed_before_the_save(self, cluster: str, on: bool) -> None:
        handle(self.state, events.SetCapability(self.number(), cluster, on), self.now, LIMITS)
        self.kill_and_start()

    # People.

    @initialize()
    def everybody_registers(self) -> None:
        for cluster in LEADERS + FOLLOWERS:
            self.start(cluster, slow=cluster in FOLLOWERS)
        self.attach_or_detach("leader", "A", "follower", on=True)
        self.all_is_well()
        assert self.processes[1].open("leader", "A", self.now)

    @rule(cluster=st.sampled_from(LEADERS + FOLLOWERS * 2), slow=st.booleans())
    def start(self, cluster: str, slow: bool) -> None:
        instance = str(len(self.processes))
        process = Process(cluster, instance, SLOWEST if slow else 1.0)
        event = events.RegisterNode(
            self.number(),
            cluster,
            f"{cluster}/0",
            instance,
            "h:1",
            initial_streaming_ingestion=True,
        )
        self.ask(event)
        self.processes.append(process)
        self.heartbeat(process)
        self.deliver_heartbeat(len(self.heartbeats) - 1)
        self.deliver_renewal(len(self.renewals) - 1)

    @rule(cluster=st.sampled_from(FOLLOWERS * 3 + LEADERS), on=st.booleans())
    def set_capability(self, cluster: str, on: bool) -> None:
        if on:
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
            self.gone.discard((leader, database, follower))
            self.ask(events.Attach(self.number(), leader, database, follower))
        else:
            self.ask(events.Detach(self.number(), leader, database, follower))

    @rule(tables=st.sampled_from([(), (), ("T",)]))
    def alter_policy(self, tables: tuple[str, ...]) -> None:
        self.process(6).tables = tables

    # Nodes and the network.

    def process(self, back: int) -> Process:
        """One of the processes, the newest follower first."""
        followers = [p for p in self.processes if p.cluster in FOLLOWERS]
        leaders = [p for p in self.processes if p.cluster in LEADERS]
        ordered = (followers[::-1] * 2 + leaders[::-1]) if back < 6 else leaders[::-1]
        return ordered[back % len(ordered)]

    @rule(back=st.integers(0, 7), lost=st.sampled_from(["", "", "request", "answer"]))
    def talk(self, back: int, lost: str) -> None:
        """A heartbeat of a process. What is lost stays in flight and may come later."""
        self.heartbeat(self.process(back))
        if lost == "request":
            return
        self.deliver_heartbeat(len(self.heartbeats) - 1)
        if lost != "answer" and self.renewals and self.renewals[-1][0] is self.process(back):
            self.deliver_renewal(len(self.renewals) - 1)

    def heartbeat(self, process: Process) -> None:
        seen = process.authority.view
        event = events.Heartbeat(
            0,
            process.cluster,
            f"{process.cluster}/0",
            process.instance,
            seen.revision if seen else 0,
            process.report(),
        )
        self.heartbeats.append((process, process.clock(self.now), event))

    @precondition(lambda self: self.heartbeats)
    @rule(index=pick)
    def deliver_heartbeat(self, index: int) -> None:
        process, sent_at, event = self.heartbeats.pop(index % len(self.heartbeats))
        number = self.number()
        self.replying[number] = (process, sent_at)
        fields = (event.cluster, event.node, event.instance, event.applied_revision, event.report)
        self.ask(events.Heartbeat(number, *fields))

    @precondition(lambda self: self.renewals)
    @rule(index=pick)
    def deliver_renewal(self, index: int) -> None:
        process, sent_at, answer = self.renewals.pop(index % len(self.renewals))
        process.authority.renew(answer.view, sent_at, answer.lease_seconds)

    @rule(back=st.integers(0, 7), late=st.booleans())
    def push(self, back: int, late: bool) -> None:
        process = self.process(back)
        self.pushes.append((process, view(self.state.durable, process.cluster)))
        if not late:
            self.deliver_push(len(self.pushes) - 1)

    @precondition(lambda self: self.pushes)
    @rule(index=pick)
    def deliver_push(self, index: int) -> None:
        process, pushed = self.pushes.pop(index % len(self.pushes))
        process.authority.apply(pushed, process.clock(self.now))

    @rule(back=st.integers(0, 5))
    def gates_settle(self, back: int) -> None:
        self.process(back).settle()

    @rule()
    def all_is_well(self) -> None:
        """Everybody who is registered hears and confirms everything."""
        for _ in range(2):
            for process in self.processes[-1], self.process(0), self.process(6):
                self.heartbeat(process)
                self.deliver_heartbeat(len(self.heartbeats) - 1)
                if self.renewals and self.renewals[-1][0] is process:
                    self.deliver_renewal(len(self.renewals) - 1)
                process.settle()

    @rule(seconds=st.sampled_from([0.01, 0.9, 4.0, 5.01]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.send(events.Tick())

    # What must hold, always.

    @invariant()
    def nothing_is_visible_after_off_is_done(self) -> None:
        for process in self.processes:
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
        assert all(waiting.holders for waiting in self.state.waiting.values())
        assert all(inquiry.holders for inquiry in self.state.inquiries.values())


World.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
