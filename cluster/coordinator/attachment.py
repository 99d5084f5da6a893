"""Attachments: what becomes of one database of a configuration. Pure transitions, the table first.

A configuration says what should be attached; what is, follows from it and from what nodes report:
:func:`expand` attaches what can be, after every event, and :func:`notice` ends what cannot stay,
when a heartbeat says so. Requests of people are in
:mod:`cluster.coordinator.configuration_requests`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from cluster.catalog.naming import fold_database_name
from cluster.coordinator.configuration_status import describe, obstacle, reported
from cluster.coordinator.events import Attached, Certainty, Detached
from cluster.coordinator.state import Attachment, AttachmentKey, Change, ChangeKey, ChangeKind
from cluster.errors import ConflictError

if TYPE_CHECKING:
    from cluster.coordinator.configuration import Configuration, ConfigurationKey
    from cluster.coordinator.events import Heartbeat
    from cluster.coordinator.state import Durable
    from cluster.coordinator.turn import Turn


class Phase(enum.Enum):
    """Where an attachment stands."""

    NONE = "none"
    ATTACHED = "attached"
    RESHARING = "resharing"
    """Attached; some process may still act on the sharing before."""
    DETACHING = "detaching"
    """No grant any more; some process may still act on the one before."""


class Input(enum.Enum):
    """What can happen to it."""

    ATTACH = "somebody attaches this database"
    FOUND = "a configuration follows it, and nothing is in the way"
    SETTINGS = "somebody changes sharing or the principals kind"
    DETACH = "somebody detaches it"
    LOST = "the leader has no such database any more"
    OBSTRUCTED = "the follower has a database of the name"
    CERTAIN = "every process concerned has confirmed, or its lease has run out"


class Action(enum.Enum):
    """What the transition does."""

    NOTHING = "answer: it is so already"
    GRANT = "new epoch with a new grant, answer"
    RESHARE = "new epoch with the new sharing, wait for certainty"
    REVOKE = "new epoch without the grant, wait for certainty"
    REVOKE_RESHARED = "as REVOKE; whoever waited for the sharing is told it was superseded"
    JOIN = "wait with the others"
    REGRANT = "as GRANT and RESHARE; whoever waited for the detach is told it was superseded"
    REFUSE = "there is no such attachment"
    FINISH = "answer whoever waited"


TABLE: dict[tuple[Phase, Input], tuple[Phase, Action]] = {
    (Phase.NONE, Input.ATTACH): (Phase.ATTACHED, Action.GRANT),
    (Phase.NONE, Input.FOUND): (Phase.ATTACHED, Action.GRANT),
    (Phase.NONE, Input.SETTINGS): (Phase.NONE, Action.NOTHING),
    (Phase.NONE, Input.DETACH): (Phase.NONE, Action.REFUSE),
    (Phase.NONE, Input.LOST): (Phase.NONE, Action.NOTHING),
    (Phase.NONE, Input.OBSTRUCTED): (Phase.NONE, Action.NOTHING),
    (Phase.ATTACHED, Input.ATTACH): (Phase.ATTACHED, Action.NOTHING),
    (Phase.ATTACHED, Input.FOUND): (Phase.ATTACHED, Action.NOTHING),
    (Phase.ATTACHED, Input.SETTINGS): (Phase.RESHARING, Action.RESHARE),
    (Phase.ATTACHED, Input.DETACH): (Phase.DETACHING, Action.REVOKE),
    (Phase.ATTACHED, Input.LOST): (Phase.DETACHING, Action.REVOKE),
    (Phase.ATTACHED, Input.OBSTRUCTED): (Phase.DETACHING, Action.REVOKE),
    (Phase.RESHARING, Input.ATTACH): (Phase.RESHARING, Action.JOIN),
    (Phase.RESHARING, Input.FOUND): (Phase.RESHARING, Action.NOTHING),
    (Phase.RESHARING, Input.SETTINGS): (Phase.RESHARING, Action.RESHARE),
    (Phase.RESHARING, Input.DETACH): (Phase.DETACHING, Action.REVOKE_RESHARED),
    (Phase.RESHARING, Input.LOST): (Phase.DETACHING, Action.REVOKE_RESHARED),
    (Phase.RESHARING, Input.OBSTRUCTED): (Phase.DETACHING, Action.REVOKE_RESHARED),
    (Phase.RESHARING, Input.CERTAIN): (Phase.ATTACHED, Action.FINISH),
    (Phase.DETACHING, Input.ATTACH): (Phase.RESHARING, Action.REGRANT),
    (Phase.DETACHING, Input.FOUND): (Phase.DETACHING, Action.NOTHING),
    (Phase.DETACHING, Input.SETTINGS): (Phase.DETACHING, Action.NOTHING),
    (Phase.DETACHING, Input.DETACH): (Phase.DETACHING, Action.JOIN),
    (Phase.DETACHING, Input.LOST): (Phase.DETACHING, Action.NOTHING),
    (Phase.DETACHING, Input.OBSTRUCTED): (Phase.DETACHING, Action.NOTHING),
    (Phase.DETACHING, Input.CERTAIN): (Phase.NONE, Action.FINISH),
}
"""The transitions. Pairs that are missing cannot happen: NONE and ATTACHED wait for nobody."""


def pending(kind: ChangeKind, key: AttachmentKey) -> ChangeKey:
    """Identity of what an attachment waits for."""
    return ChangeKey(kind, key.follower_cluster, key.leader_cluster, key.database)


def phase(durable: Durable, key: AttachmentKey) -> Phase:
    """Where an attachment stands."""
    if key in durable.attachments:
        resharing = pending(ChangeKind.SHARING, key) in durable.changes
        return Phase.RESHARING if resharing else Phase.ATTACHED
    return Phase.DETACHING if pending(ChangeKind.DETACH, key) in durable.changes else Phase.NONE


def step(
    turn: Turn, configuration: Configuration, database: str, what: Input, request: int | None = None
) -> Action:
    """Takes one attachment through the table; returns the action.

    ``database`` is spelled as on the leader. ``request`` waits if anything has to be certain first;
    ask ``turn.waits(request)``.
    """
    key = AttachmentKey(
        configuration.leader_cluster,
        fold_database_name(database),
        configuration.follower_cluster,
    )
    before = phase(turn.durable, key)
    _, action = TABLE[before, what]
    if action is Action.GRANT:
        _grant(turn, configuration, database)
    elif action is Action.REGRANT:
        turn.supersede(pending(ChangeKind.DETACH, key), _superseded(key, "attached again"))
        _grant(turn, configuration, database)
        # Some process may show what was shared before, and this attachment does not share.
        _begin(turn, ChangeKind.SHARING, turn.durable.attachments[key], request)
    elif action is Action.RESHARE:
        turn.regrant((turn.durable.attachments[key],))
        _begin(turn, ChangeKind.SHARING, turn.durable.attachments[key], request)
    elif action in (Action.REVOKE, Action.REVOKE_RESHARED):
        if action is Action.REVOKE_RESHARED:
            turn.supersede(pending(ChangeKind.SHARING, key), _superseded(key, "detached"))
        attachment = turn.durable.attachments[key]
        turn.drop_attachment(key)
        turn.new_epoch()
        _begin(turn, ChangeKind.DETACH, attachment, request)
    elif action is Action.JOIN and request is not None:
        kind = ChangeKind.DETACH if before is Phase.DETACHING else ChangeKind.SHARING
        turn.join(pending(kind, key), request)
    return action


def _grant(turn: Turn, configuration: Configuration, database: str) -> None:
    epoch = turn.new_epoch()
    turn.put_attachment(
        Attachment(
            leader_cluster=configuration.leader_cluster,
            database=database,
            follower_cluster=configuration.follower_cluster,
            epoch=epoch,
            configuration=configuration.name,
            follower_database=configuration.follower_name(database),
            revision=turn.durable.revision,
        )
    )


def _begin(turn: Turn, kind: ChangeKind, attachment: Attachment, request: int | None) -> None:
    change = Change(
        kind=kind,
        cluster=attachment.follower_cluster,
        epoch=turn.durable.epoch,
        revision=turn.durable.revision,
        leader_cluster=attachment.leader_cluster,
        database=attachment.database,
        configuration=attachment.configuration,
        follower_database=attachment.follower_database,
    )
    turn.begin(change, request)


def _superseded(key: AttachmentKey, how: str) -> ConflictError:
    return ConflictError(
        f"what was asked of database '{key.database}' of cluster '{key.leader_cluster}' on "
        f"'{key.follower_cluster}' was superseded: it has been {how}",
        remedy="Ask again if it should be otherwise.",
    )


# What nodes report.


def expand(turn: Turn) -> None:
    """Attaches every database that a configuration follows, where nothing is in the way.

    Only ever grants: answers to nodes that were composed in this turn stay right.
    """
    names: dict[str, dict[str, str]] = {}
    for _, configuration in sorted(turn.durable.configurations.items()):
        leader = configuration.leader_cluster
        if leader not in names:
            names[leader] = reported(turn.state, leader)
        present = names[leader]
        if configuration.is_of_all:
            wanted = [name for _, name in sorted(present.items())]
        else:
            name = present.get(fold_database_name(configuration.database))
            wanted = [] if name is None else [name]
        for database in wanted:
            key = AttachmentKey(
                leader, fold_database_name(database), configuration.follower_cluster
            )
            if phase(turn.durable, key) is Phase.NONE:
                state = turn.state
                if obstacle(state, configuration, database, turn.limits) is None:
                    step(turn, configuration, database, Input.FOUND)


def notice(turn: Turn, event: Heartbeat) -> None:
    """Ends the attachments that a heartbeat shows cannot stay.

    Call it before the view of the answer is made: an answer with the view before would be a lease
    under it. A report counts if its node knew of the attachment when it was built.
    """
    own = {fold_database_name(database.name) for database in event.report.databases}
    for key, attachment in sorted(turn.durable.attachments.items()):
        if attachment.revision > event.applied_revision:
            continue
        leads = attachment.leader_cluster == event.cluster
        follows = attachment.follower_cluster == event.cluster
        if follows and fold_database_name(attachment.follower_database) in own:
            _end(turn, attachment, Input.OBSTRUCTED)
        elif leads and key.database not in own and _is_gone(turn, attachment):
            _end(turn, attachment, Input.LOST)


def _is_gone(turn: Turn, attachment: Attachment) -> bool:
    """No node of the leader has the database, in a report built after it was attached."""
    for node in turn.durable.cluster_nodes(attachment.leader_cluster):
        session = turn.session(node.node)
        if session.report is None or session.applied_revision < attachment.revision:
            return False
    return attachment.key.database not in reported(turn.state, attachment.leader_cluster)


def _end(turn: Turn, attachment: Attachment, what: Input) -> None:
    configuration = turn.durable.configurations[attachment.configuration_key]
    step(turn, configuration, attachment.database, what)


# What becomes certain.


def finish(turn: Turn, change: Change, certainty: Certainty) -> None:
    """A detach is certain."""
    for request, how in turn.complete(change.key, certainty):
        turn.reply(request, Detached(how))


def finish_sharing(turn: Turn, change: Change, certainty: Certainty) -> None:
    """What is not shared any more can be read nowhere."""
    attachment = turn.durable.attachments[
        AttachmentKey(change.leader_cluster, change.key.database, change.cluster)
    ]
    for request, how in turn.complete(change.key, certainty):
        answer(turn, request, attachment.configuration_key, how)


def answer(
    turn: Turn, request: int, key: ConfigurationKey, certainty: Certainty = Certainty.IMMEDIATE
) -> None:
    """Answers an attach: the configuration and what has become of it."""
    status = describe(turn.state, turn.durable.configurations[key], turn.limits)
    turn.reply(request, Attached(status, certainty))
