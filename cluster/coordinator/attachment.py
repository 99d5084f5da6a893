"""Attachments: none, attached, detaching. Pure transitions, the table first."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from cluster.coordinator.events import Attached, Certainty, Detached
from cluster.coordinator.state import (
    Attachment,
    AttachmentKey,
    Change,
    ChangeKey,
    ChangeKind,
)
from cluster.coordinator.views import grant
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from cluster.coordinator.events import Attach, Detach
    from cluster.coordinator.state import Durable
    from cluster.coordinator.turn import Turn
    from cluster.errors import RemoraError


class Phase(enum.Enum):
    """Where an attachment stands."""

    NONE = "none"
    ATTACHED = "attached"
    DETACHING = "detaching"
    """No grant any more; some process may still act on the one before."""


class Input(enum.Enum):
    """What can happen to it."""

    ATTACH = "attach"
    DETACH = "detach"
    CERTAIN = "certain"
    """Every process concerned has confirmed, or its lease has run out."""


class Action(enum.Enum):
    """What the transition does."""

    NOTHING = "answer: it is so already"
    GRANT = "new epoch with a new grant, answer"
    REVOKE = "new epoch without the grant, wait for certainty"
    JOIN = "wait with the others"
    REGRANT = "as GRANT; whoever waited for the detach is told it was superseded"
    REFUSE = "there is no such attachment"
    FINISH = "answer whoever waited"


TABLE: dict[tuple[Phase, Input], tuple[Phase, Action]] = {
    (Phase.NONE, Input.ATTACH): (Phase.ATTACHED, Action.GRANT),
    (Phase.NONE, Input.DETACH): (Phase.NONE, Action.REFUSE),
    (Phase.ATTACHED, Input.ATTACH): (Phase.ATTACHED, Action.NOTHING),
    (Phase.ATTACHED, Input.DETACH): (Phase.DETACHING, Action.REVOKE),
    (Phase.DETACHING, Input.ATTACH): (Phase.ATTACHED, Action.REGRANT),
    (Phase.DETACHING, Input.DETACH): (Phase.DETACHING, Action.JOIN),
    (Phase.DETACHING, Input.CERTAIN): (Phase.NONE, Action.FINISH),
}
"""The transitions. Pairs that are missing cannot happen: only DETACHING waits for certainty."""


def _pending(key: AttachmentKey) -> ChangeKey:
    return ChangeKey(ChangeKind.DETACH, key.follower_cluster, key.leader_cluster, key.database)


def phase(durable: Durable, key: AttachmentKey) -> Phase:
    """Where an attachment stands."""
    if key in durable.attachments:
        return Phase.ATTACHED
    return Phase.DETACHING if _pending(key) in durable.changes else Phase.NONE


def attach(turn: Turn, event: Attach) -> None:
    """Attaches a leader database to a follower cluster."""
    for cluster in (event.leader_cluster, event.follower_cluster):
        if cluster not in turn.durable.clusters:
            raise EntityNotFoundError(f"there is no cluster '{cluster}'")
    if event.leader_cluster == event.follower_cluster:
        raise InvalidRequestError(f"cluster '{event.leader_cluster}' cannot follow itself")
    key = AttachmentKey(event.leader_cluster, event.database.lower(), event.follower_cluster)
    _, action = TABLE[phase(turn.durable, key), Input.ATTACH]
    if action is not Action.NOTHING:
        database = _find_on_leader(turn, event)
        if database is None:
            if turn.inquire(event):
                return
            raise _not_found(turn, event)
        _grant(turn, event, key, database, action)
    turn.reply(event.request, Attached(grant(turn.durable, turn.durable.attachments[key])))


def _grant(turn: Turn, event: Attach, key: AttachmentKey, database: str, action: Action) -> None:
    _check_name_is_free(turn, event, key)
    if len(turn.durable.attachments) >= turn.limits.attachments:
        raise LimitExceededError(
            f"a setup has at most {turn.limits.attachments} attachments",
            metadata={"limit": "attachments", "value": str(turn.limits.attachments)},
        )
    if action is Action.REGRANT:
        turn.supersede(
            _pending(key),
            ConflictError(
                f"detaching database '{database}' of cluster '{event.leader_cluster}' from "
                f"'{event.follower_cluster}' was superseded: it has been attached again",
                remedy="Detach it again if it should be detached.",
            ),
        )
    epoch = turn.new_epoch()
    turn.put_attachment(Attachment(event.leader_cluster, database, event.follower_cluster, epoch))


def _find_on_leader(turn: Turn, event: Attach) -> str | None:
    """The database's name as the leader spells it; None if no node has reported it."""
    for node in turn.durable.cluster_nodes(event.leader_cluster):
        report = turn.session(node.node).report
        for database in report.databases if report else ():
            if database.name.lower() == event.database.lower():
                return database.name
    return None


def _not_found(turn: Turn, event: Attach) -> RemoraError:
    nodes = turn.durable.cluster_nodes(event.leader_cluster)
    if any(turn.session(node.node).report is None for node in nodes):
        return _not_heard(turn, event.leader_cluster)
    for attachment in turn.durable.followed_by(event.leader_cluster):
        if attachment.key.database == event.database.lower():
            return NotSupportedError(
                f"cluster '{event.leader_cluster}' itself follows database "
                f"'{attachment.database}' from '{attachment.leader_cluster}'",
                remedy=f"Attach it from cluster '{attachment.leader_cluster}'.",
            )
    return DatabaseNotFoundError(
        f"cluster '{event.leader_cluster}' has no database '{event.database}'"
    )


def _not_heard(turn: Turn, cluster: str) -> UnavailableError:
    return UnavailableError(
        f"cluster '{cluster}' has not reported its databases since the coordinator started",
        retry_after_seconds=turn.limits.heartbeat_seconds,
    )


def _check_name_is_free(turn: Turn, event: Attach, key: AttachmentKey) -> None:
    for node in turn.durable.cluster_nodes(event.follower_cluster):
        report = turn.session(node.node).report
        if report is None:
            raise _not_heard(turn, event.follower_cluster)
        if any(database.name.lower() == key.database for database in report.databases):
            raise ConflictError(
                f"cluster '{event.follower_cluster}' has a database '{event.database}' of its own",
                remedy="Drop it on the follower, or attach a database of another name.",
            )
    for attachment in turn.durable.followed_by(event.follower_cluster):
        if attachment.key.database == key.database:
            raise ConflictError(
                f"cluster '{event.follower_cluster}' already follows a database "
                f"'{attachment.database}', from cluster '{attachment.leader_cluster}'",
                remedy="Detach that one first.",
            )
    for change in turn.durable.changes.values():
        if (
            change.kind is ChangeKind.DETACH
            and change.key != _pending(key)
            and change.cluster == event.follower_cluster
            and change.key.database == key.database
        ):
            raise UnavailableError(
                f"database '{change.database}' of cluster '{change.leader_cluster}' is still being "
                f"detached from '{event.follower_cluster}'",
                retry_after_seconds=turn.limits.heartbeat_seconds,
            )


def detach(turn: Turn, event: Detach) -> None:
    """Detaches it; answered when no node can show it any more."""
    key = AttachmentKey(event.leader_cluster, event.database.lower(), event.follower_cluster)
    _, action = TABLE[phase(turn.durable, key), Input.DETACH]
    if action is Action.REFUSE:
        raise EntityNotFoundError(
            f"cluster '{event.follower_cluster}' does not follow database '{event.database}' of "
            f"cluster '{event.leader_cluster}'"
        )
    if action is Action.JOIN:
        turn.join(_pending(key), event.request)
        return
    attachment = turn.durable.attachments[key]
    turn.drop_attachment(key)
    turn.new_epoch()
    change = Change(
        kind=ChangeKind.DETACH,
        cluster=event.follower_cluster,
        epoch=turn.durable.epoch,
        revision=turn.durable.revision,
        leader_cluster=event.leader_cluster,
        database=attachment.database,
    )
    if not turn.begin(change, event.request):
        turn.reply(event.request, Detached(Certainty.IMMEDIATE))


def finish(turn: Turn, change: Change, certainty: Certainty) -> None:
    """The detach is certain."""
    for request in turn.end(change.key).requests:
        turn.reply(request, Detached(certainty))
