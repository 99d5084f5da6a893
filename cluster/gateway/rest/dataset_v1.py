"""Version 1 datasets: ``{"Tables":[...]}`` of commands and of ``/v1/rest/query``. Pure.

A command gives one table. A query gives its results, ``@ExtendedProperties``, ``QueryStatus`` and
the table of contents: four tables at least, never two, which clients read in different ways.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.catalog.model import ScalarType
from cluster.gateway.rest.dataset import json_text, properties_of, resource_statistics
from cluster.gateway.rest.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cluster.gateway.rest.dataset import Dataset
    from cluster.query.binding import QueryResult

DATA_TYPES: Final[Mapping[ScalarType, str]] = {
    ScalarType.BOOL: "SByte",
    ScalarType.DATETIME: "DateTime",
    ScalarType.DECIMAL: "SqlDecimal",
    ScalarType.DYNAMIC: "Object",
    ScalarType.GUID: "Guid",
    ScalarType.INT: "Int32",
    ScalarType.LONG: "Int64",
    ScalarType.REAL: "Double",
    ScalarType.STRING: "String",
    ScalarType.TIMESPAN: "TimeSpan",
}
"""``DataType`` of each Kusto type: the name of the .NET type."""

_STRING: Final = ScalarType.STRING
_PROPERTIES: Final = (("Value", _STRING),)
_STATUS: Final = (
    ("Timestamp", ScalarType.DATETIME),
    ("Severity", ScalarType.INT),
    ("SeverityName", _STRING),
    ("StatusCode", ScalarType.INT),
    ("StatusDescription", _STRING),
    ("Count", ScalarType.INT),
    ("RequestId", ScalarType.GUID),
    ("ActivityId", ScalarType.GUID),
    ("SubActivityId", ScalarType.GUID),
    ("ClientActivityId", _STRING),
)
_CONTENTS: Final = (
    ("Ordinal", ScalarType.LONG),
    ("Kind", _STRING),
    ("Name", _STRING),
    ("Id", _STRING),
    ("PrettyName", _STRING),
)
_NO_ID: Final = str(uuid.UUID(int=0))
_TOO_LARGE: Final = -2_133_196_797


def encode_command_v1(dataset: Dataset) -> bytes:
    """The answer of one command: one table, which every client takes for the result."""
    (result,) = dataset.results
    return b"".join([b'{"Tables":[', *_result(0, result), b"]}"])


def encode_v1(dataset: Dataset) -> bytes:
    """The answer of a query, and of a command that queries follow."""
    pieces: list[bytes] = [b'{"Tables":[']
    last = len(dataset.results) - 1
    for index, result in enumerate(dataset.results):
        errors = None
        if index == last and dataset.failure is not None:
            errors = msgspec.json.encode({"OneApiErrors": dataset.failure.errors()})
        pieces += [*_result(index, result, errors), b","]
    count = len(dataset.results)
    pieces += [
        _table(count, _PROPERTIES, _property_rows(dataset.results)),
        b",",
        _table(count + 1, _STATUS, _status_rows(dataset)),
        b",",
        _table(count + 2, _CONTENTS, _contents(dataset)),
        b"]",
    ]
    if dataset.failure is not None:
        pieces += [b',"Exceptions":', msgspec.json.encode([dataset.failure.message])]
    return b"".join([*pieces, b"}"])


def _property_rows(results: Iterable[QueryResult]) -> list[list[str]]:
    rows = []
    for result in results:
        for key, value in properties_of(result):
            rows.append([value if key == "Visualization" else json_text({key: value})])
    return rows


def _status_rows(dataset: Dataset) -> list[list[Any]]:
    completion = dataset.completion
    activity = completion.activity_id
    ids = [1, activity, activity, activity, completion.request_id]
    told: list[Any] = [4, "Info", 0, "Query completed successfully"]
    if dataset.failure is not None:
        told = [2, "Error", _TOO_LARGE, dataset.failure.message]
    statistics = json_text(resource_statistics(dataset))
    return [
        [completion.timestamp, *told, *ids],
        [completion.timestamp, 6, "Stats", 0, statistics, *ids],
    ]


def _contents(dataset: Dataset) -> list[list[Any]]:
    """One row for each table before it."""
    space = uuid.UUID(dataset.completion.activity_id)
    count = len(dataset.results)
    rows: list[list[Any]] = [
        [index, "QueryResult", "PrimaryResult", str(uuid.uuid5(space, str(index))), ""]
        for index in range(count)
    ]
    properties = str(uuid.uuid5(space, "properties"))
    rows.append([count, "QueryProperties", "@ExtendedProperties", properties, ""])
    rows.append([count + 1, "QueryStatus", "QueryStatus", _NO_ID, ""])
    return rows


def _result(index: int, result: QueryResult, errors: bytes | None = None) -> list[bytes]:
    columns = [(column.name, column.type) for column in result.columns]
    rows = rows_of(result)
    if errors is not None:
        rows += [b",", errors] if rows else [errors]
    return [_open(index, columns), *rows, b"]}"]


def _table(index: int, columns: Sequence[tuple[str, ScalarType]], rows: list[list[Any]]) -> bytes:
    return _open(index, columns) + msgspec.json.encode(rows)[1:] + b"}"


def _open(index: int, columns: Sequence[tuple[str, ScalarType]]) -> bytes:
    """A table up to where its rows begin."""
    head = {
        "TableName": f"Table_{index}",
        "Columns": [
            {"ColumnName": name, "DataType": DATA_TYPES[kind], "ColumnType": kind.value}
            for name, kind in columns
        ],
    }
    return msgspec.json.encode(head)[:-1] + b',"Rows":['
