"""What is read from a catalog, and waiting for it to change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from cluster.catalog.changes import is_shared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.following import FollowingSettings
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, FollowingSource, RowStoreKey, Table, Version
    from cluster.catalog.registry import Registry


class CatalogReader:
    """The reading half of :class:`cluster.catalog.driver.Catalog`.

    A following database is read as it appears here: the part of the leader's tree that is followed,
    with the follower's overrides (:func:`cluster.catalog.following.effective`).
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision = 0
        self._changed = trio.Event()

    def get(self, name: str) -> Database:
        """The newest tree of a database, by case-insensitive name. DatabaseNotFoundError."""
        return self._registry.entry(name).shown

    def databases(self) -> tuple[Database, ...]:
        """Every database, owned or followed, by folded name."""
        return tuple(entry.shown for entry in self._registry)

    def is_following(self, name: str) -> bool:
        """True if the database follows a leader, hence is read-only. DatabaseNotFoundError."""
        return self._registry.entry(name).source is not None

    def following_source(self, name: str) -> FollowingSource | None:
        """What the database follows; None for one of our own. DatabaseNotFoundError."""
        return self._registry.entry(name).source

    def deltas_since(self, name: str, version: Version) -> tuple[Delta, ...] | None:
        """What leads from ``version`` to the newest tree, in order; empty if it is the newest.

        None if the history does not have that version (any more, or never had): a copy at that
        version needs a snapshot. Raises DatabaseNotFoundError.
        """
        return self._registry.entry(name).deltas_since(version)

    def history(self, name: str) -> tuple[Delta, ...]:
        """The newest transactions of a database, oldest first, as many as are kept.

        Of a following database, without changes of what is not followed. Raises
        DatabaseNotFoundError.
        """
        entry = self._registry.entry(name)
        oldest = entry.history.oldest_version
        deltas = () if oldest is None else entry.history.since(oldest) or ()
        if entry.followed is None or entry.followed.settings.sharing.is_everything:
            return deltas
        sharing = entry.followed.settings.sharing
        return tuple(
            replace(delta, changes=tuple(c for c in delta.changes if is_shared(c, sharing)))
            for delta in deltas
        )

    def tables_by_key(self) -> Mapping[RowStoreKey, Table]:
        """Every table of every database by each of its row store keys; what is missing is dropped.

        Immutable: it is that of this moment. Following a change costs what the change touches.
        """
        return self._registry.tables_by_key()

    @property
    def revision(self) -> int:
        """Grows by one with every visible change of any database since opening."""
        return self._revision

    async def wait_change(self, seen_revision: int) -> int:
        """Waits until the revision is beyond ``seen_revision``; returns the present one."""
        await trio.lowlevel.checkpoint()
        while self._revision <= seen_revision:
            await self._changed.wait()
        return self._revision

    def following_settings(self, name: str) -> FollowingSettings:
        """What a following database has besides the leader's tree.

        Raises DatabaseNotFoundError, ConflictError (it follows nothing).
        """
        return self._registry.following(name)[1].settings

    def shared_tree(self, name: str) -> Database:
        """The part of the leader's tree that is followed, without overrides: what its rows need.

        Raises DatabaseNotFoundError, ConflictError (it follows nothing).
        """
        return self._registry.following(name)[1].shared

    def leader_tree(self, name: str) -> Database:
        """The tree as the leader sent it, under its name here. Same errors."""
        return self._registry.following(name)[0].database

    def _reveal(self) -> None:
        """Something changed: wakes whoever waits."""
        self._revision += 1
        self._changed.set()
        self._changed = trio.Event()
