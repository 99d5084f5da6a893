"""Committed metadata transactions in order: what followers receive and recovery replays. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cluster.catalog.changes import AS_DECIDED, EVENTS, Change, apply
from cluster.errors import ProtocolError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.catalog.model import Database, Version


@dataclass(frozen=True, slots=True)
class Delta:
    """One committed transaction: what turns the tree of one version into that of the next.

    ``event_time_ns`` is the wall clock of the node that committed it here, nanoseconds since 1970
    UTC. ``text`` is the command behind it, secrets masked, and ``user`` who sent it; both are empty
    on a follower.
    """

    from_version: Version
    to_version: Version
    changes: tuple[Change, ...]
    event_time_ns: int = 0
    text: str = ""
    user: str = ""

    @property
    def events(self) -> tuple[str, ...]:
        """Journal names of the changes that have one, for example ``CREATE-TABLE``."""
        return tuple(EVENTS[type(change)] for change in self.changes if type(change) in EVENTS)


def advance(database: Database, delta: Delta) -> Database:
    """The tree after a delta that was committed elsewhere or earlier.

    Raises ProtocolError if the delta does not start at the tree's version, does not end one
    version later, or does not apply: the two histories are not the same one.
    """
    if delta.from_version != database.version:
        raise ProtocolError(
            f"Metadata delta {delta.from_version} to {delta.to_version} does not continue "
            f"database '{database.name}' at {database.version}."
        )
    if delta.to_version != database.version.next():
        raise ProtocolError(
            f"Metadata delta {delta.from_version} to {delta.to_version} skips versions."
        )
    try:
        return apply(database, delta.changes, AS_DECIDED)
    except RequestError as error:
        raise ProtocolError(
            f"Metadata delta {delta.from_version} to {delta.to_version} does not apply to "
            f"database '{database.name}': {error.message}"
        ) from error


def check_continuous(deltas: Sequence[Delta]) -> None:
    """Refuses a history with a gap. Raises ProtocolError."""
    for before, after in pairwise(deltas):
        if before.to_version != after.from_version:
            raise ProtocolError(
                f"The journal has a gap between {before.to_version} and {after.from_version}."
            )


def replay(database: Database, deltas: Iterable[Delta]) -> Database:
    """The tree after all deltas. Raises ProtocolError like :func:`advance`."""
    for delta in deltas:
        database = advance(database, delta)
    return database
