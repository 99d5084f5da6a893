"""What a node knows of the coordinator's decisions, and whether it may still act on it.

Both ends of a Follow session ask :class:`Authority` before every batch: the leader before sending,
the follower before showing. The rule: **every doubt resolves to closed**. No view yet, a lease that
has run out, an unknown attachment, a capability that is not on: closed, each with a reason in words
people see in ``remora status``.

One more doubt is about the coordinator itself. A node obeys one coordinator: the first it hears.
Each view carries an :class:`Issuer`, which says who gave it out. The table of :func:`judge` says
what a view of another issuer is: the next life of the same coordinator, a late word of an earlier
one, or a doubt. A doubt forfeits the lease and lets none be given for a while
(:attr:`Authority.doubt_seconds`), so two coordinators that answer in turn keep the gates closed.
It ends by itself: the coordinator that is obeyed gives a lease when the other has been silent.

Time is passed in: ``now`` is the node's own monotonic clock in seconds. A lease counts from the
moment the node *sent* the heartbeat, so the node's idea of its end is never later than the
coordinator's, whatever the network did (Gray and Cheriton, "Leases", 1989).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

from cluster.catalog.following import EVERYTHING, ModificationKind, Sharing


class Capability(enum.Enum):
    """A cluster's streaming capability, as far as it is known."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class Origin(enum.Enum):
    """How an attachment came about. The same rules hold for both."""

    DIRECT = "Direct"
    DATA_SHARE = "DataShare"


@dataclass(frozen=True, slots=True)
class Grant:
    """The coordinator's decision for one attachment; see ``coordinator.proto``.

    ``configuration`` names the attachment configuration it comes from. A change of ``sharing`` or
    of ``principals_kind`` has a new epoch.
    """

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
    configuration: str = ""
    sharing: Sharing = EVERYTHING
    principals_kind: ModificationKind = ModificationKind.UNION
    origin: Origin = Origin.DIRECT


class PastLife(NamedTuple):
    """A life before another one, in the data of that.

    ``ended`` is the newest revision of it that the data know: of what it decided after they were
    copied they know nothing. ``adopted``: it is another's, in whose place an operator has put it.
    """

    generation: int
    instance: str
    ended: int
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who gives out views: one life of one coordinator.

    ``coordinator`` is the random id of its data, ``generation`` counts its starts, ``instance`` is
    the random id of this life, ``began`` the revision at which it began. ``succeeds`` are ids of
    other coordinators in whose place an operator has put it. ``past`` are the lives before it,
    the newest first; the oldest are forgotten.

    Generations and revisions are compared only along one past: those of two processes on copies of
    one data folder go on from the same numbers and mean different things.
    """

    coordinator: str = ""
    generation: int = 0
    instance: str = ""
    began: int = 0
    succeeds: tuple[str, ...] = ()
    past: tuple[PastLife, ...] = ()

    @property
    def life(self) -> tuple[str, int, str]:
        """What tells one life from every other."""
        return self.coordinator, self.generation, self.instance

    def knows(self, life: Issuer) -> int:
        """The newest revision of an earlier life that is known; -1 if it is not in the past.

        One that is forgotten is judged by its numbers, and so is one of another coordinator that is
        succeeded: whatever it decided before this life began is taken to be known.
        """
        if life.instance == self.instance:
            return self.began
        remembered = self._remembered(life)
        if remembered is not None:
            return remembered.ended
        is_forgotten = life.coordinator != self.coordinator or self._has_forgotten(life)
        return self.began if is_forgotten else -1

    def descends_from(self, life: Issuer) -> bool:
        """Whether it is this life or one before it, of its own and as far as is remembered.

        What such a life has counted is counted on here.
        """
        if life.instance == self.instance:
            return True
        remembered = self._remembered(life)
        if remembered is not None:
            return not remembered.adopted
        return life.coordinator == self.coordinator and self._has_forgotten(life)

    def _remembered(self, life: Issuer) -> PastLife | None:
        return next((one for one in self.past if one.instance == life.instance), None)

    def _has_forgotten(self, life: Issuer) -> bool:
        own = [one.generation for one in self.past if not one.adopted]
        return not self.past or life.generation < min(own, default=0)

    def __str__(self) -> str:
        """For people: the start of the id is enough to tell two coordinators apart."""
        return f"{self.coordinator[:8] or 'without id'}, start {self.generation}"


NO_ISSUER = Issuer()
"""Of a view nobody signed."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """Everything the coordinator has told one node; see ``coordinator.proto``."""

    revision: int
    capability: Capability
    following: tuple[Grant, ...] = ()
    followed: tuple[Grant, ...] = ()
    issuer: Issuer = NO_ISSUER

    @property
    def newest_epoch(self) -> int:
        """The newest epoch it names; 0 without a grant."""
        return max((grant.epoch for grant in (*self.following, *self.followed)), default=0)


class Standing(enum.Enum):
    """What somebody's word is to one who obeys a coordinator. The value says when."""

    SAME = "the same life of the same coordinator"
    NEXT = "a later life of it, which knows everything obeyed, or its successor"
    EARLIER = "an earlier life of it"
    TWIN = "another process of the same start: its data folder was copied"
    RELAPSED = (
        "a later life that does not know everything obeyed: it runs on an old copy of its data, or "
        "on a copy with a past of its own"
    )
    STRANGER = "another coordinator"


DOUBTS: Mapping[Standing, str] = {
    Standing.TWIN: (
        "a coordinator on a copy of its data answers ({heard}), from before this start: if two "
        "run, stop one. Then run `remora adopt`"
    ),
    Standing.RELAPSED: (
        "the coordinator ({heard}) runs on an old copy of its data, or beside another: decisions "
        "were taken since that it does not know. Stop the other, restore the newest data, or run "
        "`remora adopt`"
    ),
    Standing.STRANGER: (
        "another coordinator ({heard}) answers than the one that is obeyed ({obeyed}): stop it, "
        "or run `remora adopt` to put it in the place of the other"
    ),
}
"""What people read about each kind of doubt, and what they can do."""


def judge(obeyed: Issuer, revision: int, heard: Issuer) -> Standing:
    """What ``heard`` is to one who obeys ``obeyed`` and has seen its ``revision``."""
    if heard.life == obeyed.life:
        return Standing.SAME
    if not obeyed.coordinator:  # nobody signed what is obeyed: a coordinator of before issuers
        return Standing.NEXT if heard.began >= revision else Standing.RELAPSED
    succeeds = obeyed.coordinator in heard.succeeds
    if heard.coordinator != obeyed.coordinator and not succeeds:
        was_succeeded = heard.coordinator in obeyed.succeeds
        earlier = was_succeeded and heard.generation < obeyed.generation
        return Standing.EARLIER if earlier else Standing.STRANGER
    if heard.generation > obeyed.generation:
        return Standing.NEXT if heard.knows(obeyed) >= revision else Standing.RELAPSED
    if heard.coordinator != obeyed.coordinator:
        return Standing.STRANGER
    return Standing.EARLIER if heard.generation < obeyed.generation else Standing.TWIN


def doubt_about(standing: Standing, obeyed: Issuer, heard: Issuer) -> str:
    """The doubt in words; empty if there is none."""
    words = DOUBTS.get(standing)
    return "" if words is None else words.format(obeyed=obeyed, heard=heard)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether streaming rows may pass now. ``epoch`` is 0 when no grant is known."""

    open: bool
    epoch: int
    reason: str = ""
    grant: Grant | None = None
    is_doubt: bool = False
    """It is closed because nobody knows, not because somebody decided."""


NO_VIEW = "the coordinator has not been heard yet"
LEASE_EXPIRED = "the lease has run out: the coordinator has not been heard for too long"
OWN_CAPABILITY_OFF = "streaming ingestion is off on this cluster"
NOT_ATTACHED = "the coordinator knows no such attachment"


@dataclass(slots=True)
class Authority:
    """The latest view and the lease under which it holds.

    ``doubt`` says why no lease is held although the coordinator answers; empty: no doubt.
    ``doubt_seconds`` is how long no lease is taken after the last sign of a doubt.
    ``newest_epoch`` is the newest of any view that was ever taken.
    """

    view: NodeView | None = None
    lease_until: float = field(default=float("-inf"))
    doubt: str = ""
    doubt_seconds: float = LIMITS.lease_seconds
    newest_epoch: int = 0
    _doubt_until: float = field(default=float("-inf"))

    @property
    def issuer(self) -> Issuer:
        """Who is obeyed."""
        return self.view.issuer if self.view is not None else NO_ISSUER

    def is_newer(self, view: NodeView) -> bool:
        """Whether it is obeyed: of the life that is obeyed and not older, or of the next one."""
        known = self.view
        if known is None:
            return True
        standing = judge(known.issuer, known.revision, view.issuer)
        if standing is Standing.SAME:
            return view.revision >= known.revision
        return standing is Standing.NEXT

    def apply(self, view: NodeView, now: float) -> bool:
        """Takes a view unless it is older than the present one. Never extends the lease.

        Returns whether anything changed: the view, or that there is a doubt.
        """
        if not self.is_newer(view):
            return self._suspect(view, now)
        changed = view != self.view
        self.view = view
        self.newest_epoch = max(self.newest_epoch, view.newest_epoch)
        return changed

    def renew(
        self,
        view: NodeView,
        sent_at: float,
        lease_seconds: float,
        *,
        now: float | None = None,
        doubt: str = "",
    ) -> bool:
        """Takes the answer to a heartbeat sent at ``sent_at``, received ``now``.

        An answer with an outdated view renews nothing: the coordinator granted that lease before
        it changed its mind. ``doubt`` is the coordinator's own: it gives no lease.
        """
        at = sent_at if now is None else now
        if not self.is_newer(view):
            return self._suspect(view, at, doubt)
        if doubt:
            return self.apply(view, at) | self._doubt(doubt, at)
        had = self.doubt
        if at >= self._doubt_until:
            self.doubt = ""
            self.lease_until = max(self.lease_until, sent_at + lease_seconds)
        return self.apply(view, at) or had != self.doubt

    def _suspect(self, view: NodeView, now: float, doubt: str = "") -> bool:
        known = self.view
        assert known is not None, "the first view is always taken"
        standing = judge(known.issuer, known.revision, view.issuer)
        words = doubt_about(standing, known.issuer, view.issuer) or doubt
        return bool(words) and self._doubt(words, now)

    def _doubt(self, words: str, now: float) -> bool:
        """Nothing may be done on the word of a coordinator until this doubt is gone."""
        changed = words != self.doubt or now < self.lease_until
        self.doubt = words
        self.lease_until = float("-inf")
        self._doubt_until = max(self._doubt_until, now + self.doubt_seconds)
        return changed

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
            return Decision(False, 0, NO_VIEW, is_doubt=True)
        for grant in grants:
            if (
                grant.database.lower() == database.lower()
                and leader in (None, grant.leader_cluster)
                and follower in (None, grant.follower_cluster)
            ):
                if now >= self.lease_until:
                    reason = self.doubt or LEASE_EXPIRED
                    return Decision(False, grant.epoch, reason, grant, is_doubt=True)
                return Decision(grant.rows, grant.epoch, grant.reason, grant)
        return Decision(False, 0, NOT_ATTACHED)
