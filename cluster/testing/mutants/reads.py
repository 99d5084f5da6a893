"""Defects of what readers are told: sessions, positions, staleness (R1, R10, R11, R12)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

import trio

from cluster.errors import UnavailableError
from cluster.gateway import answering
from cluster.gateway.answering import Answering, may_be_shown
from cluster.node.databases import NodeDatabases
from cluster.replication.leader import LeaderSession
from cluster.replication.position import Position
from cluster.rowstore.staging import Stager
from cluster.testing.mutants.model import Mutant, replaced
from follower.session import FollowSession
from follower.worker import FollowedDatabase

_Plant = AbstractContextManager[object]


# -- R1: a prefix -----------------------------------------------------------------------------


class _Late:
    """What was pinned, with the position of the moment when somebody asks for it."""

    def __init__(self, pinned: Any, position_now: Any) -> None:
        self._pinned = pinned
        self._position_now = position_now

    @property
    def position(self) -> Position:
        """Not of the rows that were pinned."""
        found: Position = self._position_now()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pinned, name)


def _position_of_the_answer() -> _Plant:
    pin = NodeDatabases.pin

    def late(self: Any, database: str, text: str | None = None) -> Any:
        return _Late(pin(self, database, text), lambda: pin(self, database, "").position)

    return replaced(NodeDatabases, "pin", late)


# -- R5, R10: what was seen stays -------------------------------------------------------------


def _snapshots_kept() -> _Plant:
    pin = Answering.pin

    async def kept(self: Any, database: str, at_least: Any, text: str) -> Any:
        if at_least is not None:
            return await pin(self, database, at_least, text)
        known = vars(self).setdefault("_kept", {})
        now = trio.current_time()
        found = known.get((database, text))
        if found is None or now - found[0] > _KEPT_SECONDS or not may_be_shown(found[1]):
            found = known[database, text] = (now, await pin(self, database, None, text))
        return found[1]

    return replaced(Answering, "pin", kept)


_KEPT_SECONDS: Final = 60.0


def _visible_when_staged() -> _Plant:
    stage = Stager.stage

    def show(self: Any, *args: Any, **options: Any) -> Any:
        staged = stage(self, *args, **options)
        group = self._commit.group()
        for entry in group.entries:
            self._contents.show(entry)
            self._times.settle(entry.times_us)
        group.entries.clear()
        return staged

    return replaced(Stager, "stage", show)


def _rows_dropped_when_closed() -> _Plant:
    gate_moved = FollowedDatabase._gate_moved

    def drop(self: Any) -> None:
        gate_moved(self)
        if self.gate.open or not self.copy.is_open:
            return
        for key in tuple(self.copy.keys()):
            self.copy._store.reset(key)
        self.copy._positions_lsn = -1
        if self._call is not None:
            self._call.hang_up(UnavailableError("the gate has closed"))

    return replaced(FollowedDatabase, "_gate_moved", drop)


# -- R11: read your writes --------------------------------------------------------------------


def _token_ignored() -> _Plant:
    async def pin(self: Any, database: str, at_least: Any, text: str) -> Any:
        del at_least
        await trio.lowlevel.checkpoint()
        return self._snapshots.pin(database, text)

    return replaced(Answering, "pin", pin)


def _token_of_the_version() -> _Plant:
    return replaced(Position, "includes", lambda self, other, tables: self.version >= other.version)


def _pinned_before_waiting() -> _Plant:
    async def pin(self: Any, database: str, at_least: Any, text: str) -> Any:
        pinned = self._snapshots.pin(database, text)
        if at_least is not None:
            await self._snapshots.wait_for(database, at_least)
        return pinned

    return replaced(Answering, "pin", pin)


def _waits_no_longer_than_a_second() -> _Plant:
    async def pin(self: Any, database: str, at_least: Any, text: str) -> Any:
        if at_least is not None:
            with trio.move_on_after(1):
                await self._snapshots.wait_for(database, at_least)
        return self._snapshots.pin(database, text)

    return replaced(Answering, "pin", pin)


# -- R12: bounded staleness -------------------------------------------------------------------


def _lag_since_the_last_frame() -> _Plant:
    return replaced(FollowSession, "lag_seconds", lambda self, now: max(0.0, now - self._heard_at))


def _stamp_answered_at_once() -> _Plant:
    return replaced(LeaderSession, "_delivered", lambda *_: True)


def _bound_not_checked() -> _Plant:
    return replaced(answering, "check_staleness", lambda *_: None)


def _stamps_of_the_closed_gate() -> _Plant:
    def lag_seconds(self: Any, now: float) -> float | None:
        stamp = max(self._current.values(), default=None)
        return None if stamp is None else max(0.0, now - stamp / 1e9)

    return replaced(FollowSession, "lag_seconds", lag_seconds)


MUTANTS: Final = (
    Mutant(
        "position-of-the-answer",
        "R1",
        "The position told is looked up when the answer is ready, not when its rows are pinned.",
        _position_of_the_answer,
        real=True,
    ),
    Mutant(
        "snapshots-kept",
        "R5",
        "Snapshots are kept for a minute, to save the cost of pinning: whoever has an "
        "acknowledgement reads without its rows.",
        _snapshots_kept,
        real=True,
    ),
    Mutant(
        "visible-when-staged",
        "R5",
        "Rows are shown, and their requests taken for done, when they have their place in the log: "
        "a repeated request is acknowledged before it is durable.",
        _visible_when_staged,
    ),
    Mutant(
        "older-than-the-one-before",
        "R10",
        "Reads that ask for a position get a snapshot of now, the others one that may be a minute "
        "old: a session that does both goes back.",
        _snapshots_kept,
        real=True,
    ),
    Mutant(
        "rows-dropped-when-closed",
        "R10",
        "When its gate closes a follower drops its rows, to be on the safe side; when it opens "
        "they are shown as they come again.",
        _rows_dropped_when_closed,
        real=True,
    ),
    Mutant(
        "token-ignored",
        "R11",
        "The position a read asks for is parsed and not looked at.",
        _token_ignored,
        real=True,
    ),
    Mutant(
        "token-of-the-version",
        "R11",
        "Positions are compared by the version of the metadata, without the rows.",
        _token_of_the_version,
        real=True,
    ),
    Mutant(
        "pinned-before-waiting",
        "R11",
        "A read waits for its position and then shows what it pinned before it waited.",
        _pinned_before_waiting,
        real=True,
    ),
    Mutant(
        "waits-no-longer-than-a-second",
        "R11",
        "A read waits a second for its position and then shows what there is.",
        _waits_no_longer_than_a_second,
        real=True,
    ),
    Mutant(
        "lag-since-the-last-frame",
        "R12",
        "The lag is the time since the leader was heard last, whatever it said.",
        _lag_since_the_last_frame,
        real=True,
    ),
    Mutant(
        "stamp-answered-at-once",
        "R12",
        "The leader returns a stamp when it has received it, not when everything from before was "
        "sent.",
        _stamp_answered_at_once,
    ),
    Mutant(
        "bound-not-checked",
        "R12",
        "The staleness a read allows is parsed and not looked at.",
        _bound_not_checked,
        real=True,
    ),
    Mutant(
        "stamps-of-the-closed-gate",
        "R12",
        "A stamp that was answered while no rows were due counts for rows when the gate opens.",
        _stamps_of_the_closed_gate,
    ),
)
"""In the order of their rules."""
