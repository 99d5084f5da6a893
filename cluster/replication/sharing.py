"""The part of a leader's tree that one follower gets, from version to version. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.catalog.following import FollowingSettings, FollowingView

if TYPE_CHECKING:
    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database


class SharedTree:
    """What :func:`cluster.catalog.following.shared` gives, at the cost of what changed.

    ``tree`` is the newest one looked at; None before the first.
    """

    __slots__ = ("_sharing", "_view", "tree")

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._view = FollowingView(FollowingSettings(sharing))
        self.tree: Database | None = None

    def of(self, database: Database) -> Database:
        """The shared part of a newer tree; tables that did not change keep their identity."""
        self.tree = database if self._sharing.is_everything else self._view.show(database)
        return self.tree


def is_file_of(visible: Database, file: str) -> bool:
    """Whether a file was made for a shared table. Garbage names no table, but its folder does.

    See :func:`cluster.extents.checking.extent_file_name`. A doubt is a no.
    """
    tables = (*visible.tables.values(), *(item.table for item in visible.dropped_tables))
    table_id = file.rpartition("/")[0].rpartition("/")[2]
    return table_id in {table.table_id for table in tables}
