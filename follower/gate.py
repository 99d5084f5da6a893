"""The follower's end of the gate: may streaming rows of one followed database be seen here? Pure.

Rule 1: only the coordinator's word opens. Nothing the leader says does.

Rule 2: every doubt resolves to closed. Nothing heard yet, own capability off or unknown, no right
to rows, a lease that has run out, a coordinator that is not to be believed, a leader that knows of
a newer close: closed.

Rule 3: a stale open after a newer close is ignored. A close heard from the leader raises the epoch
an open must have (``floor``); a word of the coordinator below it does not open.

Rule 4: time is checked at every look (:meth:`Gate.visible`), so an expired lease hides rows even
if nobody has noticed yet.

Rule 5: losing the leader, or a leader that closes at our own epoch because *its* lease ran out,
does not hide what is already here: our own grant and lease still allow it. No new row comes.

Everything that decides is in :data:`TABLE`; methods only classify what happened
(:class:`GateInput`) and keep the facts that classification needs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.replication.authority import LEASE_EXPIRED, NO_VIEW, NOT_ATTACHED, Capability, Grant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.replication.protocol import LeaderGate, Refusal


class GateState(enum.Enum):
    """Open, or why not."""

    UNKNOWN = "unknown"
    CAPABILITY_OFF = "capability off"
    REFUSED = "refused"
    LEASE_EXPIRED = "lease expired"
    OVERRULED = "overruled"
    DOUBTED = "doubted"
    OPEN = "open"
    DETACHED = "detached"


class GateInput(enum.Enum):
    """What can happen to a gate, classified. The value says when."""

    ALLOWED = "coordinator: rows allowed, lease runs"
    ALLOWED_WITHOUT_LEASE = "coordinator: rows allowed, lease has run out"
    DOUBTED = "coordinator: not to be believed at the moment"
    ALLOWED_BUT_STALE = "coordinator: rows allowed, at an epoch below the floor"
    CAPABILITY_OFF = "coordinator: own capability is not on"
    REFUSED = "coordinator: no right to rows"
    NOT_ATTACHED = "coordinator: no such attachment"
    LEASE_RAN_OUT = "clock: the lease has run out"
    LEADER_CLOSED_NEWER = "leader: closed or refused, at a newer epoch"
    LEADER_CONTRADICTS = "leader: refused at our epoch, which allows rows"
    LEADER_CLOSED = "leader: closed or refused, at our epoch, no contradiction"
    LEADER_OPEN = "leader: open, at our epoch or a newer one"
    LEADER_STALE = "leader: anything at an older epoch"
    DISCONNECTED = "leader: lost"


_U, _C, _R, _L, _V, _B, _O, _D = (
    GateState.UNKNOWN,
    GateState.CAPABILITY_OFF,
    GateState.REFUSED,
    GateState.LEASE_EXPIRED,
    GateState.OVERRULED,
    GateState.DOUBTED,
    GateState.OPEN,
    GateState.DETACHED,
)

# One line an input; one column a state, in the order of the tuple above.
_LINES: Final[Mapping[GateInput, tuple[GateState, ...]]] = {
    GateInput.ALLOWED: (_O, _O, _O, _O, _O, _O, _O, _D),
    GateInput.ALLOWED_WITHOUT_LEASE: (_L, _L, _L, _L, _L, _L, _L, _D),
    GateInput.DOUBTED: (_B, _B, _B, _B, _B, _B, _B, _D),
    GateInput.ALLOWED_BUT_STALE: (_V, _V, _V, _V, _V, _V, _V, _D),
    GateInput.CAPABILITY_OFF: (_C, _C, _C, _C, _C, _C, _C, _D),
    GateInput.REFUSED: (_R, _R, _R, _R, _R, _R, _R, _D),
    GateInput.NOT_ATTACHED: (_D, _D, _D, _D, _D, _D, _D, _D),
    GateInput.LEASE_RAN_OUT: (_U, _C, _R, _L, _V, _B, _L, _D),
    GateInput.LEADER_CLOSED_NEWER: (_U, _C, _R, _V, _V, _B, _V, _D),
    GateInput.LEADER_CONTRADICTS: (_U, _C, _R, _V, _V, _B, _V, _D),
    GateInput.LEADER_CLOSED: (_U, _C, _R, _L, _V, _B, _O, _D),
    GateInput.LEADER_OPEN: (_U, _C, _R, _L, _V, _B, _O, _D),
    GateInput.LEADER_STALE: (_U, _C, _R, _L, _V, _B, _O, _D),
    GateInput.DISCONNECTED: (_U, _C, _R, _L, _V, _B, _O, _D),
}

TABLE: Final[Mapping[GateState, Mapping[GateInput, GateState]]] = {
    state: {event: line[column] for event, line in _LINES.items()}
    for column, state in enumerate((_U, _C, _R, _L, _V, _B, _O, _D))
}
"""Every state and every input: the state after it."""

_WORDS: Final[Mapping[GateState, str]] = {
    GateState.UNKNOWN: NO_VIEW,
    GateState.CAPABILITY_OFF: "streaming ingestion is off on this cluster",
    GateState.REFUSED: "the coordinator gives no right to streaming rows",
    GateState.LEASE_EXPIRED: LEASE_EXPIRED,
    GateState.OVERRULED: "the leader knows of a newer decision that closes",
    GateState.DOUBTED: "the coordinator is not to be believed at the moment",
    GateState.OPEN: "",
    GateState.DETACHED: NOT_ATTACHED,
}


def table_as_markdown() -> str:
    """The table for people: a line an input, a column a state; a dot means no change."""
    states = tuple(TABLE)
    lines = [
        "| what happens | " + " | ".join(state.value for state in states) + " |",
        "|---|" + "---|" * len(states),
    ]
    for event in GateInput:
        cells = (TABLE[state][event] for state in states)
        words = ("." if now is old else now.value for old, now in zip(states, cells, strict=True))
        lines.append(f"| {event.value} | " + " | ".join(words) + " |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Word:
    """The coordinator's newest word: ``grant`` None means the database is not attached.

    ``lease_until`` is on the clock that ``now`` is given on, in seconds. ``doubt`` says why the
    coordinator is not believed at the moment (``Authority.doubt``); empty: it is.
    """

    grant: Grant | None
    capability: Capability
    lease_until: float
    doubt: str = ""


class Gate:
    """The gate of one followed database. Methods return whether anything people see changed."""

    __slots__ = (
        "_allows", "_floor", "_lease_until", "_words", "epoch", "newest_epoch", "state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = GateState.UNKNOWN
        self.epoch = 0  # of the newest grant applied
        self.newest_epoch = 0  # heard of, from the coordinator or the leader
        self._floor = 0  # an open below this epoch is stale
        self._allows = False  # the newest grant allows rows
        self._lease_until = float("-inf")
        self._words = ""

    @property
    def open(self) -> bool:
        """Rows may be applied. To show them ask :meth:`visible`."""
        return self.state is GateState.OPEN

    @property
    def reason(self) -> str:
        """Why it is closed; empty when open."""
        return self._words or _WORDS[self.state]

    def visible(self, now: float) -> bool:
        """Rows may be seen at this moment."""
        return self.state is GateState.OPEN and now < self._lease_until

    def seconds_left(self, now: float) -> float:
        """Seconds until :meth:`tick` closes it; infinite while it is closed."""
        return max(0.0, self._lease_until - now) if self.open else float("inf")

    def hear(self, word: Word, now: float) -> bool:
        """Takes the coordinator's word, or a renewed lease under the same word."""
        grant = word.grant
        if grant is None:
            return self._move(GateInput.NOT_ATTACHED, "")
        stale = grant.epoch < max(self.epoch, self._floor)
        before = self.epoch
        self.epoch = max(self.epoch, grant.epoch)
        self.newest_epoch = max(self.newest_epoch, grant.epoch)
        self._lease_until = word.lease_until
        self._allows = grant.rows and word.capability is Capability.ON and not stale
        if word.doubt:
            event, words = GateInput.DOUBTED, word.doubt
        elif word.capability is not Capability.ON:
            event, words = GateInput.CAPABILITY_OFF, grant.reason
        elif not grant.rows:
            event, words = GateInput.REFUSED, grant.reason
        elif stale:
            event = GateInput.ALLOWED_BUT_STALE
            words = self._words if self.state is GateState.OVERRULED else ""
        elif now >= word.lease_until:
            event, words = GateInput.ALLOWED_WITHOUT_LEASE, ""
        else:
            event, words = GateInput.ALLOWED, ""
        return self._move(event, words) or before != self.epoch

    def tick(self, now: float) -> bool:
        """Looks at the clock."""
        if now < self._lease_until:
            return False
        return self._move(GateInput.LEASE_RAN_OUT, self._words)

    def leader_says(self, gate: LeaderGate) -> bool:
        """Takes what the leader tells of its own end."""
        self.newest_epoch = max(self.newest_epoch, gate.epoch)
        if gate.epoch < self.epoch:
            return self._move(GateInput.LEADER_STALE, self._words)
        if gate.open:
            return self._move(GateInput.LEADER_OPEN, self._words)
        if gate.epoch > self.epoch:
            return self._overrule(GateInput.LEADER_CLOSED_NEWER, gate.epoch, gate.reason)
        return self._move(GateInput.LEADER_CLOSED, self._words)

    def leader_refuses(self, refusal: Refusal) -> bool:
        """Takes a refusal of the leader."""
        self.newest_epoch = max(self.newest_epoch, refusal.epoch)
        if refusal.epoch < self.epoch:
            return self._move(GateInput.LEADER_STALE, self._words)
        if refusal.epoch > self.epoch:
            return self._overrule(GateInput.LEADER_CLOSED_NEWER, refusal.epoch, refusal.message)
        if self._allows:
            # Two readings of one epoch cannot both be right: only a newer decision settles it.
            event = GateInput.LEADER_CONTRADICTS
            return self._overrule(event, refusal.epoch + 1, refusal.message)
        return self._move(GateInput.LEADER_CLOSED, self._words)

    def disconnected(self) -> bool:
        """The leader is lost."""
        return self._move(GateInput.DISCONNECTED, self._words)

    def _overrule(self, event: GateInput, floor: int, words: str) -> bool:
        self._floor = max(self._floor, floor)
        kept = TABLE[self.state][event] is self.state and self.state is not GateState.OVERRULED
        return self._move(event, self._words if kept else words)

    def _move(self, event: GateInput, words: str) -> bool:
        before = (self.state, self._words)
        self.state = TABLE[self.state][event]
        self._words = "" if self.state in _WORDLESS else words
        return before != (self.state, self._words)


_WORDLESS: Final = frozenset(
    {GateState.OPEN, GateState.UNKNOWN, GateState.LEASE_EXPIRED, GateState.DETACHED}
)
"""States whose reason is always the same words."""
