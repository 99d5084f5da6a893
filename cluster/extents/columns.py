"""Columns of extent files: how Kusto types are stored, and data mapped to a schema by id (pure).

In a file, ``guid`` is Parquet's UUID and ``dynamic`` Parquet's JSON, so that any reader
recognises them; ``timespan`` is a 64-bit count of microseconds, as Parquet has no such type. In
memory everything is as in ``catalog/arrow_types.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES, arrow_schema
from cluster.catalog.model import Column, ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INGESTION_TIME: Final = "$IngestionTime"
"""Name of the hidden column of ingestion times. No table can have a column of this name."""

INGESTION_TIME_TYPE: Final = ARROW_TYPES[ScalarType.DATETIME]

NOT_A_COLUMN: Final = -1
"""Stands in ``Extent.column_ids`` for a column of the file that is none of the table."""

FILE_TYPES: Final[Mapping[ScalarType, pa.DataType]] = {
    **ARROW_TYPES,
    ScalarType.GUID: pa.uuid(),
    ScalarType.DYNAMIC: pa.json_(),
}
"""The Arrow type that a column of each Kusto type has when it is handed to the Parquet writer."""

_FIELD_ID: Final = b"PARQUET:field_id"


def file_schema(columns: Sequence[Column], *, with_ingestion_time: bool) -> pa.Schema:
    """The schema of an extent file. Parquet's field id of a column is its position in the file."""
    types = [(column.name, FILE_TYPES[column.type]) for column in columns]
    if with_ingestion_time:
        types.append((INGESTION_TIME, INGESTION_TIME_TYPE))
    return pa.schema(
        [
            pa.field(name, kind, metadata={_FIELD_ID: str(position).encode()})
            for position, (name, kind) in enumerate(types)
        ]
    )


def batch_schema(columns: Sequence[Column], *, with_ingestion_time: bool) -> pa.Schema:
    """The schema of rows in memory, with the hidden column last if asked for."""
    schema = arrow_schema(columns)
    if with_ingestion_time:
        schema = schema.append(pa.field(INGESTION_TIME, INGESTION_TIME_TYPE))
    return schema


def to_file(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in memory as columns of a file; copies nothing."""
    columns = [
        _wrapped(column, field.type) if isinstance(field.type, pa.BaseExtensionType) else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def from_file(array: pa.Array) -> pa.Array:
    """A column of a file as in memory; copies nothing."""
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def _wrapped(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    chunks = [pa.ExtensionArray.from_storage(kind, chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks, type=kind)


def absent(column: Column, row_count: int) -> pa.Array:
    """What a column reads where the data has none of its id: null, or "" for a ``string``."""
    if column.type is ScalarType.STRING:
        return pa.repeat(pa.scalar("", pa.string()), row_count)
    return pa.nulls(row_count, ARROW_TYPES[column.type])


def by_id(
    batch: pa.RecordBatch,
    ids: Sequence[int],
    columns: Sequence[Column],
    column_ids: Sequence[int],
) -> pa.RecordBatch:
    """Rows whose i-th column has id ``ids[i]``, as rows of a schema given by columns and their ids.

    A column the rows do not have is :func:`absent`. Copies nothing. A hidden column of ingestion
    times, if the batch has one after those of ``ids``, stays the last.
    """
    positions = {identity: position for position, identity in enumerate(ids)}
    hidden = batch.num_columns > len(ids)
    arrays = [
        batch.column(positions[identity])
        if identity in positions
        else absent(column, batch.num_rows)
        for column, identity in zip(columns, column_ids, strict=True)
    ]
    if hidden:
        arrays.append(batch.column(len(ids)))
    schema = batch_schema(columns, with_ingestion_time=hidden)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
