"""The databases of a node as its doors see them: owned and followed alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import trio

from cluster.coordinator.reports import DatabaseReport
from cluster.errors import DatabaseNotFoundError
from cluster.gateway.query import PinnedSnapshot
from cluster.query.binding import BoundTable, QuerySnapshot
from cluster.replication.position import Position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, RowStoreKey
    from cluster.rowstore.driver import RowStore
    from cluster.rowstore.model import Rows
    from follower.driver import FollowerManager
    from follower.worker import FollowedDatabase, FollowedPin

STREAMING_TABLES_REPORTED = 100
"""So many names of streaming tables a heartbeat carries at most; see ``coordinator.proto``."""


class _OtherTables(Mapping[str, BoundTable]):
    """Tables of a database that is not in context; rows are looked up when a query names one.

    What was looked up stays: columns and rows of one table are of one moment.
    """

    def __init__(self, database: Database, rows_of: Callable[[RowStoreKey], Rows | None]) -> None:
        self._database = database
        self._rows_of = rows_of
        self._bound: dict[str, BoundTable] = {}

    def __getitem__(self, name: str) -> BoundTable:
        bound = self._bound.get(name)
        if bound is None:
            table = self._database.tables[name]
            rows = self._rows_of(table.key)
            bound = BoundTable(table.columns, rows.batches if rows else ())
            self._bound[name] = bound
        return bound

    def __iter__(self) -> Iterator[str]:
        return iter(self._database.tables)

    def __len__(self) -> int:
        return len(self._database.tables)


class NodeDatabases:
    """Pins snapshots, waits for positions, and reports what the node owns.

    A pin is one moment of the database in context: its tree, its rows and its position belong
    together. Other databases of the node that a query names are read as of when it reads them.
    """

    def __init__(self, catalog: Catalog, row_store: RowStore, followers: FollowerManager) -> None:
        self._catalog = catalog
        self._row_store = row_store
        self._followers = followers

    def pin(self, database: str) -> PinnedSnapshot:
        """What is visible now. Raises DatabaseNotFoundError."""
        tree = self._catalog.get(database)
        shown: list[Callable[[], bool]] = []  # grows when a query reads another followed database
        rows: Mapping[RowStoreKey, Rows]
        if self._catalog.is_following(database):
            pinned = self._pin_followed(database, shown)
            rows, position = pinned.rows, pinned.position
            tree, hidden, reason = pinned.database, pinned.rows_hidden, pinned.hidden_reason
        else:
            keys = [table.key for table in tree.tables.values()]
            rows = {key: self._row_store.rows(key) for key in keys}
            position = Position(
                tree.version, {key: item.position for key, item in rows.items() if item.batches}
            )
            hidden, reason = False, ""
        tables = {
            name: BoundTable(table.columns, rows[table.key].batches if table.key in rows else ())
            for name, table in tree.tables.items()
        }
        return PinnedSnapshot(
            QuerySnapshot(tree.name, tables, self._others(tree, shown)),
            position,
            _keys(tree),
            hidden,
            reason,
            lambda: all(check() for check in shown),
        )

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
            if self._position(tree).includes(position, _keys(tree)):
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
        return self._position(self._catalog.get(database))

    def reports(self) -> tuple[DatabaseReport, ...]:
        """What a heartbeat tells of the databases the node owns."""
        reports = []
        for tree in self._catalog.databases():
            if self._catalog.is_following(tree.name):
                continue
            position = self._position(tree)
            streaming = tree.streaming_tables()
            reports.append(
                DatabaseReport(
                    tree.name,
                    streaming_content=bool(streaming or position.keys),
                    streaming_tables=streaming[:STREAMING_TABLES_REPORTED],
                    position=position,
                )
            )
        return tuple(reports)

    def _position(self, tree: Database) -> Position:
        positions = self._row_store.position_of(table.key for table in tree.tables.values())
        return Position(tree.version, {key: at for key, at in positions.items() if at.ordinal})

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
        self, context: Database, shown: list[Callable[[], bool]]
    ) -> dict[str, Mapping[str, BoundTable]]:
        others: dict[str, Mapping[str, BoundTable]] = {}
        for tree in self._catalog.databases():
            if tree.name == context.name:
                continue
            others[tree.name] = _OtherTables(tree, self._rows_of(tree, shown))
        return others

    def _rows_of(
        self, tree: Database, shown: list[Callable[[], bool]]
    ) -> Callable[[RowStoreKey], Rows | None]:
        if self._catalog.is_following(tree.name):
            return lambda key: self._pin_followed(tree.name, shown).rows.get(key)
        return self._row_store.rows


def _keys(tree: Database) -> frozenset[RowStoreKey]:
    return frozenset(table.key for table in tree.tables.values())
