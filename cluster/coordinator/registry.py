"""Nodes: registration, heartbeats and leases. Pure transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator.attachment import notice
from cluster.coordinator.capability import reopen
from cluster.coordinator.configuration import DEFAULT_LOCATION
from cluster.coordinator.events import Registered, Renewed
from cluster.coordinator.identity import adopt, contest, doubt
from cluster.coordinator.state import (
    NEVER,
    ChangeKind,
    Cluster,
    Node,
    Session,
    longest_lease,
)
from cluster.coordinator.views import leader_address, view
from cluster.errors import (
    ConflictError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    UnavailableError,
)

if TYPE_CHECKING:
    from cluster.coordinator.events import Heartbeat, RegisterNode
    from cluster.coordinator.state import Change, Durable, Holder
    from cluster.coordinator.turn import Turn
    from cluster.replication.authority import Issuer


def register(turn: Turn, event: RegisterNode) -> None:
    """Adds or updates a node. Gives no lease."""
    _check_names(event, turn.limits.entity_name_characters)
    known = turn.durable.nodes.get(event.node)
    if known is not None and known.cluster != event.cluster:
        raise ConflictError(
            f"node '{event.node}' belongs to cluster '{known.cluster}', not '{event.cluster}'"
        )
    if event.cluster not in turn.durable.clusters:
        _check_room("clusters", len(turn.durable.clusters), turn.limits.clusters)
        turn.put_cluster(
            Cluster(
                event.cluster,
                event.initial_streaming_ingestion,
                event.strict,
                event.location or DEFAULT_LOCATION,
            )
        )
        turn.new_revision()
    if known is None:
        _check_room("nodes", len(turn.durable.nodes), turn.limits.nodes)
        # A node that is new to old data may hold a lease of the coordinator that is replaced.
        until = turn.now + longest_lease(turn.limits) if turn.adopts else NEVER
        turn.put_session(event.node, Session(ghosts_until=until))
    elif known.instance != event.instance:
        old = turn.session(event.node)
        ghosts_until = max(old.ghosts_until, old.lease_until)
        turn.put_session(event.node, Session(ghosts_until=ghosts_until))
        # So that data of before this does not pass for newer: it would end this process.
        turn.new_revision()
    called_at = leader_address(turn.durable, event.cluster)
    node = Node(
        node=event.node,
        cluster=event.cluster,
        instance=event.instance,
        grpc_address=event.grpc_address,
        pid=event.pid,
        data=event.data,
        streaming_tables=known.streaming_tables if known else (),
        unsealed=known.unsealed if known else (),
    )
    if node != known:
        turn.put_node(node)
    if leader_address(turn.durable, event.cluster) != called_at:
        turn.regrant(
            attachment
            for attachment in turn.durable.attachments.values()
            if attachment.leader_cluster == event.cluster
        )
    turn.reply(event.request, Registered(view(turn.durable, event.cluster)))


def _check_names(event: RegisterNode, longest: int) -> None:
    for what, name in (("cluster", event.cluster), ("node id", event.node)):
        if not name or len(name) > longest or not name.isprintable():
            raise InvalidRequestError(f"a {what} is 1 to {longest} printable characters")
    if "/" in event.cluster:
        raise InvalidRequestError(f"cluster name '{event.cluster}' contains a slash")
    if not event.instance:
        raise InvalidRequestError(f"node '{event.node}' names no instance")
    host, _, port = event.grpc_address.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidRequestError(
            f"node '{event.node}' names the address '{event.grpc_address}', not host:port"
        )


def _check_room(what: str, present: int, limit: int) -> None:
    if present >= limit:
        raise LimitExceededError(
            f"a setup has at most {limit} {what}", metadata={"limit": what, "value": str(limit)}
        )


def identify(
    durable: Durable, cluster: str, node: str, instance: str, *, may_be_newer: bool = False
) -> Node:
    """The registered node a call comes from.

    Raises EntityNotFoundError if it must register first, ConflictError if another instance of it
    has registered since. ``may_be_newer``: nobody knows which of the two was first.
    """
    known = durable.nodes.get(node)
    is_other = known is not None and known.instance != instance
    if known is None or known.cluster != cluster or (is_other and may_be_newer):
        raise EntityNotFoundError(
            f"node '{node}' of cluster '{cluster}' is not registered",
            remedy="Register the node again.",
        )
    if is_other:
        raise ConflictError(
            f"another instance of node '{node}' has registered since; this one is superseded",
            remedy="Stop this process: only one process may run a node.",
            metadata={"node": node, "instance": instance, "registered": known.instance},
        )
    return known


def _may_be_newer(durable: Durable, obeys: Issuer, *, adopts: bool) -> bool:
    """Whether a process may have registered after our data were copied.

    A coordinator that takes another's place may run on old data; a process that obeys it by now
    has registered with it.
    """
    return adopts and obeys.instance != durable.issuer.instance


def check_watcher(
    durable: Durable,
    event: tuple[str, str, str],
    obeys: Issuer,
    revision: int,
    *,
    adopts: bool = False,
) -> None:
    """Whether a process (cluster, node, instance) may watch. Raises what :func:`identify` does.

    UnavailableError while it obeys another coordinator: its heartbeats settle that. ``adopts``: the
    coordinator takes another's place.
    """
    cluster, node, instance = event
    words = doubt(durable, node, obeys, revision)
    if words:
        raise UnavailableError(f"The coordinator has no views for this node: {words}.")
    may_be_newer = _may_be_newer(durable, obeys, adopts=adopts)
    identify(durable, cluster, node, instance, may_be_newer=may_be_newer)


def heartbeat(turn: Turn, event: Heartbeat) -> None:
    """Renews the lease, takes the report and counts it as a confirmation where it is one."""
    if _is_doubtful(turn, event):
        return
    node = identify(
        turn.durable,
        event.cluster,
        event.node,
        event.instance,
        may_be_newer=_may_be_newer(turn.durable, event.obeys, adopts=turn.adopts),
    )
    session = turn.session(event.node)
    # One that was late on its way says nothing new: it was built under an older view.
    is_news = event.applied_revision >= session.report_revision
    session = replace(
        session,
        heard_at=turn.now,
        report=event.report if is_news else session.report,
        report_revision=max(session.report_revision, event.applied_revision),
    )
    if turn.contest is not None:
        turn.put_session(event.node, session)
        _give_no_lease(turn, event, turn.contest.reason)
        return
    turn.put_session(
        event.node,
        replace(
            session,
            lease_until=turn.now + longest_lease(turn.limits),
            applied_revision=max(session.applied_revision, event.applied_revision),
            drained_revision=event.report.drained_revision,
        ),
    )
    streaming = tuple(
        sorted(
            (database.name, tuple(sorted(database.streaming_tables)))
            for database in event.report.databases
            if database.streaming_tables
        )
    )
    unsealed = tuple(sorted(d.name for d in event.report.databases if d.streaming_content))
    if (streaming, unsealed) != (node.streaming_tables, node.unsealed):
        turn.put_node(replace(node, streaming_tables=streaming, unsealed=unsealed))
    _confirm(turn, event)
    notice(turn, event)
    answer = Renewed(view(turn.durable, event.cluster), turn.limits.lease_seconds)
    turn.reply(event.request, answer)


def _is_doubtful(turn: Turn, event: Heartbeat) -> bool:
    """Whether whom the node obeys is not our past; then the heartbeat is answered already.

    Looked at before who the node is: an old copy of our data knows earlier processes of it.
    """
    words = doubt(turn.durable, event.node, event.obeys, event.applied_revision)
    if not words:
        return False
    if not turn.adopts:
        contest(turn, words)
        _give_no_lease(turn, event, words)
        return True
    adopt(turn, event.obeys, event.applied_revision, event.newest_epoch)
    known = turn.durable.nodes.get(event.node)
    if known is not None and known.instance == event.instance:
        return False
    unknown = EntityNotFoundError(
        f"this process of node '{event.node}' is not registered", remedy="Register it again."
    )
    turn.reply(event.request, unknown)
    return True


def _give_no_lease(turn: Turn, event: Heartbeat, words: str) -> None:
    turn.reply(event.request, Renewed(view(turn.durable, event.cluster), 0.0, words))


def _confirm(turn: Turn, event: Heartbeat) -> None:
    """Takes this process off every list of those that must still confirm."""
    if any(database.streaming_tables for database in event.report.databases):
        reopen(turn, event.cluster)
    for change, waiting in turn.waiting():
        holds = change.kind is not ChangeKind.DRAIN and change.cluster == event.cluster
        if holds and confirms(turn.durable, change, event):
            left = _without(waiting.holders, event)
            turn.put_waiting(change.key, replace(waiting, holders=left))
    for inquiry in turn.inquiries():
        if event.applied_revision >= inquiry.revision:
            turn.put_inquiry(replace(inquiry, holders=_without(inquiry.holders, event)))


def _without(holders: tuple[Holder, ...], event: Heartbeat) -> tuple[Holder, ...]:
    sender = (event.node, event.instance)
    return tuple(holder for holder in holders if (holder.node, holder.instance) != sender)


def confirms(durable: Durable, change: Change, event: Heartbeat) -> bool:
    """Whether this heartbeat says that its process can no longer act on the state before."""
    if event.applied_revision < change.revision:
        return False
    applied = {
        (following.leader_cluster, following.database.lower()): following.applied_epoch
        for following in event.report.following
    }
    there = (change.leader_cluster, change.key.database)
    if change.kind is ChangeKind.DETACH:
        return there not in applied
    if change.kind is ChangeKind.SHARING:
        return applied.get(there, change.epoch) >= change.epoch
    attached = {
        (attachment.leader_cluster, attachment.key.database)
        for attachment in durable.followed_by(change.cluster)
    }
    # Everything attached must be named; everything named, attached or not, must be hidden.
    return attached <= applied.keys() and all(epoch >= change.epoch for epoch in applied.values())
