"""The table of a command as a query's result, which is what encoders take. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cluster.catalog.model import ScalarType
from cluster.query.binding import QueryResult, ResultColumn
from cluster.query.types import RESULT_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.commands.results import CommandResult


def command_table(result: CommandResult) -> QueryResult:
    """The same rows in the Arrow types of a query's result."""
    columns = tuple(ResultColumn(column.name, column.type) for column in result.columns)
    if result.piped is not None:
        return QueryResult(columns, result.piped)
    values: Sequence[Sequence[Any]] = list(zip(*result.rows, strict=True)) or [()] * len(columns)
    arrays = [_array(column.type, cells) for column, cells in zip(columns, values, strict=True)]
    return QueryResult(columns, pa.table(arrays, names=[column.name for column in columns]))


def _array(kind: ScalarType, cells: Sequence[Any]) -> pa.Array:
    values: list[Any] = list(cells)
    if kind is ScalarType.DATETIME:
        values = [_without_zone(value) for value in values]
    elif kind is ScalarType.STRING:
        values = ["" if value is None else str(value) for value in values]
    return pa.array(values, RESULT_TYPES[kind])


def _without_zone(value: datetime | None) -> datetime | None:
    """UTC by definition, hence no zone."""
    return (
        value
        if value is None or value.tzinfo is None
        else value.astimezone(UTC).replace(tzinfo=None)
    )
