"""Defects that are planted to prove that the rules are watched. Pure but for what mutants patch.

A checker that never failed proves nothing. Each mutant breaks one rule in the code under test, in
the process of the run only, and the campaign must find it: mutants are where a suite of tests is
itself tested (R. DeMillo, R. Lipton, F. Sayward: *Hints on Test Data Selection*, 1978).
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import msgspec

from cluster.conformance.campaign import SeedTask, perform_seed
from cluster.conformance.summary import violations_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cluster.conformance.campaign import SeedReport
    from cluster.conformance.request import RunRequest, RunResult, RunSeed


class Mutant(Protocol):
    """One defect."""

    @property
    def name(self) -> str:
        """Unique; letters, digits and dashes."""

    @property
    def rule(self) -> str:
        """The rule it breaks."""

    @property
    def story(self) -> str:
        """What a programmer might have done wrong, in a sentence."""

    @property
    def apply(self) -> Callable[[], AbstractContextManager[object]]:
        """Plants it in this process until the context is left."""


class UnknownMutantError(LookupError):
    """There is no mutant of that name; the message names those there are."""


def load_mutants(module: str) -> tuple[Mutant, ...]:
    """``MUTANTS`` of a module, all of them; none if this build comes without the module."""
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the module is there, what it needs is not
        return ()
    mutants: tuple[Mutant, ...] = loaded.MUTANTS
    return mutants


def select_mutants(mutants: Sequence[Mutant], names: Sequence[str]) -> tuple[Mutant, ...]:
    """Those of these names, in their order; all of them without names."""
    known = {mutant.name: mutant for mutant in mutants}
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none in this build"
            raise UnknownMutantError(f"no mutant {name!r}; there are: {there}")
    return tuple(known[name] for name in names) if names else tuple(mutants)


class Planted:
    """A RunSeed that plants the request's mutant around each run."""

    def __init__(self, run: RunSeed, mutants: Callable[[], Sequence[Mutant]]) -> None:
        """``mutants`` loads them; not called before a request names one."""
        self._run = run
        self._mutants = mutants

    def __call__(self, request: RunRequest) -> RunResult:
        """Raises UnknownMutantError before anything runs."""
        if not request.mutant:
            return self._run(request)
        (mutant,) = select_mutants(self._mutants(), [request.mutant])
        with contextlib.ExitStack() as stack:
            stack.enter_context(mutant.apply())
            return self._run(request)


@dataclass(frozen=True, slots=True)
class HuntTask:
    """Runs seeds with a mutant until ``rule`` is violated, for at most ``seconds`` (real)."""

    request: RunRequest
    rule: str
    seeds: int
    seconds: float
    shrink_tries: int


class HuntOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a hunt ended. ``seed`` None: the mutant survived ``runs`` runs.

    ``others`` are rules that failed as well, or instead: a mutant that trips only those survived,
    because then nothing has shown that its own rule is watched. ``faults`` are left after
    shrinking; None if that was not asked for.
    """

    mutant: str
    rule: str
    runs: int
    real_seconds: float
    seed: int | None = None
    others: tuple[str, ...] = ()
    faults: int | None = None
    replay: str = ""
    message: str = ""

    @property
    def caught(self) -> bool:
        """Its own rule failed."""
        return self.seed is not None


def perform_hunt(
    task: HuntTask,
    run: RunSeed,
    clock: Callable[[], float],
    beat: Callable[[], None] = lambda: None,
) -> HuntOutcome:
    """Seeds one after the other, the first that breaks the rule is shrunk by that rule.

    ``clock`` tells real seconds.
    """
    began = clock()
    others: set[str] = set()
    runs = 0
    caught: SeedReport | None = None
    while caught is None and runs < task.seeds and clock() - began <= task.seconds:
        request = replace(task.request, seed=task.request.seed + runs)
        beat()
        result = run(request)
        runs += 1
        rules = [violation.rule for violation in violations_of(result)]
        others |= {rule for rule in rules if rule != task.rule}
        if task.rule in rules:
            again = SeedTask(request, task.shrink_tries, rule=task.rule)
            caught = perform_seed(again, run, beat, result)
    ended = HuntOutcome(
        mutant=task.request.mutant,
        rule=task.rule,
        runs=runs,
        real_seconds=round(clock() - began, 3),
        others=tuple(sorted(others)),
    )
    return ended if caught is None else _with_catch(ended, caught)


def _with_catch(ended: HuntOutcome, report: SeedReport) -> HuntOutcome:
    failures = report.outcome.failures
    failure = next(item for item in failures if item.violation.rule == ended.rule)
    return msgspec.structs.replace(
        ended,
        seed=report.outcome.seed,
        faults=failure.shrunk.faults if failure.shrunk is not None else None,
        replay=failure.line,
        message=failure.violation.message,
    )
