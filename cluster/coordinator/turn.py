"""One event being handled: a private copy of the state that transitions change.

A transition either returns, and the turn becomes the next state, or raises, and the turn is thrown
away: a refused request leaves no trace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.coordinator.events import Reply
from cluster.coordinator.state import (
    Attachment,
    Change,
    Inquiry,
    Session,
    State,
    Waiting,
    holders,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self._before = state
        self._sessions = state.sessions
        self._waiting = state.waiting
        self._inquiries = state.inquiries

    @property
    def state(self) -> State:
        """The state so far."""
        return State(self.durable, self._sessions, self._waiting, self._inquiries)

    def reply(self, request: int, outcome: Answer | RemoraError) -> None:
        """Answers a request once the state is durable."""
        self.replies.append(Reply(request, outcome))

    def new_revision(self) -> int:
        """Views change in this turn: one revision for all of them."""
        revision = self._before.durable.revision + 1
        self.durable = replace(self.durable, revision=revision)
        return revision

    def new_epoch(self) -> int:
        """Grants change in this turn: one epoch, never used before, for all of them."""
        epoch = self._before.durable.epoch + 1
        self.durable = replace(self.durable, epoch=epoch)
        self.new_revision()
        return epoch

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

    def begin(self, change: Change, request: int) -> bool:
        """Starts to wait for certainty. False: no process can act on the old state, so it is."""
        concerned = holders(self._before, change.cluster, self.now)
        if not concerned:
            return False
        changes = {**self.durable.changes, change.key: change}
        self.durable = replace(self.durable, changes=changes)
        self.put_waiting(change.key, Waiting(concerned, (request,)))
        return True

    def put_waiting(self, key: ChangeKey, waiting: Waiting) -> None:
        """Replaces who a pending change waits for."""
        self._waiting = {**self._waiting, key: waiting}

    def join(self, key: ChangeKey, request: int) -> None:
        """Answers ``request`` too when the pending change is certain."""
        waiting = self._waiting[key]
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
        """A contrary decision was taken: whoever waited is told that."""
        for request in self.end(key).requests:
            self.reply(request, error)
