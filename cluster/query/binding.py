"""What a query reads: tables as pinned batches, given to DuckDB without copying a value.

``guid`` (16 bytes) and ``dynamic`` (JSON text) are wrapped in Arrow's ``arrow.uuid`` and
``arrow.json`` extension types, which DuckDB reads as UUID and JSON; the other types need nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import ScalarType
from cluster.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column

_EXTENSIONS: Final = {
    ScalarType.GUID: pa.uuid(),
    ScalarType.DYNAMIC: pa.json_(pa.string()),
}


@dataclass(frozen=True, slots=True)
class BoundTable:
    """The rows of one table at one moment. Batches are immutable and shared, never copied."""

    columns: tuple[Column, ...]
    """The schema in force."""
    batches: tuple[pa.RecordBatch, ...] = ()
    """Rows in order. A batch of an older schema lacks trailing columns: null, '' for string."""


@dataclass(frozen=True, slots=True)
class QuerySnapshot:
    """What one query may see; nothing that happens later changes it."""

    database: str
    """The database in context, as its owner spells it."""
    tables: Mapping[str, BoundTable]
    others: Mapping[str, Mapping[str, BoundTable]] = field(default_factory=dict)
    """Tables of the other databases ``database('...')`` may name."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result."""

    name: str
    type: ScalarType


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A whole answer. ``table`` has the Arrow types of ``types.RESULT_TYPES``."""

    columns: tuple[ResultColumn, ...]
    table: pa.Table


def arrow_table(bound: BoundTable) -> pa.Table:
    """The rows as one Arrow table that DuckDB reads with the right types. Copies no value.

    Raises InternalError if a batch is not of the schema in force nor of a prefix of it.
    """
    schema = arrow_schema(bound.columns)
    batches = [_padded(batch, schema, bound.columns) for batch in bound.batches]
    table = pa.Table.from_batches(batches, schema)
    for index, column in enumerate(bound.columns):
        extension = _EXTENSIONS.get(column.type)
        if extension is not None:
            chunks = table.column(index).chunks
            wrapped = [pa.ExtensionArray.from_storage(extension, chunk) for chunk in chunks]
            table = table.set_column(index, column.name, pa.chunked_array(wrapped, extension))
    return table


def _padded(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[Column]) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    known = len(batch.schema)
    if known > len(schema) or batch.schema.types != schema.types[:known]:
        raise InternalError("A stored batch does not have the types of its table.")
    arrays = list(batch.columns)
    for column, arrow_field in zip(columns[known:], list(schema)[known:], strict=True):
        if column.type is ScalarType.STRING:
            arrays.append(pa.repeat(pa.scalar("", pa.string()), batch.num_rows))
        else:
            arrays.append(pa.nulls(batch.num_rows, arrow_field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
