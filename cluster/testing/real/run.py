"""One conformance run on real processes of this machine."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.checkers.parameters import RuleParameters
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.generate import generate_plan, generate_schedule
from cluster.conformance.history import History
from cluster.conformance.request import RunRequest, RunResult
from cluster.conformance.rules import check_all
from cluster.conformance.runner import run
from cluster.launcher.lifecycle import Commands
from cluster.launcher.topology import COORDINATOR
from cluster.testing.real.system import CALL_SECONDS, LIMITS, MENU, PROFILE, RealSystem

if TYPE_CHECKING:
    from cluster.conformance.plan import Plan

SAFETY_SECONDS: Final = 15.0
LIVENESS_SECONDS: Final = 30.0
LOAD: Final = 0.5
"""Times the usual number of operations: they come at forty times the pace of virtual time."""

PARAMETERS: Final = RuleParameters(
    lease_seconds=LIMITS["lease_seconds"],
    lease_slack_seconds=1.0,
    notice_seconds=5.0,
    late_effect_seconds=CALL_SECONDS + 5.0,
)


def run_seed(request: RunRequest) -> RunResult:
    """Launches the default topology, runs the seed on it in real time, judges it, ends it.

    A mutant is planted into the processes launched, not into this one.
    """
    began = time.monotonic()
    whole, schedule = _drawn(request)
    plan = whole.without(request.skipped)
    error, history = "", History()
    try:
        with tempfile.TemporaryDirectory(prefix="remora-conform-") as folder:
            trio.run(_run, Path(folder), request, plan, schedule, history)
    except Exception:
        error = traceback.format_exc()
    return RunResult(
        seed=request.seed,
        history=history,
        schedule=schedule,
        verdicts=check_all(history, PROFILE, PARAMETERS),
        virtual_seconds=history.events[-1].at if len(history) else 0.0,
        real_seconds=time.monotonic() - began,
        error=error,
        operations=whole.operations,
        profile=PROFILE,
        parameters=PARAMETERS,
    )


def _drawn(request: RunRequest) -> tuple[Plan, Schedule]:
    safety = SAFETY_SECONDS if request.safety_seconds is None else request.safety_seconds
    liveness = LIVENESS_SECONDS if request.liveness_seconds is None else request.liveness_seconds
    plan = generate_plan(
        request.seed,
        PROFILE,
        safety_seconds=safety,
        liveness_seconds=liveness,
        call_seconds=CALL_SECONDS,
        load=LOAD,
        thorough=True,  # few such runs are made
        version=request.plan_version,
    )
    schedule = request.schedule
    if schedule is None:
        schedule = generate_schedule(
            request.seed, PROFILE, menu=MENU, safety_seconds=safety, intensity=request.intensity
        )
        schedule = _with_outage(schedule, safety)
    return plan, schedule


def _with_outage(schedule: Schedule, safety_seconds: float) -> Schedule:
    """The schedule with the coordinator gone for longer than a lease: what C1 is about."""
    longer = PARAMETERS.lease_over_seconds + 2.0
    outage = Fault(
        kind=FaultKind.KILL, target=COORDINATOR, at=safety_seconds * 0.45, duration=longer
    )
    others = (
        fault
        for fault in schedule.faults
        if fault.target != COORDINATOR or fault.ends_at < outage.at or fault.at > outage.ends_at
    )
    return Schedule(faults=tuple(sorted((*others, outage), key=lambda fault: fault.at)))


async def _run(
    folder: Path, request: RunRequest, plan: Plan, schedule: Schedule, history: History
) -> None:
    name, commands = f"conform-{request.seed}", _commands(request.mutant)
    async with RealSystem.launched(folder, name, history, commands) as system:
        await run(system, plan, schedule)


def _commands(mutant: str) -> Commands | None:
    if not mutant:
        return None
    line = (sys.executable, "-P", "-m", "cluster.testing.real.mutated", mutant)
    return Commands(
        coordinator=(*line, "cluster.coordinator.main"), node=(*line, "cluster.node.main")
    )
