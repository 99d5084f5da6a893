"""The streaming schema cache of a node: schemas and mappings, at most so many seconds old. Pure.

``streaming-ingestion-schema-changes.md``: every node keeps the schema of what is streamed into, and
goes on with it for a while after it has changed. So it is here, with these differences, which keep
rows from being distorted:

- A row decoded under an older schema is stored as a row of that schema; readers map it to the
  columns of today by their ids. A column added meanwhile is missing in it, one dropped is ignored,
  one retyped is missing.
- Whether a table exists, is the same one, and may be streamed into is never answered from here.
- What would be refused because of what is here is looked up again first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.errors import MappingNotFoundError, MappingReferenceError
from cluster.ingest.mappings import MappingKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import (
        Database,
        IngestionMapping,
        MappingName,
        RowStoreKey,
        Table,
    )
    from cluster.clock import Clock
    from cluster.limits import Limits

TABLES_REMEMBERED: Final = 10_000
_NAME_CHARACTERS: Final = 1024


class KnownSchema(NamedTuple):
    """What is known of one table: the columns and mappings its rows are decoded with."""

    table: Table
    database_mappings: Mapping[MappingName, IngestionMapping]
    seen_at_seconds: float

    def is_of(self, database: Database, table: Table) -> bool:
        """Whether the table decodes the same today."""
        return (
            self.table.schema_version == table.schema_version
            and self.table.mappings == table.mappings
            and self.database_mappings == database.mappings
        )

    def mapping(self, kind: MappingKind, name: str) -> IngestionMapping:
        """The mapping of that name; one of the table shadows one of the database.

        Raises MappingNotFoundError, MappingReferenceError if there is one of another kind only.
        """
        for mappings in (self.table.mappings, self.database_mappings):
            found = mappings.get((kind.value, name))
            if found is not None:
                return found
        shown = name[:_NAME_CHARACTERS]
        for other in MappingKind:
            key = (other.value, name)
            if key in self.table.mappings or key in self.database_mappings:
                raise MappingReferenceError(
                    f"mapping '{shown}' is of kind {other.value}, the format takes {kind.value}",
                    metadata={"mapping": shown, "kind": other.value},
                )
        raise MappingNotFoundError(
            f"Entity ID '{shown}' of kind 'MappingPersistent' was not found.",
            metadata={"mapping": shown},
        )


@dataclass(frozen=True, slots=True)
class SchemaCacheStatistics:
    """``refreshes`` and ``cleared`` count since the start."""

    tables: int
    refreshes: int
    cleared: int


class SchemaCache:
    """What a node knows of the tables it streams into. One a node."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._lag_seconds = limits.streaming_schema_cache_seconds
        self._known: OrderedDict[RowStoreKey, KnownSchema] = OrderedDict()
        self._refreshes = self._cleared = 0

    def statistics(self) -> SchemaCacheStatistics:
        """A snapshot of the counters."""
        return SchemaCacheStatistics(len(self._known), self._refreshes, self._cleared)

    def known(self, database: Database, table: Table) -> KnownSchema:
        """The schema to decode with: what is known, unless it is too old or there is none."""
        if not self._lag_seconds:
            return KnownSchema(table, database.mappings, 0.0)
        known = self._known.get(table.key)
        now = self._clock.monotonic()
        if known is not None and now - known.seen_at_seconds < self._lag_seconds:
            return known
        return self._learn(database, table, now)

    def is_behind(self, database: Database, table: Table, used: KnownSchema) -> bool:
        """Whether something else is in force today than was used; then that is known from now on.

        Ask before refusing a request because of its schema.
        """
        if used.is_of(database, table):
            return False
        if self._lag_seconds:
            self._learn(database, table, self._clock.monotonic())
        return True

    def clear(self, keys: frozenset[RowStoreKey]) -> None:
        """Forgets tables, by their first keys: ``.clear ... cache streamingingestion schema``."""
        for key in keys & self._known.keys():
            del self._known[key]
        self._cleared += 1

    def _learn(self, database: Database, table: Table, now: float) -> KnownSchema:
        known = KnownSchema(table, database.mappings, now)
        self._known[table.key] = known
        self._known.move_to_end(table.key)
        if len(self._known) > TABLES_REMEMBERED:
            self._known.popitem(last=False)
        self._refreshes += 1
        return known
