"""The databases a node knows, in memory: look-ups and the rules about whose they are. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.naming import fold_database_name
from cluster.errors import ConflictError, DatabaseNotFoundError, LimitExceededError, ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, FollowingSource, RowStoreKey, Table, Version
    from cluster.limits import Limits


@dataclass(slots=True)
class Entry:
    """One database: its newest tree, what it follows, and its newest deltas in order."""

    database: Database
    source: FollowingSource | None
    history: deque[Delta]
    deltas_since_snapshot: int = 0

    def deltas_since(self, version: Version) -> tuple[Delta, ...] | None:
        """What leads from ``version`` to the newest tree; None if the history cannot tell."""
        if version == self.database.version:
            return ()
        newest_first: list[Delta] = []
        for delta in reversed(self.history):
            newest_first.append(delta)
            if delta.from_version == version:
                return tuple(reversed(newest_first))
        return None

    def describe(self) -> str:
        """Whose it is, for messages."""
        if self.source is None:
            return "a database of this cluster"
        return (
            f"a follower of database '{self.source.leader_database}' "
            f"of cluster '{self.source.leader_cluster}'"
        )


class Registry:
    """Entries by case-insensitive database name."""

    __slots__ = ("_entries", "_limits", "_tables_by_key")

    def __init__(self, limits: Limits) -> None:
        self._entries: dict[str, Entry] = {}
        self._limits = limits
        self._tables_by_key: Mapping[RowStoreKey, Table] | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Entries by folded name."""
        return (self._entries[folded] for folded in sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> Entry | None:
        """The entry, if there is one."""
        return self._entries.get(fold_database_name(name))

    def entry(self, name: str) -> Entry:
        """The entry. Raises DatabaseNotFoundError."""
        entry = self.find(name)
        if entry is None:
            raise DatabaseNotFoundError(
                f"Entity ID '{name}' of kind 'Database' was not found.",
                metadata={"database": name},
            )
        return entry

    def owned(self, name: str) -> Entry:
        """The entry of a database of our own. Raises DatabaseNotFoundError, ReadOnlyError."""
        entry = self.entry(name)
        if entry.source is None:
            return entry
        leader = entry.source
        raise ReadOnlyError(
            f"Database '{entry.database.name}' is read-only on this cluster: it follows database "
            f"'{leader.leader_database}' of cluster '{leader.leader_cluster}'.",
            remedy=f"Send the command to the leader cluster '{leader.leader_cluster}'.",
            metadata={
                "database": entry.database.name,
                "leader_cluster": leader.leader_cluster,
                "leader_database": leader.leader_database,
            },
        )

    def following(self, name: str) -> Entry:
        """The entry of a follower database. Raises DatabaseNotFoundError, ConflictError."""
        entry = self.entry(name)
        if entry.source is None:
            raise ConflictError(
                f"Database '{entry.database.name}' does not follow a leader.",
                metadata={"database": entry.database.name},
            )
        return entry

    def check_may_follow(self, name: str, source: FollowingSource) -> None:
        """Refuses a name that is taken by something else. Raises ConflictError.

        ``follower.md``: a database of the cluster's own beats a followed one of the same name,
        and a name is never followed twice.
        """
        present = self.find(name)
        if present is None or present.source == source:
            return
        raise ConflictError(
            f"Database '{name}' cannot follow database '{source.leader_database}' of cluster "
            f"'{source.leader_cluster}': the name is taken by {present.describe()}.",
            remedy="Attach it under another name, or detach the other one first.",
            metadata={"database": name, "leader_cluster": source.leader_cluster},
        )

    def check_room(self, name: str) -> None:
        """Refuses one database more than the limit. Raises LimitExceededError."""
        maximum = self._limits.databases
        if self.find(name) is None and len(self._entries) >= maximum:
            raise LimitExceededError(
                f"This cluster has {len(self._entries)} databases, the limit is {maximum}.",
                metadata={"limit": "databases", "maximum": str(maximum)},
            )

    def put(
        self,
        database: Database,
        source: FollowingSource | None,
        history: tuple[Delta, ...] = (),
        deltas_since_snapshot: int = 0,
    ) -> None:
        """Adds or replaces a database whole."""
        kept = deque(history, self._limits.catalog_history_deltas)
        entry = Entry(database, source, kept, deltas_since_snapshot)
        self._entries[fold_database_name(database.name)] = entry
        self._tables_by_key = None

    def advance(self, entry: Entry, database: Database, delta: Delta) -> None:
        """Gives an entry its next tree."""
        entry.database = database
        entry.history.append(delta)
        self._tables_by_key = None

    def remove(self, name: str) -> None:
        """Removes a database that is there."""
        del self._entries[fold_database_name(name)]
        self._tables_by_key = None

    def tables_by_key(self) -> Mapping[RowStoreKey, Table]:
        """Every table by row store key; made once after each change."""
        if self._tables_by_key is None:
            self._tables_by_key = {
                key: table
                for entry in self._entries.values()
                for table in entry.database.tables.values()
                for key in table.keys
            }
        return self._tables_by_key
