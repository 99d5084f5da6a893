"""A reference model that implements ``System`` without any real code: what runs and checkers meet
before the simulated world, and a way to see each rule broken in the simplest way.

``breaks`` names the rules it breaks, by their ids (``R1`` ... ``S1``); see :data:`BREAKS`.
Followers apply the leader's log a fixed time after it was committed, when somebody looks.
"""

from __future__ import annotations

import trio
from toy_control import ToyControl
from toy_door import ToyDoor
from toy_tree import ToyDatabase, ToyReplica, ToyTree

from cluster.conformance.draw import Draw
from cluster.conformance.faults import Fault, FaultKind
from cluster.conformance.history import History
from cluster.conformance.notes import (
    FaultBegan,
    FaultEnded,
    ProcessBegan,
    ProcessEnded,
)
from cluster.conformance.system import Feature, Profile
from cluster.errors import UnavailableError

BREAKS = {
    "R1": "a follower leaves out a row",
    "R3": "a retry is stored again",
    "R4": "half of a request is visible",
    "R5": "what was acknowledged last is lost when the leader is killed",
    "R6": "a row of a refused request is stored",
    "R10": "a follower starts again from an older state",
    "R11": "a token is ignored",
    "R12": "a follower says it is never behind",
    "R13": "a follower takes changes",
    "R14": "a row is visible with a column its schema does not have",
    "R15": "sealing stores the rows twice",
    "G1": "a follower whose capability is off shows rows",
    "G2": "rows of the closed window never come",
    "G3": "rows stay visible for a while after off was done",
    "G4": "an old on is obeyed after a newer off",
    "G5": "nobody says why rows are hidden",
    "G6": "rows are taken while the leader's capability is off",
    "A1": "a detached database stays visible",
    "A2": "a table that is not shared is visible",
    "C1": "a gate stays open without a coordinator",
    "L1": "a follower never comes back after a cut",
}
"""The rules that can be broken here, and how."""

LEASE_SECONDS = 30.0
DELAY_SECONDS = 0.4
PROFILE = Profile(
    leaders=("leader",),
    followers=("follower1", "follower2"),
    streaming=frozenset({"leader", "follower1"}),
    features=frozenset(Feature)
    - {Feature.FRAMES, Feature.EXTENTS, Feature.RESOURCES, Feature.CLOCKS},
)

_DOWN = {
    FaultKind.KILL: "kill",
    FaultKind.POWER: "power",
    FaultKind.RESTART: "stop",
    FaultKind.CRASH_POINT: "crash",
    FaultKind.REPLACE: "kill",
}
_CUT = {FaultKind.PARTITION, FaultKind.ONE_WAY, FaultKind.STALL, FaultKind.DROP}


class ToySystem:
    """See the module's text."""

    def __init__(
        self, seed: int = 0, *, breaks: frozenset[str] = frozenset(), profile: Profile = PROFILE
    ) -> None:
        assert breaks <= BREAKS.keys(), breaks
        self.seed, self.breaks, self._profile = seed, breaks, profile
        self._history = History()
        self._began = trio.current_time()
        self.databases: dict[str, dict[str, ToyDatabase]] = {name: {} for name in profile.leaders}
        self.replicas: dict[tuple[str, str], ToyReplica] = {}
        self.capability = {c: c in profile.streaming for c in profile.leaders + profile.followers}
        self.off_at: dict[str, float] = {}
        self.epoch = 0
        self.next_key = 0
        self.draw = Draw(seed, "toy")
        self.faults: dict[int, Fault] = {}
        self._control = ToyControl(self)
        self.coordinator_down_since: float | None = None
        self._changed = trio.Event()

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def control(self) -> ToyControl:
        return self._control

    @property
    def history(self) -> History:
        return self._history

    def now(self) -> float:
        return trio.current_time() - self._began

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def door(self, cluster: str, client: str) -> ToyDoor:
        return ToyDoor(self, cluster, client)

    # -- faults ---------------------------------------------------------------------------------

    async def begin(self, number: int, fault: Fault) -> None:
        await trio.lowlevel.checkpoint()
        self.faults[number] = fault
        self._history.add(
            self.now(), "nemesis", FaultBegan(number=number, kind=fault.kind.value,
                                              target=fault.target)
        )  # fmt: skip
        if self._is_coordinator_away() and self.coordinator_down_since is None:
            self.coordinator_down_since = self.now()
        if fault.kind in _DOWN and fault.link is None:
            self._killed(fault)
        for replica in self.replicas.values():
            self.advance(replica)

    def _killed(self, fault: Fault) -> None:
        process = _process(fault.target)
        self._history.add(
            self.now(), "system", ProcessEnded(process=process, how=_DOWN[fault.kind])
        )
        cluster = process.partition("/")[0]
        if "R5" in self.breaks:
            for database in self.databases.get(cluster, {}).values():
                self._lose_last(database)
        for (follower, _name), replica in self.replicas.items():
            if follower == cluster and fault.kind is FaultKind.REPLACE:
                replica.tree, replica.applied = ToyTree(), 0

    def _started(self, process: str) -> None:
        """Breaks R10: a follower begins with half of what it had, and stays so for a minute."""
        for (follower, _name), replica in self.replicas.items():
            if follower == process.partition("/")[0] and "R10" in self.breaks:
                log = self.databases[replica.leader][replica.database].log
                replica.applied //= 2
                replica.tree, replica.horizon = ToyTree(), self.now() + 60
                for entry in log[: replica.applied]:
                    replica.tree.apply(entry)

    def _lose_last(self, database: ToyDatabase) -> None:
        rows = [n for n, entry in enumerate(database.log) if entry.kind == "rows"]
        if rows:
            del database.log[rows[-1]]
            database.tree = ToyTree()
            for entry in database.log:
                database.tree.apply(entry)

    async def end(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        fault = self.faults.pop(number, None)
        if fault is None:
            return
        self._changed.set()
        self._changed = trio.Event()
        self._history.add(self.now(), "nemesis", FaultEnded(number=number))
        if not self._is_coordinator_away():
            self.coordinator_down_since = None
        if fault.kind in _DOWN and fault.link is None:
            process = _process(fault.target)
            self._started(process)
            self._history.add(self.now(), "system", ProcessBegan(process=process))

    async def heal(self) -> None:
        for number in sorted(self.faults):
            await self.end(number)

    def _is_coordinator_away(self) -> bool:
        """Nobody's lease is renewed."""
        return any(
            fault.kind in {*_DOWN, FaultKind.PAUSE} and fault.target == "coordinator"
            for fault in self.faults.values()
        )

    def is_up(self, cluster: str) -> bool:
        return not any(
            fault.kind in _DOWN and _process(fault.target).partition("/")[0] == cluster
            for fault in self.faults.values()
            if fault.link is None
        )

    async def arrive(self, cluster: str) -> None:
        """A request reaches a process, or not: it is down, or paused and answers later."""
        await trio.sleep(0.01 + self.draw.unit() * 0.05)
        while any(
            fault.kind is FaultKind.PAUSE and _process(fault.target).partition("/")[0] == cluster
            for fault in self.faults.values()
        ):
            await self._changed.wait()
        if not self.is_up(cluster):
            raise UnavailableError(f"{cluster} cannot be reached")

    def _is_cut(self, leader: str, follower: str) -> bool:
        pair = {leader, follower}
        return not (self.is_up(leader) and self.is_up(follower)) or any(
            fault.kind in _CUT and fault.link is not None and set(fault.link) == pair
            for fault in self.faults.values()
        )

    # -- followers ------------------------------------------------------------------------------

    def advance(self, replica: ToyReplica) -> None:
        """Applies what has arrived by now."""
        follower = next(name for (name, _), item in self.replicas.items() if item is replica)
        if self._is_cut(replica.leader, follower):
            replica.skipped = "L1" in self.breaks or replica.skipped
            return
        if replica.skipped:
            return
        horizon = self.now() - DELAY_SECONDS
        if horizon <= replica.horizon:
            return
        replica.horizon = horizon
        log = self.databases[replica.leader][replica.database].log
        while replica.applied < len(log) and log[replica.applied].at <= horizon:
            entry = log[replica.applied]
            replica.applied += 1
            if "R1" in self.breaks and entry.kind == "rows" and replica.applied % 7 == 0:
                continue
            replica.tree.apply(entry)

    def is_open(self, follower: str, replica: ToyReplica) -> bool:
        """Whether streaming rows may be seen there now."""
        if "G1" in self.breaks:
            return True
        down = self.coordinator_down_since
        if down is not None and self.now() - down > LEASE_SECONDS and "C1" not in self.breaks:
            return False
        off_at = self.off_at.get(follower, 0.0)
        if "G3" in self.breaks and off_at and self.now() - off_at < 20:
            return True
        if "G4" in self.breaks and off_at and 3 < self.now() - off_at < 90:
            return True
        return self.capability[follower] and replica.attached


def _process(target: str) -> str:
    return target if "/" in target or target == "coordinator" else f"{target}/0"
