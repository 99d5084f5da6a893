"""With a mapping: from the columns that are read to the columns that are stored. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES, arrow_schema
from cluster.catalog.model import Column, ScalarType
from cluster.ingest import refusals
from cluster.ingest.mappings import ColumnMapping, MappingKind, Transform, check_schema
from cluster.ingest.plan import TablePlan
from cluster.ingest.text import converters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.ingest.mappings import IngestionPlan
    from cluster.limits import Limits

_NO_FIELD: Final = Column("", ScalarType.STRING)
"""Read when a mapping takes nothing from fields, because records must still be counted."""


class Arrangement:
    """From the columns that are read to the columns that are stored, in the table's order.

    ``read`` is the plan of the first. A constant is converted once; one that its column cannot
    hold raises MappingInconsistentError.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        mapping: IngestionPlan,
        limits: Limits,
        database: str,
        table: str,
        *,
        location: str = "",
        is_lenient: bool = False,
        name: str = "",
    ) -> None:
        check_schema(mapping, columns, name)
        self.schema: pa.Schema = arrow_schema(columns)
        by_name = {item.column: item for item in mapping.columns}
        by_type = converters(limits.json_depth)
        fields: list[ColumnMapping] = []
        read: list[Column] = []
        self._read_at: dict[int, int] = {}
        self._constants: dict[int, pa.Scalar] = {}
        self._line_columns: dict[int, ScalarType] = {}
        for index, column in enumerate(columns):
            item = by_name.get(column.name)
            if item is not None and (item.ordinal is not None or item.path is not None):
                self._read_at[index] = len(read)
                read.append(column)
                fields.append(item)
            elif item is not None and item.transform is Transform.SOURCE_LINE_NUMBER:
                self._line_columns[index] = column.type
            else:
                text = location if item is not None and item.transform else None
                text = item.constant if item is not None and item.constant else text
                self._constants[index] = _constant(column, text, by_type[column.type], name)
        if not read:
            read.append(_NO_FIELD)
            empty_path = None if mapping.kind is MappingKind.CSV else ()
            fields.append(ColumnMapping("", ordinal=0, path=empty_path))
        self.read = TablePlan(
            read, limits, database, table, fields=tuple(fields), is_lenient=is_lenient
        )

    def arrange(
        self, batch: pa.RecordBatch, row_counts: Sequence[int], first_line: int = 1
    ) -> pa.RecordBatch:
        """The rows as they are stored; each source's lines count from ``first_line``."""
        count = batch.num_rows
        arrays: list[pa.Array] = []
        for index, field in enumerate(self.schema):
            read_at = self._read_at.get(index)
            if read_at is not None:
                arrays.append(batch.column(read_at))
            elif index in self._line_columns:
                lines = [
                    line for rows in row_counts for line in range(first_line, first_line + rows)
                ]
                numbers = pa.array(lines, type=pa.int64())
                arrays.append(_as_column(numbers, self._line_columns[index], field.type))
            else:
                arrays.append(pa.repeat(self._constants[index], count))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _as_column(numbers: pa.Array, kind: ScalarType, arrow_type: pa.DataType) -> pa.Array:
    if kind in {ScalarType.DATETIME, ScalarType.TIMESPAN, ScalarType.GUID, ScalarType.BOOL}:
        return pa.nulls(len(numbers), arrow_type)
    return numbers.cast(arrow_type)


def _constant(
    column: Column, text: str | None, convert: Callable[[str], Any], mapping: str
) -> pa.Scalar:
    arrow_type = ARROW_TYPES[column.type]
    if not text:
        return pa.scalar("" if column.type is ScalarType.STRING else None, arrow_type)
    try:
        return pa.scalar(convert(text), arrow_type)
    except (ValueError, OverflowError, pa.ArrowInvalid) as error:
        raise refusals.wrong_constant(column, text, str(error), mapping) from None
