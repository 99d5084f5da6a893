"""What a node knows of the coordinator's decisions, and whether it may still act on it.

Both ends of a Follow session ask :class:`Authority` before every batch: the leader before sending,
the follower before showing. The rule: **every doubt resolves to closed**. No view yet, a lease that
has run out, an unknown attachment, a capability that is not on: closed, each with a reason in words
people see in ``remora status``.

Time is passed in: ``now`` is the node's own monotonic clock in seconds. A lease counts from the
moment the node *sent* the heartbeat, so the node's idea of its end is never later than the
coordinator's, whatever the network did (Gray and Cheriton, "Leases", 1989).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace


class Capability(enum.Enum):
    """A cluster's streaming capability, as far as it is known."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Grant:
    """The coordinator's decision for one attachment; see ``coordinator.proto``."""

    leader_cluster: str
    database: str
    follower_cluster: str
    epoch: int
    rows: bool
    reason: str = ""
    follower_database: str = ""
    leader_address: str = ""
    leader_capability: Capability = Capability.UNKNOWN
    follower_capability: Capability = Capability.UNKNOWN
    strict: bool = False


@dataclass(frozen=True, slots=True)
class NodeView:
    """Everything the coordinator has told one node; see ``coordinator.proto``."""

    revision: int
    capability: Capability
    following: tuple[Grant, ...] = ()
    followed: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether streaming rows may pass now. ``epoch`` is 0 when no grant is known."""

    open: bool
    epoch: int
    reason: str = ""
    grant: Grant | None = None


NO_VIEW = "the coordinator has not been heard yet"
LEASE_EXPIRED = "the lease has run out: the coordinator has not been heard for too long"
OWN_CAPABILITY_OFF = "streaming ingestion is off on this cluster"
NOT_ATTACHED = "the coordinator knows no such attachment"


@dataclass(slots=True)
class Authority:
    """The latest view and the lease under which it holds."""

    view: NodeView | None = None
    lease_until: float = field(default=float("-inf"))

    def apply(self, view: NodeView) -> bool:
        """Takes a view unless it is older than the present one. Never extends the lease."""
        if self.view is not None and view.revision < self.view.revision:
            return False
        changed = view != self.view
        self.view = view
        return changed

    def renew(self, view: NodeView, sent_at: float, lease_seconds: float) -> bool:
        """Takes the answer to a heartbeat sent at ``sent_at``.

        An answer with an outdated view renews nothing: the coordinator granted that lease before
        it changed its mind.
        """
        if self.view is not None and view.revision < self.view.revision:
            return False
        self.lease_until = max(self.lease_until, sent_at + lease_seconds)
        return self.apply(view)

    def lease_left(self, now: float) -> float:
        """Seconds until the lease has run out; 0 when it has, or when there never was one."""
        return max(0.0, self.lease_until - now)

    def capability(self, now: float) -> Capability:
        """The node's own cluster's capability; UNKNOWN without a view or a running lease."""
        if self.view is None or now >= self.lease_until:
            return Capability.UNKNOWN
        return self.view.capability

    def following(self, leader_cluster: str, database: str, now: float) -> Decision:
        """The follower's end: may rows of this leader database be visible here?"""
        found = self._decide(
            self.view.following if self.view else (), leader_cluster, database, None, now
        )
        if found.open and self.capability(now) is not Capability.ON:
            # A grant that contradicts the capability beside it is a doubt.
            return replace(found, open=False, reason=OWN_CAPABILITY_OFF)
        return found

    def followed(self, database: str, follower_cluster: str, now: float) -> Decision:
        """The leader's end: may rows of this database be sent to that follower?"""
        return self._decide(
            self.view.followed if self.view else (), None, database, follower_cluster, now
        )

    def _decide(
        self,
        grants: tuple[Grant, ...],
        leader: str | None,
        database: str,
        follower: str | None,
        now: float,
    ) -> Decision:
        if self.view is None:
            return Decision(False, 0, NO_VIEW)
        for grant in grants:
            if (
                grant.database.lower() == database.lower()
                and leader in (None, grant.leader_cluster)
                and follower in (None, grant.follower_cluster)
            ):
                if now >= self.lease_until:
                    return Decision(False, grant.epoch, LEASE_EXPIRED, grant)
                return Decision(grant.rows, grant.epoch, grant.reason, grant)
        return Decision(False, 0, NOT_ATTACHED)
