"""Schemas as text: the JSON, the ``name:type`` list, the rows of tables. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster.catalog.naming import quote_name
from cluster.commands.scalar_names import CLR_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.catalog.model import Column, Database, Table
    from cluster.commands.results import Row


def csl_schema(columns: Iterable[Column]) -> str:
    """Columns as they are written in ``.create table``."""
    return ",".join(f"{quote_name(column.name)}:{column.type.value}" for column in columns)


def column_json(column: Column) -> dict[str, object]:
    """One of the ``OrderedColumns``."""
    shown: dict[str, object] = {
        "Name": column.name,
        "Type": CLR_NAMES[column.type],
        "CslType": column.type.value,
    }
    if column.docstring:
        shown["DocString"] = column.docstring
    return shown


def table_json(table: Table) -> dict[str, object]:
    """What ``.show table T schema as json`` prints."""
    schema: dict[str, object] = {
        "Name": table.name,
        "OrderedColumns": [column_json(column) for column in table.columns],
    }
    if table.folder:
        schema["Folder"] = table.folder
    if table.docstring:
        schema["DocString"] = table.docstring
    return schema


def compact(value: object) -> str:
    """JSON without spaces, other alphabets as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def table_row(database: Database, table: Table) -> Row:
    """TableName, DatabaseName, Folder, DocString."""
    return (table.name, database.name, table.folder, table.docstring)


def schema_row(database: Database, table: Table, schema: str | None = None) -> Row:
    """TableName, Schema (as JSON unless given), DatabaseName, Folder, DocString."""
    if schema is None:
        schema = compact(table_json(table))
    return (table.name, schema, database.name, table.folder, table.docstring)
