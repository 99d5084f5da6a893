"""What decoding must know of one table in one schema version. Built once, used for every group.

With a mapping there are two tables: the one that is read, whose columns are what the mapping takes
from fields, and the one that is stored. :class:`TablePlan` is of the first,
:mod:`cluster.ingest.arrangement` makes the second of it. Without a mapping they are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import ScalarType
from cluster.ingest import refusals
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.text import converters
from cluster.ingest.transforms import is_unix, unix_converter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cluster.catalog.model import Column
    from cluster.ingest.mappings import ColumnMapping, Path, Transform
    from cluster.limits import Limits

TEXT_TYPES: Final = frozenset({ScalarType.STRING, ScalarType.DYNAMIC})
"""Types whose values ``limits.string_value_bytes`` bounds."""

LARGEST_ESCAPE_BYTES: Final = 6
"""``\\u0000``: how much longer text can get when it becomes a JSON string."""


class TablePlan:
    """Columns, their Arrow types and their converters, side by side.

    ``missing[i]`` stands for an empty or absent value of column i: null, or the empty string.
    ``fields[i]`` is where it is read from; None: by position, or by name, with every record having
    exactly the table's fields. ``is_lenient``: a value that its column cannot hold is missing, and
    a longer string than the limit is cut, as batch ingestion does; else such a payload is refused.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        limits: Limits,
        database: str,
        table: str,
        *,
        fields: tuple[ColumnMapping, ...] | None = None,
        is_lenient: bool = False,
    ) -> None:
        if not columns:
            raise ValueError("a table has at least one column")
        by_type = converters(limits.json_depth)
        self.columns: tuple[Column, ...] = tuple(columns)
        self.limits = limits
        self.database = database
        self.table = table
        self.is_lenient = is_lenient
        self.fields = fields
        self.schema: pa.Schema = arrow_schema(columns)
        self.types: list[pa.DataType] = list(self.schema.types)
        self.converters: list[Callable[[str], Any]] = [by_type[c.type] for c in columns]
        self.missing: list[str | None] = [
            "" if column.type is ScalarType.STRING else None for column in columns
        ]
        for index, field in enumerate(fields or ()):
            if field.transform is not None and is_unix(field.transform):
                self.converters[index] = unix_converter(
                    field.transform, columns[index].type, self.converters[index]
                )
        self._text_columns = [i for i, c in enumerate(columns) if c.type in TEXT_TYPES]

    @property
    def ordinals(self) -> tuple[int, ...] | None:
        """The fields of a delimited record that are read; None: all, in order, and no others."""
        if self.fields is None:
            return None
        return tuple(0 if field.ordinal is None else field.ordinal for field in self.fields)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where in a document each column is read from."""
        if self.fields is None:
            return tuple((column.name,) for column in self.columns)
        return tuple(() if field.path is None else field.path for field in self.fields)

    @property
    def transforms(self) -> tuple[Transform | None, ...]:
        """What happens to the value of each column."""
        if self.fields is None:
            return (None,) * len(self.columns)
        return tuple(field.transform for field in self.fields)

    def only(self, indexes: Sequence[int]) -> TablePlan:
        """The plan of some of its columns."""
        return TablePlan(
            [self.columns[index] for index in indexes],
            self.limits,
            self.database,
            self.table,
            fields=None if self.fields is None else tuple(self.fields[i] for i in indexes),
            is_lenient=self.is_lenient,
        )

    def converted(
        self, index: int, convert: Callable[[Any], Any], values: Iterable[Any]
    ) -> pa.Array:
        """A column of converted values.

        Raises WrongValueError for the first that does not convert, unless the plan is lenient.
        """
        found: list[Any] = []
        left = iter(values)
        while True:
            try:
                for value in left:
                    found.append(convert(value))  # noqa: PERF401 - counts
                break
            except (ValueError, OverflowError) as error:
                if not self.is_lenient:
                    raise WrongValueError(len(found), index, error) from error
                found.append(self.missing[index])
        return pa.array(found, type=self.types[index])

    def decline_large_values(self, batch: pa.RecordBatch, source_bytes: int) -> None:
        """Raises DeclinedError if a value is over the limit.

        ``source_bytes``, the size of the text they came from, says when none can be.
        """
        if source_bytes * LARGEST_ESCAPE_BYTES <= self.limits.string_value_bytes:
            return
        for _ in self._large_values(batch):
            raise DeclinedError

    def bound_large_values(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with no value over the limit: cut if the plan is lenient.

        Else raises PayloadTooLargeError for the first record with one.
        """
        large = list(self._large_values(batch))
        if not large:
            return batch
        limit = self.limits.string_value_bytes
        if not self.is_lenient:
            record, index, size = min(large)
            raise refusals.value_too_large(record + 1, self.columns[index], size, limit)
        arrays = list(batch.columns)
        for _, index, _ in large:
            arrays[index] = self._cut(index, arrays[index])
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def _cut(self, index: int, array: pa.Array) -> pa.Array:
        """Long strings cut at a character; a cut document is none, so long dynamics are null."""
        limit = self.limits.string_value_bytes
        if self.columns[index].type is ScalarType.DYNAMIC:
            small = pc.less_equal(pc.binary_length(array), limit)
            return pc.if_else(small, array, pa.scalar(None, array.type))
        values = [value.encode()[:limit].decode(errors="ignore") for value in array.to_pylist()]
        return pa.array(values, type=array.type)

    def _large_values(self, batch: pa.RecordBatch) -> Iterator[tuple[int, int, int]]:
        """The first value over the limit of each column: (record, column, bytes)."""
        limit = self.limits.string_value_bytes
        for index in self._text_columns:
            sizes = pc.binary_length(batch.column(index))
            largest = pc.max(sizes).as_py()
            if largest is not None and largest > limit:
                record = pc.index(pc.greater(sizes, limit), True).as_py()
                yield record, index, sizes[record].as_py()


class WrongValueError(Exception):
    """The value of ``record`` (from 0) in ``column`` does not convert. Stays in this package."""

    def __init__(self, record: int, index: int, reason: Exception) -> None:
        super().__init__(record, index)
        self.record = record
        self.index = index
        self.reason = reason
