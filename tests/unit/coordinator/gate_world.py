"""Processes of a world: real authorities and real gates, which may be slow to look at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.coordinator.reports import DatabaseReport, FollowingReport, Report
from cluster.limits import LIMITS
from cluster.replication.authority import Authority, Capability
from follower.gate import Gate, Word

if TYPE_CHECKING:
    from cluster.coordinator.events import Registered
    from cluster.replication.authority import NodeView

LEADERS = ("leader",)
FOLLOWERS = ("follower",)
DATABASES = ("A", "B")
SLOWEST = 1 / (1 + LIMITS.clock_drift_ratio)

Life = tuple[str, int, str]


@dataclass
class Process:
    """One process of a node. Its clock may be slow; it may not know that it is superseded.

    Its gates take the coordinator's word when they last had time to (:meth:`settle`). ``rows``: it
    has rows in its row store; ``reported`` is what its newest report that arrived said of that.
    ``sequence`` counts its heartbeats.
    """

    cluster: str
    instance: str
    rate: float
    authority: Authority = field(default_factory=Authority)
    gates: dict[tuple[str, str], Gate] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    rows: bool = False
    reported: bool = False
    registration: int = 0
    sequence: int = 0

    @property
    def life(self) -> Life:
        """Whom it obeys."""
        return self.authority.issuer.life

    def clock(self, now: float) -> float:
        return now * self.rate

    def open(self, leader: str, database: str, now: float) -> bool:
        gate = self.gates.get((leader, database))
        return gate is not None and gate.visible(self.clock(now))

    def sends(self, database: str, now: float) -> bool:
        """The leader's end, for any follower."""
        at = self.clock(now)
        return any(self.authority.followed(database, name, at).open for name in FOLLOWERS)

    def registered(self, answer: Registered, now: float) -> None:
        """It has its number of whom it obeys."""
        self.authority.apply(answer.view, self.clock(now))
        if answer.view.issuer.instance == self.authority.issuer.instance:
            self.registration = answer.registration

    def settle(self, now: float) -> None:
        """Its gates apply the newest view and the lease it is held under."""
        authority, view = self.authority, self.authority.view
        if view is None:
            return
        granted = {(g.leader_cluster, g.database): g for g in view.following}
        for key in granted.keys() | self.gates.keys():
            gate = self.gates.setdefault(key, Gate())
            before = gate.epoch
            word = Word(granted.get(key), view.capability, authority.lease_until, authority.doubt)
            gate.hear(word, self.clock(now))
            assert gate.epoch >= before
            if key not in granted:
                del self.gates[key]

    @property
    def is_off(self) -> bool:
        view = self.authority.view
        return view is not None and view.capability is Capability.OFF

    def ingest(self) -> None:
        """The door asks the newest view, and takes rows while it says on."""
        view = self.authority.view
        self.rows |= view is not None and view.capability is Capability.ON

    def report(self) -> Report:
        view = self.authority.view
        content = bool(self.tables) or self.rows
        owned = tuple(DatabaseReport(d, content, self.tables) for d in DATABASES)
        drained = view.revision if view is not None and self.is_off and not self.rows else 0
        return Report(
            tuple(FollowingReport(*key, gate.epoch) for key, gate in self.gates.items()),
            owned if self.cluster in LEADERS else (),
            drained,
        )

    def newest_epoch(self) -> int:
        view: NodeView | None = self.authority.view
        return view.newest_epoch if view else 0
