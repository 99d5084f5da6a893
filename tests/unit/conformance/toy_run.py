"""A whole run on the toy, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toy_system import PROFILE, ToySystem

from cluster.conformance.generate import generate_plan, generate_schedule
from cluster.conformance.runner import run
from cluster.testing.sim.scheduling import run_virtual

if TYPE_CHECKING:
    from cluster.conformance.faults import Schedule
    from cluster.conformance.plan import Plan
    from cluster.conformance.system import Profile


def run_toy(
    seed: int,
    *,
    breaks: frozenset[str] = frozenset(),
    plan: Plan | None = None,
    schedule: Schedule | None = None,
    profile: Profile = PROFILE,
) -> ToySystem:
    """The system after a run; its history is complete."""

    async def main() -> ToySystem:
        system = ToySystem(seed, breaks=breaks, profile=profile)
        await run(
            system,
            generate_plan(seed, profile) if plan is None else plan,
            generate_schedule(seed, profile) if schedule is None else schedule,
        )
        return system

    return run_virtual(main, seed)
