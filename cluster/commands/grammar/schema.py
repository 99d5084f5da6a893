"""Forms that show schemas (``adx-behaviour.md`` 7.2). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    SCHEMA_ROW,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_FLAT_ROW: Final = (
    "DatabaseName, TableName, ColumnName, ColumnType, IsDefaultTable:bool, IsDefaultColumn:bool, "
    "PrettyName, Version, Folder, DocString"
)
_ENTITY_ROW: Final = (
    "DatabaseName, EntityType, EntityName, DocString, Folder, CslInputSchema, Content, "
    "CslOutputSchema, Properties:dynamic"
)
_SINCE: Final = "[if_later_than <version:string>]"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show database schema",
                f"show database [<database:name>] schema [details] {_SINCE}",
                _FLAT_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show databases schema", "show databases [<databases:since>] schema [details]",
                _FLAT_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show cluster schema", "show [cluster] schema [details]",
                _FLAT_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show database schema as json",
                f"show database [<database:name>] schema {_SINCE} as json {WITH}",
                "DatabaseSchema", Kind.SHOW, VIEWER),
    CommandSpec("show databases schema as json",
                f"show databases [<databases:since>] schema [details] as json {WITH}",
                "DatabaseSchema", Kind.SHOW, VIEWER),
    CommandSpec("show cluster schema as json", "show [cluster] schema as json",
                "DatabaseSchema", Kind.SHOW, VIEWER),
    CommandSpec("show database schema as csl",
                f"show database [<database:name>] schema {_SINCE} as (csl | kql) [script] {WITH}",
                "DatabaseSchemaScript", Kind.SHOW, VIEWER),
    CommandSpec("show database cslschema",
                f"show database [<database:name>] (cslschema | kqlschema) [script] {_SINCE}",
                SCHEMA_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show databases entities", f"show databases entities {WITH}",
                _ENTITY_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show database entity",
                f"show database <database:name> entity <entity:name> {WITH}",
                _ENTITY_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show database schema violations",
                "show database [<database:name>] schema violations",
                "EntityKind, EntityName, Property, Reason", Kind.SHOW, VIEWER),
    refused("show entity schema",
            "show entity <entity:entity> schema as json [in databases <databases:strings>] "
            f"[except <functions:string>] {WITH}",
            "use .show database schema as json."),
)  # fmt: skip
