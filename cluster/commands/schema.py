"""Executors of commands that show schemas of databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.naming import quote_name
from cluster.commands.functions import find_function, shown_body
from cluster.commands.parameters import input_parameters
from cluster.commands.properties import read_properties
from cluster.commands.scalar_names import CLR_NAMES
from cluster.commands.schema_script import ScriptOptions, database_script
from cluster.commands.schema_text import compact, csl_schema, schema_row, table_json
from cluster.commands.tables import read_version
from cluster.errors import EntityNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cluster.catalog.model import Database, Function, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.names import Since
    from cluster.commands.results import Row

_JSON_OPTIONS: Final[Mapping[str, type]] = {
    "Tables": bool,
    "ExternalTables": bool,
    "MaterializedViews": bool,
    "Functions": bool,
}
_SCRIPT_OPTIONS: Final[Mapping[str, type]] = {
    "IncludeEncodingPolicies": bool,
    "IncludeSecuritySettings": bool,
    "IncludeIngestionMappings": bool,
    "ShowObfuscatedStrings": bool,
}
_ENTITY_OPTIONS: Final[Mapping[str, type]] = {
    "showObfuscatedStrings": bool,
    "resolveFunctionSchema": bool,
}


async def show_database_schema(context: Context) -> list[Row]:
    """``.show database [D] schema [details] [if_later_than 'v']``: nothing if it is not later."""
    return _flat_rows(_one(context))


async def show_databases_schema(context: Context) -> list[Row]:
    """``.show databases [(D if_later_than 'v', ...)] schema [details]``."""
    return _flat_rows(_several(context))


async def show_database_schema_json(context: Context) -> list[Row]:
    """``.show database [D] schema [if_later_than 'v'] as json``."""
    return [(_schema_json(context, _one(context)),)]


async def show_databases_schema_json(context: Context) -> list[Row]:
    """``.show databases [(...)] schema as json``."""
    return [(_schema_json(context, _several(context)),)]


async def show_database_script(context: Context) -> list[Row]:
    """``.show database [D] schema as csl [script]``: commands that make a copy of the schema.

    One row a command; with ``script``, one text of them all.
    """
    given = read_properties(context, _SCRIPT_OPTIONS)
    options = ScriptOptions(
        encoding=given.get("IncludeEncodingPolicies", True),
        security=given.get("IncludeSecuritySettings", True),
        mappings=given.get("IncludeIngestionMappings", True),
        secrets=given.get("ShowObfuscatedStrings", False),
    )
    commands = [text for item in _one(context) for text in database_script(item, options)]
    return [("\n\n".join(commands),)] if "script" in context.words else [(c,) for c in commands]


async def show_database_cslschema(context: Context) -> list[Row]:
    """``.show database [D] cslschema [script]``: a row for each table.

    With ``script`` the schema is the command that creates the table.
    """
    rows: list[Row] = []
    for database in _one(context):
        for _, table in sorted(database.tables.items()):
            schema = csl_schema(table.columns)
            if "script" in context.words:
                schema = f".create-merge table {quote_name(table.name)} ({schema})"
            rows.append(schema_row(database, table, schema))
    return rows


async def show_databases_entities(context: Context) -> list[Row]:
    """``.show databases entities``: tables and functions of all databases."""
    secrets = read_properties(context, _ENTITY_OPTIONS).get("showObfuscatedStrings", False)
    return [row for item in context.catalog.databases() for row in _entities(item, secrets=secrets)]


async def show_database_entity(context: Context) -> list[Row]:
    """``.show database D entity E``: the table or function of that name, or both."""
    secrets = read_properties(context, _ENTITY_OPTIONS).get("showObfuscatedStrings", False)
    database = context.catalog.get(context.database_named)
    name = context.values["entity"]
    rows = [row for row in _entities(database, secrets=secrets) if row[2] == name]
    if not rows:
        raise EntityNotFoundError(
            f"Entity ID '{name}' was not found in database '{database.name}'.",
            metadata={"name": name, "database": database.name},
        )
    return rows


async def show_schema_violations(context: Context) -> list[Row]:
    """``.show database [D] schema violations``: none; every tree obeys the rules of schemas."""
    context.catalog.get(context.database_named)
    return []


async def show_function_schema_json(context: Context) -> list[Row]:
    """``.show function F schema as json``."""
    database = context.catalog.get(context.database)
    function = find_function(database, context.values["function"])
    shown = compact(_function_json(function))
    return [(function.name, shown, database.name, function.folder, function.docstring)]


def _one(context: Context) -> list[Database]:
    database = context.catalog.get(context.database_named)
    return _later(database, context.values.get("version"))


def _several(context: Context) -> list[Database]:
    if "databases" not in context.values:
        return list(context.catalog.databases())
    wanted: Sequence[Since] = context.values["databases"]
    found = [
        database
        for item in wanted
        for database in _later(context.catalog.get(item.database), item.version)
    ]
    return list({database.name: database for database in found}.values())


def _later(database: Database, version: str | None) -> list[Database]:
    if version is not None and database.version <= read_version(version):
        return []
    return [database]


def _flat_rows(databases: Iterable[Database]) -> list[Row]:
    rows: list[Row] = []
    for database in databases:
        name, version = database.name, str(database.version)
        rows.append((name, "", "", "", False, False, database.pretty_name, version, "", ""))
        for _, table in sorted(database.tables.items()):
            description = (table.folder, table.docstring)
            rows.append((name, table.name, "", "", False, False, "", "", *description))
            rows += [
                (name, table.name, column.name, CLR_NAMES[column.type], False, False, "", "", "",
                 column.docstring)
                for column in table.columns
            ]  # fmt: skip
    return rows


def _schema_json(context: Context, databases: Iterable[Database]) -> str:
    given = read_properties(context, _JSON_OPTIONS)
    # What is asked for by name is all that is shown; nothing named means everything.
    wanted = {name for name in _JSON_OPTIONS if given.get(name, not any(given.values()))}
    shown = {database.name: _database_json(context, database, wanted) for database in databases}
    return compact({"Plugins": [], "Databases": shown})


def _database_json(context: Context, database: Database, wanted: set[str]) -> dict[str, object]:
    following = context.catalog.is_following(database.name)
    tables = database.tables if "Tables" in wanted else {}
    functions = database.functions if "Functions" in wanted else {}
    return {
        "Name": database.name,
        "Tables": {name: _schema_table(table) for name, table in sorted(tables.items())},
        "ExternalTables": {},
        "MaterializedViews": {},
        "EntityGroups": {},
        "MajorVersion": database.version.major,
        "MinorVersion": database.version.minor,
        "Functions": {name: _function_json(item) for name, item in sorted(functions.items())},
        "Graphs": {},
        "DatabaseAccessMode": "ReadOnlyFollowing" if following else "ReadWrite",
        "PrettyName": database.pretty_name or None,
    }


def _schema_table(table: Table) -> dict[str, object]:
    """As the web editor reads it: folder, docstring and kind are always there."""
    described = {"Folder": table.folder, "DocString": table.docstring, "EntityType": "Table"}
    return {"DefaultColumn": None, **table_json(table), **described}


def _function_json(function: Function) -> dict[str, object]:
    return {
        "Name": function.name,
        "InputParameters": input_parameters(function.parameters),
        "Body": shown_body(function),
        "Folder": function.folder,
        "DocString": function.docstring,
        "FunctionKind": "Unknown",
        "OutputColumns": [],
    }


def _entities(database: Database, *, secrets: bool) -> list[Row]:
    tables: list[Row] = [
        (database.name, "Table", table.name, table.docstring, table.folder, "", "",
         csl_schema(table.columns), "{}")
        for _, table in sorted(database.tables.items())
    ]  # fmt: skip
    functions: list[Row] = [
        (database.name, "Function", item.name, item.docstring, item.folder, item.parameters,
         item.body if secrets else shown_body(item), "", "{}")
        for _, item in sorted(database.functions.items())
    ]  # fmt: skip
    return tables + functions


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show database schema": show_database_schema,
    "show databases schema": show_databases_schema,
    "show cluster schema": show_databases_schema,
    "show database schema as json": show_database_schema_json,
    "show databases schema as json": show_databases_schema_json,
    "show cluster schema as json": show_databases_schema_json,
    "show database schema as csl": show_database_script,
    "show database cslschema": show_database_cslschema,
    "show databases entities": show_databases_entities,
    "show database entity": show_database_entity,
    "show database schema violations": show_schema_violations,
    "show function schema as json": show_function_schema_json,
}
