"""Random walks: configurations, databases that come and go, late reports, restarts."""

from __future__ import annotations

import random

import pytest
from coordinator_story import Story, owns

from cluster.catalog.following import Sharing
from cluster.coordinator.attachment import Phase, phase
from cluster.coordinator.configuration_status import obstacle, reported, statuses
from cluster.coordinator.reports import FollowingReport
from cluster.coordinator.state import AttachmentKey, longest_lease
from cluster.limits import LIMITS

LEADERS = ("l1", "l2")
FOLLOWERS = ("f1", "f2")
DATABASES = ("A", "B", "C")
STEPS = 150


class Walk(Story):
    """Clusters that lead, follow and own; each follower shows what it has applied."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.owned: dict[str, set[str]] = {"l1": {"A", "B"}, "l2": {"B", "C"}}
        self.owned |= {name: set() for name in FOLLOWERS}
        self.shown: dict[str, dict[tuple[str, str], int]] = {name: {} for name in FOLLOWERS}
        self.seen: dict[str, int] = dict.fromkeys(self.owned, 0)
        for cluster in self.owned:
            self.register(cluster)
            self.report(cluster)

    def hear(self, cluster: str) -> None:
        """A node applies the newest view."""
        view = self.view(cluster)
        self.seen[cluster] = view.revision
        if cluster in FOLLOWERS:
            self.shown[cluster] = {
                (g.leader_cluster, g.database): g.epoch
                for g in view.following
                if g.follower_database not in self.owned[cluster]
            }

    def report(self, cluster: str) -> None:
        """A heartbeat built on what the node has applied, however old that is."""
        shown = dict(self.shown.get(cluster, {}))
        if cluster in FOLLOWERS:
            for grant in self.view(cluster).following:
                if self.seen[cluster] == self.view(cluster).revision:
                    shown.setdefault((grant.leader_cluster, grant.database), grant.epoch)
        self.beat(
            cluster,
            revision=self.seen[cluster],
            following=[FollowingReport(*key, epoch) for key, epoch in shown.items()],
            databases=owns(*sorted(self.owned[cluster])),
        )

    def step(self) -> None:
        choice, rng = self.rng.random(), self.rng
        follower, leader = rng.choice(FOLLOWERS), rng.choice(LEADERS)
        database = rng.choice((*DATABASES, "*"))
        if choice < 0.2:
            named: dict[str, object] = {"name": rng.choice(("", "x", "y"))}
            if database == "*":
                named["database_name_prefix"] = rng.choice(("", "p-"))
            else:
                named["database_name_override"] = rng.choice((None, "", "A", "p-B"))
                named["sharing"] = rng.choice((None, Sharing(), Sharing(tables_to_include=("T",))))
            self.attach(follower, leader, database, **named)
        elif choice < 0.3:
            self.detach(follower, leader, database)
        elif choice < 0.4:
            known = [c.name for c in self.state.durable.configurations.values()]
            self.delete(follower, rng.choice([*known, "x"]))
        elif choice < 0.55:
            cluster = rng.choice(tuple(self.owned))
            self.owned[cluster] ^= {rng.choice(DATABASES)}
        elif choice < 0.75:
            self.hear(rng.choice(tuple(self.owned)))
        elif choice < 0.95:
            self.report(rng.choice(tuple(self.owned)))
        elif choice < 0.98:
            self.wait(rng.choice((0.5, longest_lease(LIMITS))))
        else:
            self.restart()
        self.check()

    def check(self) -> None:
        """What holds after every event."""
        durable = self.state.durable
        for cluster in FOLLOWERS:
            names = [a.follower_database.lower() for a in durable.followed_by(cluster)]
            assert len(names) == len(set(names)), "two databases of one name"
        for attachment in durable.attachments.values():
            configuration = durable.configurations[attachment.configuration_key]
            assert configuration.covers(attachment.database)
            assert attachment.follower_database == configuration.follower_name(attachment.database)
        listed = [g for status in statuses(self.state, LIMITS) for g in status.attached]
        assert len(listed) == len(durable.attachments), "each attachment is listed once"
        waited = [r for w in self.state.waiting.values() for r in w.requests]
        assert not set(waited) & self.answers.keys(), "answered and still waiting"
        assert self.state.waiting.keys() == durable.changes.keys()
        for key, change in durable.changes.items():
            name = change.follower_database.lower()
            taken = [
                a for a in durable.followed_by(key.cluster) if a.follower_database.lower() == name
            ]
            mine = (change.leader_cluster, change.key.database)
            assert all((a.leader_cluster, a.key.database) == mine for a in taken)

    def settle(self) -> None:
        """Everybody hears and reports until nothing changes any more."""
        for _ in range(10):
            before = self.state.durable
            for cluster in self.owned:
                self.hear(cluster)
                self.report(cluster)
            if self.state.durable == before:
                if not before.changes:
                    return
                self.wait(longest_lease(LIMITS))  # for processes that nobody can confirm for
        raise AssertionError("it never comes to rest")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    walk.settle()
    state, durable = walk.state, walk.state.durable
    assert not durable.changes
    assert not state.inquiries
    for configuration in durable.configurations.values():
        leader, follower = configuration.leader_cluster, configuration.follower_cluster
        for folded, name in reported(state, leader).items():
            if configuration.covers(name):
                key = AttachmentKey(leader, folded, follower)
                there = phase(durable, key) is Phase.ATTACHED
                assert there or obstacle(state, configuration, name, LIMITS) is not None
    for key, attachment in durable.attachments.items():
        assert key.database.upper() in walk.owned[key.leader_cluster]
        assert attachment.follower_database not in walk.owned[key.follower_cluster]
