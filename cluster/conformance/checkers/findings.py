"""What a checker counts and finds while it looks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance.verdict import Verdict, Violation, judge

if TYPE_CHECKING:
    from cluster.conformance.calls import Invocation
    from cluster.conformance.checkers.periods import Call

MAXIMUM_VIOLATIONS: Final = 20
"""Told of one rule, the first ones; a broken system breaks it thousands of times in one way."""

_COLLECTED: Final = 1000


class Findings:
    """Facts checked and violations of one rule; every message begins with its guarantee."""

    def __init__(self, rule: str, guarantee: str) -> None:
        self.checked = 0
        self._rule = rule
        self._guarantee = guarantee
        self._violations: list[Violation] = []

    def add(self, what: str, at: float, *events: int) -> None:
        """The guarantee was broken: ``what`` happened instead, as ``events`` prove."""
        if len(self._violations) < _COLLECTED:
            message = f"{self._guarantee} But {what}."
            proof = tuple(sorted(set(events)))
            self._violations.append(
                Violation(rule=self._rule, at=at, message=message, events=proof)
            )

    def call(self, what: str, call: Call[Invocation], *events: int) -> None:
        """Like :meth:`add`, proved by a call and other events."""
        own = (call.first,) if call.outcome is None else (call.first, call.last)
        self.add(what, call.began if call.outcome is None else call.ended, *own, *events)

    def verdict(self, why: str) -> Verdict:
        """The judgement; ``why`` is what the history lacks if nothing was checked."""
        ordered = sorted(self._violations, key=lambda found: found.at)
        return judge(self._rule, self.checked, tuple(ordered[:MAXIMUM_VIOLATIONS]), why=why)
