"""The databases of a node as its doors see them: owned and followed alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import trio

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import caching_of, ingestiontime_of
from cluster.coordinator.reports import DatabaseReport
from cluster.errors import DatabaseNotFoundError
from cluster.gateway.answering import PinnedSnapshot
from cluster.node.positions import OwnedPositions
from cluster.query.binding import BoundTable, QuerySnapshot
from cluster.query.lexical import functions_mentioned, names_mentioned
from cluster.query.row_level import names_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Function, RowStoreKey, Table
    from cluster.catalog.policies import CachingPolicy
    from cluster.replication.position import KeyPosition, Position
    from cluster.rowstore.model import Rows
    from follower.driver import FollowerManager
    from follower.pinned import FollowedPin
    from follower.worker import FollowedDatabase

STREAMING_TABLES_REPORTED = 100
"""So many names of streaming tables a heartbeat carries at most; see ``coordinator.proto``."""


class StreamedSource(Protocol):
    """Rows of the databases a node owns: :class:`cluster.rowstore.stores.RowStores`."""

    def rows(self, key: RowStoreKey, from_ordinal: int = 0) -> Rows:
        """Visible rows of a key at or above an ordinal."""

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """Visible positions."""

    def take_moved(self) -> set[RowStoreKey]:
        """Keys that came further since this was called last."""

    def end_lsn(self) -> int:
        """Where the log ends."""

    async def wait_beyond(self, lsn: int) -> object:
        """Returns when the log ends behind ``lsn``."""


class SnapshotPin:
    """Trees that a snapshot was taken from; it lives as long as the snapshot does."""

    __slots__ = ("__weakref__", "trees")

    def __init__(self) -> None:
        self.trees: list[Database] = []


class _OtherTables(Mapping[str, BoundTable]):
    """Tables of a database that is not in context, pinned when a query first looks at them.

    Then they are of one moment, all of them: a tree without the rows above its floors, or rows
    without the extents below them, would not be the table.
    """

    def __init__(self, pin: Callable[[], Mapping[str, BoundTable]]) -> None:
        self._pin = pin
        self._tables: Mapping[str, BoundTable] | None = None

    def _pinned(self) -> Mapping[str, BoundTable]:
        if self._tables is None:
            self._tables = self._pin()
        return self._tables

    def __getitem__(self, name: str) -> BoundTable:
        return self._pinned()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pinned())

    def __len__(self) -> int:
        return len(self._pinned())


class NodeDatabases:
    """Pins snapshots, waits for positions, and reports what the node owns.

    A pin is one moment of the database in context: its tree, its rows and its position belong
    together, so every row is in it once, in an extent or above a floor, whatever is being sealed.
    Other databases of the node that a query names are read as of when it reads them.

    ``cursor_us`` is the database cursor of the databases the node owns.
    """

    def __init__(
        self,
        catalog: Catalog,
        row_stores: StreamedSource,
        followers: FollowerManager,
        *,
        cursor_us: Callable[[], int] | None = None,
    ) -> None:
        self._catalog = catalog
        self._row_store = row_stores
        self._followers = followers
        self._cursor_us = cursor_us
        self._positions = OwnedPositions(row_stores)
        self._pins: WeakSet[SnapshotPin] = WeakSet()
        self._held: tuple[Mapping[int, Database], frozenset[str]] = ({}, frozenset())

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        """What is visible now. Raises DatabaseNotFoundError.

        With the ``text`` of a query, only tables that it may name are in the snapshot.
        """
        tree = self._catalog.get(database)
        shown: list[Callable[[], bool]] = []  # grows when a query reads another followed database
        pin = SnapshotPin()
        if self._catalog.is_following(tree.name):
            pinned = self._pin_followed(tree.name, shown)
            tree, position = pinned.database, pinned.position
            tables = _bound(tree, text, partial(_followed_rows, pinned))
            hidden, reason, cursor_us = pinned.rows_hidden, pinned.hidden_reason, None
            staleness: Callable[[], float | None] = pinned.staleness_seconds
        else:
            tables = _bound(tree, text, self._row_store.rows)
            position = self._positions.of(tree)
            hidden, reason = False, ""
            staleness = _is_the_leader
            cursor_us = None if self._cursor_us is None else self._cursor_us()
        pin.trees.append(tree)
        self._pins.add(pin)
        return PinnedSnapshot(
            QuerySnapshot(
                tree.name,
                tables,
                self._others(tree, shown, pin),
                tree.functions,
                cursor_us,
                pin,
                self._other_functions(tree.name),
            ),
            position,
            self._catalog.tables_by_key(),  # of all databases: a key is of one of them
            hidden,
            reason,
            lambda: all(check() for check in shown),
            staleness,
        )

    def _other_functions(self, database: str) -> dict[str, Mapping[str, Function]]:
        return {
            tree.name: tree.functions
            for tree in self._catalog.databases()
            if tree.functions and tree.name != database
        }

    def snapshot(self, database: str, text: str) -> QuerySnapshot:
        """What is visible now, for a query that is part of a command. DatabaseNotFoundError."""
        return self.pin(database, text).snapshot

    def streamed(self, database: str) -> dict[RowStoreKey, Rows]:
        """The rows above the floors that queries see, by key. Raises DatabaseNotFoundError."""
        tree = self._catalog.get(database)
        rows_of: Callable[[RowStoreKey, int], Rows | None] = self._row_store.rows
        if self._catalog.is_following(tree.name):
            pinned = self._followed(tree.name).pin()
            tree, rows_of = pinned.database, partial(_followed_rows, pinned)
        found = {}
        for table in tree.tables.values():
            for reference in table.references:
                rows = rows_of(reference.key, reference.sealed_ordinal)
                if rows is not None:
                    found[reference.key] = rows
        return found

    def is_pinned(self, file: str) -> bool:
        """Whether a snapshot that somebody holds may still read an extent file of that name.

        Garbage is asked about a thousand files at a time: the files of the trees that are held are
        gathered once for each set of trees.
        """
        trees = {id(tree): tree for pin in self._pins for tree in pin.trees}
        if trees.keys() != self._held[0].keys():
            self._held = (trees, _files(trees.values()) if trees else frozenset())
        return file in self._held[1]

    def trees(self) -> Iterator[Database]:
        """The tree of every database whose tables can be queried here now."""
        for tree in self._catalog.databases():
            if not self._catalog.is_following(tree.name):
                yield tree
                continue
            followed = self._followers.get(tree.name)
            if followed is not None and followed.copy.shown is not None:
                yield followed.copy.shown

    def sealed_tables(self) -> Iterator[tuple[Database, Table, CachingPolicy]]:
        """Every table with extents and its caching policy: what the hot cache may take."""
        cluster = self._catalog.get(DEFAULT_DATABASE)
        for tree in self.trees():
            for table in tree.tables.values():
                if table.extents:
                    yield tree, table, caching_of(tree, table, cluster)

    def _pin_followed(self, name: str, shown: list[Callable[[], bool]]) -> FollowedPin:
        """Pins a followed database; if it shows rows, adds what says whether it still does."""
        followed = self._followed(name)
        pinned = followed.pin()
        if not pinned.rows_hidden:
            shown.append(partial(followed.shows_rows_of, pinned.epoch))
        return pinned

    async def wait_for(self, database: str, position: Position) -> None:
        """Returns once the database includes ``position``. Raises DatabaseNotFoundError."""
        if self._catalog.is_following(database):
            await self._followed(database).wait_for(position)
            return
        while True:
            tree = self._catalog.get(database)
            if self._positions.of(tree).includes(position, self._catalog.tables_by_key()):
                return
            revision, lsn = self._catalog.revision, self._row_store.end_lsn()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_after, nursery, self._catalog.wait_change, revision)
                nursery.start_soon(self._cancel_after, nursery, self._row_store.wait_beyond, lsn)

    @staticmethod
    async def _cancel_after(
        nursery: trio.Nursery, wait: Callable[[int], Awaitable[object]], seen: int
    ) -> None:
        await wait(seen)
        nursery.cancel_scope.cancel()

    def position(self, database: str) -> Position:
        """The visible position of an owned database. Raises DatabaseNotFoundError."""
        return self._positions.of(self._catalog.get(database))

    def reports(self) -> tuple[DatabaseReport, ...]:
        """What a heartbeat tells of the databases the node owns."""
        reports = []
        for tree in self._catalog.databases():
            if self._catalog.is_following(tree.name):
                continue
            streaming = tree.streaming_tables()
            unsealed = self._positions.has_unsealed_rows(tree)
            reports.append(
                DatabaseReport(
                    tree.name,
                    streaming_content=bool(streaming) or unsealed,
                    streaming_tables=streaming[:STREAMING_TABLES_REPORTED],
                    position=self._positions.of(tree),
                )
            )
        return tuple(reports)

    def _followed(self, name: str) -> FollowedDatabase:
        followed = self._followers.get(name)
        if followed is None:
            # It is in the catalog and being removed, or not opened yet.
            raise DatabaseNotFoundError(
                f"This cluster does not follow database '{name}' at the moment.",
                metadata={"database": name},
            )
        return followed

    def _others(
        self, context: Database, shown: list[Callable[[], bool]], pin: SnapshotPin
    ) -> dict[str, Mapping[str, BoundTable]]:
        def pin_other(name: str) -> Mapping[str, BoundTable]:
            rows_of: Callable[[RowStoreKey, int], Rows | None]
            if self._catalog.is_following(name):
                pinned = self._pin_followed(name, shown)
                tree, rows_of = pinned.database, partial(_followed_rows, pinned)
            else:
                tree, rows_of = self._catalog.get(name), self._row_store.rows
            pin.trees.append(tree)
            return _bound(tree, None, rows_of)

        return {
            tree.name: _OtherTables(partial(pin_other, tree.name))
            for tree in self._catalog.databases()
            if tree.name != context.name
        }


def _is_the_leader() -> float:
    return 0.0


def _followed_rows(pinned: FollowedPin, key: RowStoreKey, _: int) -> Rows | None:
    return pinned.rows.get(key)  # from the floor on already


def _files(trees: Iterable[Database]) -> frozenset[str]:
    """Every file that a table of these trees names."""
    return frozenset(
        extent.file
        for tree in trees
        for table in tree.tables.values()
        for extent in table.extents.values()
    )


def _bound(
    tree: Database, text: str | None, rows_of: Callable[[RowStoreKey, int], Rows | None]
) -> dict[str, BoundTable]:
    """The tables of a tree, or those of them that a text may name, with the rows above floors."""
    names: Iterable[str] = tree.tables
    if text is not None:
        functions = functions_mentioned(text, tree.functions)
        whole = " ".join([text, *(part for function in functions for part in function[1:])])
        names = names_behind(names_mentioned(whole, tree.tables), tree.tables, tree.functions)
    return {name: _bind(tree, tree.tables[name], rows_of) for name in names}


def _bind(
    tree: Database, table: Table, rows_of: Callable[[RowStoreKey, int], Rows | None]
) -> BoundTable:
    fresh = []
    for reference in table.references:
        rows = rows_of(reference.key, reference.sealed_ordinal)
        if rows is not None and rows.batches:
            fresh.append(rows)
    return BoundTable(table, tuple(fresh), table.extents, tree, ingestiontime_of(table))
