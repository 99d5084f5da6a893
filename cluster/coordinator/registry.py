"""Nodes: registration, heartbeats and leases. Pure transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.coordinator.attachment import notice
from cluster.coordinator.capability import reopen
from cluster.coordinator.configuration import DEFAULT_LOCATION
from cluster.coordinator.events import Registered, Renewed
from cluster.coordinator.identity import adopt, contest, doubt, outrun, settle
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
from cluster.replication.authority import NO_ISSUER

if TYPE_CHECKING:
    from cluster.coordinator.events import Heartbeat, RegisterNode
    from cluster.coordinator.state import Change, Durable, Holder, State
    from cluster.coordinator.turn import Turn
    from cluster.replication.authority import Issuer


CANDIDATES: Final = 8
"""Processes of a node that have registered and were not heard yet. One that is pushed out by others
registers again."""


class Caller(NamedTuple):
    """The process a call comes from."""

    cluster: str
    node: str
    instance: str
    registration: int


def register(turn: Turn, event: RegisterNode) -> None:
    """Takes note of a process. Gives no lease.

    A process that is not the present one of its node becomes a candidate, with a number greater
    than all before. Its first heartbeat, which has that number, ends the present one
    (:func:`_succeed`). So a request that was late on its way, or came twice, ends nobody: the
    number it is answered is heard by no process that runs.
    """
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
    session = turn.session(event.node)
    same = (one for one in (known, *session.candidates) if one and one.instance == event.instance)
    before = next(same, None)
    node = Node(
        node=event.node,
        cluster=event.cluster,
        instance=event.instance,
        grpc_address=event.grpc_address,
        pid=event.pid,
        data=event.data,
        # Durable before it is answered: old data does not give a number twice.
        registration=before.registration if before else turn.new_revision(),
    )
    if known is None or known is before:
        _put_node(turn, node)
    else:
        others = (one for one in session.candidates if one is not before)
        candidates = sorted((*others, node), key=lambda one: one.registration)[-CANDIDATES:]
        turn.put_session(event.node, replace(session, candidates=tuple(candidates)))
    turn.reply(event.request, Registered(view(turn.durable, event.cluster), node.registration))


def _put_node(turn: Turn, node: Node) -> None:
    """Makes a process the present one of its node. What was left to seal there is left still."""
    known = turn.durable.nodes.get(node.node)
    if known is not None:
        node = replace(node, streaming_tables=known.streaming_tables, unsealed=known.unsealed)
    if node == known:
        return
    called_at = leader_address(turn.durable, node.cluster)
    turn.put_node(node)
    if leader_address(turn.durable, node.cluster) != called_at:
        turn.regrant(
            attachment
            for attachment in turn.durable.attachments.values()
            if attachment.leader_cluster == node.cluster
        )


def _succeed(turn: Turn, node: Node) -> None:
    """A candidate is heard: it is the node now, and what came before it may hold leases still."""
    old = turn.session(node.node)
    later = (one for one in old.candidates if one.registration > node.registration)
    ghosts_until = max(old.ghosts_until, old.lease_until)
    turn.put_session(node.node, Session(ghosts_until=ghosts_until, candidates=tuple(later)))
    _put_node(turn, node)


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


def identify(state: State, caller: Caller, obeys: Issuer) -> Node:
    """The registered process a call comes from: the present one of its node, or a candidate.

    Raises EntityNotFoundError if it must register first, ConflictError if a later process has taken
    its place. A process has its number of whom it obeys, or of a life before that. If that is
    another coordinator's, or that of another copy of our data, the number says nothing here.
    """
    cluster, node, instance, registration = caller
    known = state.durable.nodes.get(node)
    if known is not None and known.cluster == cluster:
        if known.instance == instance:
            return known
        for candidate in state.sessions[node].candidates:
            if (candidate.instance, candidate.registration) == (instance, registration):
                return candidate
        is_ours = obeys == NO_ISSUER or state.durable.issuer.descends_from(obeys)
        if registration < known.registration and is_ours:
            raise ConflictError(
                f"another instance of node '{node}' has registered since; this one is superseded",
                remedy="Stop this process: only one process may run a node.",
                metadata={"node": node, "instance": instance, "registered": known.instance},
            )
    raise EntityNotFoundError(
        f"this process of node '{node}' of cluster '{cluster}' is not registered",
        remedy="Register it again.",
    )


def check_watcher(state: State, caller: Caller, obeys: Issuer, revision: int) -> None:
    """Whether a process may watch. Raises what :func:`identify` does.

    UnavailableError while it obeys another coordinator: its heartbeats settle that.
    """
    words = doubt(state.durable, caller.node, obeys, revision)
    if words:
        raise UnavailableError(f"The coordinator has no views for this node: {words}.")
    identify(state, caller, obeys)


def heartbeat(turn: Turn, event: Heartbeat) -> None:
    """Renews the lease, takes the report and counts it as a confirmation where it is one."""
    if _is_doubtful(turn, event):
        return
    caller = Caller(event.cluster, event.node, event.instance, event.registration)
    node = identify(turn.state, caller, event.obeys)
    if node.instance != turn.durable.nodes[event.node].instance:
        _succeed(turn, node)
    is_news = event.sequence > turn.session(event.node).sequence
    if is_news:
        settle(turn, event)
        _take_report(turn, event)
    if turn.contest is not None:
        _give_no_lease(turn, event, turn.contest.reason)
        return
    session = turn.session(event.node)
    # Also for one that was late on its way: its answer may still be in time.
    turn.put_session(
        event.node, replace(session, lease_until=turn.now + longest_lease(turn.limits))
    )
    if is_news:
        outrun(turn, event.newest_epoch)
        _confirm(turn, event)
        notice(turn, event)
    answer = Renewed(view(turn.durable, event.cluster), turn.limits.lease_seconds)
    turn.reply(event.request, answer)


def _take_report(turn: Turn, event: Heartbeat) -> None:
    session, report = turn.session(event.node), event.report
    turn.put_session(
        event.node,
        replace(
            session,
            heard_at=turn.now,
            applied_revision=event.applied_revision,
            sequence=event.sequence,
            report=report,
            drained_revision=report.drained_revision,
        ),
    )
    streaming = tuple(
        sorted(
            (database.name, tuple(sorted(database.streaming_tables)))
            for database in report.databases
            if database.streaming_tables
        )
    )
    unsealed = tuple(sorted(d.name for d in report.databases if d.streaming_content))
    node = turn.durable.nodes[event.node]
    if (streaming, unsealed) != (node.streaming_tables, node.unsealed):
        turn.put_node(replace(node, streaming_tables=streaming, unsealed=unsealed))


def _is_doubtful(turn: Turn, event: Heartbeat) -> bool:
    """Whether whom the node obeys is not our past; then the heartbeat is answered already.

    Looked at before who the node is: an old copy of our data knows earlier processes of it.
    """
    words = doubt(turn.durable, event.node, event.obeys, event.applied_revision)
    if not words:
        return False
    if not turn.adopts:
        contest(turn, event, words)
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
