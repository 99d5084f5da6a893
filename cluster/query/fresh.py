"""Streamed rows as one Arrow table in a table's current columns, without copying a value. Pure.

Batches of older schemas are mapped by column id: a column that was renamed is found, one that was
added or retyped since reads null (``string``: empty), one that was dropped is left out.
``guid`` (16 bytes) and ``dynamic`` (JSON text) are wrapped in Arrow's ``arrow.uuid`` and
``arrow.json`` extension types, which DuckDB reads as UUID and JSON; the other types need nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES, arrow_schema
from cluster.catalog.model import ScalarType
from cluster.errors import InternalError
from cluster.query.binding import INGESTION_TIME_TYPE
from cluster.query.translation import INGESTION_TIME

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cluster.catalog.model import Column
    from cluster.query.binding import BoundTable, StreamedRows

_Wanted: TypeAlias = "tuple[Column, int]"
"""A column and its id."""

_EXTENSIONS: Final = {
    ScalarType.GUID: pa.uuid(),
    ScalarType.DYNAMIC: pa.json_(pa.string()),
}


def fresh_table(
    bound: BoundTable, names: Collection[str], *, with_ingestion_times: bool = False
) -> pa.Table:
    """The streamed rows as one Arrow table that DuckDB reads with the right types.

    It has those of the table's columns that are among ``names``.

    With ingestion times, ``$ingestion_time`` is its last column. Raises InternalError if a
    batch is not of its schema.
    """
    wanted = [
        (column, identity)
        for column, identity in zip(bound.columns, bound.table.column_ids[-1], strict=True)
        if column.name in names
    ]
    fields = _schema(wanted, with_ingestion_times=with_ingestion_times)
    if with_ingestion_times:
        tables = [piece for rows in bound.fresh for piece in _timed(bound, rows, wanted, fields)]
    else:
        by_version: dict[int, list[pa.RecordBatch]] = {}
        for rows in bound.fresh:
            for batch, version in zip(rows.batches, rows.schema_versions, strict=True):
                by_version.setdefault(version, []).append(batch)
        tables = [
            pa.Table.from_arrays(_columns(bound, version, batches, wanted), schema=fields)
            for version, batches in by_version.items()
        ]
    return pa.concat_tables(tables) if tables else fields.empty_table()


def _schema(columns: Sequence[_Wanted], *, with_ingestion_times: bool) -> pa.Schema:
    fields = [
        pa.field(column.name, _EXTENSIONS.get(column.type, ARROW_TYPES[column.type]))
        for column, _ in columns
    ]
    if with_ingestion_times:
        fields.append(pa.field(INGESTION_TIME, INGESTION_TIME_TYPE))
    return pa.schema(fields)


def _timed(
    bound: BoundTable, rows: StreamedRows, wanted: Sequence[_Wanted], fields: pa.Schema
) -> list[pa.Table]:
    """Tables of one key: its rows in runs of one schema version, each with its times."""
    times = rows.ingestion_times()
    if not bound.has_ingestion_times:
        times = pa.nulls(len(times), INGESTION_TIME_TYPE)
    elif times.type != INGESTION_TIME_TYPE:
        times = times.cast(INGESTION_TIME_TYPE)
    tables: list[pa.Table] = []
    start = 0
    run: list[pa.RecordBatch] = []
    run_version = -1

    def close() -> None:
        nonlocal start
        if run:
            count = sum(batch.num_rows for batch in run)
            arrays = _columns(bound, run_version, run, wanted)
            arrays.append(pa.chunked_array([times.slice(start, count)]))
            tables.append(pa.Table.from_arrays(arrays, schema=fields))
            start += count
            run.clear()

    for batch, version in zip(rows.batches, rows.schema_versions, strict=True):
        if version != run_version:
            close()
            run_version = version
        run.append(batch)
    close()
    return tables


def _columns(
    bound: BoundTable,
    version: int,
    batches: list[pa.RecordBatch],
    wanted: Sequence[_Wanted],
) -> list[pa.ChunkedArray]:
    """Rows of one schema version as the current columns: whole columns, so no cost a batch."""
    table = bound.table
    try:
        rows = pa.Table.from_batches(batches, arrow_schema(table.schemas[version]))
    except (pa.ArrowInvalid, IndexError) as error:
        raise InternalError("A stored batch does not have the types of its table.") from error
    positions = {identity: index for index, identity in enumerate(table.column_ids[version])}
    columns = []
    for column, identity in wanted:
        index = positions.get(identity)
        stored = _missing(column, rows.num_rows) if index is None else rows.column(index)
        extension = _EXTENSIONS.get(column.type)
        if extension is not None:
            chunks = [pa.ExtensionArray.from_storage(extension, part) for part in stored.chunks]
            stored = pa.chunked_array(chunks, extension)
        columns.append(stored)
    return columns


def _missing(column: Column, count: int) -> pa.ChunkedArray:
    if column.type is ScalarType.STRING:
        return pa.chunked_array([pa.repeat(pa.scalar("", pa.string()), count)])
    return pa.chunked_array([pa.nulls(count, ARROW_TYPES[column.type])])
