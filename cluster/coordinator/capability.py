"""Streaming capability of a cluster: on, closing, draining, off. Pure transitions, the table first.

Off is done when nothing can be shown any more *and* every row store of the cluster is sealed, in
this order. A node that cannot be reached, or cannot seal, holds up off for as long as it is known
to have something to seal; who and why is in the status. ``on`` takes off back until it is done.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator.events import CapabilitySet, Certainty
from cluster.coordinator.state import (
    NEVER,
    Change,
    ChangeKey,
    ChangeKind,
    Waiting,
    longest_lease,
)
from cluster.errors import ConflictError, EntityNotFoundError

if TYPE_CHECKING:
    from cluster.coordinator.events import SetCapability
    from cluster.coordinator.state import Durable, Node, State
    from cluster.coordinator.turn import Turn


class Phase(enum.Enum):
    """Where a cluster's capability stands."""

    ON = "on"
    CLOSING = "closing"
    """Off is decided and published; some process may still act on the state before."""
    DRAINING = "draining"
    """Nothing can be shown or ingested any more; rows in row stores are still being sealed."""
    OFF = "off"


class Input(enum.Enum):
    """What can happen to it."""

    TURN_ON = "turn on"
    TURN_OFF = "turn off"
    TABLES_REPORTED = "a node reports tables with an enabled policy"
    """Off was decided on an older report; a policy was enabled meanwhile."""
    HIDDEN = "nothing can be shown any more"
    """Every process concerned has confirmed, or its lease has run out."""
    SEALED = "nothing is left to seal"
    """Every node has promised it; a node that cannot be reached last reported nothing to seal."""


class Action(enum.Enum):
    """What the transition does."""

    NOTHING = "answer: it is so already"
    OPEN = "new epoch with rows, answer"
    CLOSE = "new epoch without rows, wait until nothing can be shown"
    DRAIN = "wait until nothing is left to seal"
    JOIN = "wait with the others"
    REOPEN = "new epoch with rows, answer; whoever waited for off is told it was superseded"
    TAKE_BACK = "new epoch with rows; whoever waited for off is told which tables forbid it"
    FINISH = "answer whoever waited"


TABLE: dict[tuple[Phase, Input], tuple[Phase, Action]] = {
    (Phase.ON, Input.TURN_ON): (Phase.ON, Action.NOTHING),
    (Phase.ON, Input.TURN_OFF): (Phase.CLOSING, Action.CLOSE),
    (Phase.CLOSING, Input.TURN_ON): (Phase.ON, Action.REOPEN),
    (Phase.CLOSING, Input.TURN_OFF): (Phase.CLOSING, Action.JOIN),
    (Phase.CLOSING, Input.TABLES_REPORTED): (Phase.ON, Action.TAKE_BACK),
    (Phase.CLOSING, Input.HIDDEN): (Phase.DRAINING, Action.DRAIN),
    (Phase.CLOSING, Input.SEALED): (Phase.CLOSING, Action.NOTHING),
    (Phase.DRAINING, Input.TURN_ON): (Phase.ON, Action.REOPEN),
    (Phase.DRAINING, Input.TURN_OFF): (Phase.DRAINING, Action.JOIN),
    (Phase.DRAINING, Input.TABLES_REPORTED): (Phase.ON, Action.TAKE_BACK),
    (Phase.DRAINING, Input.SEALED): (Phase.OFF, Action.FINISH),
    (Phase.ON, Input.TABLES_REPORTED): (Phase.ON, Action.NOTHING),
    (Phase.ON, Input.SEALED): (Phase.ON, Action.NOTHING),
    (Phase.OFF, Input.TABLES_REPORTED): (Phase.OFF, Action.NOTHING),
    (Phase.OFF, Input.SEALED): (Phase.OFF, Action.NOTHING),
    (Phase.OFF, Input.TURN_ON): (Phase.ON, Action.OPEN),
    (Phase.OFF, Input.TURN_OFF): (Phase.CLOSING, Action.CLOSE),
}
"""The transitions. Pairs that are missing cannot happen: only CLOSING waits for gates to close."""


def phase(durable: Durable, cluster: str) -> Phase:
    """Where a registered cluster's capability stands."""
    if durable.clusters[cluster].streaming_ingestion:
        return Phase.ON
    if ChangeKey(ChangeKind.OFF, cluster) in durable.changes:
        return Phase.CLOSING
    return Phase.DRAINING if ChangeKey(ChangeKind.DRAIN, cluster) in durable.changes else Phase.OFF


def _pending(durable: Durable, cluster: str) -> ChangeKey:
    """The off that is not done yet, in whichever phase."""
    off = ChangeKey(ChangeKind.OFF, cluster)
    return off if off in durable.changes else ChangeKey(ChangeKind.DRAIN, cluster)


def set_capability(turn: Turn, event: SetCapability) -> None:
    """Turns the capability on or off.

    Off is asked of every process, also if it is so in the data: until nodes are heard, another
    coordinator that has turned it on since is not known.
    """
    if event.cluster not in turn.durable.clusters:
        raise EntityNotFoundError(f"there is no cluster '{event.cluster}'")
    wanted = Input.TURN_ON if event.streaming_ingestion else Input.TURN_OFF
    _, action = TABLE[phase(turn.durable, event.cluster), wanted]
    if action is Action.CLOSE:
        _close(turn, event)
    elif action is Action.JOIN:
        turn.join(_pending(turn.durable, event.cluster), event.request)
    else:
        if action is Action.REOPEN:
            turn.supersede(
                _pending(turn.durable, event.cluster),
                ConflictError(
                    f"turning streaming ingestion off on cluster '{event.cluster}' was superseded: "
                    "it has been turned on again",
                    remedy="Turn it off again if it should be off.",
                ),
            )
        if action in (Action.OPEN, Action.REOPEN):
            _decide(turn, event.cluster, on=True)
        epoch = newest_epoch(turn.durable, event.cluster)
        turn.reply(event.request, CapabilitySet(epoch, Certainty.IMMEDIATE))


def reopen(turn: Turn, cluster: str) -> None:
    """Takes an off that is not done yet back: a node reports tables that forbid it."""
    _, action = TABLE[phase(turn.durable, cluster), Input.TABLES_REPORTED]
    if action is not Action.TAKE_BACK:
        return
    error = _forbidden(turn.durable, cluster)
    if error is not None:
        turn.supersede(_pending(turn.durable, cluster), error)
        _decide(turn, cluster, on=True)


def _close(turn: Turn, event: SetCapability) -> None:
    error = _forbidden(turn.durable, event.cluster)
    if error is not None:
        raise error
    _decide(turn, event.cluster, on=False)
    change = Change(
        kind=ChangeKind.OFF,
        cluster=event.cluster,
        epoch=turn.durable.epoch,
        revision=turn.durable.revision,
    )
    if turn.begin(change, event.request):
        return
    drain = replace(change, kind=ChangeKind.DRAIN)
    if unsealed(turn.state, drain, turn.now):
        turn.put_change(drain, Waiting((), (event.request,)))
    else:
        epoch = newest_epoch(turn.durable, event.cluster)
        turn.reply(event.request, CapabilitySet(epoch, Certainty.IMMEDIATE))


def _decide(turn: Turn, cluster: str, *, on: bool) -> None:
    # A new epoch even when no grant is concerned: a node may still show a database whose
    # attachment is gone already, under an epoch that must not pass for a confirmation.
    turn.new_epoch()
    turn.put_cluster(replace(turn.durable.clusters[cluster], streaming_ingestion=on))
    turn.regrant(turn.durable.touching(cluster))


def _forbidden(durable: Durable, cluster: str) -> ConflictError | None:
    """Why the capability cannot be turned off, from the last report of every node."""
    named = [
        f"{database}.{table}"
        for node in durable.cluster_nodes(cluster)
        for database, tables in node.streaming_tables
        for table in tables
    ]
    if not named:
        return None
    shown = ", ".join(named[:10]) + (", ..." if len(named) > 10 else "")
    return ConflictError(
        f"streaming ingestion cannot be turned off on cluster '{cluster}': the streaming "
        f"ingestion policy is enabled on {shown}",
        remedy="Disable or delete the policy of these tables and of their databases first.",
        metadata={"cluster": cluster, "tables": ", ".join(named)},
    )


def newest_epoch(durable: Durable, cluster: str) -> int:
    """Newest epoch of the grants the cluster takes part in; 0 if there are none."""
    return max((attachment.epoch for attachment in durable.touching(cluster)), default=0)


def unsealed(state: State, change: Change, now: float) -> tuple[tuple[Node, float | None], ...]:
    """Nodes that a DRAIN waits for, each until when at most; None: until they promise.

    A node that is not heard has nothing to seal if its last report said so: it was told off before
    or will be told before it hears anything else, and then it seals by itself.
    """
    if change.kind is not ChangeKind.DRAIN:
        return ()
    found: list[tuple[Node, float | None]] = []
    waiting = state.waiting.get(change.key)
    patience = NEVER if waiting is None else waiting.patience
    for node in state.durable.cluster_nodes(change.cluster):
        session = state.sessions[node.node]
        if session.drained_revision >= change.revision:
            continue
        if node.unsealed:
            found.append((node, None))
        elif session.lease_until > now and patience > now:
            found.append((node, min(session.lease_until, patience)))
    return tuple(found)


def waiting_for(state: State, cluster: str, now: float) -> tuple[str, ...]:
    """Who an off of the cluster waits for and why, a line a node; empty if there is none."""
    change = state.durable.changes.get(_pending(state.durable, cluster))
    if change is None:
        return ()
    lines = []
    for holder in state.waiting[change.key].holders:
        who = "has not confirmed" if holder.instance else "had an earlier process"
        left = max(0.0, holder.deadline - now)
        lines.append(f"node '{holder.node}' {who}; its lease is over in {left:.1f} s at the latest")
    for node, _ in unsealed(state, change, now):
        lines.append(_sealing(state, node, now))
    return tuple(lines)


def _is_unsure(turn: Turn, change: Change, waiting: Waiting) -> bool:
    """Whether a node was expected to promise, and nothing was heard of it until its lease ended."""
    began = waiting.patience - longest_lease(turn.limits)
    sessions = (turn.session(node.node) for node in turn.durable.cluster_nodes(change.cluster))
    return any(
        session.drained_revision < change.revision and session.lease_until > began
        for session in sessions
    )


def _sealing(state: State, node: Node, now: float) -> str:
    session = state.sessions[node.node]
    where = ", ".join(f"'{name}'" for name in node.unsealed) or "its databases"
    if session.heard_at is None or session.lease_until <= now:
        return (
            f"node '{node.node}' is not heard; it must be started to seal what {where} may have in "
            "the row stores"
        )
    trouble = session.report.drain_trouble if session.report else ""
    return f"node '{node.node}' is sealing {where}" + (f": {trouble}" if trouble else "")


def hidden(turn: Turn, change: Change, certainty: Certainty) -> None:
    """Nothing can be shown any more: what is left is to seal."""
    waiting = turn.end(change.key)
    lapsed = certainty is Certainty.LEASE_EXPIRED
    drain = replace(change, kind=ChangeKind.DRAIN)
    # A node that let its lease lapse is not waited for once more, unless it has something to seal.
    patience = NEVER if lapsed else turn.now + longest_lease(turn.limits)
    turn.put_change(drain, replace(waiting, lapsed=lapsed, patience=patience))


def finish(turn: Turn, change: Change, certainty: Certainty) -> None:
    """Off is done."""
    epoch = newest_epoch(turn.durable, change.cluster)
    waiting = turn.end(change.key)
    if _is_unsure(turn, change, waiting):
        certainty = Certainty.LEASE_EXPIRED
    for request in waiting.requests:
        turn.reply(request, CapabilitySet(epoch, certainty))
