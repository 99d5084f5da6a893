"""What row stores ask of the catalog. About keys also from worker threads, while they open."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cluster.catalog.arrow_types import arrow_schema
from cluster.replication.floors import key_changes
from cluster.replication.position import START, KeyPosition

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Column, Database, RowStoreKey, RowStoreReference


@lru_cache(maxsize=4096)
def _arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    return arrow_schema(columns)


class KeyLookup:
    """Keys of the tables of a catalog, whosever databases they are in."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def schema_of(self, key: RowStoreKey, version: int) -> pa.Schema | None:
        """The Arrow schema of rows of that version; None if there is no such table or version."""
        table = self._catalog.tables_by_key().get(key)
        if table is None or not 0 <= version < len(table.schemas):
            return None
        return _arrow_schema(table.schemas[version])

    def sealed_of(self, key: RowStoreKey) -> KeyPosition:
        """The floor of a key; the start if no table has it."""
        reference = self._reference(key)
        if reference is None:
            return START
        return KeyPosition(reference.sealed_ordinal, reference.sealed_checksum)

    def store_of(self, key: RowStoreKey) -> int | None:
        """The number of the row store that holds a key; None if no table has it."""
        reference = self._reference(key)
        return None if reference is None else reference.row_store

    def owned(self) -> set[RowStoreKey]:
        """The keys of databases this node owns."""
        return {
            key
            for tree in self._catalog.databases()
            if not self._catalog.is_following(tree.name)
            for key in tree.row_store_keys()
        }

    def newest_ingested_us(self) -> int:
        """The newest ingestion time in an extent of an owned database; 0 without one."""
        return max(
            (
                extent.ingested_max_us or 0
                for tree in self._catalog.databases()
                if not self._catalog.is_following(tree.name)
                for table in tree.tables.values()
                for extent in table.extents.values()
            ),
            default=0,
        )

    def _reference(self, key: RowStoreKey) -> RowStoreReference | None:
        table = self._catalog.tables_by_key().get(key)
        if table is None:
            return None
        return next(found for found in table.references if found.key == key)


class DroppedKeys:
    """Which keys of owned databases belong to no table any more; costs what has changed."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known = self._owned()

    def take(self) -> Iterator[RowStoreKey]:
        """The keys that were dropped since this was made, or called last."""
        before, self._known = self._known, self._owned()
        for name, tree in before.items():
            after = self._known.get(name)
            if after is None:
                yield from tree.row_store_keys()
            elif after is not tree:
                yield from key_changes(tree, after).removed

    def _owned(self) -> dict[str, Database]:
        return {
            tree.database_id: tree
            for tree in self._catalog.databases()
            if not self._catalog.is_following(tree.name)
        }
