"""The databases a node knows, in memory: look-ups and the rules about whose they are. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import immutables

from cluster.catalog.changes import touched_tables
from cluster.catalog.following import EVERYTHING, FollowingSettings, FollowingView
from cluster.catalog.garbage import count_files
from cluster.catalog.naming import fold_database_name
from cluster.errors import ConflictError, DatabaseNotFoundError, LimitExceededError, ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from cluster.catalog.following import Sharing
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, FollowingSource, RowStoreKey, Table, Version
    from cluster.limits import Limits


class History:
    """The newest deltas of a database in order, bounded by count and by bytes as written.

    The newest one is always kept, however large it is.
    """

    __slots__ = ("_bytes", "_deltas", "_limits")

    def __init__(self, limits: Limits, deltas: Iterable[tuple[Delta, int]] = ()) -> None:
        self._limits = limits
        self._deltas: deque[tuple[Delta, int]] = deque()
        self._bytes = 0
        for delta, size in deltas:
            self.add(delta, size)

    def __len__(self) -> int:
        return len(self._deltas)

    @property
    def bytes(self) -> int:
        """What is kept, as written."""
        return self._bytes

    @property
    def oldest_version(self) -> Version | None:
        """Where the history starts; None if it is empty."""
        return self._deltas[0][0].from_version if self._deltas else None

    def add(self, delta: Delta, size: int) -> None:
        """Appends one, forgetting what is beyond the bounds."""
        self._deltas.append((delta, size))
        self._bytes += size
        while len(self._deltas) > 1 and (
            len(self._deltas) > self._limits.catalog_history_deltas
            or self._bytes > self._limits.catalog_history_bytes
        ):
            self._bytes -= self._deltas.popleft()[1]

    def since(self, version: Version) -> tuple[Delta, ...] | None:
        """What leads from ``version`` to the newest; None if the history cannot tell."""
        newest_first: list[Delta] = []
        for delta, _ in reversed(self._deltas):
            newest_first.append(delta)
            if delta.from_version == version:
                return tuple(reversed(newest_first))
        return None


class FollowedTrees:
    """What of a leader's tree is followed, and how it appears here; cached, one version after
    another. ``shared`` is the part that is followed, ``shown`` has the overrides too.

    ``limit`` is what else has been said to be shared but is not stored yet: what it leaves out is
    not shown.
    """

    __slots__ = ("_shared", "_shown", "limit", "settings", "shared", "shown")

    def __init__(
        self, tree: Database, settings: FollowingSettings, limit: Sharing = EVERYTHING
    ) -> None:
        self.settings = settings
        self.limit = EVERYTHING if limit == settings.sharing else limit
        self._shared = FollowingView(FollowingSettings(settings.sharing))
        # Of what is shared already: no name is looked at twice.
        self._shown = FollowingView(replace(settings, sharing=self.limit))
        self.shared = self.shown = tree
        self.advance(tree, None)

    def advance(self, tree: Database, touched: Collection[str] | None) -> None:
        """The leader's newest tree; only tables named in ``touched`` changed (None: unknown)."""
        self.shared = self._shared.show(tree, touched)
        self.shown = self._shown.show(self.shared, touched)


@dataclass(slots=True)
class Entry:
    """One database: its newest tree, what it follows, and its newest deltas in order.

    ``database`` is the tree as it was committed, here or by the leader. ``followed`` is how it
    appears here if it follows a leader; readers get :attr:`shown`. ``snapshot_bytes`` is the size
    of the snapshot in the file, ``journal_bytes`` what was written since. ``files`` counts the
    extents that name each file; empty for a follower database.
    """

    database: Database
    source: FollowingSource | None
    history: History
    snapshot_bytes: int = 0
    journal_bytes: int = 0
    files: Counter[str] = field(default_factory=Counter)
    followed: FollowedTrees | None = None

    @property
    def shown(self) -> Database:
        """The tree that readers get."""
        return self.database if self.followed is None else self.followed.shown

    def deltas_since(self, version: Version) -> tuple[Delta, ...] | None:
        """What leads from ``version`` to the newest tree; None if the history cannot tell."""
        return () if version == self.database.version else self.history.since(version)

    def describe(self) -> str:
        """Whose it is, for messages."""
        if self.source is None:
            return "a database of this cluster"
        return (
            f"a follower of database '{self.source.leader_database}' "
            f"of cluster '{self.source.leader_cluster}'"
        )


def _limit_of(entry: Entry | None) -> Sharing:
    return EVERYTHING if entry is None or entry.followed is None else entry.followed.limit


class Registry:
    """Entries by case-insensitive database name."""

    __slots__ = ("_entries", "_limits", "_tables_by_key")

    def __init__(self, limits: Limits) -> None:
        self._entries: dict[str, Entry] = {}
        self._limits = limits
        self._tables_by_key: immutables.Map[RowStoreKey, Table] = immutables.Map()

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

    def following(self, name: str) -> tuple[Entry, FollowedTrees]:
        """The entry of a follower database. Raises DatabaseNotFoundError, ConflictError."""
        entry = self.entry(name)
        if entry.followed is None:
            raise ConflictError(
                f"Database '{entry.database.name}' does not follow a leader.",
                metadata={"database": entry.database.name},
            )
        return entry, entry.followed

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
        settings: FollowingSettings,
        *,
        snapshot_bytes: int,
        journal_bytes: int = 0,
        history: Iterable[tuple[Delta, int]] = (),
    ) -> None:
        """Adds or replaces a database whole; ``history`` is deltas with their sizes.

        ``settings`` are those of a database that follows ``source``.
        """
        folded = fold_database_name(database.name)
        before = self._entries.get(folded)
        self._entries[folded] = after = Entry(
            database,
            source,
            History(self._limits, history),
            snapshot_bytes,
            journal_bytes,
            count_files(database) if source is None else Counter(),
            None if source is None else FollowedTrees(database, settings, _limit_of(before)),
        )
        self._change_keys(
            before.shown.tables.values() if before else (), after.shown.tables.values()
        )

    def set_following(self, entry: Entry, settings: FollowingSettings) -> None:
        """Gives a following database other settings; its tree stays, its appearance changes."""
        self._appear(entry, FollowedTrees(entry.database, settings, _limit_of(entry)))

    def limit_sharing(self, entry: Entry, followed: FollowedTrees, said: Sharing) -> bool:
        """Shows nothing that ``said`` leaves out, until settings say the same; False: as before."""
        limited = FollowedTrees(entry.database, followed.settings, said)
        if limited.limit == followed.limit:
            return False
        self._appear(entry, limited)
        return True

    def _appear(self, entry: Entry, followed: FollowedTrees) -> None:
        before = entry.shown
        entry.followed = followed
        self._change_keys(before.tables.values(), entry.shown.tables.values())

    def advance(self, entry: Entry, database: Database, delta: Delta, size: int) -> None:
        """Gives an entry its next tree; ``size`` is that of the delta as written."""
        names = {name for change in delta.changes for name in touched_tables(change)}
        before = entry.shown.tables
        entry.database = database
        if entry.followed is not None:
            entry.followed.advance(database, names)
        after = entry.shown.tables
        entry.history.add(delta, size)
        self._change_keys(
            [before[name] for name in names if name in before],
            [after[name] for name in names if name in after],
        )

    def remove(self, name: str) -> None:
        """Removes a database that is there."""
        entry = self._entries.pop(fold_database_name(name))
        self._change_keys(entry.shown.tables.values(), ())

    def tables_by_key(self) -> Mapping[RowStoreKey, Table]:
        """Every table by each of its row store keys. Each change costs what it touches."""
        return self._tables_by_key

    def _change_keys(self, before: Iterable[Table], after: Iterable[Table]) -> None:
        tables = self._tables_by_key.mutate()
        for table in before:
            for key in table.keys:
                tables.pop(key, None)
        for table in after:
            for key in table.keys:
                tables[key] = table
        self._tables_by_key = tables.finish()
