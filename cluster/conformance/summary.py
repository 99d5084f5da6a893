"""What is left of runs when their histories are gone: outcomes, and their sum. Pure.

Outcomes travel from worker processes to the campaign, so they are small values. Nothing of the sum
depends on the order in which outcomes arrive.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.conformance.checkers.sometimes import S1, SOMETIMES, reached
from cluster.conformance.verdict import Judgement, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.conformance.request import RunResult

CRASH: Final = "crash"
"""Stands where a rule's id stands if the run broke: it is a violation too."""

SOMETIMES_SEEDS: Final = 50
"""Campaigns of so many seeds must have reached every interesting state."""

EXIT_PASSED: Final = 0
EXIT_VIOLATED: Final = 1
EXIT_UNKNOWN: Final = 2


class ShrunkOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How far a failure was cut down. ``replay`` is its line; ``faults`` of ``of`` are left."""

    faults: int
    of: int
    tries: int
    replay: str
    complete: bool = True
    reproduced: bool = True


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The first violation of a rule in a run, and the line that replays it (or empty)."""

    violation: Violation
    replay: str
    shrunk: ShrunkOutcome | None = None

    @property
    def line(self) -> str:
        """The shortest line there is."""
        return self.shrunk.replay if self.shrunk is not None else self.replay


class SeedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``judgements`` maps rules to judgements; ``reached`` are interesting states.

    ``why_unknown`` says for rules judged unknown what the history lacks.
    """

    seed: int
    digest: str
    events: int
    judgements: dict[str, Judgement]
    virtual_seconds: float
    real_seconds: float
    failures: tuple[Failure, ...] = ()
    why_unknown: dict[str, str] = msgspec.field(default_factory=dict)
    reached: tuple[str, ...] = ()

    @property
    def proves(self) -> bool:
        """Whether any rule could be judged, or the run broke. If not, nobody knows anything."""
        judged = {Judgement.PASS, Judgement.FAIL}
        return bool(self.failures) or not judged.isdisjoint(self.judgements.values())


def violations_of(result: RunResult) -> tuple[Violation, ...]:
    """The first violation of every rule that failed, and :data:`CRASH`; by time."""
    found = [
        min(verdict.violations, key=lambda violation: violation.at)
        for verdict in result.verdicts
        if verdict.judgement is Judgement.FAIL and verdict.violations
    ]
    if result.error:
        last = result.error.strip().splitlines()[-1]
        message = f"the code under test never crashes: {last}"
        found.append(Violation(rule=CRASH, at=result.virtual_seconds, message=message))
    return tuple(sorted(found, key=lambda violation: (violation.at, violation.rule)))


def crash_name(result: RunResult) -> str:
    """What kind of error broke the run: ``AssertionError``; empty if none did."""
    return result.error.strip().splitlines()[-1].partition(":")[0] if result.error else ""


def outcome_of(result: RunResult, failures: Sequence[Failure]) -> SeedOutcome:
    """What is kept of a run."""
    return SeedOutcome(
        seed=result.seed,
        digest=result.history.digest(),
        events=len(result.history),
        judgements={verdict.rule: verdict.judgement for verdict in result.verdicts},
        virtual_seconds=result.virtual_seconds,
        real_seconds=result.real_seconds,
        failures=tuple(failures),
        why_unknown={
            verdict.rule: verdict.why
            for verdict in result.verdicts
            if verdict.judgement is Judgement.UNKNOWN
        },
        reached=tuple(sorted(reached(result.history))),
    )


def lost_outcome(seed: int, message: str, replay: str, real_seconds: float) -> SeedOutcome:
    """A run of which nothing came back: its process died or had to be ended."""
    violation = Violation(rule=CRASH, at=0.0, message=message)
    return SeedOutcome(
        seed=seed,
        digest="",
        events=0,
        judgements={},
        virtual_seconds=0.0,
        real_seconds=real_seconds,
        failures=(Failure(violation=violation, replay=replay),),
    )


def failure_line(seed: int, failure: Failure) -> str:
    """One line for people and for grep."""
    violation = failure.violation
    message = " ".join(violation.message.split())
    replay = f" | replay: {failure.line}" if failure.line else ""
    return f"FAIL {violation.rule} seed={seed} t={violation.at:.3f}s: {message}{replay}"


def unreached_line(summary: Summary, state: str) -> str:
    """One line, like that of a failure."""
    return (
        f"FAIL {S1} seeds={summary.seeds}: every interesting state is reached in a campaign: "
        f"none reached {state!r}"
    )


class RuleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds by what a rule was judged to be in them."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0
    not_applicable: int = 0

    @property
    def proves(self) -> bool:
        """Whether any seed had something that this rule could be judged by."""
        return self.passed + self.failed > 0


class MutantCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Mutants that were planted, and caught by the rule they break."""

    caught: int = 0
    total: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign. ``violations`` counts (seed, rule) pairs.

    ``unknown`` counts rules that no seed could judge, and seeds that no rule could judge. A seed in
    which a rule had nothing to look at is no doubt by itself: seeds differ on purpose, and a rule
    needs some that show what it is about.

    ``sometimes`` counts, for each interesting state, the seeds that reached it; ``unreached`` are
    those that no seed did, if the campaign is to be blamed for it.
    """

    system: str
    seeds: int
    violations: int
    unknown: int
    sometimes: dict[str, int]
    unreached: tuple[str, ...]
    rules: dict[str, RuleCounts]
    mutants: MutantCounts
    history_hash: str
    virtual_seconds: float
    real_seconds: float
    outcomes: tuple[SeedOutcome, ...] = ()
    mutant: str = ""

    @property
    def exit_code(self) -> int:
        """1 for a violation, a surviving mutant or a state never reached; else 2 for unknown."""
        survived = self.mutants.caught < self.mutants.total
        if self.violations or self.unreached or survived:
            return EXIT_VIOLATED
        return EXIT_UNKNOWN if self.unknown or not self.seeds else EXIT_PASSED

    def line(self) -> dict[str, Any]:
        """The value of the last line of ``--json``."""
        return {
            "seeds": self.seeds,
            "violations": self.violations,
            "unknown": self.unknown,
            "sometimes": self.sometimes,
            "mutants": {"caught": self.mutants.caught, "total": self.mutants.total},
            "history_hash": self.history_hash,
        }


@dataclass(slots=True)
class Tally:
    """Sums outcomes up.

    ``blamed``: the campaign draws its faults and shows all there is to see, so that with
    :data:`SOMETIMES_SEEDS` seeds it must have reached every interesting state.
    """

    system: str
    mutant: str = ""
    blamed: bool = False
    outcomes: dict[int, SeedOutcome] = field(default_factory=dict)

    def add(self, outcome: SeedOutcome) -> None:
        """One more seed; each may be added once."""
        if outcome.seed in self.outcomes:
            raise ValueError(f"seed {outcome.seed} was added already")
        self.outcomes[outcome.seed] = outcome

    @property
    def violations(self) -> int:
        """(seed, rule) pairs so far."""
        return sum(len(outcome.failures) for outcome in self.outcomes.values())

    def summary(self, real_seconds: float, mutants: MutantCounts | None = None) -> Summary:
        """The sum. ``real_seconds`` is what the whole campaign took."""
        outcomes = tuple(outcome for _, outcome in sorted(self.outcomes.items()))
        sometimes = self._sometimes(outcomes)
        rules = _rule_counts(outcomes)
        blamed = self.blamed and len(outcomes) >= SOMETIMES_SEEDS
        return Summary(
            system=self.system,
            mutant=self.mutant,
            seeds=len(outcomes),
            violations=self.violations,
            unknown=sum(counts.unknown > 0 and not counts.proves for counts in rules.values())
            + sum(not outcome.proves for outcome in outcomes),
            sometimes=sometimes,
            unreached=tuple(s for s, count in sometimes.items() if not count) if blamed else (),
            rules=rules,
            mutants=mutants or MutantCounts(),
            history_hash=history_hash(outcomes),
            virtual_seconds=round(sum(outcome.virtual_seconds for outcome in outcomes), 3),
            real_seconds=round(real_seconds, 3),
            outcomes=outcomes,
        )

    def _sometimes(self, outcomes: Sequence[SeedOutcome]) -> dict[str, int]:
        counts = dict.fromkeys(SOMETIMES, 0)
        for outcome in outcomes:
            for state in outcome.reached:
                counts[state] += 1
        return counts


def history_hash(outcomes: Iterable[SeedOutcome]) -> str:
    """One hash over the digests of all histories, by seed: equal for equal runs only."""
    hasher = hashlib.blake2b(digest_size=16)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.seed):
        hasher.update(f"{outcome.seed} {outcome.digest}\n".encode())
    return hasher.hexdigest()


def _rule_counts(outcomes: Iterable[SeedOutcome]) -> dict[str, RuleCounts]:
    counts: dict[str, dict[Judgement, int]] = {}
    for outcome in outcomes:
        for rule, judgement in outcome.judgements.items():
            by_judgement = counts.setdefault(rule, dict.fromkeys(Judgement, 0))
            by_judgement[judgement] += 1
    return {
        rule: RuleCounts(
            passed=by_judgement[Judgement.PASS],
            failed=by_judgement[Judgement.FAIL],
            unknown=by_judgement[Judgement.UNKNOWN],
            not_applicable=by_judgement[Judgement.NOT_APPLICABLE],
        )
        for rule, by_judgement in counts.items()
    }
