"""What a campaign does with one seed: run, judge, shrink, report. Pure but for the run itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.conformance.replay import Replay, command, schedule_hash
from cluster.conformance.shrink import DEFAULT_TRIES, Shrunk, shrink
from cluster.conformance.summary import (
    Failure,
    SeedOutcome,
    ShrunkOutcome,
    outcome_of,
    violations_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.conformance.request import RunRequest, RunResult, RunSeed

MAX_SEEDS: Final = 1_000_000
"""Of one campaign; outcomes of all of them are held in memory."""

_SEEDS: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def parse_seeds(text: str) -> range:
    """``7`` or ``1-200``, both ends included. Raises ValueError."""
    match = _SEEDS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither a seed (7) nor a range of seeds (1-200)")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    if last - first >= MAX_SEEDS:
        raise ValueError(f"{text!r} has more than {MAX_SEEDS:,} seeds")
    return range(first, last + 1)


@dataclass(frozen=True, slots=True)
class SeedTask:
    """One seed of a campaign. ``shrink_tries`` 0 leaves failures as they are.

    ``rule`` is the one to shrink by; empty: the one that is violated first, because what fails
    later in a run is most often its consequence.
    """

    request: RunRequest
    shrink_tries: int = DEFAULT_TRIES
    rule: str = ""


@dataclass(frozen=True, slots=True)
class SeedReport:
    """All there is of a seed, for whoever stores it; ``shrunk`` is by rule."""

    result: RunResult
    outcome: SeedOutcome
    shrunk: dict[str, Shrunk]


def perform_seed(
    task: SeedTask,
    run: RunSeed,
    beat: Callable[[], None] = lambda: None,
    result: RunResult | None = None,
) -> SeedReport:
    """Runs the seed (unless ``result`` is what that gave) and cuts a failure down.

    ``beat`` is called before each run, so that an observer can tell slow from stuck.
    """

    def observed(request: RunRequest) -> RunResult:
        beat()
        return run(request)

    request = task.request
    result = result or observed(request)
    violations = violations_of(result)
    digest = result.history.digest()
    drawn = "" if request.schedule is not None else schedule_hash(result.schedule)
    shrunk: dict[str, Shrunk] = {}
    if violations and task.shrink_tries and request.target is None:
        rule = task.rule or violations[0].rule
        shrunk[rule] = shrink(request, result, rule, observed, tries=task.shrink_tries)
    failures = [
        Failure(
            violation=violation,
            replay=_line(Replay(request, violation.rule, digest, drawn)),
            shrunk=_shrunk_outcome(result, violation.rule, shrunk.get(violation.rule)),
        )
        for violation in violations
    ]
    return SeedReport(result, outcome_of(result, failures), shrunk)


def _line(replay: Replay) -> str:
    """The command, or nothing for a run that only its owner can repeat."""
    return command(replay) if replay.request.target is None else ""


def _shrunk_outcome(found: RunResult, rule: str, shrunk: Shrunk | None) -> ShrunkOutcome | None:
    if shrunk is None:
        return None
    replay = Replay(shrunk.request, rule, shrunk.result.history.digest())
    return ShrunkOutcome(
        faults=len(shrunk.schedule.faults),
        of=len(found.schedule.faults),
        tries=shrunk.tries,
        replay=command(replay),
        complete=shrunk.complete,
        reproduced=shrunk.reproduced,
    )


def replay_mismatch(replay: Replay, result: RunResult) -> str:
    """Why a replay is not the recorded run again; empty if it is, or if nobody can tell."""
    drawn = schedule_hash(result.schedule)
    if replay.request.schedule is None and replay.drawn and drawn != replay.drawn:
        return "this build draws other faults from the seed than the build that printed the line"
    digest = result.history.digest()
    if replay.digest and not digest.startswith(replay.digest):
        return "the history is another than the recorded one: the code has changed since"
    return ""


def requests_of(base: RunRequest, seeds: range) -> list[RunRequest]:
    """The same request for each seed."""
    return [replace(base, seed=seed) for seed in seeds]
