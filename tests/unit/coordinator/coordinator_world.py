"""The coordinator's process in a random world: killed, saved, restored; its answers are kept.

The state machine is the real one, on the real store. What its answers promise is kept as facts
(``hidden``, ``gone``) that :mod:`test_coordinator_world` holds against what processes show.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis.stateful import RuleBasedStateMachine

from cluster.coordinator import events
from cluster.coordinator.identity import begin
from cluster.coordinator.machine import handle
from cluster.coordinator.state import Durable, State, restore
from cluster.coordinator.store import FILE_NAME, Store
from cluster.coordinator.views import grants, view
from cluster.errors import ConflictError, RemoraError
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from gate_world import Life, Process

    from cluster.replication.authority import NodeView

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Files live in memory where they can: a SIGKILL loses no page, so no fsync is tested here."""


class CoordinatorWorld(RuleBasedStateMachine):
    """What there is, and the coordinator's process."""

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
        self.registering: dict[int, Process] = {}  # requests somebody waits for the answer of
        self.arrived: dict[str, int] = {}  # by instance: its newest heartbeat that was heard
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

    def begin(self, *, adopts: bool) -> None:
        """A life begins on what is saved."""
        self.before_start = self.saved
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
        elif isinstance(outcome, events.Registered):
            if request in self.registering:
                self.registering.pop(request).registered(outcome, self.now)
        elif isinstance(question, events.Heartbeat) and isinstance(outcome, ConflictError):
            newest = [p for p in self.processes if p.cluster == question.cluster][-1]
            assert question.instance != newest.instance, "it would end for good"
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
        self.registering.clear()
        self.arrived.clear()
        self.begin(adopts=adopts)
        self.send(events.Tick())
