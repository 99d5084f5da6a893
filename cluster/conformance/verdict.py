"""What a checker says of a history. Pure."""

from __future__ import annotations

import enum

import msgspec


class Judgement(enum.Enum):
    """``UNKNOWN`` is not a pass: the history has nothing from which the rule could be judged."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    """The system under test does not claim this, or cannot be looked at for it."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule is broken. ``message`` states the guarantee, then what happened instead.

    ``events`` are the numbers of the events that prove it, ``at`` is the last one's time.
    """

    rule: str
    at: float
    message: str
    events: tuple[int, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one rule. ``checked`` counts the facts it rests on."""

    rule: str
    judgement: Judgement
    checked: int = 0
    violations: tuple[Violation, ...] = ()
    why: str = ""


def judge(rule: str, checked: int, violations: tuple[Violation, ...], *, why: str = "") -> Verdict:
    """The verdict that follows from what was counted and found.

    ``why`` says what the history lacks if nothing was checked.
    """
    if violations:
        judgement = Judgement.FAIL
    elif checked:
        judgement = Judgement.PASS
    else:
        judgement = Judgement.UNKNOWN
    return Verdict(
        rule=rule,
        judgement=judgement,
        checked=checked,
        violations=violations,
        why=why if judgement is Judgement.UNKNOWN else "",
    )
