"""One event being handled: a private copy of the state that transitions change.

A transition either returns, and the turn becomes the next state, or raises, and the turn is thrown
away: a refused request leaves no trace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator.events import Certainty, Reply
from cluster.coordinator.state import (
    Attachment,
    Change,
    ChangeKind,
    Inquiry,
    Session,
    State,
    Waiting,
    holders,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.coordinator.configuration import Configuration, ConfigurationKey
    from cluster.coordinator.events import Answer, Attach
    from cluster.coordinator.state import AttachmentKey, ChangeKey, Cluster, Node
    from cluster.errors import RemoraError
    from cluster.limits import Limits


class Turn:
    """The state while one event is handled at ``now``."""

    def __init__(self, state: State, now: float, limits: Limits, *, informed: bool = False) -> None:
        self.now = now
        self.limits = limits
        self.informed = informed
        """The event has waited for a fresh report; it does not wait again."""
        self.replies: list[Reply] = []
        self.durable = state.durable
        self.contest = state.contest
        self.adopts = state.adopts
        self._before = state
        self._base = state.durable
        self._sessions = state.sessions
        self._waiting = state.waiting
        self._inquiries = state.inquiries

    @property
    def state(self) -> State:
        """The state so far."""
        return State(
            self.durable, self._sessions, self._waiting, self._inquiries, self.contest, self.adopts
        )

    @property
    def was_contested(self) -> bool:
        """It was in doubt who the coordinator is before this turn."""
        return self._before.contest is not None

    @property
    def has_news(self) -> bool:
        """Anything durable has changed, or which databases some node owns."""
        if self.durable is not self._before.durable:
            return True
        before = self._before.sessions
        return any(
            session is not before.get(node) and _owned(session) != _owned(before.get(node))
            for node, session in self._sessions.items()
        )

    def reply(self, request: int, outcome: Answer | RemoraError) -> None:
        """Answers a request once the state is durable."""
        self.replies.append(Reply(request, outcome))

    def new_revision(self) -> int:
        """Views change in this turn: one revision for all of them."""
        revision = self._base.revision + 1
        self.durable = replace(self.durable, revision=revision)
        return revision

    def new_epoch(self) -> int:
        """Grants change in this turn: one epoch, never used before, for all of them."""
        epoch = self._base.epoch + 1
        self.durable = replace(self.durable, epoch=epoch)
        self.new_revision()
        return epoch

    def raise_counters(self, epoch: int, revision: int) -> None:
        """New epochs and revisions of this turn are above these."""
        base = self._base
        self._base = replace(
            base, epoch=max(base.epoch, epoch), revision=max(base.revision, revision)
        )

    def restart_changes(self) -> None:
        """Whoever may act on a state before this turn confirms every pending change anew."""
        for change, waiting in self.waiting():
            now = replace(change, epoch=self.durable.epoch, revision=self.durable.revision)
            concerned = waiting.holders
            if change.kind is not ChangeKind.DRAIN:
                concerned = holders(self.state, change.cluster, self.now)
            self.put_change(now, replace(waiting, holders=concerned))

    def put_cluster(self, cluster: Cluster) -> None:
        """Adds or replaces a cluster."""
        clusters = {**self.durable.clusters, cluster.name: cluster}
        self.durable = replace(self.durable, clusters=clusters)

    def put_node(self, node: Node) -> None:
        """Adds or replaces a node."""
        self.durable = replace(self.durable, nodes={**self.durable.nodes, node.node: node})

    def put_attachment(self, attachment: Attachment) -> None:
        """Adds or replaces an attachment."""
        attachments = {**self.durable.attachments, attachment.key: attachment}
        self.durable = replace(self.durable, attachments=attachments)

    def drop_attachment(self, key: AttachmentKey) -> None:
        """Removes an attachment."""
        attachments = {k: a for k, a in self.durable.attachments.items() if k != key}
        self.durable = replace(self.durable, attachments=attachments)

    def put_configuration(self, configuration: Configuration) -> None:
        """Adds or replaces an attachment configuration."""
        known = {**self.durable.configurations, configuration.key: configuration}
        self.durable = replace(self.durable, configurations=known)

    def drop_configuration(self, key: ConfigurationKey) -> None:
        """Removes an attachment configuration."""
        known = {k: c for k, c in self.durable.configurations.items() if k != key}
        self.durable = replace(self.durable, configurations=known)

    def regrant(self, attachments: Iterable[Attachment]) -> int:
        """Gives the grants of these attachments one new epoch; returns it, 0 if there are none."""
        concerned = tuple(attachments)
        if not concerned:
            return 0
        epoch = self.new_epoch()
        for attachment in concerned:
            self.put_attachment(replace(attachment, epoch=epoch))
        return epoch

    def session(self, node: str) -> Session:
        """What was heard of a node."""
        return self._sessions.get(node, Session())

    def put_session(self, node: str, session: Session) -> None:
        """Replaces what was heard of a node."""
        self._sessions = {**self._sessions, node: session}

    def waiting(self) -> Iterable[tuple[Change, Waiting]]:
        """Pending changes and who they wait for."""
        return tuple((self.durable.changes[key], w) for key, w in self._waiting.items())

    def begin(self, change: Change, request: int | None) -> bool:
        """Starts to wait for certainty. False: no process can act on the old state, so it is.

        If a change of the key is pending already, this one takes its place, and whoever waited for
        it waits for this one.
        """
        concerned = holders(self._before, change.cluster, self.now)
        if not concerned:
            return False
        before = self._waiting.get(change.key, Waiting(()))
        asking = () if request is None else (request,)
        waiting = replace(before, holders=concerned, requests=(*before.requests, *asking))
        self.put_change(change, waiting)
        return True

    def waits(self, request: int) -> bool:
        """Whether the request waits for any change."""
        return any(request in waiting.requests for waiting in self._waiting.values())

    def put_change(self, change: Change, waiting: Waiting) -> None:
        """Adds a pending change."""
        changes = {**self.durable.changes, change.key: change}
        self.durable = replace(self.durable, changes=changes)
        self.put_waiting(change.key, waiting)

    def put_waiting(self, key: ChangeKey, waiting: Waiting) -> None:
        """Replaces who a pending change waits for."""
        self._waiting = {**self._waiting, key: waiting}

    def join(self, key: ChangeKey, request: int) -> None:
        """Answers ``request`` too when the pending change is certain."""
        waiting = self._waiting[key]
        if request not in waiting.requests:
            self.put_waiting(key, replace(waiting, requests=(*waiting.requests, request)))

    def end(self, key: ChangeKey) -> Waiting:
        """The change is not pending any more; returns who waited for it."""
        waiting = self._waiting[key]
        changes = {k: c for k, c in self.durable.changes.items() if k != key}
        self.durable = replace(self.durable, changes=changes)
        self._waiting = {k: w for k, w in self._waiting.items() if k != key}
        return waiting

    def inquire(self, event: Attach) -> bool:
        """Lets an attach wait for a fresh report of its leader. False: nobody could give one."""
        alive = tuple(
            holder
            for holder in holders(self._before, event.leader_cluster, self.now)
            if holder.instance
        )
        if self.informed or not alive:
            return False
        inquiry = Inquiry(event, self.new_revision(), alive)
        self.put_inquiry(inquiry)
        return True

    def inquiries(self) -> tuple[Inquiry, ...]:
        """Attaches that wait for a report."""
        return tuple(self._inquiries.values())

    def put_inquiry(self, inquiry: Inquiry) -> None:
        """Adds or replaces an inquiry."""
        self._inquiries = {**self._inquiries, inquiry.event.request: inquiry}

    def drop_inquiry(self, request: int) -> None:
        """Removes an inquiry, if it is there."""
        self._inquiries = {r: i for r, i in self._inquiries.items() if r != request}

    def supersede(self, key: ChangeKey, error: RemoraError) -> None:
        """A contrary decision was taken: whoever waited is told that, and waits for nothing."""
        told = self.end(key).requests
        for request in told:
            self.reply(request, error)
        for other, waiting in tuple(self._waiting.items()):
            left = tuple(request for request in waiting.requests if request not in told)
            if left != waiting.requests:
                self.put_waiting(other, replace(waiting, requests=left))

    def complete(self, key: ChangeKey, certainty: Certainty) -> Iterable[tuple[int, Certainty]]:
        """The change is certain. Gives the requests that wait for nothing else, and how certain.

        What several changes have made certain is as certain as the least of them.
        """
        done = self.end(key)
        late = done.late
        if certainty is Certainty.LEASE_EXPIRED:
            late |= frozenset(done.requests)
        for other, waiting in tuple(self._waiting.items()):
            if both := late.intersection(waiting.requests):
                self.put_waiting(other, replace(waiting, late=waiting.late | both))
        return [
            (request, Certainty.LEASE_EXPIRED if request in late else certainty)
            for request in done.requests
            if not self.waits(request)
        ]


def _owned(session: Session | None) -> tuple[str, ...] | None:
    """Names of the databases a node has reported; None before it has."""
    if session is None or session.report is None:
        return None
    return tuple(database.name for database in session.report.databases)
