"""Kusto scalar types as Arrow types: the storage form of rows in records and in memory.

Differences from Kusto, all stated in the README: ``datetime`` and ``timespan`` keep microseconds
(Kusto: 100 ns), ``decimal`` keeps 20 digits before and 18 after the point (Kusto: 34 in all).
``dynamic`` is stored as JSON text. ``string`` is never null: a missing value is the empty string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.catalog.model import Column, ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ARROW_TYPES: Final[Mapping[ScalarType, pa.DataType]] = {
    ScalarType.BOOL: pa.bool_(),
    ScalarType.DATETIME: pa.timestamp("us"),  # UTC by definition, hence no zone
    ScalarType.DECIMAL: pa.decimal128(38, 18),
    ScalarType.DYNAMIC: pa.string(),
    ScalarType.GUID: pa.binary(16),
    ScalarType.INT: pa.int32(),
    ScalarType.LONG: pa.int64(),
    ScalarType.REAL: pa.float64(),
    ScalarType.STRING: pa.string(),
    ScalarType.TIMESPAN: pa.duration("us"),
}


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of rows with these columns, in order."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in columns])
