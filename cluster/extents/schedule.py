"""What to seal and merge next, as the node's catalog and row stores are now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.extents.merging import plan_merges
from cluster.extents.sealing import SealTask, Streamed, next_due_us, plan_seals, slack_bytes

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent, RowStoreKey, Table
    from cluster.extents.keeping import UnsealedRows
    from cluster.extents.rules import Rules


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
        self._quiet_us = 0

    def owned(self, name: str | None = None) -> list[Database]:
        """The databases this node may change: all, or that one. Raises DatabaseNotFoundError."""
        found = self._catalog.databases() if name is None else (self._catalog.get(name),)
        return [tree for tree in found if not self._catalog.is_following(tree.name)]

    def seals(self, now_us: int) -> list[SealTask]:
        """The tables to seal now, the most urgent first.

        Looks at all tables only if one can be due: the catalog has changed, or so many bytes have
        come, or so much time has gone, as the last look said it would take. Else it costs nothing,
        however many tables there are.
        """
        if (
            self._catalog.revision == self._quiet_revision
            and self._row_stores.end_lsn() < self._quiet_lsn
            and now_us < self._quiet_us
        ):
            return []
        rule = self._rules.sealing()
        tables = list(self.streamed())
        self._quiet_revision = self._catalog.revision
        self._quiet_lsn = self._row_stores.end_lsn() + slack_bytes(tables, rule)
        tasks = plan_seals(tables, rule, now_us)
        # What is due stays due until it is sealed: another look each time.
        self._quiet_us = now_us if tasks else next_due_us(tables, rule, now_us)
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

    def tables_to_merge(self, busy: Container[RowStoreKey]) -> Iterator[tuple[Database, Table]]:
        """Tables whose extents or policies changed since they were looked at.

        Lazy: ask for the next one when the last one is done. A table that is ``busy`` is looked
        at later. Costs one comparison for each table that has not changed.
        """
        for database in self.owned():
            for table in database.tables.values():
                now = (table.extents, table.policies, database.policies)
                seen = self._planned.get(table.key)
                is_same = seen is not None and all(a is b for a, b in zip(seen, now, strict=True))
                if is_same or table.key in busy:
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
