"""The one way an answer is made, whatever door it leaves by: pin, answer, encode, look.

Guarantees, of :meth:`Answering.answer`: nobody is answered from a database whose rows it may not
read, nor told whether there is one; an answer includes the position asked for; it is of one moment;
rows that a follower's gate has hidden meanwhile are not in it, however long answering and
encoding took: the look at the gate is the last thing before the answer is given to the door.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

from cluster.access.permissions import QUERY
from cluster.access.reading import readable
from cluster.errors import TooStaleError
from cluster.query.binding import QueryResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from cluster.catalog.model import RowStoreKey
    from cluster.query.binding import Answer, QuerySnapshot
    from cluster.replication.position import Position
    from cluster.request import Caller, ClientRequest

Results = tuple[QueryResult, ...]
"""What the statements of one query give, in order."""
Encoded = TypeVar("Encoded")


def _never_stale() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class PinnedSnapshot:
    """A snapshot and what to tell about it.

    ``tables`` are the row store keys of all tables of the database. ``may_be_shown``, if set, is
    asked when the answer is ready. False: the gate has closed on rows that were read meanwhile,
    and the query is answered anew from what may be seen then. It is asked again before every
    further piece of a large answer. ``staleness_seconds`` tells, when asked, how far the database
    in context as pinned may be behind its leader by then; None: not known.
    """

    snapshot: QuerySnapshot
    position: Position
    tables: Container[RowStoreKey]
    streaming_rows_hidden: bool = False
    hidden_reason: str = ""
    may_be_shown: Callable[[], bool] | None = None
    staleness_seconds: Callable[[], float | None] = _never_stale


class SnapshotSource(Protocol):
    """Where snapshots come from."""

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        """What is visible now of the tables ``text`` may name. Raises DatabaseNotFoundError."""

    async def wait_for(self, database: str, position: Position) -> None:
        """Returns once the database includes ``position``. Raises DatabaseNotFoundError."""


class Engine(Protocol):
    """What answers queries: :class:`cluster.query.driver.QueryEngine`."""

    async def answer(self, text: str, snapshot: QuerySnapshot, request: ClientRequest) -> Answer:
        """Answers every query of a text."""


class Access(Protocol):
    """Who may do what: :class:`cluster.access.control.AccessControl`."""

    def is_enforced(self, caller: Caller) -> bool:
        """Whether the roles of this caller count; without, everything is allowed."""

    def allowed(self, caller: Caller, permission: str, database: str = "") -> bool:
        """Whether :meth:`require` would return."""

    def require(self, caller: Caller, permission: str, database: str = "") -> None:
        """Returns if the caller has the permission. Raises AccessDeniedError."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[Encoded]):
    """An answer that may leave now: its results as the door encoded them, and what it is of."""

    results: Results
    pinned: PinnedSnapshot
    encoded: Encoded


class Answering:
    """Answers queries of any door from the newest snapshots. ``access`` None: to everybody."""

    def __init__(
        self, engine: Engine, snapshots: SnapshotSource, access: Access | None = None
    ) -> None:
        self._engine = engine
        self._snapshots = snapshots
        self._access = access

    async def answer(
        self,
        database: str,
        text: str,
        request: ClientRequest,
        encode: Callable[[Results], Awaitable[Encoded]],
        *,
        at_least: Position | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answered[Encoded]:
        """The answer to ``text``, encoded; what is returned may be sent without another await.

        Raises what pinning and the engine raise, AccessDeniedError, and TooStaleError.
        """
        caller = request.caller
        if self._access is not None:
            self._access.require(caller, QUERY, database)
        while True:
            pinned = await self.pin(database, at_least, text)
            snapshot = pinned.snapshot
            if self._access is not None:
                snapshot = readable(snapshot, self._access, caller)
            answer = await self._engine.answer(text, snapshot, request)
            encoded = await encode(answer.results)
            # Nothing may come between these looks and the first byte.
            if may_be_shown(pinned):
                check_staleness(pinned, max_staleness_seconds)
                return Answered(answer.results, _with_others(pinned, answer), encoded)

    async def pin(self, database: str, at_least: Position | None, text: str) -> PinnedSnapshot:
        """Pins at or after ``at_least``: what is pinned is checked, not what was waited for."""
        pinned = self._snapshots.pin(database, text)
        if at_least is None:
            return pinned
        while not pinned.position.includes(at_least, pinned.tables):
            await self._snapshots.wait_for(database, at_least)
            await trio.lowlevel.checkpoint()  # a source that returns too early must not spin here
            pinned = self._snapshots.pin(database, text)
        return pinned


def _with_others(pinned: PinnedSnapshot, answer: Answer) -> PinnedSnapshot:
    """What to tell of an answer that other clusters have part in: what they hide too."""
    if not answer.hidden_reason:
        return pinned
    reasons = [pinned.hidden_reason, answer.hidden_reason]
    return replace(
        pinned, streaming_rows_hidden=True, hidden_reason="; ".join(filter(None, reasons))
    )


def check_staleness(pinned: PinnedSnapshot, most_seconds: float | None) -> None:
    """Raises TooStaleError if more than ``most_seconds`` may be missing, or nobody knows."""
    if most_seconds is None:
        return
    staleness = pinned.staleness_seconds()
    if staleness is None or staleness > most_seconds:
        known = "an unknown time" if staleness is None else f"{staleness:.3f} s"
        name = pinned.snapshot.database
        raise TooStaleError(
            f"Database '{name}' may be {known} behind its leader; the query allows "
            f"{most_seconds:.3f} s.",
            metadata={"database": name, "max_staleness_seconds": f"{most_seconds:.3f}"},
        )


def may_be_shown(pinned: PinnedSnapshot) -> bool:
    """Whether the gate is still open on what was read."""
    return pinned.may_be_shown is None or pinned.may_be_shown()
