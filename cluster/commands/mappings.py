"""Executors of commands about ingestion mappings.

A mapping is checked and kept in the one form that ``.show`` prints
(:mod:`cluster.ingest.mappings`). Whether it fits a table shows at ingestion: the table may change
after it, and a mapping of a database serves many tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import SetMapping, find_table
from cluster.catalog.model import IngestionMapping
from cluster.commands.properties import read_properties
from cluster.errors import EntityExistsError, MappingNotFoundError
from cluster.ingest.mappings import IngestionPlan, parse_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database, MappingName
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    Edit = Callable[[IngestionMapping | None, Context], str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DISPLAY: Final[Mapping[str, str]] = {
    "csv": "CSV",
    "json": "JSON",
    "avro": "Avro",
    "parquet": "Parquet",
    "orc": "Orc",
    "w3clogfile": "W3CLogFile",
}
"""Kinds as ``.show`` prints them: CSV and JSON in samples, the others as the SDKs name them."""

_PROPERTIES: Final[Mapping[str, type]] = {"removeOldestIfRequired": bool}
"""Accepted, and never required: the number of mappings is not limited."""


async def create_mapping(context: Context) -> list[Row]:
    """``.create (table T | database D) ingestion KIND mapping 'M' '<json>'``: a new one."""

    def edit(before: IngestionMapping | None, context: Context) -> str:
        if before is not None:
            raise EntityExistsError(
                f"Entity ID '{before.name}' of kind 'MappingPersistent' already exists.",
                remedy="Use .create-or-alter, or choose another name.",
                metadata={"mapping": before.name, "kind": before.kind},
            )
        return _parsed(context).text

    return await _change(context, edit)


async def create_or_alter_mapping(context: Context) -> list[Row]:
    """``.create-or-alter ...``: new, or replaced whole."""
    return await _change(context, lambda before, context: _parsed(context).text)


async def alter_mapping(context: Context) -> list[Row]:
    """``.alter ...``: an existing one, replaced whole."""

    def edit(before: IngestionMapping | None, context: Context) -> str:
        _existing(before, context)
        return _parsed(context).text

    return await _change(context, edit)


async def alter_merge_mapping(context: Context) -> list[Row]:
    """``.alter-merge ...``: the columns given replace those of their name or come at the end."""

    def edit(before: IngestionMapping | None, context: Context) -> str:
        present = _existing(before, context)
        given = _parsed(context)
        columns = {item.column: item for item in parse_mapping(present.kind, present.text).columns}
        columns.update({item.column: item for item in given.columns})
        return IngestionPlan(given.kind, tuple(columns.values())).text

    return await _change(context, edit)


async def drop_mapping(context: Context) -> list[Row]:
    """``.drop (table T | database D) ingestion KIND mapping 'M'``: gives the one dropped."""
    dropped: list[Row] = []

    def plan(database: Database) -> Sequence[Change]:
        mappings = _mappings(context, database)
        mapping = _existing(mappings.get(_key(context)), context)
        dropped[:] = [_row(database, _table(context), mapping)]
        return [SetMapping(_table(context), mapping.kind, mapping.name, None)]

    await context.transact(context.database_named, plan)
    return dropped


async def show_mapping(context: Context) -> list[Row]:
    """``.show (table T | database D) ingestion [KIND] mapping 'M'``."""
    rows = _rows(context)
    if not rows:
        raise _not_found(context)
    return rows


async def show_mappings(context: Context) -> list[Row]:
    """``.show (table T | database [D]) ingestion [KIND] mappings``: by kind and name."""
    read_properties(context, {})
    return _rows(context)


async def show_all_mappings(context: Context) -> list[Row]:
    """``.show [cluster] ingestion [KIND] mappings``: of all databases and their tables."""
    read_properties(context, {})
    rows: list[Row] = []
    for database in context.catalog.databases():
        rows += [(*_row(database, "", item), "") for item in _wanted(context, database.mappings)]
        for name, table in sorted(database.tables.items()):
            rows += [_row(database, name, item) for item in _wanted(context, table.mappings)]
    return rows


async def _change(context: Context, edit: Edit) -> list[Row]:
    kind, name = _key(context)

    def plan(database: Database) -> Sequence[Change]:
        before = _mappings(context, database).get((kind, name))
        read_properties(context, _PROPERTIES)
        mapping = IngestionMapping(name, kind, edit(before, context), context.now_us)
        return [SetMapping(_table(context), kind, name, mapping)]

    database = await context.transact(context.database_named, plan)
    return [_row(database, _table(context), _mappings(context, database)[kind, name])]


def _parsed(context: Context) -> IngestionPlan:
    return parse_mapping(context.values["kind"], context.values["json"])


def _existing(mapping: IngestionMapping | None, context: Context) -> IngestionMapping:
    if mapping is None:
        raise _not_found(context)
    return mapping


def _not_found(context: Context) -> MappingNotFoundError:
    name = context.values["mapping"]
    return MappingNotFoundError(
        f"Entity ID '{name}' of kind 'MappingPersistent' was not found.",
        metadata={"mapping": name, "kind": context.values.get("kind", "")},
    )


def _key(context: Context) -> MappingName:
    return context.values["kind"], context.values["mapping"]


def _table(context: Context) -> str:
    """The table the command names; empty if it is about a database."""
    name: str = context.values.get("table", "")
    return name


def _mappings(context: Context, database: Database) -> Mapping[MappingName, IngestionMapping]:
    name = _table(context)
    return find_table(database, name).mappings if name else database.mappings


def _rows(context: Context) -> list[Row]:
    database = context.catalog.get(context.database_named)
    found = _wanted(context, _mappings(context, database))
    return [_row(database, _table(context), item) for item in found]


def _wanted(
    context: Context, mappings: Mapping[MappingName, IngestionMapping]
) -> list[IngestionMapping]:
    kind, name = context.values.get("kind"), context.values.get("mapping")
    return [
        mapping
        for key, mapping in sorted(mappings.items())
        if kind in (None, key[0]) and name in (None, key[1])
    ]


def _row(database: Database, table: str, mapping: IngestionMapping) -> Row:
    updated = _EPOCH + timedelta(microseconds=mapping.updated_us)
    row = (mapping.name, _DISPLAY[mapping.kind], mapping.text, updated, database.name)
    return (*row, table) if table else row


EXECUTORS: Final[Mapping[str, Executor]] = {
    **{
        f"{verb} {entity} mapping": executor
        for entity in ("table", "database")
        for verb, executor in (
            ("create", create_mapping),
            ("create-or-alter", create_or_alter_mapping),
            ("alter", alter_mapping),
            ("alter-merge", alter_merge_mapping),
            ("drop", drop_mapping),
            ("show", show_mapping),
        )
    },
    "show table mappings": show_mappings,
    "show database mappings": show_mappings,
    "show mappings": show_all_mappings,
}
