"""The coordinator as a pure state machine: one event in, the next state and what to do out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator import attachment, capability, registry
from cluster.coordinator.events import (
    Abandon,
    Attach,
    Certainty,
    Detach,
    Heartbeat,
    RegisterNode,
    SetCapability,
    Step,
    Tick,
)
from cluster.coordinator.state import ChangeKind
from cluster.coordinator.turn import Turn
from cluster.errors import RemoraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cluster.coordinator.events import Event
    from cluster.coordinator.state import Change, State
    from cluster.limits import Limits


def _abandon(turn: Turn, event: Abandon) -> None:
    for change, waiting in turn.waiting():
        if event.request in waiting.requests:
            left = tuple(request for request in waiting.requests if request != event.request)
            turn.put_waiting(change.key, replace(waiting, requests=left))


def _tick(turn: Turn, event: Tick) -> None:
    """Time is looked at after every event; see :func:`_settle`."""


TRANSITIONS: dict[type[Event], Callable[[Turn, Any], None]] = {
    RegisterNode: registry.register,
    Heartbeat: registry.heartbeat,
    SetCapability: capability.set_capability,
    Attach: attachment.attach,
    Detach: attachment.detach,
    Abandon: _abandon,
    Tick: _tick,
}
"""One transition for each event. It may raise RemoraError: the request is refused with it."""

FINISH: dict[ChangeKind, Callable[[Turn, Change, Certainty], None]] = {
    ChangeKind.OFF: capability.finish,
    ChangeKind.DETACH: attachment.finish,
}
"""What to do when a change has become certain."""


def handle(state: State, event: Event, now: float, limits: Limits) -> Step:
    """The step one event takes. ``now`` is the coordinator's monotonic clock, in seconds.

    A refused request leaves the state as it is, but for the time that has passed.
    """
    turn = Turn(state, now, limits)
    try:
        TRANSITIONS[type(event)](turn, event)
    except RemoraError as error:
        if isinstance(event, Abandon | Tick):
            raise
        turn = Turn(state, now, limits)
        turn.reply(event.request, error)
    _settle(turn)
    return Step(turn.state, tuple(turn.replies), _next_deadline(turn.state))


def _settle(turn: Turn) -> None:
    """Ends every change nobody has to confirm any more."""
    for change, waiting in turn.waiting():
        holders = tuple(holder for holder in waiting.holders if holder.deadline > turn.now)
        lapsed = waiting.lapsed or len(holders) < len(waiting.holders)
        if (holders, lapsed) != (waiting.holders, waiting.lapsed):
            turn.put_waiting(change.key, replace(waiting, holders=holders, lapsed=lapsed))
        if not holders:
            certainty = Certainty.LEASE_EXPIRED if lapsed else Certainty.CONFIRMED
            FINISH[change.kind](turn, change, certainty)


def _next_deadline(state: State) -> float | None:
    return min(
        (holder.deadline for waiting in state.waiting.values() for holder in waiting.holders),
        default=None,
    )
