"""Executors of commands about tables. They touch the world only through their context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import (
    AppendColumns,
    Change,
    CreateTable,
    DescribeTable,
    DropTable,
    find_table,
)
from cluster.catalog.naming import quote_name
from cluster.commands.scalar_names import CLR_NAMES
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column, Database, Table
    from cluster.commands.context import Context
    from cluster.commands.results import Row

_PROPERTIES: Final = ("docstring", "folder")


async def create_table(context: Context) -> list[Row]:
    """``.create table``: an existing table of that name is left alone, whatever its schema."""
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        creation = _creation(context, _properties(context))
        return () if name in database.tables else [creation]

    database = await context.transact(context.database, plan)
    return [_schema_row(database, name, _schema_json(database.tables[name]))]


async def create_merge_table(context: Context) -> list[Row]:
    """``.create-merge table``: like ``.create table``, or adds the missing columns at the end.

    Properties that are given replace those of an existing table (not documented; declared choice).
    """
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        properties = _properties(context)
        table = database.tables.get(name)
        if table is None:
            return [_creation(context, properties)]
        return _merge(table, context.values["columns"], properties)

    database = await context.transact(context.database, plan)
    return [_schema_row(database, name, _schema_json(database.tables[name]))]


async def drop_table(context: Context) -> list[Row]:
    """``.drop table T [ifexists]``: gives the tables that remain."""
    name = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        if "ifexists" in context.words and name not in database.tables:
            return ()
        return [DropTable(find_table(database, name).name)]

    database = await context.transact(context.database, plan)
    return [(table, database.name) for table in sorted(database.tables)]


async def show_tables(context: Context) -> list[Row]:
    """``.show tables [(T, ...)]``: all of them by name, or those named, each once."""
    database = context.catalog.get(context.database)
    names = dict.fromkeys(context.values.get("tables", sorted(database.tables)))
    tables = [find_table(database, name) for name in names]
    return [(table.name, database.name, table.folder, table.docstring) for table in tables]


async def show_table_cslschema(context: Context) -> list[Row]:
    """``.show table T cslschema``: the schema as it is written in ``.create table``."""
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    schema = ",".join(f"{quote_name(column.name)}:{column.type.value}" for column in table.columns)
    return [_schema_row(database, table.name, schema)]


async def show_table_schema_json(context: Context) -> list[Row]:
    """``.show table T schema as json``."""
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    return [_schema_row(database, table.name, _schema_json(table))]


def _creation(context: Context, properties: Mapping[str, str]) -> CreateTable:
    _check_once(context.values["columns"])
    return CreateTable(
        table=context.values["table"],
        table_id=context.catalog.new_id(),
        key=context.catalog.new_key(),
        columns=context.values["columns"],
        folder=properties.get("folder", ""),
        docstring=properties.get("docstring", ""),
    )


def _merge(
    table: Table, wanted: Sequence[Column], properties: Mapping[str, str]
) -> Sequence[Change]:
    _check_once(wanted)
    present = {column.name: column for column in table.columns}
    for column in wanted:
        before = present.get(column.name, column)
        if before.type is not column.type:
            raise InvalidRequestError(
                f"Column '{column.name}' of table '{table.name}' has the type "
                f"'{before.type.value}'; .create-merge cannot make it '{column.type.value}'.",
                metadata={"table": table.name, "column": column.name},
            )
    changes: list[Change] = []
    if added := tuple(column for column in wanted if column.name not in present):
        changes.append(AppendColumns(table.name, added))
    folder = properties.get("folder", table.folder)
    docstring = properties.get("docstring", table.docstring)
    if (folder, docstring) != (table.folder, table.docstring):
        changes.append(DescribeTable(table.name, folder, docstring))
    return changes


def _check_once(columns: Sequence[Column]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise InvalidRequestError(
                f"Column '{column.name}' is named twice.", metadata={"column": column.name}
            )
        seen.add(column.name)


def _properties(context: Context) -> Mapping[str, str]:
    given = context.values.get("properties", ())
    properties = dict(given)
    for name in properties:
        if name not in _PROPERTIES:
            raise InvalidRequestError(
                f"'{name}' is not a property of a table; {' and '.join(_PROPERTIES)} are.",
                metadata={"property": name},
            )
    if len(properties) != len(given):
        raise InvalidRequestError("A property of the table is given twice.")
    return properties


def _schema_json(table: Table) -> str:
    columns = [
        {"Name": column.name, "Type": CLR_NAMES[column.type], "CslType": column.type.value}
        for column in table.columns
    ]
    schema: dict[str, object] = {"Name": table.name, "OrderedColumns": columns}
    if table.folder:
        schema["Folder"] = table.folder
    if table.docstring:
        schema["DocString"] = table.docstring
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _schema_row(database: Database, name: str, schema: str) -> Row:
    table = database.tables[name]
    return (name, schema, database.name, table.folder, table.docstring)
