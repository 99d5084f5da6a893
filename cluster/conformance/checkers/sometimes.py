"""S1: a campaign reaches the states that matter, or it proves nothing of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance import notes
from cluster.conformance.calls import Answer, Changed, Ingested, Refused
from cluster.conformance.verdict import Judgement, Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.conformance.history import Event, History

SOMETIMES: Final = (
    "snapshot fallback",
    "resume at non-zero",
    "gate flip with rows in flight",
    "torn tail truncated",
    "ENOSPC refused",
    "repeat suppressed",
    "follower silent past retention",
    "lease ran out",
    "stale view ignored",
    "seal while following",
    "extent fetched from leader",
    "divergence answered by snapshot",
    "coordinator restarted",
)
"""States that a campaign must reach. Systems note them (:class:`~.notes.Reached`); some show in the
history by themselves."""

S1: Final = "S1"
GUARANTEE: Final = "Sometimes: every interesting state is reached in a campaign."

_FULL: Final = ("ROW_STORE_FULL", "STORAGE_FULL")


def reached(history: History) -> frozenset[str]:
    """The states of :data:`SOMETIMES` that a run reached."""
    look = _Look()
    for event in history.events:
        look.take(event)
    return frozenset(look.found)


class _Look:
    """Goes through a history once."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._knew: dict[int, bool] = {}
        self._gone: set[str] = set()

    def take(self, event: Event) -> None:
        """One more event."""
        match event.what:
            case notes.Reached(state=state) if state in SOMETIMES:
                self.found.add(state)
            case Ingested(repeated=True):
                self.found.add("repeat suppressed")
            case Refused(reason=reason) if reason in _FULL:
                self.found.add("ENOSPC refused")
            case Changed(certainty=certainty) if "lease" in certainty.lower():
                self.found.add("lease ran out")
            case Answer(hidden_reason=reason) if "lease has run out" in reason:
                self.found.add("lease ran out")
            case notes.FollowOpened(session=session, position=position):
                self._knew[session] = position is not None
                if position is not None and any(at[0] for at in position.keys.values()):
                    self.found.add("resume at non-zero")
            case notes.MetadataDelivered(session=session, first=None) if self._knew.get(session):
                self.found.add("snapshot fallback")
            case notes.ProcessEnded(process=process):
                self._gone.add(process)
            case notes.ProcessBegan(process="coordinator") if "coordinator" in self._gone:
                self.found.add("coordinator restarted")
            case _:
                pass


def sometimes(histories: Iterable[History]) -> dict[str, int]:
    """In how many runs each state of :data:`SOMETIMES` was reached."""
    counts = dict.fromkeys(SOMETIMES, 0)
    for history in histories:
        for state in reached(history):
            counts[state] += 1
    return counts


def judge_campaign(counts: Mapping[str, int]) -> Verdict:
    """S1, of a campaign's counts: every state was reached at least once."""
    missed = [state for state in SOMETIMES if not counts.get(state)]
    violations = tuple(
        Violation(rule=S1, at=0.0, message=f"{GUARANTEE} But no run reached {state!r}.")
        for state in missed
    )
    judgement = Judgement.FAIL if missed else Judgement.PASS
    return Verdict(rule=S1, judgement=judgement, checked=len(SOMETIMES), violations=violations)
