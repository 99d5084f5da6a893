"""What the coordinator knows. Immutable values, no I/O.

:class:`Durable` is on disk before anybody hears of it; :class:`State` adds what is true only for
this process: who was heard when, and who waits for which change.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cluster.coordinator.configuration import DEFAULT_LOCATION, ConfigurationKey
from cluster.replication.authority import NO_ISSUER, Issuer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.coordinator.configuration import Configuration
    from cluster.coordinator.events import Attach
    from cluster.coordinator.reports import Report
    from cluster.limits import Limits

NEVER = float("-inf")
"""A moment before every other."""


class AttachmentKey(NamedTuple):
    """Identity of an attachment. ``database`` is lower-case: database names ignore case."""

    leader_cluster: str
    database: str
    follower_cluster: str


class ChangeKind(enum.Enum):
    """A change that is done only when no node can act on the old state any more."""

    OFF = "off"
    DRAIN = "drain"
    """What OFF becomes when nothing can be shown any more, until row stores are sealed."""
    DETACH = "detach"
    SHARING = "sharing"
    """Sharing or the principals kind of an attachment that stays."""


class ChangeKey(NamedTuple):
    """Identity of a pending change. ``leader_cluster`` and ``database`` are empty for OFF."""

    kind: ChangeKind
    cluster: str
    leader_cluster: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster. ``streaming_ingestion`` is false from the moment OFF is decided.

    ``location`` is its region, as it was when the cluster was created.
    """

    name: str
    streaming_ingestion: bool
    strict: bool = False
    location: str = DEFAULT_LOCATION


@dataclass(frozen=True, slots=True)
class Node:
    """One process of a node.

    ``streaming_tables`` is the last that the node reported: (database, table names) pairs.
    ``registration`` orders the processes of a node: a later one has a greater number.
    """

    node: str
    cluster: str
    instance: str
    grpc_address: str
    pid: int = 0
    data: str = ""
    streaming_tables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unsealed: tuple[str, ...] = ()
    """Databases with streaming content by its last report: something may be left to seal there."""
    registration: int = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment; ``database`` is spelled as on the leader. ``epoch`` is its grant's.

    ``configuration`` names what it comes from, ``follower_database`` what it is called on the
    follower. A report built with ``revision`` applied comes from a node that knows of it.
    """

    leader_cluster: str
    database: str
    follower_cluster: str
    epoch: int
    configuration: str
    follower_database: str
    revision: int = 0

    @property
    def key(self) -> AttachmentKey:
        """Identity."""
        return AttachmentKey(self.leader_cluster, self.database.lower(), self.follower_cluster)

    @property
    def configuration_key(self) -> ConfigurationKey:
        """Identity of what it comes from."""
        return ConfigurationKey(self.follower_cluster, self.configuration.lower())


@dataclass(frozen=True, slots=True)
class Change:
    """A pending change: decided and published, not yet certain at every node.

    ``cluster`` is the cluster whose nodes must confirm. A node confirms with ``revision`` applied
    and, for OFF, with ``epoch`` applied at the gate of every database it follows, for SHARING at
    that of the one attached. ``configuration`` and ``follower_database`` are as in
    :class:`Attachment`; empty for OFF.
    """

    kind: ChangeKind
    cluster: str
    epoch: int
    revision: int
    leader_cluster: str = ""
    database: str = ""
    configuration: str = ""
    follower_database: str = ""

    @property
    def key(self) -> ChangeKey:
        """Identity."""
        return ChangeKey(self.kind, self.cluster, self.leader_cluster, self.database.lower())

    @property
    def configuration_key(self) -> ConfigurationKey:
        """Identity of the configuration it comes from."""
        return ConfigurationKey(self.cluster, self.configuration.lower())


@dataclass(frozen=True, slots=True)
class Durable:
    """What survives SIGKILL. ``epoch`` and ``revision`` are the newest ever given out."""

    epoch: int = 0
    revision: int = 0
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    attachments: Mapping[AttachmentKey, Attachment] = field(default_factory=dict)
    changes: Mapping[ChangeKey, Change] = field(default_factory=dict)
    configurations: Mapping[ConfigurationKey, Configuration] = field(default_factory=dict)
    issuer: Issuer = NO_ISSUER

    def cluster_nodes(self, cluster: str) -> tuple[Node, ...]:
        """Nodes of a cluster, by id."""
        return tuple(node for _, node in sorted(self.nodes.items()) if node.cluster == cluster)

    def touching(self, cluster: str) -> tuple[Attachment, ...]:
        """Attachments in which the cluster leads or follows."""
        return tuple(
            attachment
            for attachment in self.attachments.values()
            if cluster in (attachment.leader_cluster, attachment.follower_cluster)
        )

    def followed_by(self, cluster: str) -> tuple[Attachment, ...]:
        """Attachments in which the cluster follows."""
        return tuple(
            attachment
            for attachment in self.attachments.values()
            if attachment.follower_cluster == cluster
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What this coordinator process has heard of one node. Times are its own monotonic clock.

    ``lease_until`` is when the last lease of the present instance has run out at the latest,
    ``ghosts_until`` the same for every earlier instance of the node, which may still be running.
    ``sequence`` is the heartbeat that brought ``report``, ``applied_revision`` and
    ``drained_revision``; whatever was built before it says nothing.
    """

    lease_until: float = NEVER
    ghosts_until: float = NEVER
    heard_at: float | None = None
    applied_revision: int = 0
    sequence: int = 0
    report: Report | None = None
    drained_revision: int = 0
    """Newest promise of the present instance; see :class:`~cluster.coordinator.reports.Report`."""
    candidates: tuple[Node, ...] = ()
    """Later processes that have registered, by registration. The first heartbeat of one makes it
    the present instance; a request to register that was late on its way is followed by none."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that may act on the state before a change until ``deadline``.

    ``instance`` is empty for processes that cannot confirm any more: earlier instances.
    """

    node: str
    instance: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who must confirm a change, and which requests are answered then.

    A request may wait for several changes; ``late`` are those of ``requests`` for which another
    change of theirs became certain by a lease that ran out.
    """

    holders: tuple[Holder, ...]
    requests: tuple[int, ...] = ()
    lapsed: bool = False
    """Some holder never confirmed: its lease ran out."""
    patience: float = NEVER
    """Until then a DRAIN also waits for the promise of nodes that reported nothing to seal."""
    late: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Inquiry:
    """An attach that waits for a fresh report of its leader cluster.

    The database may have been created a moment ago. A new revision is published, which makes every
    node report at once; a heartbeat with it applied was built after the request came.
    """

    event: Attach
    revision: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A node obeys another coordinator, or knows more than this one.

    ``instance`` and ``sequence`` are of the heartbeat that said so. ``until`` is when a lease that
    the other gave the process, as far as was heard, is over.
    """

    node: str
    instance: str
    sequence: int
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Contest:
    """Nothing is decided while there is one of ``doubts``, the newest last; never empty.

    That a node is not heard for a while settles nothing: it may go on under the other coordinator,
    which gives it leases that nobody here knows of.
    """

    doubts: tuple[Doubt, ...]

    @property
    def reason(self) -> str:
        """Of the newest doubt."""
        return self.doubts[-1].reason


@dataclass(frozen=True, slots=True)
class State:
    """Everything. ``waiting`` has exactly the keys of ``durable.changes``.

    ``inquiries`` are by request number. ``adopts``: this process takes the place of whatever
    coordinator nodes obey, because its operator has said so.
    """

    durable: Durable = field(default_factory=Durable)
    sessions: Mapping[str, Session] = field(default_factory=dict)
    waiting: Mapping[ChangeKey, Waiting] = field(default_factory=dict)
    inquiries: Mapping[int, Inquiry] = field(default_factory=dict)
    contest: Contest | None = None
    adopts: bool = False


def longest_lease(limits: Limits) -> float:
    """Seconds after which a lease granted now has run out at the node, however its clock runs."""
    return limits.lease_seconds * (1.0 + limits.clock_drift_ratio)


def holders(state: State, cluster: str, now: float) -> tuple[Holder, ...]:
    """Every process of a cluster that may hold a running lease."""
    found = []
    for node in state.durable.cluster_nodes(cluster):
        session = state.sessions[node.node]
        if session.lease_until > now:
            found.append(Holder(node.node, node.instance, session.lease_until))
        if session.ghosts_until > now:
            found.append(Holder(node.node, "", session.ghosts_until))
    return tuple(found)


def restore(durable: Durable, now: float, limits: Limits, *, adopts: bool = False) -> State:
    """The state after a start. Every node may have been renewed just before the last stop.

    So may an instance that was superseded shortly before: both leases are assumed to run in full.
    """
    until = now + longest_lease(limits)
    sessions = {node: Session(lease_until=until, ghosts_until=until) for node in durable.nodes}
    state = State(durable, sessions)
    waiting = {
        key: Waiting(patience=until, holders=())
        if key.kind is ChangeKind.DRAIN
        else Waiting(holders(state, change.cluster, now))
        for key, change in durable.changes.items()
    }
    return State(durable, sessions, waiting, adopts=adopts)
