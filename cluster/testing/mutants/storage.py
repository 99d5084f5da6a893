"""Defects of what is stored: read-only copies, schemas, sealing and merging (R13, R14, R15)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cluster.catalog import changes as catalog_changes
from cluster.catalog.changes import SealRows
from cluster.catalog.changes_data import _changed_extents, _moved_floors
from cluster.catalog.lookup import find_table, with_table
from cluster.catalog.registry import Registry
from cluster.commands.context import Context
from cluster.errors import ReadOnlyError
from cluster.extents import merge_job, sealing
from cluster.extents.columns import absent, batch_schema
from cluster.ingest import admission
from cluster.node import databases
from cluster.replication.floors import key_changes
from cluster.testing.mutants.model import Mutant, replaced
from follower import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cluster.catalog.model import Database, RowStoreKey, Table
    from cluster.limits import Limits
    from cluster.query.binding import BoundTable
    from cluster.replication.floors import KeyChanges

_Plant = AbstractContextManager[object]


# -- R13: read-only ---------------------------------------------------------------------------


def _followers_take_commands() -> _Plant:
    return replaced(Registry, "owned", lambda self, name: self.entry(name))


def _nothing_to_describe() -> _Plant:
    transact = Context.transact

    async def describes(self: Context, database: str, plan: Any) -> Database:
        try:
            return await transact(self, database, plan)
        except ReadOnlyError:
            if "docstring" not in self.command.spec.name:
                raise
            return self.catalog.get(database)

    return replaced(Context, "transact", describes)


def _followers_take_rows() -> _Plant:
    return replaced(admission, "_is_following", lambda *_: False)


# -- R14: schemas -----------------------------------------------------------------------------


def _columns_remembered() -> _Plant:
    known: dict[RowStoreKey, Table] = {}
    bind = databases._bind

    def binds(tree: Database, table: Table, rows_of: Any) -> BoundTable:
        bound = bind(tree, table, rows_of)
        first = known.setdefault(table.key, table)
        newest = replace(
            table,
            schemas=(*table.schemas[:-1], first.columns),
            column_ids=(*table.column_ids[:-1], first.column_ids[-1]),
        )
        return replace(bound, table=newest)

    return replaced(databases, "_bind", binds)


def _values_of_new_columns_not_sealed() -> _Plant:
    conform = sealing.conform

    def conformed(batch: pa.RecordBatch, table: Table, schema_version: int) -> pa.RecordBatch:
        whole = conform(batch, table, schema_version)
        known = len(table.column_ids[0])
        added = [absent(column, whole.num_rows) for column in table.columns[known:]]
        schema = batch_schema(table.columns, with_ingestion_time=False)
        return pa.RecordBatch.from_arrays([*whole.columns[:known], *added], schema=schema)

    return replaced(sealing, "conform", conformed)


# -- R15: sealing -----------------------------------------------------------------------------


def _seals(applied: Callable[[Database, SealRows, Limits], Database]) -> _Plant:
    table = {**catalog_changes._APPLY, SealRows: applied}
    return replaced(catalog_changes, "_APPLY", table)


def _floor_stays() -> _Plant:
    def seal(database: Database, change: SealRows, limits: Limits) -> Database:
        del limits
        table = find_table(database, change.table)
        extents = _changed_extents(table, (), change.extents)
        return with_table(database, replace(table, extents=extents))

    return _seals(seal)


def _extent_forgotten() -> _Plant:
    def seal(database: Database, change: SealRows, limits: Limits) -> Database:
        del limits
        table = find_table(database, change.table)
        references = _moved_floors(table, change.ranges)
        extents = _changed_extents(table, (), change.extents if table.extents else ())
        return with_table(database, replace(table, references=references, extents=extents))

    return _seals(seal)


def _floors_of_deltas_ignored() -> _Plant:
    whole = key_changes

    def changes(before: Database | None, after: Database) -> KeyChanges:
        found = whole(before, after)
        known = {key for t in before.tables.values() for key in t.keys} if before else set()
        floors = {key: at for key, at in found.floors.items() if key not in known}
        return replace(found, floors=floors)

    return replaced(store, "key_changes", changes)


def _last_input_not_merged() -> _Plant:
    rows_of = merge_job._rows_of

    def rows(table: Table, extents: Sequence[Any], *rest: Any, **named: Any) -> Iterator[Any]:
        return rows_of(table, extents[:-1], *rest, **named)

    return replaced(merge_job, "_rows_of", rows)


MUTANTS: Final = (
    Mutant(
        "followers-take-commands",
        "R13",
        "the catalog finds a database to change as it finds one to read",
        _followers_take_commands,
        real=True,
    ),
    Mutant(
        "nothing-to-describe",
        "R13",
        "a docstring set on a followed database is acknowledged, since it changes no data",
        _nothing_to_describe,
        real=True,
    ),
    Mutant(
        "followers-take-rows",
        "R13",
        "the door of streaming ingestion does not ask whose database it is",
        _followers_take_rows,
        real=True,
    ),
    Mutant(
        "columns-remembered",
        "R14",
        "the columns of a table are looked up once, and kept when some are added",
        _columns_remembered,
        real=True,
    ),
    Mutant(
        "added-columns-not-sealed",
        "R14",
        "a seal writes the columns that the table was made with",
        _values_of_new_columns_not_sealed,
        real=True,
    ),
    Mutant(
        "floor-stays",
        "R15",
        "a seal adds its extent and does not move the floor: its rows are there twice",
        _floor_stays,
        real=True,
    ),
    Mutant(
        "first-extent-forgotten",
        "R15",
        "the first seal of a table moves the floor and forgets the extent",
        _extent_forgotten,
        real=True,
    ),
    Mutant(
        "floors-of-deltas-ignored",
        "R15",
        "a follower takes floors from snapshots only, not from deltas",
        _floors_of_deltas_ignored,
        real=True,
    ),
    Mutant(
        "last-input-not-merged",
        "R15",
        "a merge stops one extent too early, and replaces them all",
        _last_input_not_merged,
        real=True,
    ),
)
