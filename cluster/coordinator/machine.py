"""The coordinator as a pure state machine: one event in, the next state and what to do out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator import attachment, capability, configuration_requests, registry
from cluster.coordinator.events import (
    Abandon,
    Adopt,
    Adopting,
    Attach,
    Certainty,
    DeleteConfiguration,
    Detach,
    Heartbeat,
    RegisterNode,
    Republish,
    Republished,
    SetCapability,
    Step,
    Tick,
)
from cluster.coordinator.identity import check_uncontested, settle_by_time
from cluster.coordinator.state import ChangeKind
from cluster.coordinator.turn import Turn
from cluster.errors import RemoraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cluster.coordinator.events import Event
    from cluster.coordinator.state import Change, State
    from cluster.limits import Limits


def _republish(turn: Turn, event: Republish) -> None:
    turn.reply(event.request, Republished(turn.new_revision()))


def _adopt(turn: Turn, event: Adopt) -> None:
    """The doubt itself ends with the next heartbeat of whoever obeys another, or by time.

    By time, because a node that is gone for good will never be heard again.
    """
    turn.adopts = True
    turn.reply(event.request, Adopting("" if turn.contest is None else turn.contest.reason))


def _abandon(turn: Turn, event: Abandon) -> None:
    for change, waiting in turn.waiting():
        if event.request in waiting.requests:
            left = tuple(request for request in waiting.requests if request != event.request)
            turn.put_waiting(change.key, replace(waiting, requests=left))
    turn.drop_inquiry(event.request)


def _tick(turn: Turn, event: Tick) -> None:
    """Time is looked at after every event; see :func:`_settle`."""


TRANSITIONS: dict[type[Event], Callable[[Turn, Any], None]] = {
    RegisterNode: registry.register,
    Heartbeat: registry.heartbeat,
    SetCapability: capability.set_capability,
    Attach: configuration_requests.attach,
    Detach: configuration_requests.detach,
    DeleteConfiguration: configuration_requests.delete,
    Republish: _republish,
    Adopt: _adopt,
    Abandon: _abandon,
    Tick: _tick,
}
"""One transition for each event. It may raise RemoraError: the request is refused with it."""

UNDECIDED = (RegisterNode, Heartbeat, Republish, Adopt, Abandon, Tick)
"""Events in which nobody decides anything: they are handled whoever the coordinator may be."""

FINISH: dict[ChangeKind, Callable[[Turn, Change, Certainty], None]] = {
    ChangeKind.OFF: capability.hidden,
    ChangeKind.DRAIN: capability.finish,
    ChangeKind.DETACH: attachment.finish,
    ChangeKind.SHARING: attachment.finish_sharing,
}
"""What to do when nobody has to confirm a change any more. One may become another."""


def handle(state: State, event: Event, now: float, limits: Limits) -> Step:
    """The step one event takes. ``now`` is the coordinator's monotonic clock, in seconds.

    A refused request leaves the state as it is, but for the time that has passed.
    """
    turn = _turn(state, event, now, limits, informed=False)
    replies = turn.replies
    for inquiry in turn.inquiries():
        waited = tuple(holder for holder in inquiry.holders if holder.deadline > now)
        if waited:
            turn.put_inquiry(replace(inquiry, holders=waited))
            continue
        turn.drop_inquiry(inquiry.event.request)
        turn = _turn(turn.state, inquiry.event, now, limits, informed=True)
        replies += turn.replies
    return Step(turn.state, tuple(replies), _next_deadline(turn.state, now))


def _turn(state: State, event: Event, now: float, limits: Limits, *, informed: bool) -> Turn:
    """The turn one event takes, whether it is done or refused."""
    turn = Turn(state, now, limits, informed=informed)
    try:
        if not isinstance(event, UNDECIDED):
            check_uncontested(turn)
        TRANSITIONS[type(event)](turn, event)
    except RemoraError as error:
        if isinstance(event, Abandon | Tick):
            raise
        turn = Turn(state, now, limits)
        turn.reply(event.request, error)
    _settle(turn)
    return turn


def _settle(turn: Turn) -> None:
    """Ends every change nobody has to confirm any more, then attaches what can be attached.

    Neither while nobody knows whose word counts.
    """
    settle_by_time(turn)
    if turn.contest is not None:
        return
    _settle_kinds(turn, lambda kind: kind is not ChangeKind.DRAIN)
    _settle_kinds(turn, lambda kind: kind is ChangeKind.DRAIN)
    if turn.was_contested or turn.has_news:
        attachment.expand(turn)


def _settle_kinds(turn: Turn, chosen: Callable[[ChangeKind], bool]) -> None:
    for change, waiting in turn.waiting():
        if not chosen(change.kind):
            continue
        holders = tuple(holder for holder in waiting.holders if holder.deadline > turn.now)
        lapsed = waiting.lapsed or len(holders) < len(waiting.holders)
        if (holders, lapsed) != (waiting.holders, waiting.lapsed):
            turn.put_waiting(change.key, replace(waiting, holders=holders, lapsed=lapsed))
        if not holders and not capability.unsealed(turn.state, change, turn.now):
            certainty = Certainty.LEASE_EXPIRED if lapsed else Certainty.CONFIRMED
            FINISH[change.kind](turn, change, certainty)


def _next_deadline(state: State, now: float) -> float | None:
    if state.contest is not None:
        doubts = state.contest.doubts if state.adopts else ()
        return min((doubt.until for doubt in doubts), default=None)
    holders = [holder for waiting in state.waiting.values() for holder in waiting.holders]
    holders += [holder for inquiry in state.inquiries.values() for holder in inquiry.holders]
    deadlines = [holder.deadline for holder in holders]
    for change in state.durable.changes.values():
        left = capability.unsealed(state, change, now)
        deadlines += [until for _, until in left if until is not None]
    return min(deadlines, default=None)
