"""Tables and rows for the tests of extents."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DATABASE = Database("db", "11111111-1111-4111-8111-111111111111")
CREATED_US = (1_700_000_000_000_000, 1_700_000_001_000_000)

ALL_TYPES = tuple(Column(f"c_{kind.value}", kind) for kind in ScalarType)


def table_of(*columns: Column, ids: Sequence[int] | None = None, name: str = "T") -> Table:
    """A table of one schema."""
    chosen = tuple(range(len(columns))) if ids is None else tuple(ids)
    key = RowStoreReference(0, RowStoreKey(7))
    return Table(name, "22222222-2222-4222-8222-222222222222", (key,), (columns,), (chosen,))


LONGS = table_of(Column("x", ScalarType.LONG))
"""A table with one column."""


def longs(*values: int | None) -> pa.RecordBatch:
    """Rows of :data:`LONGS`."""
    return pa.record_batch([pa.array(values, pa.int64())], arrow_schema(LONGS.columns))


def value_of(kind: ScalarType, rng: random.Random) -> object:
    """A value of a type as Arrow takes it; None now and then, but never for a string."""
    if kind is not ScalarType.STRING and rng.random() < 0.2:
        return None
    number = rng.randrange(-(2**31), 2**31)
    values: dict[ScalarType, object] = {
        ScalarType.BOOL: number % 2 == 0,
        ScalarType.DATETIME: number,
        ScalarType.DECIMAL: Decimal(number) / 1000,
        ScalarType.DYNAMIC: f'{{"a":{number}}}',
        ScalarType.GUID: number.to_bytes(16, "big", signed=True),
        ScalarType.INT: number,
        ScalarType.LONG: number * 2**31,
        ScalarType.REAL: number / 7,
        ScalarType.STRING: "é" * (number % 5) + str(number),
        ScalarType.TIMESPAN: number,
    }
    return values[kind]


def rows_of(columns: Sequence[Column], count: int, seed: int = 0) -> pa.RecordBatch:
    """Random rows of a schema."""
    rng = random.Random(seed)
    schema = arrow_schema(columns)
    arrays = [
        pa.array([value_of(column.type, rng) for _ in range(count)], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
