"""Runs that are pure functions: what campaigns, shrinking and replays meet instead of a system.

A run of :func:`run_seed` breaks rule R5 if the leader is killed while the link to follower1 is cut,
and the operation number 40 is not left out. R9 is unknown if a run is told to have no faults.
Worker processes import this module by its name.
"""

from __future__ import annotations

import os
import signal
import time

from cluster.conformance.calls import Ingest, Ingested, Read, Refused
from cluster.conformance.calls import Unknown as Lost
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.history import History
from cluster.conformance.notes import (
    Bookmarked,
    Delivered,
    FaultBegan,
    FaultEnded,
    FollowOpened,
    GateReported,
    Phase,
    ProcessBegan,
    ProcessEnded,
    Reached,
)
from cluster.conformance.request import RunRequest, RunResult
from cluster.conformance.system import Feature, Profile
from cluster.conformance.values import At
from cluster.conformance.verdict import Violation, judge

OPERATIONS = 100
GUILTY = 40
PROFILE = Profile(
    leaders=("leader",),
    followers=("follower1",),
    streaming=frozenset({"leader"}),
    features=frozenset({Feature.FAULTS, Feature.FRAMES}),
)
GUARANTEE = "an acknowledged row is never lost"


def drawn(seed: int, count: int = 12) -> Schedule:
    """Seeds that 5 divides have the two faults that matter, among others."""
    faults = [
        Fault(kind=FaultKind.DELAY, target="leader->follower2", at=5.0 * n, duration=3.5, seconds=1)
        for n in range(count)
    ]
    if seed % 5 == 0:
        cut = FaultKind.PARTITION
        faults[3] = Fault(kind=cut, target="leader->follower1", at=11.25, duration=40.0)
        faults[7] = Fault(kind=FaultKind.KILL, target="leader/0", at=20.5, duration=8.0)
    return Schedule(faults=tuple(faults))


def is_skipped(request: RunRequest, operation: int) -> bool:
    return any(first <= operation < end for first, end in request.skipped)


def record(seed: int, schedule: Schedule, mutant: str) -> History:
    history = History()
    history.add(0.0, "runner", Phase(name="safety"))
    history.add(0.0, "leader/0", ProcessBegan(process="leader/0"))
    opened = FollowOpened(session=1, leader="leader", follower="follower1", database="D")
    history.add(0.5, "follower1/0", opened)
    at = At(version=(1, 2), keys={7: (2, 99)})
    ingest = Ingest(cluster="leader", database="D", table="T", source=f"s{seed}", ids=(1, 2, 3, 9))
    history.add(1.0, "client1", ingest, 1)
    history.add(1.25, "client1", Ingested(position=at), 1)
    history.add(1.5, "client2", Read(cluster="follower1", database="D", table="T"), 2)
    history.add(1.6, "client2", Refused(code="NotFound", message="no <table> 'T' & such"), 2)
    gate = GateReported(session=1, sequence=1, epoch=3, open=True, position=at)
    history.add(2.0, "follower1/0", gate)
    rows = Delivered(session=1, key=7, first=0, end=2, checksum=99, epoch=3, sequence=1)
    history.add(2.1, "follower1/0", rows)
    history.add(2.2, "follower1/0", Bookmarked(session=1, position=at, sequence=1))
    for number, fault in enumerate(schedule.faults):
        began = FaultBegan(number=number, kind=fault.kind.value, target=fault.target)
        history.add(fault.at + 3.0, "faults", began)
        if fault.duration:
            history.add(fault.at + 3.5, "faults", FaultEnded(number=number))
    history.add(70.0, "leader/0", ProcessEnded(process="leader/0", how="kill"))
    history.add(71.0, "client1", ingest, 3)
    history.add(72.0, "client1", Lost(code="Timeout", message=mutant), 3)
    history.add(73.0, "client2", Read(cluster="leader", database="D", table="T"), 4)
    if seed % 2 == 0:
        history.add(74.0, "follower1/0", Reached(state="lease ran out"))
    history.add(80.0, "runner", Phase(name="end"))
    return history


def run_seed(request: RunRequest, *, mutant: str = "") -> RunResult:
    """See the module's text."""
    schedule = drawn(request.seed) if request.schedule is None else request.schedule
    kinds = {fault.kind for fault in schedule.faults}
    lost = {FaultKind.KILL, FaultKind.PARTITION} <= kinds and not is_skipped(request, GUILTY)
    shown = int(request.intensity > 0 or request.target is not None)
    broken = [
        Violation(rule=rule, at=at, message=f"{GUARANTEE}: row 9 was", events=(3, 4))
        for rule, at, is_broken in [("R5", 3.1214, lost), ("G1", 2.1, mutant == "G1")]
        if is_broken
    ]
    verdicts = tuple(
        judge(rule, checked, tuple(v for v in broken if v.rule == rule), why="nothing went wrong")
        for rule, checked in [("G1", 1), ("R5", 4), ("R9", shown)]
    )
    return RunResult(
        seed=request.seed,
        history=record(request.seed, schedule, mutant),
        schedule=schedule,
        verdicts=verdicts,
        virtual_seconds=80.0,
        real_seconds=0.25,
        operations=OPERATIONS,
        profile=PROFILE,
    )


PLANTED: list[str] = []
"""Rules that mutants break at the moment."""


def run_planted(request: RunRequest) -> RunResult:
    """A run that feels mutants which say so in PLANTED."""
    return run_seed(request, mutant="".join(PLANTED))


def run_badly(request: RunRequest) -> RunResult:
    """Seed 2 kills its process, seed 3 never ends, seed 4 raises, seed 6 reports a crash."""
    if request.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    while request.seed == 3:
        time.sleep(0.05)
    if request.seed == 4:
        raise RuntimeError("the checker is broken")
    result = run_seed(request)
    if request.seed != 6:
        return result
    error = 'Traceback:\n  File "x.py"\nAssertionError: ordinal 7 < 9\n'
    return RunResult(
        seed=6,
        history=result.history,
        schedule=result.schedule,
        verdicts=(),
        virtual_seconds=3.5,
        real_seconds=0.1,
        error=error,
    )
