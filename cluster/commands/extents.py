"""Executors of commands that show extents (``adx-behaviour.md`` 3.2)."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import find_table
from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import caching_of
from cluster.commands.properties import read_properties
from cluster.commands.table_views import stored_type
from cluster.commands.when import micros_of, moment
from cluster.errors import InvalidRequestError
from cluster.extents.merging import DROP_BY
from cluster.extents.operations import INGEST_BY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.catalog.model import Database, Extent, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.data_values import TagTerm
    from cluster.commands.results import Row

TAG_SEPARATOR: Final = "\r\n"
"""Between the tags of one extent in a column ``Tags`` (``show-extents.md``)."""

_KIND: Final = "StorageV3"
_POLICY: Final = "extentsShowFilteringRuntimePolicy"
_MOST: Final = "MaximumResultsCount"
_STATISTICS_PROPERTIES: Final[Mapping[str, type]] = {
    "samplepercent": int,
    "scope": str,
    "from": datetime,
    "to": datetime,
}


async def show_extents(context: Context) -> list[Row]:
    """``.show (table T | tables (..) | database [D] | databases (..) | cluster) extents ...``."""
    return [_extent_row(database, table, extent) for database, table, extent in _selected(context)]


async def show_extents_metadata(context: Context) -> list[Row]:
    """``.show ... extents ... metadata``: what the catalog knows of each extent, as JSON."""
    return [
        (extent.extent_id, database.name, table.name, json.dumps(_metadata(database, extent)))
        for database, table, extent in _selected(context)
    ]


async def show_tags_statistics(context: Context) -> list[Row]:
    """``.show database extent tags statistics``: one row a table, by name."""
    database = context.catalog.get(context.database)
    given = read_properties(context, {"minCreationTime": datetime})
    oldest_us = micros_of(given.get("minCreationTime"))
    return [
        (name, *_tag_counts(table.extents.values(), oldest_us))
        for name, table in sorted(database.tables.items())
    ]


async def show_data_statistics(context: Context) -> list[Row]:
    """``.show table T data statistics``: of sealed rows, as in Kusto; one row a column.

    Sizes of single columns are not in the metadata: those of the table are in the row of the
    whole table, whose ColumnName is empty, and are null in the others.
    """
    given = read_properties(context, _STATISTICS_PROPERTIES)
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    extents = [
        extent
        for extent in table.extents.values()
        if _within(extent, micros_of(given.get("from")), micros_of(given.get("to")))
    ]
    rows = sum(extent.row_count for extent in extents)
    original = sum(extent.original_bytes for extent in extents)
    size = sum(extent.file_bytes for extent in extents)
    end = ("Parquet", rows, 0, 100.0, True)
    ratio = original / size if size else None
    return [
        ("", "", table.table_id, original, size, ratio, size, 0, 0, 0.0, *end),
        *(
            (column.name, stored_type(column.type), column_id(table, identity),
             None, None, None, None, None, None, None, *end)
            for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
        ),
    ]  # fmt: skip


def column_id(table: Table, identity: int) -> str:
    """A guid for a column, the same as long as the column is."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table.table_id} {identity}"))


def tags_text(extent: Extent) -> str:
    """Its tags as one text."""
    return TAG_SEPARATOR.join(extent.tags)


def _selected(context: Context) -> Iterator[tuple[Database, Table, Extent]]:
    """What the filters of a command leave, oldest extents of a table first."""
    values = context.values
    given = read_properties(context, {_POLICY: str})
    most = _maximum(given.get(_POLICY))
    wanted: frozenset[str] | None = None
    if "extents" in values:
        wanted = frozenset(values["extents"])
    terms: tuple[TagTerm, ...] = values.get("tags", ())
    count = 0
    for database, table in _tables(context):
        policy = caching_of(database, table, context.catalog.get(DEFAULT_DATABASE))
        extents = table.extents
        if wanted is not None:
            found = [extents[extent_id] for extent_id in wanted if extent_id in extents]
        else:
            found = list(extents.values())
        found.sort(key=lambda extent: (extent.created_max_us, extent.extent_id))
        for extent in found:
            if "hot" in context.words and not policy.is_hot(extent.created_max_us, context.now_us):
                continue
            if not all(term.holds(extent.tags) for term in terms):
                continue
            if most is not None and count >= most:
                return
            count += 1
            yield database, table, extent


def _tables(context: Context) -> Iterator[tuple[Database, Table]]:
    values, catalog = context.values, context.catalog
    scope = context.command.spec.name.split()[1]
    if scope in ("table", "tables"):
        database = catalog.get(context.database)
        for name in dict.fromkeys(values.get("tables") or (values["table"],)):
            yield database, find_table(database, name)
        return
    if scope == "database":
        databases: Iterable[Database] = (catalog.get(context.database_named),)
    elif scope == "databases":
        databases = [catalog.get(name) for name in dict.fromkeys(values["databases"])]
    else:
        databases = catalog.databases()
    for database in databases:
        for _, table in sorted(database.tables.items()):
            yield database, table


def _maximum(text: str | None) -> int | None:
    """The one bound a filtering policy has here. Raises InvalidRequestError."""
    if text is None:
        return None
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict) or policy.keys() - {_MOST}:
        raise InvalidRequestError(
            f"'{_POLICY}' must be a JSON object with the property {_MOST}.",
            metadata={"property": _POLICY},
        )
    most = policy.get(_MOST)
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise InvalidRequestError(
            f"'{_MOST}' must be a whole number.", metadata={"property": _MOST}
        )
    return most


def _extent_row(database: Database, table: Table, extent: Extent) -> Row:
    size = float(extent.file_bytes)
    return (
        extent.extent_id,
        database.name,
        table.name,
        moment(extent.created_max_us),
        float(extent.original_bytes),
        size,
        size,
        0.0,
        None,
        1,
        container_id(database),
        extent.row_count,
        moment(extent.created_min_us),
        tags_text(extent),
        _KIND,
        0,
    )


def container_id(database: Database) -> str:
    """A guid that stands for the storage root of a database."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{database.database_id} {database.storage_root}"))


def _metadata(database: Database, extent: Extent) -> Mapping[str, Any]:
    return {
        "File": extent.file,
        "StorageRoot": database.storage_root,
        "FileSize": extent.file_bytes,
        "Checksum": f"{extent.file_checksum:016x}",
        "ColumnIds": list(extent.column_ids),
        "RowCount": extent.row_count,
        "OriginalSize": extent.original_bytes,
        "MinIngestionTime": _iso(extent.ingested_min_us),
        "MaxIngestionTime": _iso(extent.ingested_max_us),
        "RowStoreSources": [
            {
                "RowStoreKey": f"{source.key:016x}",
                "OrdinalFrom": source.first_ordinal,
                "OrdinalTo": source.end_ordinal,
            }
            for source in extent.sources
        ],
    }


def _iso(since_epoch_us: int | None) -> str | None:
    when = moment(since_epoch_us)
    return None if when is None else when.isoformat()


def _tag_counts(extents: Iterable[Extent], oldest_us: int | None) -> tuple[int, ...]:
    total = tagged = tags = length = 0
    counts = {DROP_BY: [0, 0], INGEST_BY: [0, 0]}
    for extent in extents:
        if oldest_us is not None and extent.created_max_us < oldest_us:
            continue
        total += 1
        tagged += bool(extent.tags)
        for tag in extent.tags:
            tags += 1
            length += len(tag)
            for prefix, found in counts.items():
                if tag.startswith(prefix):
                    found[0] += 1
                    found[1] += len(tag)
    return (total, tagged, tags, length, *counts[DROP_BY], *counts[INGEST_BY])


def _within(extent: Extent, from_us: int | None, to_us: int | None) -> bool:
    created = extent.created_max_us
    return (from_us is None or created >= from_us) and (to_us is None or created <= to_us)


_SCOPES: Final = ("table", "tables", "database", "databases", "cluster")

EXECUTORS: Final[Mapping[str, Executor]] = {
    **{f"show {scope} extents": show_extents for scope in _SCOPES},
    **{f"show {scope} extents metadata": show_extents_metadata for scope in _SCOPES},
    "show database extent tags statistics": show_tags_statistics,
    "show table data statistics": show_data_statistics,
}
