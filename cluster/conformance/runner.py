"""One run: clients and faults, then healing, then quiet. Fills the system's history.

Works the same in virtual and in real time: the system's clock is the one its trio runs on.
Nothing waits without an end: calls are given up after ``Plan.call_seconds``, retries stop when
their phase is over, and a fault that cannot be begun or ended within a time fails the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.notes import Phase
from cluster.conformance.playing import Player
from cluster.conformance.recording import Recorder
from cluster.conformance.settling import Settler, worked
from cluster.errors import UnavailableError

if TYPE_CHECKING:
    from cluster.conformance.faults import Fault, Schedule
    from cluster.conformance.plan import Plan
    from cluster.conformance.system import System

WHO: Final = "runner"

_SETUP_SECONDS: Final = 60.0
_FAULT_SECONDS: Final = 120.0


async def run(system: System, plan: Plan, schedule: Schedule) -> None:
    """Carries out a plan under a schedule and records everything in ``system.history``.

    Phases, each a note: ``safety`` (setup, clients, faults), ``liveness`` (no faults, the plan's
    final state, waiting until all have caught up), ``quiet`` (everything is read everywhere,
    sealed, and read again), ``end``. Raises UnavailableError if the setup does not succeed, and
    trio.TooSlowError if the system cannot begin, end or heal a fault.
    """
    player = Player(system, Recorder(system), plan.call_seconds)
    settler = Settler(system, player, plan)
    _enter(system, "safety")
    await _set_up(system, plan, settler)
    over = trio.Event()
    async with trio.open_nursery() as clients:
        async with trio.open_nursery() as faults:
            for client in plan.clients:
                clients.start_soon(player.play, client, plan.safety_seconds)
            for number, fault in enumerate(schedule.faults):
                faults.start_soon(_strike, system, number, fault, over)
            await system.sleep(max(0.0, plan.safety_seconds - system.now()))
            over.set()
        with trio.fail_after(_FAULT_SECONDS):
            await system.heal()
        _enter(system, "liveness")
    await settler.settle()
    _enter(system, "quiet")
    await settler.look()
    _enter(system, "end")


def _enter(system: System, phase: str) -> None:
    system.history.add(system.now(), WHO, Phase(name=phase))


async def _set_up(system: System, plan: Plan, settler: Settler) -> None:
    until = system.now() + _SETUP_SECONDS
    for action in plan.setup:
        outcome = await settler.insist(action, until, who=WHO)
        if not worked(outcome):
            raise UnavailableError(f"the run could not be set up: {action} ended with {outcome}")


async def _strike(system: System, number: int, fault: Fault, over: trio.Event) -> None:
    """One fault. What has not ended when the safety phase is over is ended by healing."""
    if await _waited(system, fault.at, over):
        return
    with trio.fail_after(_FAULT_SECONDS):
        await system.begin(number, fault)
    if await _waited(system, fault.ends_at, over):
        return
    with trio.fail_after(_FAULT_SECONDS):
        await system.end(number)


async def _waited(system: System, until: float, over: trio.Event) -> bool:
    """Waits until a moment; True if the phase was over before."""
    with trio.move_on_after(max(0.0, until - system.now())):
        await over.wait()
    return over.is_set()
