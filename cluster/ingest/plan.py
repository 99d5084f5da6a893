"""What decoding must know of one table in one schema version. Built once, used for every group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import ScalarType
from cluster.ingest import refusals
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.text import converters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cluster.catalog.model import Column
    from cluster.limits import Limits

TEXT_TYPES: Final = frozenset({ScalarType.STRING, ScalarType.DYNAMIC})
"""Types whose values ``limits.string_value_bytes`` bounds."""

LARGEST_ESCAPE_BYTES: Final = 6
"""``\\u0000``: how much longer text can get when it becomes a JSON string."""


class TablePlan:
    """Columns, their Arrow types and their converters, side by side.

    ``missing[i]`` stands for an empty or absent value of column i: null, or the empty string.
    """

    def __init__(
        self, columns: Sequence[Column], limits: Limits, database: str, table: str
    ) -> None:
        if not columns:
            raise ValueError("a table has at least one column")
        by_type = converters(limits.json_depth)
        self.columns: tuple[Column, ...] = tuple(columns)
        self.limits = limits
        self.database = database
        self.table = table
        self.schema: pa.Schema = arrow_schema(columns)
        self.types: list[pa.DataType] = list(self.schema.types)
        self.converters: list[Callable[[str], Any]] = [by_type[c.type] for c in columns]
        self.missing: list[str | None] = [
            "" if column.type is ScalarType.STRING else None for column in columns
        ]
        self._text_columns = [i for i, c in enumerate(columns) if c.type in TEXT_TYPES]

    def decline_large_values(self, batch: pa.RecordBatch, source_bytes: int) -> None:
        """Raises DeclinedError if a value is over the limit.

        ``source_bytes``, the size of the text they came from, says when none can be.
        """
        if source_bytes * LARGEST_ESCAPE_BYTES <= self.limits.string_value_bytes:
            return
        for _ in self._large_values(batch):
            raise DeclinedError

    def refuse_large_values(self, batch: pa.RecordBatch) -> None:
        """Raises PayloadTooLargeError for the first record with a value over the limit."""
        first = min(self._large_values(batch), default=None)
        if first is not None:
            record, index, size = first
            limit = self.limits.string_value_bytes
            raise refusals.value_too_large(record + 1, self.columns[index], size, limit)

    def _large_values(self, batch: pa.RecordBatch) -> Iterator[tuple[int, int, int]]:
        """The first value over the limit of each column: (record, column, bytes)."""
        limit = self.limits.string_value_bytes
        for index in self._text_columns:
            sizes = pc.binary_length(batch.column(index))
            largest = pc.max(sizes).as_py()
            if largest is not None and largest > limit:
                record = pc.index(pc.greater(sizes, limit), True).as_py()
                yield record, index, sizes[record].as_py()
