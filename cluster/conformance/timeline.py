"""What a picture of a run shows: lanes, spans, bars and ticks, read from its history. Pure.

The page that draws it is :mod:`cluster.conformance.timeline_page`. Values are plain lists, because
they become JSON; an event's place in the picture is known by its number in the history.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cluster.conformance import calls, notes
from cluster.conformance.timeline_text import describe, describe_fault, describe_outcome, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.conformance.faults import Schedule
    from cluster.conformance.history import Event, History
    from cluster.conformance.verdict import Violation

GROUPS: Final = ("process", "gate", "follow", "client", "other")
"""Kinds of lanes, in the order of the page from top to bottom."""

OK: Final = "ok"
FAILED: Final = "fail"
INFO: Final = "info"

_TICKS: Final[dict[type, str]] = {
    notes.FollowOpened: "opened",
    notes.MetadataDelivered: "metadata",
    notes.Delivered: "rows",
    notes.Sent: "sent",
    notes.Bookmarked: "bookmark",
    notes.GateReported: "gate",
    notes.Acknowledged: "acknowledged",
    notes.Extents: "extents",
    notes.Resources: "resources",
    notes.Reached: "state",
}
"""What a tick is called, by its note; those of one lane lie below each other in this order."""

_OTHER_TICKS: Final = ("outcome",)


@dataclass(slots=True)
class Lane:
    """One line of the picture.

    ``bars`` are calls: begin, end, outcome, label, detail, numbers of both events. ``ticks`` are
    notes: time, kind, detail, number. ``spans`` are states that last: begin, end, state, detail.
    """

    name: str
    group: str
    bars: list[list[Any]] = field(default_factory=list)
    ticks: list[list[Any]] = field(default_factory=list)
    spans: list[list[Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """To be embedded."""
        return {
            "name": self.name,
            "group": self.group,
            "bars": self.bars,
            "ticks": self.ticks,
            "spans": self.spans,
        }


def timeline(
    history: History, schedule: Schedule, violations: Sequence[Violation]
) -> dict[str, Any]:
    """All that the page draws. Times are seconds since the run began, rounded to a microsecond."""
    reader = _Reader(schedule)
    for event in history:
        reader.read(event)
    end = max((event.at for event in history), default=0.0)
    end = max([end, *(violation.at for violation in violations)])
    reader.close(end)
    return {
        "end": _time(end),
        "events": len(history),
        "kinds": [*dict.fromkeys(_TICKS.values()), *_OTHER_TICKS],
        "phases": reader.phases,
        "faults": reader.faults,
        "lanes": [lane.json() for lane in reader.ordered()],
        "violations": [
            {
                "rule": violation.rule,
                "at": _time(violation.at),
                "message": violation.message,
                "events": list(violation.events),
            }
            for violation in violations
        ],
    }


def _place(lane: Lane) -> tuple[int, list[tuple[str, int]]]:
    parts = re.findall(r"(\D*)(\d*)", lane.name)
    return GROUPS.index(lane.group), [(text, int(number or 0)) for text, number in parts]


def _time(seconds: float) -> float:
    return round(seconds, 6)


class _Reader:
    """Puts each event where it belongs."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._pending: dict[int, Event] = {}
        self._sessions: dict[int, str] = {}
        self._states: dict[tuple[str, str], tuple[float, str, str]] = {}
        self._open_faults: dict[int, int] = {}
        self.phases: list[list[Any]] = []
        self.faults: list[dict[str, Any]] = []

    def ordered(self) -> list[Lane]:
        """Lanes by group, then by name, numbers in names by their value."""
        return sorted(self._lanes.values(), key=_place)

    def read(self, event: Event) -> None:
        """One event."""
        what = event.what
        if event.call:
            self._call(event)
        elif isinstance(what, notes.Phase):
            self.phases.append([_time(event.at), what.name])
        elif isinstance(what, notes.FaultBegan | notes.FaultEnded):
            self._fault(event.at, what)
        elif isinstance(what, notes.ProcessBegan | notes.ProcessEnded):
            up = isinstance(what, notes.ProcessBegan)
            self._state("process", what.process, event.at, "up" if up else "down", describe(what))
        else:
            self._tick(event)

    def close(self, end: float) -> None:
        """Whatever lasts still, lasts to the end."""
        for event in self._pending.values():
            self._bar(event, event, end, INFO, "never ended")
        for (group, name), (since, state, detail) in self._states.items():
            self._lane(group, name).spans.append([_time(since), _time(end), state, detail])
        for index in self._open_faults.values():
            self.faults[index]["to"] = _time(end)

    def _lane(self, group: str, name: str) -> Lane:
        return self._lanes.setdefault((group, name), Lane(name, group))

    def _call(self, event: Event) -> None:
        if isinstance(event.what, calls.Invocation):
            self._pending[event.call] = event
            return
        began = self._pending.pop(event.call, None)
        if began is None:  # an outcome without its call: shown, a checker will say more
            self._lane("client", event.who).ticks.append(
                [_time(event.at), "outcome", describe(event.what), event.number]
            )
            return
        outcome = OK
        if isinstance(event.what, calls.Refused):
            outcome = FAILED
        elif isinstance(event.what, calls.Unknown):
            outcome = INFO
        self._bar(began, event, event.at, outcome, describe_outcome(event.what))

    def _bar(self, began: Event, ended: Event, end: float, outcome: str, result: str) -> None:
        detail = f"{describe(began.what)} → {result}"
        times = [_time(began.at), _time(end)]
        self._lane("client", began.who).bars.append(
            [*times, outcome, short(began.what), detail, began.number, ended.number]
        )

    def _fault(self, at: float, what: notes.FaultBegan | notes.FaultEnded) -> None:
        if isinstance(what, notes.FaultEnded):
            index = self._open_faults.pop(what.number, None)
            if index is not None:
                self.faults[index]["to"] = _time(at)
            return
        planned = self._schedule.faults
        known = planned[what.number] if what.number < len(planned) else None
        self._open_faults[what.number] = len(self.faults)
        self.faults.append(
            {
                "number": what.number,
                "kind": what.kind,
                "target": what.target,
                "from": _time(at),
                "to": _time(at),
                "detail": describe_fault(what, known),
            }
        )

    def _state(self, group: str, name: str, at: float, state: str, detail: str) -> None:
        """From now on; what was before becomes a span."""
        before = self._states.get((group, name))
        if before is not None:
            since, last, last_detail = before
            self._lane(group, name).spans.append([_time(since), _time(at), last, last_detail])
        self._states[group, name] = (at, state, detail)
        self._lane(group, name)

    def _tick(self, event: Event) -> None:
        what = event.what
        group, name = "other", "notes"
        if isinstance(what, notes.FollowOpened):
            self._sessions[what.session] = f"{what.leader} → {what.follower} {what.database}"
        session = getattr(what, "session", None)
        if isinstance(session, int):
            group, name = "follow", self._sessions.get(session, f"session {session}")
        elif isinstance(what, notes.Resources):
            group, name = "process", what.process
        elif isinstance(what, notes.Extents):
            name = f"extents of {what.cluster}"
        elif isinstance(what, notes.Reached):
            name = "states reached"
        if isinstance(what, notes.GateReported):
            self._state("gate", name, event.at, "open" if what.open else "closed", describe(what))
        kind = _TICKS[type(what)]
        self._lane(group, name).ticks.append([_time(event.at), kind, describe(what), event.number])
