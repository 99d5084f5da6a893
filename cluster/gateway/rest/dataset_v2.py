"""Version 2 datasets: a JSON array of frames, each with ``FrameType`` first. Pure.

Three forms of one answer:

- *plain*: whole tables, what most clients read;
- *fragmented* (``results_v2_fragment_primary_tables``): results in fragments, frames on lines of
  their own if ``results_v2_newlines_between_frames``. The Go client reads it line by line, and
  needs the names in a frame in exactly this order;
- *progressive* (``results_progressive_enabled``): fragments with their progress.

An answer is whole before its first byte is encoded, so a table has all its fragments at once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.gateway.rest.dataset import json_text, properties_of, resource_statistics
from cluster.gateway.rest.rows import rows_in_pieces, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.gateway.rest.dataset import Completion, Dataset, Failure
    from cluster.query.binding import QueryResult

_EXTENDED: Final = ("QueryProperties", "@ExtendedProperties")
_INFORMATION: Final = ("QueryCompletionInformation", "QueryCompletionInformation")
_PROPERTIES: Final = (("TableId", "int"), ("Key", "string"), ("Value", "dynamic"))
_COMPLETION: Final = (
    ("Timestamp", "datetime"),
    ("ClientRequestId", "string"),
    ("ActivityId", "guid"),
    ("SubActivityId", "guid"),
    ("ParentActivityId", "guid"),
    ("Level", "int"),
    ("LevelName", "string"),
    ("StatusCode", "int"),
    ("StatusCodeName", "string"),
    ("EventType", "int"),
    ("EventTypeName", "string"),
    ("Payload", "string"),
)
_SUCCEEDED: Final = (4, "Info", 0, "S_OK (0)", 4, "QueryInfo")
_TOO_LARGE: Final = -2_133_196_797
_TRUNCATED: Final = (
    2,
    "Error",
    _TOO_LARGE,
    f"Query result set too large (E_QUERY_RESULT_SET_TOO_LARGE). ({_TOO_LARGE})",
    1,
    "QueryLimitsExceeded",
)
_STATISTICS: Final = (6, "Stats", 0, "S_OK (0)", 0, "QueryResourceConsumption")


class Form(enum.Enum):
    """How results are cut into frames."""

    PLAIN = "plain"
    FRAGMENTED = "fragmented"
    PROGRESSIVE = "progressive"


class ErrorPlacement(enum.Enum):
    """Where a partial failure is told besides the last frame; values are those of the header."""

    IN_DATA = "InData"
    END_OF_TABLE = "EndOfTable"
    END_OF_DATASET = "EndOfDataset"


@dataclass(frozen=True, slots=True)
class Encoding:
    """What of the form a client chooses."""

    form: Form = Form.PLAIN
    newlines: bool = False
    error_placement: ErrorPlacement = ErrorPlacement.IN_DATA


def encode_v2(dataset: Dataset, encoding: Encoding) -> bytes:
    """The whole body."""
    pieces: list[bytes] = [b"["]
    between = b"\n," if encoding.newlines else b","
    for frame in _frames(dataset, encoding):
        if len(pieces) > 1:
            pieces.append(between)
        pieces += frame
    pieces.append(b"\n]" if encoding.newlines else b"]")
    return b"".join(pieces)


def _frames(dataset: Dataset, encoding: Encoding) -> Iterator[list[bytes]]:
    yield [_header(encoding)]
    yield [_table(0, _EXTENDED, _PROPERTIES, _property_rows(dataset.results))]
    last = len(dataset.results) - 1
    for index, result in enumerate(dataset.results):
        failure = dataset.failure if index == last else None
        if encoding.form is Form.PLAIN:
            yield _data_table(index + 1, result, _in_data(failure, encoding))
        else:
            yield from _fragments(index + 1, result, failure, encoding)
    yield [_table(last + 2, _INFORMATION, _COMPLETION, _completion_rows(dataset))]
    end: dict[str, Any] = {
        "FrameType": "DataSetCompletion",
        "HasErrors": dataset.failure is not None,
        "Cancelled": False,
    }
    if dataset.failure is not None:
        end["OneApiErrors"] = dataset.failure.errors()
    yield [_json(end)]


def _header(encoding: Encoding) -> bytes:
    header: dict[str, Any] = {
        "FrameType": "DataSetHeader",
        "IsProgressive": encoding.form is Form.PROGRESSIVE,
        "Version": "v2.0",
    }
    if encoding.form is Form.FRAGMENTED:
        header["IsFragmented"] = True
        header["ErrorReportingPlacement"] = encoding.error_placement.value
    return _json(header)


def _in_data(failure: Failure | None, encoding: Encoding) -> Failure | None:
    return failure if encoding.error_placement is ErrorPlacement.IN_DATA else None


def _data_table(table_id: int, result: QueryResult, failure: Failure | None) -> list[bytes]:
    head = _open(_described("DataTable", table_id, result))
    rows = rows_of(result)
    if failure is not None:
        rows += [b",", _error_row(failure)] if rows else [_error_row(failure)]
    return [head, *rows, b"]}"]


def _fragments(
    table_id: int, result: QueryResult, failure: Failure | None, encoding: Encoding
) -> Iterator[list[bytes]]:
    progressive = encoding.form is Form.PROGRESSIVE
    yield [_json(_described("TableHeader", table_id, result))]
    fragment: dict[str, Any] = {
        "FrameType": "TableFragment",
        "TableFragmentType": "DataAppend",
        "TableId": table_id,
    }
    if progressive:
        fragment["FieldCount"] = len(result.columns)
    opened = _open(fragment)
    for _, rows in rows_in_pieces(result):
        yield [opened, rows, b"]}"]
    in_data = _in_data(failure, encoding)
    if in_data is not None:
        yield [opened, _error_row(in_data), b"]}"]
    if progressive:
        yield [_json({"FrameType": "TableProgress", "TableId": table_id, "TableProgress": 100})]
    completion: dict[str, Any] = {
        "FrameType": "TableCompletion",
        "TableId": table_id,
        "RowCount": result.table.num_rows,
    }
    if failure is not None and encoding.error_placement is ErrorPlacement.END_OF_TABLE:
        completion["OneApiErrors"] = failure.errors()
    yield [_json(completion)]


def _described(frame_type: str, table_id: int, result: QueryResult) -> dict[str, Any]:
    return {
        "FrameType": frame_type,
        "TableId": table_id,
        "TableKind": "PrimaryResult",
        "TableName": result.name or "PrimaryResult",
        "Columns": _columns((column.name, column.type.value) for column in result.columns),
    }


def _columns(columns: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"ColumnName": name, "ColumnType": kind} for name, kind in columns]


def _property_rows(results: Iterable[QueryResult]) -> list[list[Any]]:
    return [
        [index, key, value]
        for index, result in enumerate(results, 1)
        for key, value in properties_of(result)
    ]


def _completion_rows(dataset: Dataset) -> list[list[Any]]:
    told, payload = _SUCCEEDED, "Query completed successfully"
    if dataset.failure is not None:
        told, payload = _TRUNCATED, dataset.failure.message
    return [
        _event(dataset.completion, told, {"Count": 1, "Text": payload}),
        _event(dataset.completion, _STATISTICS, resource_statistics(dataset)),
    ]


def _event(
    completion: Completion,
    told: tuple[int, str, int, str, int, str],
    payload: Mapping[str, Any],
) -> list[Any]:
    activity = completion.activity_id
    return [
        completion.timestamp, completion.request_id, activity, activity, activity,
        *told, json_text(payload),
    ]  # fmt: skip


def _error_row(failure: Failure) -> bytes:
    return _json({"OneApiErrors": failure.errors()})


def _table(
    table_id: int,
    told: tuple[str, str],
    columns: Iterable[tuple[str, str]],
    rows: list[list[Any]],
) -> bytes:
    kind, name = told
    return _json(
        {
            "FrameType": "DataTable",
            "TableId": table_id,
            "TableKind": kind,
            "TableName": name,
            "Columns": _columns(columns),
            "Rows": rows,
        }
    )


def _open(frame: Mapping[str, Any]) -> bytes:
    """A frame up to where its rows begin; ``]}`` ends it."""
    return _json(frame)[:-1] + b',"Rows":['


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
