"""A coordinator without I/O, driven by hand: what the tests of this folder are written with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator import events
from cluster.coordinator.configuration import ConfigurationKey
from cluster.coordinator.configuration_status import describe
from cluster.coordinator.identity import begin
from cluster.coordinator.machine import handle
from cluster.coordinator.reports import DatabaseReport, FollowingReport, Report
from cluster.coordinator.state import Durable, restore
from cluster.coordinator.views import view
from cluster.limits import LIMITS, Limits
from cluster.replication.authority import Capability, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.errors import RemoraError
    from cluster.replication.authority import NodeView

DATABASE = "Db"


class Story:
    """Sends events, keeps the state, remembers answers by request number."""

    def __init__(self, durable: Durable | None = None, limits: Limits = LIMITS) -> None:
        self.now = 1000.0
        self.limits = limits
        self.state = restore(durable or Durable(), self.now, limits)
        self.timer: float | None = None
        self.answers: dict[int, events.Answer | RemoraError] = {}
        self._requests = 0
        self._lives = 0
        self._owned: dict[str, tuple[str, ...]] = {}
        self._registrations: dict[tuple[str, str], int] = {}
        self._sequence = 0

    def send(self, event: events.Event) -> None:
        step = handle(self.state, event, self.now, self.limits)
        self.state, self.timer = step.state, step.timer
        for reply in step.replies:
            assert reply.request not in self.answers, "answered twice"
            self.answers[reply.request] = reply.outcome

    def ask(self, kind: type, *values: object, **named: object) -> int:
        """Sends a request; returns its number."""
        self._requests += 1
        self.send(kind(self._requests, *values, **named))
        return self._requests

    def get(self, kind: type, *values: object, **named: object) -> events.Answer | RemoraError:
        """Sends a request that must be answered at once."""
        return self.answers[self.ask(kind, *values, **named)]

    def restart(
        self, durable: Durable | None = None, *, adopts: bool = False, instance: str = ""
    ) -> None:
        """SIGKILL and start: only what is durable is left, or an old copy of it."""
        self._lives += 1
        durable = begin(
            self.state.durable if durable is None else durable,
            coordinator="c1",
            instance=instance or f"life {self._lives}",
        )
        self.state = restore(durable, self.now, self.limits, adopts=adopts)
        self.send(events.Tick())

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.send(events.Tick())

    # What nodes do.

    def register(
        self,
        cluster: str,
        *,
        on: bool = True,
        instance: str = "a",
        number: int = 0,
        is_heard: bool = True,
        **named: object,
    ) -> events.Answer | RemoraError:
        """``is_heard``: the process hears the answer; else it was late, and has given up."""
        node = f"{cluster}/{number}"
        answer = self.get(
            events.RegisterNode,
            cluster,
            node,
            instance,
            named.pop("grpc_address", f"127.0.0.1:{5000 + len(self.state.durable.nodes)}"),
            initial_streaming_ingestion=on,
            **named,
        )
        if is_heard and isinstance(answer, events.Registered):
            self._registrations[node, instance] = answer.registration
        return answer

    def beat(
        self,
        cluster: str,
        *,
        instance: str = "a",
        number: int = 0,
        revision: int | None = None,
        epoch: int | None = None,
        following: Iterable[FollowingReport] | None = None,
        databases: Iterable[DatabaseReport] | None = None,
        drained: bool | None = None,
        obeys: Issuer | None = None,
        newest_epoch: int = 0,
        trouble: str = "",
        sequence: int = 0,
    ) -> events.Answer | RemoraError:
        """A heartbeat of a node that has applied everything, unless told otherwise.

        Without ``databases`` it has those it had before, none of them streaming. ``sequence``: it
        was built before those that have arrived.
        """
        node = f"{cluster}/{number}"
        self._sequence += 1
        if databases is None:
            databases = owns(*self._owned.get(cluster, ()))
        databases = tuple(databases)
        self._owned[cluster] = tuple(database.name for database in databases)
        seen = self.view(cluster)
        if following is None:
            following = (
                FollowingReport(g.leader_cluster, g.database, g.epoch if epoch is None else epoch)
                for g in seen.following
            )
        applied = seen.revision if revision is None else revision
        if drained is None:
            drained = seen.capability is Capability.OFF
        return self.get(
            events.Heartbeat,
            cluster,
            node,
            instance,
            applied,
            Report(tuple(following), databases, applied if drained else 0, trouble),
            self.state.durable.issuer if obeys is None else obeys,
            newest_epoch,
            self._registrations.get((node, instance), 0),
            sequence or self._sequence,
        )

    def view(self, cluster: str) -> NodeView:
        return view(self.state.durable, cluster)

    def off(self, cluster: str) -> int:
        return self.ask(events.SetCapability, cluster, False)

    def on(self, cluster: str) -> int:
        return self.ask(events.SetCapability, cluster, True)

    def attach(
        self,
        follower: str,
        leader: str = "leader",
        database: str = DATABASE,
        **named: object,
    ) -> int:
        return self.ask(events.Attach, leader, database, follower, **named)

    def delete(self, follower: str, name: str, leader: str = "") -> int:
        return self.ask(events.DeleteConfiguration, follower, name, leader)

    def detach(self, follower: str, leader: str = "leader", database: str = DATABASE) -> int:
        return self.ask(events.Detach, leader, database, follower)


def owns(*names: str, tables: tuple[str, ...] = ()) -> tuple[DatabaseReport, ...]:
    """Reports of databases owned; the first has these streaming tables."""
    reports = [DatabaseReport(name) for name in names]
    if tables:
        reports[0] = replace(reports[0], streaming_content=True, streaming_tables=tables)
    return tuple(reports)


def attached(limits: Limits = LIMITS) -> Story:
    """A leader with a database and a follower that follows it, both heard and up to date."""
    story = Story(limits=limits)
    story.register("leader")
    story.register("follower")
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    story.attach("follower")
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    return story


def heard(*names: str, followers: tuple[str, ...] = ("follower",), **named: object) -> Story:
    """A leader with these databases and followers that follow nothing yet."""
    story = Story(**named)
    story.register("leader")
    story.beat("leader", databases=owns(*names))
    for follower in followers:
        story.register(follower)
        story.beat(follower)
    return story


def grants(story: Story, follower: str = "follower") -> dict[str, str]:
    """Name there to name here."""
    return {g.database: g.follower_database for g in story.view(follower).following}


def reasons(story: Story, name: str, follower: str = "follower") -> dict[str, str]:
    configuration = story.state.durable.configurations[ConfigurationKey(follower, name.lower())]
    found = describe(story.state, configuration, story.limits)
    return {item.database: item.reason for item in found.unattached}


def refused(story: Story, kind: type[RemoraError], match: str, **named: object) -> None:
    before = story.state.durable
    answer = story.answers[story.attach("follower", **named)]
    assert type(answer) is kind
    assert match in str(answer)
    assert story.state.durable == before
