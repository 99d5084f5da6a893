"""One conformance run against endpoints, from outside."""

from __future__ import annotations

import os
import secrets
import sys
import time
import traceback
from typing import TYPE_CHECKING

import msgspec
import trio

from cluster.conformance.faults import Schedule
from cluster.conformance.history import History
from cluster.conformance.request import RunRequest, RunResult
from cluster.conformance.rules import check_all
from cluster.conformance.runner import run
from cluster.conformance.verdict import Judgement
from cluster.errors import RemoraError
from cluster.testing.endpoint.claims import check_target, parameters_of, profile_of, times_of
from cluster.testing.endpoint.planning import Tables, plan_of
from cluster.testing.endpoint.system import EndpointSystem, NotReadyError, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.conformance.plan import Plan
    from cluster.conformance.request import Target
    from cluster.conformance.verdict import Verdict


class _Run:
    """What is known of a run so far: it may end anywhere."""

    def __init__(self, request: RunRequest, target: Target) -> None:
        self.request = request
        self.target = target
        self.history = History()
        self.plan: Plan | None = None

    async def play(self) -> None:
        request = self.request
        self.target = target = await resolved(self.target)
        times = times_of(target, request.safety_seconds, request.liveness_seconds)
        tables = Tables.of(target, f"s{request.seed}_{secrets.token_hex(3)}")
        self.plan = plan = plan_of(request.seed, target, tables, times)
        async with EndpointSystem.opened(target, times, tables, self.history, _warn) as system:
            await run(system, plan, Schedule())


def run_seed(request: RunRequest) -> RunResult:
    """Runs the plan of the seed against ``request.target``, judges it, and takes its tables away.

    No faults and no mutants: ValueError for a request of either, without a target, or with one that
    :func:`.claims.check_target` refuses. Clusters that cannot be reached or are not as described
    (:class:`.system.NotReadyError`) are no violation: rules are unknown then and say why, but for
    those that were broken by then. What could not be put back is told on standard error.
    """
    target = request.target
    if target is None or request.mutant or (request.schedule and request.schedule.faults):
        raise ValueError("a run against endpoints has a target, no mutant and no faults")
    began = time.monotonic()
    one, error, doubt = _Run(request, target), "", ""
    check_target(target, os.environ)
    try:
        trio.run(one.play)
    except (RemoraError, NotReadyError) as failure:
        doubt = str(failure)
    except Exception:
        error = traceback.format_exc()
    history = one.history
    profile = profile_of(one.target)
    times = times_of(one.target, request.safety_seconds, request.liveness_seconds)
    parameters = parameters_of(one.target, times)
    verdicts: Sequence[Verdict] = check_all(history, profile, parameters)
    return RunResult(
        seed=request.seed,
        history=history,
        schedule=Schedule(),
        verdicts=tuple(_doubted(verdict, doubt) for verdict in verdicts),
        virtual_seconds=history.events[-1].at if len(history) else 0.0,
        real_seconds=time.monotonic() - began,
        error=error,
        operations=_operations(one.plan),
        profile=profile,
        parameters=parameters,
    )


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


def _doubted(verdict: Verdict, doubt: str) -> Verdict:
    """A run that was cut short proves nothing, but what it broke is broken."""
    if not doubt or verdict.judgement in (Judgement.FAIL, Judgement.NOT_APPLICABLE):
        return verdict
    return msgspec.structs.replace(verdict, judgement=Judgement.UNKNOWN, why=doubt)


def _operations(plan: Plan | None) -> int:
    return 0 if plan is None else sum(len(client.steps) for client in plan.clients)
