"""Executors of commands that change tables. They touch the world only through their context."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import (
    AppendColumns,
    Change,
    CreateTable,
    DescribeTable,
    DropTable,
    RenameTables,
    RestoreTable,
    SetMapping,
    SetPolicy,
    SetSchema,
    SetTableStreamingPolicy,
    column_policy_kind,
    find_dropped,
    find_table,
    next_column_id,
)
from cluster.catalog.model import Version
from cluster.commands.names import TableDefinition
from cluster.commands.properties import CREATION, DESCRIPTION, read_properties
from cluster.commands.row_level_checks import check_row_level_name
from cluster.commands.schema_text import schema_row, table_row
from cluster.errors import EntityExistsError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column, Database, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.names import Rename
    from cluster.commands.results import Row

_VERSION: Final = re.compile(r"v?(\d{1,9})\.(\d{1,9})")


async def create_table(context: Context) -> list[Row]:
    """``.create table``: an existing table of that name is left alone, whatever its schema."""
    definition = TableDefinition(context.values["table"], context.values["columns"])
    database = await _create(context, [definition])
    return [schema_row(database, database.tables[definition.name])]


async def create_tables(context: Context) -> list[Row]:
    """``.create tables T1 (...), T2 (...)``: those that are missing, in one transaction."""
    definitions: Sequence[TableDefinition] = context.values["tables"]
    database = await _create(context, definitions)
    return [table_row(database, database.tables[item.name]) for item in definitions]


async def create_merge_table(context: Context) -> list[Row]:
    """``.create-merge table``: like ``.create table``, or adds the missing columns at the end.

    Properties that are given replace those of an existing table (not documented; declared choice).
    """
    definition = TableDefinition(context.values["table"], context.values["columns"])
    database = await _create_merge(context, [definition])
    return [schema_row(database, database.tables[definition.name])]


async def create_merge_tables(context: Context) -> list[Row]:
    """``.create-merge tables``: all of them or, if one column has another type, none."""
    definitions: Sequence[TableDefinition] = context.values["tables"]
    database = await _create_merge(context, definitions)
    return [table_row(database, database.tables[item.name]) for item in definitions]


async def create_table_based_on(context: Context) -> list[Row]:
    """``.create table N based-on T``: empty, with all of T but its rows and update policy."""
    name, source_name = context.values["table"], context.values["source"]

    def plan(database: Database) -> Sequence[Change]:
        properties = read_properties(context, DESCRIPTION)
        source = find_table(database, source_name)
        if name in database.tables:
            if "ifnotexists" in context.words:
                return ()
            raise EntityExistsError(
                f"Entity ID '{name}' of kind 'Table' already exists.", metadata={"table": name}
            )
        creation = CreateTable(
            table=name,
            table_id=context.catalog.new_id(),
            key=context.catalog.new_key(),
            columns=source.columns,
            folder=properties.get("folder", source.folder),
            docstring=properties.get("docstring", f"Created based on {source.name}"),
        )
        return [creation, *_settings_of(source, name)]

    database = await context.transact(context.database, plan)
    return [schema_row(database, database.tables[name])]


async def alter_table(context: Context) -> list[Row]:
    """``.alter table``: exactly these columns in this order; others are dropped with their data.

    A column that stays keeps its data and docstring; its type cannot change here. Properties that
    are not given stay as they are.
    """
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        table = find_table(database, name)
        properties = read_properties(context, DESCRIPTION)
        wanted: Sequence[Column] = context.values["columns"]
        check_once(wanted)
        changes: list[Change] = [*_exact_schema(table, wanted), *_described(table, properties)]
        return changes

    database = await context.transact(context.database, plan)
    return [schema_row(database, database.tables[name])]


async def alter_merge_table(context: Context) -> list[Row]:
    """``.alter-merge table``: adds the missing columns at the end of a table that exists."""
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        properties = read_properties(context, DESCRIPTION)
        table = find_table(database, name)
        return _merged(table, context.values["columns"], properties, ".alter-merge")

    database = await context.transact(context.database, plan)
    return [schema_row(database, database.tables[name])]


async def alter_table_docstring(context: Context) -> list[Row]:
    """``.alter table T docstring '...'``."""
    return await _describe(context, {"docstring": context.values["text"]})


async def alter_table_folder(context: Context) -> list[Row]:
    """``.alter table T folder '...'``."""
    return await _describe(context, {"folder": context.values["text"]})


async def rename_table(context: Context) -> list[Row]:
    """``.rename table A to B``."""
    return await _rename(context, [(context.values["table"], context.values["name"], False)])


async def rename_tables(context: Context) -> list[Row]:
    """``.rename tables N=O [ifexists], ...``: all at once, so names can be swapped."""
    renames: Sequence[Rename] = context.values["renames"]
    return await _rename(context, [(item.old, item.new, item.if_exists) for item in renames])


async def drop_table(context: Context) -> list[Row]:
    """``.drop table T [ifexists]``: gives the tables that remain."""
    return await _drop(context, [context.values["table"]])


async def drop_tables(context: Context) -> list[Row]:
    """``.drop tables (...) [ifexists]``: all or none; gives the tables that remain."""
    return await _drop(context, context.values["tables"])


async def undo_drop_table(context: Context) -> list[Row]:
    """``.undo drop table T [as N] version="vX.Y"``: its extents come back.

    ``version`` is the one the database had before the drop (``OriginalEntityVersion`` of the
    journal). Rows that were still in a row store are lost, so a table that had no extent is not
    kept: it is not found.
    """
    name = context.values["table"]
    restored = context.values.get("name", name)
    version = read_version(context.values["version"])

    def plan(database: Database) -> Sequence[Change]:
        check_row_level_name(database, find_dropped(database, name, version).table, restored)
        key = context.catalog.new_key()
        return [RestoreTable(version, name, key, new_name="" if restored == name else restored)]

    database = await context.transact(context.database, plan)
    extents = sorted(
        database.tables[restored].extents.values(),
        key=lambda extent: (extent.created_min_us, extent.extent_id),
    )
    return [(extent.extent_id, extent.row_count, "Recovered", "") for extent in extents]


def read_version(text: str) -> Version:
    """The version in ``v24.3`` or ``24.3``. Raises InvalidRequestError."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise InvalidRequestError(
            f"{text[:64]!r} is not a version of a database; versions are written 'v24.3'.",
            metadata={"version": text[:64]},
        )
    return Version(int(found[1]), int(found[2]))


def check_once(columns: Sequence[Column]) -> None:
    """Refuses columns of one name. Raises InvalidRequestError."""
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise InvalidRequestError(
                f"Column '{column.name}' is named twice.", metadata={"column": column.name}
            )
        seen.add(column.name)


async def _create(context: Context, definitions: Sequence[TableDefinition]) -> Database:
    def plan(database: Database) -> Sequence[Change]:
        properties = read_properties(context, CREATION)
        _check_named_once(definitions)
        creations = [_creation(context, item, properties) for item in definitions]
        return [item for item in creations if item.table not in database.tables]

    return await context.transact(context.database, plan)


async def _create_merge(context: Context, definitions: Sequence[TableDefinition]) -> Database:
    def plan(database: Database) -> Sequence[Change]:
        properties = read_properties(context, DESCRIPTION)
        _check_named_once(definitions)
        changes: list[Change] = []
        for item in definitions:
            table = database.tables.get(item.name)
            if table is None:
                changes.append(_creation(context, item, properties))
            else:
                changes += _merged(table, item.columns, properties, ".create-merge")
        return changes

    return await context.transact(context.database, plan)


async def _describe(context: Context, properties: Mapping[str, str]) -> list[Row]:
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        return _described(find_table(database, name), properties)

    database = await context.transact(context.database, plan)
    return [schema_row(database, database.tables[name])]


async def _rename(context: Context, renames: Sequence[tuple[str, str, bool]]) -> list[Row]:
    renamed: list[str] = []

    def plan(database: Database) -> Sequence[Change]:
        read_properties(context, {"updateMaterializedViews": bool})
        names = [
            (old, new)
            for old, new, if_exists in renames
            if not (if_exists and old not in database.tables)
        ]
        if len({old for old, _ in names}) != len(names):
            raise InvalidRequestError("A table is renamed twice.")
        for old, new in names:
            check_row_level_name(database, find_table(database, old), new)
        renamed.extend(new for _, new in names)
        names = [(old, new) for old, new in names if old != new]
        return [RenameTables(tuple(names))] if names else ()

    database = await context.transact(context.database, plan)
    return [table_row(database, database.tables[name]) for name in renamed]


async def _drop(context: Context, names: Sequence[str]) -> list[Row]:
    def plan(database: Database) -> Sequence[Change]:
        wanted = list(dict.fromkeys(names))
        if "ifexists" in context.words:
            wanted = [name for name in wanted if name in database.tables]
        return [DropTable(find_table(database, name).name, context.now_us) for name in wanted]

    database = await context.transact(context.database, plan)
    return [(table, database.name) for table in sorted(database.tables)]


def _creation(
    context: Context, definition: TableDefinition, properties: Mapping[str, Any]
) -> CreateTable:
    check_once(definition.columns)
    return CreateTable(
        table=definition.name,
        table_id=context.catalog.new_id(),
        key=context.catalog.new_key(),
        columns=definition.columns,
        folder=properties.get("folder", ""),
        docstring=properties.get("docstring", ""),
    )


def _settings_of(source: Table, name: str) -> list[Change]:
    """What makes a new table like another one: policies but the update policy, and mappings."""
    changes: list[Change] = []
    if source.streaming_policy is not None:
        changes.append(SetTableStreamingPolicy(name, source.streaming_policy))
    ids = {identity: place for place, identity in enumerate(source.column_ids[-1])}
    of_columns = {
        column_policy_kind(identity, ""): column_policy_kind(place, "")
        for identity, place in ids.items()
    }
    for kind, policy in source.policies.items():
        if kind == "update":
            continue
        for before, after in of_columns.items():
            if kind.startswith(before):
                kind = after + kind.removeprefix(before)
                break
        changes.append(SetPolicy(name, kind, policy))
    for (kind, mapping_name), mapping in source.mappings.items():
        changes.append(SetMapping(name, kind, mapping_name, mapping))
    return changes


def _exact_schema(table: Table, wanted: Sequence[Column]) -> list[Change]:
    present = {
        column.name: (column, identity)
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
    }
    free = next_column_id(table)
    columns: list[Column] = []
    ids: list[int] = []
    for column in wanted:
        before, identity = present.get(column.name, (column, free))
        if before.type is not column.type:
            raise _other_type(table, before, column, ".alter table")
        free += identity == free
        columns.append(replace(column, docstring=before.docstring))
        ids.append(identity)
    if tuple(columns) == table.columns:
        return []
    return [SetSchema(table.name, tuple(columns), tuple(ids))]


def _merged(
    table: Table, wanted: Sequence[Column], properties: Mapping[str, str], command: str
) -> list[Change]:
    check_once(wanted)
    present = {column.name: column for column in table.columns}
    for column in wanted:
        before = present.get(column.name, column)
        if before.type is not column.type:
            raise _other_type(table, before, column, command)
    changes: list[Change] = []
    if added := tuple(column for column in wanted if column.name not in present):
        changes.append(AppendColumns(table.name, added))
    return [*changes, *_described(table, properties)]


def _described(table: Table, properties: Mapping[str, str]) -> list[Change]:
    folder = properties.get("folder", table.folder)
    docstring = properties.get("docstring", table.docstring)
    if (folder, docstring) == (table.folder, table.docstring):
        return []
    return [DescribeTable(table.name, folder, docstring)]


def _other_type(table: Table, before: Column, column: Column, command: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Column '{column.name}' of table '{table.name}' has the type '{before.type.value}'; "
        f"{command} cannot make it '{column.type.value}'.",
        remedy="Use .alter column to change a type; the data stored in the column then reads null.",
        metadata={"table": table.name, "column": column.name},
    )


def _check_named_once(definitions: Sequence[TableDefinition]) -> None:
    seen: set[str] = set()
    for item in definitions:
        if item.name in seen:
            raise InvalidRequestError(
                f"Table '{item.name}' is named twice.", metadata={"table": item.name}
            )
        seen.add(item.name)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "create table": create_table,
    "create tables": create_tables,
    "define table": create_table,
    "define tables": create_tables,
    "create-merge table": create_merge_table,
    "create-merge tables": create_merge_tables,
    "create table based-on": create_table_based_on,
    "alter table": alter_table,
    "alter-merge table": alter_merge_table,
    "alter table docstring": alter_table_docstring,
    "alter table folder": alter_table_folder,
    "rename table": rename_table,
    "rename tables": rename_tables,
    "drop table": drop_table,
    "drop tables": drop_tables,
    "undo drop table": undo_drop_table,
}
