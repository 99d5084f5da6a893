"""Kusto types and DuckDB types, both ways.

Into DuckDB, by Arrow alone, nothing is copied (``binding.py``)::

    bool BOOLEAN     int INTEGER     long BIGINT      real DOUBLE      decimal DECIMAL(38,18)
    string VARCHAR   guid UUID       dynamic JSON     datetime TIMESTAMP   timespan INTERVAL

Out of DuckDB every column is one of the ten types, in the Arrow type of :data:`RESULT_TYPES`.
They are those of ``catalog/arrow_types.py`` but for ``guid``, which is canonical text here. A
``dynamic`` is JSON text. A ``string`` is never null. DuckDB's wider integers become ``long`` (too
large a value fails the query), lists and structures become ``dynamic``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES
from cluster.catalog.model import ScalarType

RESULT_TYPES: Final = {**ARROW_TYPES, ScalarType.GUID: pa.string()}
"""Arrow type of each Kusto type in a result."""

_DATETIME_TEXT: Final = "strftime({}, '%Y-%m-%dT%H:%M:%S.%f') || '0Z'"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How a DuckDB column leaves: its Kusto type and the SQL that makes its Arrow form."""

    type: ScalarType
    sql: str
    """``{}`` stands for the quoted column; plain ``{}`` means it leaves as it is."""


_PLAIN: Final = {
    "BOOLEAN": ScalarType.BOOL,
    "INTEGER": ScalarType.INT,
    "BIGINT": ScalarType.LONG,
    "DOUBLE": ScalarType.REAL,
    "VARCHAR": ScalarType.STRING,
    "TIMESTAMP": ScalarType.DATETIME,
    "DECIMAL(38,18)": ScalarType.DECIMAL,
}
_CONVERTED: Final = {
    "TINYINT": Outgoing(ScalarType.INT, "CAST({} AS INTEGER)"),
    "UTINYINT": Outgoing(ScalarType.INT, "CAST({} AS INTEGER)"),
    "SMALLINT": Outgoing(ScalarType.INT, "CAST({} AS INTEGER)"),
    "USMALLINT": Outgoing(ScalarType.INT, "CAST({} AS INTEGER)"),
    "UINTEGER": Outgoing(ScalarType.LONG, "CAST({} AS BIGINT)"),
    "UBIGINT": Outgoing(ScalarType.LONG, "CAST({} AS BIGINT)"),
    "HUGEINT": Outgoing(ScalarType.LONG, "CAST({} AS BIGINT)"),
    "UHUGEINT": Outgoing(ScalarType.LONG, "CAST({} AS BIGINT)"),
    "FLOAT": Outgoing(ScalarType.REAL, "CAST({} AS DOUBLE)"),
    "UUID": Outgoing(ScalarType.GUID, "CAST({} AS VARCHAR)"),
    "JSON": Outgoing(ScalarType.DYNAMIC, "CAST({} AS VARCHAR)"),
    "DATE": Outgoing(ScalarType.DATETIME, "CAST({} AS TIMESTAMP)"),
    "TIMESTAMP WITH TIME ZONE": Outgoing(ScalarType.DATETIME, "({} AT TIME ZONE 'UTC')"),
    "TIMESTAMP_S": Outgoing(ScalarType.DATETIME, "CAST({} AS TIMESTAMP)"),
    "TIMESTAMP_MS": Outgoing(ScalarType.DATETIME, "CAST({} AS TIMESTAMP)"),
    "TIMESTAMP_NS": Outgoing(ScalarType.DATETIME, "CAST({} AS TIMESTAMP)"),
    "INTERVAL": Outgoing(ScalarType.TIMESPAN, "epoch_us({})"),
    "TIME": Outgoing(ScalarType.TIMESPAN, "epoch_us(CAST({} AS INTERVAL))"),
    "TIMESTAMP[]": Outgoing(
        ScalarType.DYNAMIC,
        f"CAST(to_json(list_transform({{}}, lambda _v: {_DATETIME_TEXT.format('_v')})) AS VARCHAR)",
    ),
    '"NULL"': Outgoing(ScalarType.STRING, "CAST({} AS VARCHAR)"),
}
_NESTED: Final = re.compile(r"\]$|^STRUCT|^MAP|^UNION|^LIST")
_TEXT: Final = Outgoing(ScalarType.STRING, "CAST({} AS VARCHAR)")
_JSON_TEXT: Final = Outgoing(ScalarType.DYNAMIC, "CAST(to_json({}) AS VARCHAR)")
_DECIMAL_CAST: Final = Outgoing(ScalarType.DECIMAL, "CAST({} AS DECIMAL(38,18))")


def outgoing(duckdb_type: str) -> Outgoing:
    """How a column of the DuckDB type named leaves."""
    plain = _PLAIN.get(duckdb_type)
    if plain is not None:
        return Outgoing(plain, "{}")
    converted = _CONVERTED.get(duckdb_type)
    if converted is not None:
        return converted
    if duckdb_type.startswith("DECIMAL("):
        return _DECIMAL_CAST
    return _JSON_TEXT if _NESTED.search(duckdb_type) else _TEXT


def kusto_name(duckdb_type: str) -> str:
    """The Kusto name of a DuckDB type, for messages."""
    return outgoing(duckdb_type).type.value
