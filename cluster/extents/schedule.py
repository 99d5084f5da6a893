"""What to seal and merge next, as the node's catalog and row stores are now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.extents.merging import plan_merges
from cluster.extents.sealing import SealTask, Streamed, next_due_us, plan_seals, slack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent, RowStoreKey, Table
    from cluster.extents.keeping import UnsealedRows
    from cluster.extents.rules import Rules

DUE_LOOK_US: Final = 1_000_000
"""Between two looks while tables are due: the shortest wait before a seal is tried again."""


class Schedule:
    """Looks at everything this node owns; remembers what it need not look at again."""

    def __init__(self, catalog: Catalog, row_stores: UnsealedRows, rules: Rules) -> None:
        self._catalog = catalog
        self._row_stores = row_stores
        self._rules = rules
        self._planned: dict[RowStoreKey, tuple[object, object, object]] = {}
        self._looked_revision = -1
        self._quiet_revision = -1
        self._quiet_lsn = 0
        self._looked_lsn = 0
        self._quiet_us = 0
        self._seen: dict[str, Database] = {}

    def owned(self, name: str | None = None) -> list[Database]:
        """The databases this node may change: all, or that one. Raises DatabaseNotFoundError."""
        found = self._catalog.databases() if name is None else (self._catalog.get(name),)
        return [tree for tree in found if not self._catalog.is_following(tree.name)]

    def may_be_due(self, now_us: int) -> bool:
        """False if no table can be due for a seal, however many there are: costs next to nothing.

        The last :meth:`seals` said how many bytes and how much time have to come first. A change
        of the catalog makes a table due only if its streaming policy is gone.
        """
        if self._row_stores.end_lsn() >= self._quiet_lsn or now_us >= self._quiet_us:
            return True
        if self._catalog.revision == self._quiet_revision:
            return False
        self._quiet_revision = self._catalog.revision
        return any(self._may_have_made_due(database) for database in self.owned())

    def _may_have_made_due(self, database: Database) -> bool:
        """True if policies changed, or a table that changed has rows and takes no more."""
        before = self._seen.get(database.name)
        self._seen[database.name] = database
        if before is database:
            return False
        if before is None or before.policies != database.policies:
            return True
        is_same = before.streaming_policy == database.streaming_policy
        known = before.tables if is_same else {}
        return any(
            (found := self.streamed_table(database, table)) is not None and not found.is_streaming
            for name, table in database.tables.items()
            if known.get(name) is not table
        )

    def begin_look(self) -> list[Database]:
        """The trees to look at; what changes or comes from now on is for the next look."""
        self._quiet_revision = self._catalog.revision
        self._looked_lsn = self._row_stores.end_lsn()
        trees = self.owned()
        self._seen = {tree.name: tree for tree in trees}
        return trees

    def seals(self, tables: Sequence[Streamed], now_us: int) -> list[SealTask]:
        """Which of all streamed tables, found since :meth:`begin_look`, to seal now.

        The most urgent first.
        """
        rule = self._rules.sealing()
        tasks = plan_seals(tables, rule, now_us)
        self._quiet_lsn = self._looked_lsn + max(1, slack_bytes(tables, rule))
        self._quiet_us = next_due_us(tables, rule, now_us)
        if tasks:
            # What is due stays due until it is sealed, or may be tried again.
            self._quiet_us = now_us + DUE_LOOK_US
        return tasks

    def streamed(self, name: str | None = None) -> Iterator[Streamed]:
        """Every owned table that has rows in the row stores."""
        for database in self.owned(name):
            for table in database.tables.values():
                found = self.streamed_table(database, table)
                if found is not None:
                    yield found

    def streamed_table(self, database: Database, table: Table) -> Streamed | None:
        """What a table has in the row stores; None if nothing."""
        unsealed = self._row_stores.unsealed(table.keys)
        parts = [
            (reference.row_store, part)
            for reference in table.references
            if (part := unsealed.get(reference.key)) is not None and part.rows
        ]
        if not parts:
            return None
        by_store: dict[int, int] = {}
        log_by_store: dict[int, int] = {}
        for store, part in parts:
            by_store[store] = by_store.get(store, 0) + part.bytes
            log_by_store[store] = max(log_by_store.get(store, 0), part.log_distance_bytes)
        policy = database.effective_streaming(table)
        return Streamed(
            database=database.name,
            table=table.name,
            key=table.key,
            is_streaming=policy is not None and policy.is_enabled,
            row_count=sum(part.rows for _, part in parts),
            byte_count=sum(by_store.values()),
            oldest_us=min(part.oldest_ingest_us for _, part in parts),
            by_store=by_store,
            log_by_store=log_by_store,
        )

    def merges(self, database: Database, table: Table, now_us: int) -> list[tuple[Extent, ...]]:
        """What the merge policy says to merge in a table now."""
        rule = self._rules.merging(database, table, now_us)
        return [] if rule is None else plan_merges(table.extents.values(), rule)

    def tables_to_merge(self) -> Iterator[tuple[Database, Table]]:
        """Tables whose extents or policies changed since they were looked at.

        Lazy: ask for the next one when the last one is done. Costs one comparison for each table
        that has not changed.
        """
        for database in self.owned():
            for table in database.tables.values():
                now = (table.extents, table.policies, database.policies)
                seen = self._planned.get(table.key)
                is_same = seen is not None and all(a is b for a, b in zip(seen, now, strict=True))
                if is_same:
                    continue
                self._planned[table.key] = now
                if len(table.extents) > 1:
                    yield database, table

    def look_again(self, key: RowStoreKey) -> None:
        """Forgets that a table was looked at: its merge failed or is to be repeated."""
        self._planned.pop(key, None)

    def forget_gone(self) -> None:
        """Forgets tables that are not there any more, after the catalog has changed."""
        if self._looked_revision != self._catalog.revision:
            self._looked_revision = self._catalog.revision
            known = self._catalog.tables_by_key()
            self._planned = {key: seen for key, seen in self._planned.items() if key in known}
