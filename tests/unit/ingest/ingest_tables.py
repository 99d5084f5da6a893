"""Tables, good rows and comparisons shared by the tests of ingestion."""

from __future__ import annotations

import io
import json
import math
from typing import Any

from cluster.catalog.model import Column, ScalarType
from cluster.ingest.decode import GroupResult, TableDecoder
from cluster.ingest.mappings import identity_plan, parse_mapping
from cluster.ingest.request import MAPPING_KINDS, DataFormat
from cluster.ingest.worker import decode_source
from cluster.limits import LIMITS, Limits

ALL_TYPES = tuple(Column(f"c_{kind.value}", kind) for kind in ScalarType)
"""One column of each type, in the order of ScalarType: bool datetime decimal dynamic guid int
long real string timespan."""

PEOPLE = (Column("name", ScalarType.STRING), Column("age", ScalarType.INT))

GOOD_TEXTS = {
    ScalarType.BOOL: "true",
    ScalarType.DATETIME: "2024-05-06T07:08:09.123456",
    ScalarType.DECIMAL: "12.5",
    ScalarType.DYNAMIC: '{"a": [1, 2]}',
    ScalarType.GUID: "01234567-89ab-cdef-0123-456789abcdef",
    ScalarType.INT: "42",
    ScalarType.LONG: "-9000000000",
    ScalarType.REAL: "0.5",
    ScalarType.STRING: "text",
    ScalarType.TIMESPAN: "01:02:03.5",
}


def quoted(text: str) -> str:
    """The text as a quoted field."""
    return '"' + text.replace('"', '""') + '"'


def delimited(rows: list[list[str]], delimiter: str = ",") -> bytes:
    """Rows as a payload, every field quoted that needs it."""
    special = {delimiter, '"', "\n", "\r"}
    lines = [
        delimiter.join(quoted(field) if special & set(field) else field for field in row)
        for row in rows
    ]
    return ("\n".join(lines) + "\n").encode()


def decoder(columns: tuple[Column, ...] = ALL_TYPES, limits: Limits = LIMITS) -> TableDecoder:
    """A decoder for table db.T."""
    return TableDecoder(columns, limits, database="db", table="T")


def rows_of(result: GroupResult) -> list[tuple[Any, ...]]:
    """All rows, as comparable values."""
    return [] if result.batch is None else batch_rows(result.batch)


def batch_rows(batch: Any) -> list[tuple[Any, ...]]:
    """The rows of a batch as comparable values: NaN equals NaN, -0.0 differs from 0.0."""
    return list(zip(*([_comparable(v) for v in raw_values(c)] for c in batch.columns), strict=True))


def raw_values(column: Any) -> list[Any]:
    """Values as stored: moments and timespans as counts of microseconds."""
    kind = str(column.type)
    if kind.startswith(("timestamp", "duration")):
        assert "[us]" in kind
        column = column.view("int64")
    values: list[Any] = column.to_pylist()
    return values


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    return value


def file_rows(
    data: bytes,
    chosen: DataFormat,
    columns: tuple[Column, ...] = PEOPLE,
    mapping: list[dict[str, Any]] | None = None,
    *,
    limits: Limits = LIMITS,
    skip: bool = False,
) -> list[tuple[Any, ...]]:
    """All rows of one file."""
    kind = MAPPING_KINDS[chosen]
    plan = (
        identity_plan(kind, columns)
        if mapping is None
        else parse_mapping(kind, json.dumps(mapping))
    )
    batches = decode_source(
        io.BytesIO(data), chosen, plan, columns, limits, location="here", ignore_first_record=skip
    )
    return [row for batch in batches for row in batch_rows(batch)]
