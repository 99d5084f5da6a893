"""Executors of commands that show tables."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table
from cluster.catalog.model import ScalarType
from cluster.commands.policy_rows import effective_text
from cluster.commands.principals import principals_text
from cluster.commands.schema_text import csl_schema, schema_row, table_row
from cluster.commands.sizes import table_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Database, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STORED_TYPES: Final[Mapping[ScalarType, str]] = {
    ScalarType.BOOL: "I8",
    ScalarType.DATETIME: "DateTime",
    ScalarType.DECIMAL: "Decimal",
    ScalarType.DYNAMIC: "Dynamic",
    ScalarType.GUID: "UniqueId",
    ScalarType.INT: "I32",
    ScalarType.LONG: "I64",
    ScalarType.REAL: "R64",
    ScalarType.STRING: "StringBuffer",
    ScalarType.TIMESPAN: "TimeSpan",
}
"""Names of types as ``.show table`` and the journal print them."""


async def show_tables(context: Context) -> list[Row]:
    """``.show tables [(T, ...)]``: all of them by name, or those named, each once."""
    database = context.catalog.get(context.database)
    return [table_row(database, table) for table in _named(context, database)]


async def show_tables_details(context: Context) -> list[Row]:
    """``.show tables [(T, ...)] details``: sizes of extents and effective policies.

    The figures are of this moment, not of a cache.
    """
    database = context.catalog.get(context.database)
    return [_details_row(database, table, context.now_us) for table in _named(context, database)]


async def show_table_details(context: Context) -> list[Row]:
    """``.show table T details``."""
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    return [_details_row(database, table, context.now_us)]


async def show_table(context: Context) -> list[Row]:
    """``.show table T``: its columns.

    Sizes of single columns are not kept in the metadata; they are null.
    """
    table = find_table(context.catalog.get(context.database), context.values["table"])
    return [
        (column.name, stored_type(column.type), None, None, None, None, None,
         str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table.table_id} {identity}")), None, "Parquet")
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
    ]  # fmt: skip


async def show_table_cslschema(context: Context) -> list[Row]:
    """``.show table T cslschema``: the schema as it is written in ``.create table``."""
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    return [schema_row(database, table, csl_schema(table.columns))]


async def show_table_schema_json(context: Context) -> list[Row]:
    """``.show table T schema as json``."""
    database = context.catalog.get(context.database)
    return [schema_row(database, find_table(database, context.values["table"]))]


def stored_type(kind: ScalarType) -> str:
    """The storage name of a type."""
    return _STORED_TYPES[kind]


def _named(context: Context, database: Database) -> Sequence[Table]:
    names = dict.fromkeys(context.values.get("tables", sorted(database.tables)))
    return [find_table(database, name) for name in names]


def _details_row(database: Database, table: Table, now_us: int) -> Row:
    sizes, hot = table_sizes(database, table, now_us)
    return (
        *table_row(database, table),
        sizes.extents,
        float(sizes.extent_bytes),
        float(sizes.original_bytes),
        sizes.rows,
        hot.extents,
        float(hot.extent_bytes),
        float(hot.original_bytes),
        hot.rows,
        principals_text(table.principals),
        *(
            effective_text(database, table, kind)
            for kind in (
                "retention", "caching", "sharding", "merge", "streamingingestion",
                "ingestionbatching",
            )
        ),
        _time(sizes.created_min_us),
        _time(sizes.created_max_us),
        effective_text(database, table, "roworder"),
        table.table_id,
    )  # fmt: skip


def _time(since_epoch_us: int | None) -> datetime | None:
    return None if since_epoch_us is None else _EPOCH + timedelta(microseconds=since_epoch_us)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show tables": show_tables,
    "show tables details": show_tables_details,
    "show table": show_table,
    "show table details": show_table_details,
    "show table cslschema": show_table_cslschema,
    "show table schema as json": show_table_schema_json,
}
