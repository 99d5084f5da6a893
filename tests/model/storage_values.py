"""Values that follow from the number of a row and of a column, as rows, as Arrow and as CSV."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, ScalarType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storage_model import ModelColumn, Row

TYPES = (
    ScalarType.LONG,
    ScalarType.STRING,
    ScalarType.REAL,
    ScalarType.BOOL,
    ScalarType.DATETIME,
    ScalarType.INT,
)


def value_of(row: int, column: ModelColumn) -> Any:
    """As Arrow gives it back; null now and then."""
    seed = row * 31 + column.number
    if column.type is ScalarType.STRING:
        return "" if seed % 5 == 0 else f'"v", {seed}'
    if seed % 4 == 0:
        return None
    values: dict[ScalarType, Any] = {
        ScalarType.LONG: seed * 2**31,
        ScalarType.REAL: seed / 8,
        ScalarType.BOOL: seed % 3 == 0,
        ScalarType.DATETIME: dt.datetime(2026, 1, 1) + dt.timedelta(seconds=seed),
        ScalarType.INT: seed,
    }
    return values[column.type]


def row_of(number: int, columns: Iterable[ModelColumn], identity: int) -> Row:
    """The row of that number; its identity column holds the number."""
    return {
        column.number: number if column.number == identity else value_of(number, column)
        for column in columns
    }


def columns_of(columns: Iterable[ModelColumn]) -> tuple[Column, ...]:
    """As the catalog has them."""
    return tuple(Column(column.name, column.type) for column in columns)


def batch_of(rows: Sequence[Row], columns: Sequence[ModelColumn]) -> pa.RecordBatch:
    """Rows in a schema."""
    schema = arrow_schema(columns_of(columns))
    arrays = [
        pa.array([row[column.number] for row in rows], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def csv_of(rows: Sequence[Row], columns: Sequence[ModelColumn]) -> bytes:
    """Rows as a streaming request sends them."""
    lines = (",".join(_field(row[column.number]) for column in columns) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        escaped = value.replace('"', '""')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
