"""Statistics of extent files: bounds and nulls a column, kept in the file's footer (pure).

Bounds are in the storage domain of a column's type::

    bool bool    int, long int    real float    decimal Decimal    string str
    guid bytes, 16    datetime, timespan int, microseconds    dynamic: no bounds

Long strings are cut, outwards: a bound may lie beyond the values, never inside. A bound that is
None is not known. ``real`` columns with a NaN have none, since engines order NaN differently.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from cluster.catalog.model import ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Value: TypeAlias = bool | int | float | str | bytes | Decimal
"""One value in the storage domain of its type."""


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column of a file: its name and type there, bounds of what is not null, and the nulls."""

    name: str
    type: ScalarType
    minimum: Value | None
    maximum: Value | None
    null_count: int


@dataclass(frozen=True, slots=True)
class ExtentStatistics:
    """What the footer of an extent file says. ``columns`` are in the order of the file.

    The hidden column of ingestion times is not among them: its bounds are in the Extent.
    """

    row_count: int
    columns: tuple[ColumnStatistics, ...]


class StatisticsCollector:
    """Gathers the statistics of a file while its row groups are written."""

    def __init__(self, names: Sequence[str], types: Sequence[ScalarType], characters: int) -> None:
        self._names = tuple(names)
        self._types = tuple(types)
        self._characters = characters
        self._row_count = 0
        self._nulls = [0] * len(self._types)
        self._bounds: list[tuple[Value, Value] | None] = [None] * len(self._types)
        self._unbounded = {
            position for position, kind in enumerate(types) if kind is ScalarType.DYNAMIC
        }

    def add(self, rows: pa.Table) -> None:
        """Takes one row group, in memory types; columns after those named are ignored."""
        self._row_count += rows.num_rows
        for position, kind in enumerate(self._types):
            column = rows.column(position)
            self._nulls[position] += column.null_count
            if position not in self._unbounded:
                self._add_bounds(position, kind, column)

    def _add_bounds(self, position: int, kind: ScalarType, column: pa.ChunkedArray) -> None:
        if kind is ScalarType.REAL and pc.any(pc.is_nan(column)).as_py():
            self._unbounded.add(position)
            return
        found = bounds_of(kind, column)
        if found is None:
            return
        low, high = found
        if isinstance(low, str) and isinstance(high, str):
            low = low[: self._characters]
            cut = _upper_cut(high, self._characters)
            if cut is None:
                self._unbounded.add(position)
                return
            high = cut
        known = self._bounds[position]
        if known is not None:
            low, high = min(low, known[0]), max(high, known[1])
        self._bounds[position] = low, high

    def collected(self) -> ExtentStatistics:
        """The statistics of everything added."""
        columns = []
        for position, kind in enumerate(self._types):
            bounds = None if position in self._unbounded else self._bounds[position]
            low, high = bounds if bounds is not None else (None, None)
            nulls = self._nulls[position]
            columns.append(ColumnStatistics(self._names[position], kind, low, high, nulls))
        return ExtentStatistics(self._row_count, tuple(columns))


def bounds_of(kind: ScalarType, column: pa.ChunkedArray) -> tuple[Value, Value] | None:
    """Least and greatest value of a column in memory; None if all are null."""
    if kind in (ScalarType.DATETIME, ScalarType.TIMESPAN):
        chunks = [chunk.view(pa.int64()) for chunk in column.chunks]
        column = pa.chunked_array(chunks, type=pa.int64())
    elif kind is ScalarType.GUID:
        column = column.cast(pa.binary())
    found = pc.min_max(column).as_py()
    return None if found["min"] is None else (found["min"], found["max"])


def _upper_cut(text: str, characters: int) -> str | None:
    """The shortest simple text that is not below ``text`` and has at most so many characters."""
    if len(text) <= characters:
        return text
    for end in range(characters, 0, -1):
        successor = ord(text[end - 1]) + 1
        if successor == 0xD800:  # surrogates are no characters
            successor = 0xE000
        if successor <= 0x10FFFF:
            return text[: end - 1] + chr(successor)
    return None


_ENCODE: Final[Mapping[ScalarType, Callable[[Value], object]]] = {
    ScalarType.REAL: lambda value: float(value).hex(),
    ScalarType.DECIMAL: str,
    ScalarType.GUID: lambda value: value.hex(),  # type: ignore[union-attr]
}
_DECODE: Final[Mapping[ScalarType, Callable[[str], Value]]] = {
    ScalarType.REAL: float.fromhex,
    ScalarType.DECIMAL: Decimal,
    ScalarType.GUID: bytes.fromhex,
}


def encode_statistics(statistics: ExtentStatistics) -> str:
    """The JSON text that :func:`decode_statistics` reads."""
    columns = []
    for column in statistics.columns:
        encode = _ENCODE.get(column.type, _same)
        bounds = [
            None if value is None else encode(value) for value in (column.minimum, column.maximum)
        ]
        columns.append([column.name, column.type.value, *bounds, column.null_count])
    return json.dumps({"rows": statistics.row_count, "columns": columns}, ensure_ascii=False)


def _same(value: Value) -> Value:
    return value


def decode_statistics(text: str) -> ExtentStatistics:
    """Reads what :func:`encode_statistics` wrote. Raises ValueError if it is anything else."""
    try:
        content = json.loads(text)
        columns = []
        for name, kind, low, high, nulls in content["columns"]:
            scalar = ScalarType(kind)
            decode = _DECODE.get(scalar, _same)
            bounds = [None if value is None else decode(value) for value in (low, high)]
            columns.append(ColumnStatistics(name, scalar, bounds[0], bounds[1], nulls))
        return ExtentStatistics(content["rows"], tuple(columns))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"these are no statistics of an extent: {error}") from error


class StatisticsCache:
    """Statistics of the files used last, a bounded number of them."""

    def __init__(self, entries: int) -> None:
        self._limit = entries
        self._entries: OrderedDict[str, ExtentStatistics] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, file: str) -> ExtentStatistics | None:
        """What is remembered of a file."""
        found = self._entries.get(file)
        if found is not None:
            self._entries.move_to_end(file)
        return found

    def put(self, file: str, statistics: ExtentStatistics) -> None:
        """Remembers; forgets the file not used for longest if there are too many."""
        self._entries[file] = statistics
        self._entries.move_to_end(file)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def forget(self, file: str) -> None:
        """Forgets one file, if it is remembered."""
        self._entries.pop(file, None)
