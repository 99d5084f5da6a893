"""Which extents a newer tree brings, to be fetched before it is seen. Pure.

``.alter follower database D prefetch-extents = true``: the files of new extents are in the cache
of this node before any query can want them. That costs freshness: metadata, and the rows behind
it, wait for the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cluster.catalog.changes_data import ReplaceExtents, SealRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database, Extent


class Prefetch(Protocol):
    """Fetches files of a followed database ahead of their use."""

    async def __call__(self, database: Database, extents: Sequence[Extent]) -> None:
        """Fetches what can be had; raises nothing for what cannot."""


def brought_by(changes: Iterable[Change], sharing: Sharing) -> list[Extent]:
    """The extents that a transaction adds to tables that are shared."""
    found: list[Extent] = []
    for change in changes:
        match change:
            case SealRows(table, _, extents) | ReplaceExtents(table, _, extents):
                if sharing.shares_table(table):
                    found += extents
    return found


def brought_by_tree(before: Database, after: Database) -> list[Extent]:
    """The extents of a tree whose files an older one does not name, by their ids."""
    files = {extent.file for table in before.tables.values() for extent in table.extents.values()}
    found = [
        extent
        for table in after.tables.values()
        for extent in table.extents.values()
        if extent.file not in files
    ]
    return sorted(found, key=lambda extent: extent.extent_id)
