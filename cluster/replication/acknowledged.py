"""Which versions followers may still read files of, also those that are away. Pure.

A follower whose call has ended goes on answering queries from the tree it has stored, and reads the
files of that tree from the storage root or, when it is back, from its leader. So it counts as long
as it is attached: with the version it acknowledged last or, if none was heard since this process
started, with one before all others. That is not for ever: how long a file is kept for a follower
that does not acknowledge is for its deletion to decide (``limits.garbage_follower_seconds``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.model import Version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FollowerName = tuple[str, str, str]
"""Cluster and node of a follower, and the folded name of the database here."""

UNKNOWN: Final = Version(0, 0)
"""Before every version of any database: what a follower that was not heard may still read."""


class AcknowledgedVersions:
    """Remembers followers whose calls have ended, each for ``keep_seconds``."""

    __slots__ = ("_gone", "_keep_seconds")

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._gone: dict[FollowerName, tuple[Version, float]] = {}

    def leave(self, name: FollowerName, version: Version | None, now: float) -> None:
        """A call has ended. ``version`` is what it had acknowledged, None if it said nothing."""
        if version is not None:
            self._gone[name] = (version, now)

    def of(
        self,
        database: str,
        live: Mapping[FollowerName, Version | None],
        attached: Collection[str] | None,
        now: float,
    ) -> tuple[Version, ...]:
        """The version of each follower of a database (folded name).

        ``live`` has the calls under way, with None for those that said nothing yet; ``attached``
        are the clusters that may follow it, None if that is not known.
        """
        self._forget(database, attached, now)
        versions = {name: version for name, (version, _) in self._gone.items()}
        versions.update((name, version) for name, version in live.items() if version is not None)
        found = {name: version for name, version in versions.items() if name[2] == database}
        if attached is None:
            return (*found.values(), UNKNOWN)
        heard = {cluster for cluster, _, _ in found}
        return (*found.values(), *(UNKNOWN for cluster in attached if cluster not in heard))

    def _forget(self, database: str, attached: Collection[str] | None, now: float) -> None:
        """Those that were detached, or have been away for too long."""
        self._gone = {
            name: (version, since)
            for name, (version, since) in self._gone.items()
            if now - since < self._keep_seconds
            and (name[2] != database or attached is None or name[0] in attached)
        }
