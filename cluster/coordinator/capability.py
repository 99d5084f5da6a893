"""Streaming capability of a cluster: on, closing, off. Pure transitions, the table first."""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator.events import CapabilitySet, Certainty
from cluster.coordinator.state import Change, ChangeKey, ChangeKind
from cluster.errors import ConflictError, EntityNotFoundError

if TYPE_CHECKING:
    from cluster.coordinator.events import SetCapability
    from cluster.coordinator.state import Durable
    from cluster.coordinator.turn import Turn


class Phase(enum.Enum):
    """Where a cluster's capability stands."""

    ON = "on"
    CLOSING = "closing"
    """Off is decided and published; some process may still act on the state before."""
    OFF = "off"


class Input(enum.Enum):
    """What can happen to it."""

    TURN_ON = "turn on"
    TURN_OFF = "turn off"
    TABLES_REPORTED = "a node reports tables with an enabled policy"
    """Off was decided on an older report; a policy was enabled meanwhile."""
    CERTAIN = "certain"
    """Every process concerned has confirmed, or its lease has run out."""


class Action(enum.Enum):
    """What the transition does."""

    NOTHING = "answer: it is so already"
    OPEN = "new epoch with rows, answer"
    CLOSE = "new epoch without rows, wait for certainty"
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
    (Phase.CLOSING, Input.CERTAIN): (Phase.OFF, Action.FINISH),
    (Phase.ON, Input.TABLES_REPORTED): (Phase.ON, Action.NOTHING),
    (Phase.OFF, Input.TABLES_REPORTED): (Phase.OFF, Action.NOTHING),
    (Phase.OFF, Input.TURN_ON): (Phase.ON, Action.OPEN),
    (Phase.OFF, Input.TURN_OFF): (Phase.OFF, Action.NOTHING),
}
"""The transitions. Pairs that are missing cannot happen: only CLOSING waits for certainty."""


def phase(durable: Durable, cluster: str) -> Phase:
    """Where a registered cluster's capability stands."""
    if durable.clusters[cluster].streaming_ingestion:
        return Phase.ON
    pending = ChangeKey(ChangeKind.OFF, cluster) in durable.changes
    return Phase.CLOSING if pending else Phase.OFF


def set_capability(turn: Turn, event: SetCapability) -> None:
    """Turns the capability on or off."""
    if event.cluster not in turn.durable.clusters:
        raise EntityNotFoundError(f"there is no cluster '{event.cluster}'")
    wanted = Input.TURN_ON if event.streaming_ingestion else Input.TURN_OFF
    _, action = TABLE[phase(turn.durable, event.cluster), wanted]
    if action is Action.CLOSE:
        _close(turn, event)
    elif action is Action.JOIN:
        turn.join(ChangeKey(ChangeKind.OFF, event.cluster), event.request)
    else:
        if action is Action.REOPEN:
            turn.supersede(
                ChangeKey(ChangeKind.OFF, event.cluster),
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
    """Takes an off that is not certain yet back: a node reports tables that forbid it."""
    _, action = TABLE[phase(turn.durable, cluster), Input.TABLES_REPORTED]
    if action is not Action.TAKE_BACK:
        return
    error = _forbidden(turn.durable, cluster)
    if error is not None:
        turn.supersede(ChangeKey(ChangeKind.OFF, cluster), error)
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
    if not turn.begin(change, event.request):
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


def finish(turn: Turn, change: Change, certainty: Certainty) -> None:
    """Off is certain."""
    epoch = newest_epoch(turn.durable, change.cluster)
    for request in turn.end(change.key).requests:
        turn.reply(request, CapabilitySet(epoch, certainty))
