"""What happens to the coordinator, and what it answers. Pure values.

``request`` numbers are the driver's: a :class:`Reply` carries the number of the event it answers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.replication.authority import NO_ISSUER, Issuer

if TYPE_CHECKING:
    from cluster.catalog.following import ModificationKind, Sharing
    from cluster.coordinator.configuration_status import ConfigurationStatus
    from cluster.coordinator.reports import Report
    from cluster.coordinator.state import State
    from cluster.errors import RemoraError
    from cluster.replication.authority import Grant, NodeView, Origin


@dataclass(frozen=True, slots=True)
class RegisterNode:
    """A node process introduces itself."""

    request: int
    cluster: str
    node: str
    instance: str
    grpc_address: str
    pid: int = 0
    data: str = ""
    initial_streaming_ingestion: bool = False
    strict: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A node process is alive, has applied ``applied_revision`` of whom it obeys, and reports.

    ``registration`` is what it was answered when it registered; ``sequence`` counts its heartbeats
    from 1, in the order they were built.
    """

    request: int
    cluster: str
    node: str
    instance: str
    applied_revision: int
    report: Report
    obeys: Issuer = NO_ISSUER
    newest_epoch: int = 0
    registration: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class SetCapability:
    """Somebody turns a cluster's streaming capability on or off."""

    request: int
    cluster: str
    streaming_ingestion: bool


@dataclass(frozen=True, slots=True)
class Attach:
    """Somebody creates or updates an attachment configuration.

    ``database`` ``*``: every database of the leader. ``name`` empty: the configuration there is of
    this database, or a new one with a name made from it. None: as it is, or the default.
    ``location`` empty: the follower's.
    """

    request: int
    leader_cluster: str
    database: str
    follower_cluster: str
    name: str = ""
    database_name_override: str | None = None
    database_name_prefix: str | None = None
    sharing: Sharing | None = None
    principals_kind: ModificationKind | None = None
    origin: Origin | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class Detach:
    """Somebody detaches a database; ``*``: all databases of the leader."""

    request: int
    leader_cluster: str
    database: str
    follower_cluster: str


@dataclass(frozen=True, slots=True)
class DeleteConfiguration:
    """Somebody deletes an attachment configuration.

    ``leader_cluster`` is set if it is asked for from the leader's side; then it must be its leader.
    """

    request: int
    follower_cluster: str
    name: str
    leader_cluster: str = ""


@dataclass(frozen=True, slots=True)
class Republish:
    """What goes out with every view has changed: views are sent again, with a new revision."""

    request: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """An operator says that no other coordinator lives: take the place of whom nodes obey."""

    request: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Whoever made this request has left. What it asked for goes on."""

    request: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Request = (
    RegisterNode
    | Heartbeat
    | SetCapability
    | Attach
    | Detach
    | DeleteConfiguration
    | Republish
    | Adopt
)
Event = Request | Abandon | Tick


class Certainty(enum.Enum):
    """How a change became certain; see ``coordinator.proto``."""

    IMMEDIATE = "immediate"
    CONFIRMED = "confirmed"
    LEASE_EXPIRED = "lease expired"


@dataclass(frozen=True, slots=True)
class Registered:
    """Answer to :class:`RegisterNode`. Carries no lease.

    ``registration`` is greater than that of every process of the node that registered before.
    """

    view: NodeView
    registration: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """Answer to :class:`Heartbeat`: a lease counted from when the node sent it."""

    view: NodeView
    lease_seconds: float
    doubt: str = ""
    """Why there is no lease; empty: there is one."""


@dataclass(frozen=True, slots=True)
class CapabilitySet:
    """Answer to :class:`SetCapability`. ``epoch`` is 0 if no grant was concerned."""

    epoch: int
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Attached:
    """Answer to :class:`Attach`. ``certainty`` is of a change of sharing."""

    status: ConfigurationStatus
    certainty: Certainty = Certainty.IMMEDIATE

    @property
    def grant(self) -> Grant | None:
        """The grant of a configuration of one database, if that is attached."""
        return self.status.grant


@dataclass(frozen=True, slots=True)
class Detached:
    """Answer to :class:`Detach` and :class:`DeleteConfiguration`."""

    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Adopting:
    """Answer to :class:`Adopt`. ``doubt`` is what was in doubt; empty: nothing."""

    doubt: str


@dataclass(frozen=True, slots=True)
class Republished:
    """Answer to :class:`Republish`."""

    revision: int


Answer = Registered | Renewed | CapabilitySet | Attached | Detached | Republished | Adopting


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer or a refusal to one request."""

    request: int
    outcome: Answer | RemoraError


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one event: the state after it and what to do, in this order.

    1. If ``state.durable`` is another object than before, make it durable (:mod:`store`).
    2. Send every watcher whose view differs from the last one sent its view of ``state``.
    3. Send ``replies``.
    4. Send a :class:`Tick` at ``timer`` (monotonic seconds; None: not needed).
    """

    state: State
    replies: tuple[Reply, ...] = field(default=())
    timer: float | None = None
