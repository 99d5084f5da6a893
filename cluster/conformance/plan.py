"""What the clients of a run do: a value made from a seed before anything happens. Pure.

A plan says when each client does what. What depends on the run is named, not written down: a token
is the position known when the read is made, a request fills the columns known when it is sent, a
merge takes the extents that are there. So a plan is the same whatever faults strike beside it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

BASE_COLUMNS: Final = ("Id", "Source", "At", "Payload")
"""Columns of a new table, in order: long, string, datetime, string. Those added are ``long``."""


class Piece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything in a plan."""


class Write(Piece, frozen=True, kw_only=True, tag="write"):
    """Stream rows of these ids, known by ``source``, up to ``attempts`` times until it is decided.

    ``retry_seconds`` pass between attempts. ``twice``: two requests at once, the second one as the
    client's twin. ``flaw``: it must be refused, see :data:`cluster.conformance.calls.FLAWS`.
    ``again``: it was sent before, and is sent once more as by a client that has forgotten it.
    """

    cluster: str
    database: str
    table: str
    source: str
    ids: tuple[int, ...]
    attempts: int = 1
    retry_seconds: float = 1.0
    twice: bool = False
    flaw: str = ""
    again: bool = False


class Ask(Piece, frozen=True, kw_only=True, tag="ask"):
    """Read a whole table. ``token`` says from which position on.

    ``acknowledged``: the newest one any writer of the database was told; ``session``: the newest
    one this reader saw; empty: none. Where nobody answers, or rows are hidden, it is asked again,
    up to ``attempts`` times and ``retry_seconds`` apart: so somebody asks at the very moment when a
    node is back, and when a gate opens.
    """

    cluster: str
    database: str
    table: str
    token: str = ""
    max_staleness_seconds: float | None = None
    attempts: int = 1
    retry_seconds: float = 1.0


class Flip(Piece, frozen=True, kw_only=True, tag="flip"):
    """Set a cluster's streaming capability."""

    cluster: str
    on: bool


class Follow(Piece, frozen=True, kw_only=True, tag="follow"):
    """Attach; also to share other tables than before."""

    leader: str
    database: str
    follower: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def shares(self, table: str) -> bool:
        """Whether rows of the table follow. Names are exact here; exclude wins."""
        return table not in self.exclude and (not self.include or table in self.include)


class Unfollow(Piece, frozen=True, kw_only=True, tag="unfollow"):
    """Detach, asked of one side: ``leader`` or ``follower``."""

    leader: str
    database: str
    follower: str
    side: str = "follower"


class Manage(Piece, frozen=True, kw_only=True, tag="manage"):
    """Run a management command; fields as in :class:`cluster.conformance.calls.Command`.

    ``text`` is empty for ``merge``, whose extents are looked up when it runs.
    """

    cluster: str
    database: str
    verb: str
    text: str = ""
    table: str = ""
    argument: str = ""


Action = Write | Ask | Flip | Follow | Unfollow | Manage
"""What a client does."""


class Step(Piece, frozen=True, kw_only=True):
    """An action at ``at`` seconds since the run began, or as soon after as the last one is over."""

    at: float
    action: Action


class ClientPlan(Piece, frozen=True, kw_only=True):
    """One client: one thing at a time, in order. ``session`` names a reader's memory."""

    name: str
    steps: tuple[Step, ...]
    session: str = ""


class Home(Piece, frozen=True, kw_only=True):
    """A database, the leader cluster it lives on, and the tables it has from the beginning."""

    leader: str
    database: str
    tables: tuple[str, ...]


class End(Piece, frozen=True, kw_only=True):
    """How things are left before the quiet: capabilities, and who follows what."""

    capability: dict[str, bool] = msgspec.field(default_factory=dict)
    attachments: tuple[Follow, ...] = ()


class Plan(Piece, frozen=True, kw_only=True):
    """Everything clients do in a run.

    ``setup`` is done first, in order, each action until it succeeds. ``safety_seconds`` is when
    faults end and clients stop, ``liveness_seconds`` how long it may take then until everybody has
    caught up, ``call_seconds`` how long a client waits for an answer. ``traits`` tells what the
    seed drew, for people: kinds of operations and how much of each.
    """

    seed: int
    homes: tuple[Home, ...]
    clients: tuple[ClientPlan, ...]
    end: End
    setup: tuple[Action, ...] = ()
    closing: tuple[Write, ...] = ()
    """Written when everything is healed: the system takes rows again."""
    safety_seconds: float = 600.0
    liveness_seconds: float = 400.0
    call_seconds: float = 30.0
    traits: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def operations(self) -> int:
        """How many steps its clients have. They are numbered from 0, one client after the other."""
        return sum(len(client.steps) for client in self.clients)

    def without(self, skipped: Iterable[tuple[int, int]]) -> Plan:
        """The plan without the operations in half-open ranges of numbers; the others keep times."""
        left_out = {number for first, end in skipped for number in range(first, end)}
        numbers = itertools.count()
        clients = tuple(
            msgspec.structs.replace(
                client,
                steps=tuple(step for step in client.steps if next(numbers) not in left_out),
            )
            for client in self.clients
        )
        return msgspec.structs.replace(self, clients=clients) if left_out else self

    def encode(self) -> str:
        """One line of JSON; equal plans give equal lines."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def decode(cls, text: str) -> Plan:
        """Reads :meth:`encode`. Raises ValueError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a plan: {error}") from error
