"""Which extents can hold a row that a query wants (pure).

A query's conditions, joined by *and*, are given as :class:`Conjunct` values; whatever cannot be
expressed so is left out. The answer "no" is certain; "maybe" costs only time.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.catalog.model import Column, Extent
    from cluster.extents.stats import ExtentStatistics, Value

INGESTION_TIME_ID: Final = -1
"""Stands for ``ingestion_time()`` as :attr:`Conjunct.column_id`; values are microseconds."""


class Comparison(enum.Enum):
    """What a conjunct asks of a column. Text is compared by code points, case matters."""

    EQUAL = "=="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    STARTS_WITH = "startswith_cs"
    IS_NULL = "isnull"
    IS_NOT_NULL = "isnotnull"


@dataclass(frozen=True, slots=True)
class Conjunct:
    """Column ``column_id`` of the table compares so with *one of* the values.

    ``x in (1, 2)`` is EQUAL with two values. Values are in the storage domain of the column's type
    (``stats.py``); IS_NULL and IS_NOT_NULL have none. A row whose column is null matches only
    IS_NULL.
    """

    column_id: int
    comparison: Comparison
    values: tuple[Value, ...] = ()


def may_match(
    conjuncts: Iterable[Conjunct],
    extent: Extent,
    statistics: ExtentStatistics | None,
    columns: Mapping[int, Column],
) -> bool:
    """False only if no row of the extent matches all conjuncts.

    ``statistics`` are those of the extent's file, None if not at hand; ``columns`` the columns in
    force by id. A column that the extent does not have reads null, a ``string`` "".
    """
    return all(_may_match(conjunct, extent, statistics, columns) for conjunct in conjuncts)


def _may_match(
    conjunct: Conjunct,
    extent: Extent,
    statistics: ExtentStatistics | None,
    columns: Mapping[int, Column],
) -> bool:
    if conjunct.column_id == INGESTION_TIME_ID:
        if extent.ingested_min_us is None:
            return conjunct.comparison is Comparison.IS_NULL
        varies = extent.ingested_min_us != extent.ingested_max_us  # then some may be null
        return _compare(conjunct, extent.ingested_min_us, extent.ingested_max_us, int(varies), 2)
    if conjunct.column_id not in extent.column_ids:
        column = columns.get(conjunct.column_id)
        if column is None:
            return True
        if column.type is ScalarType.STRING:
            return _compare(conjunct, "", "", 0, 1)
        return conjunct.comparison is Comparison.IS_NULL
    if statistics is None:
        return True
    found = statistics.columns[extent.column_ids.index(conjunct.column_id)]
    return _compare(conjunct, found.minimum, found.maximum, found.null_count, statistics.row_count)


def _compare(
    conjunct: Conjunct, low: Value | None, high: Value | None, null_count: int, row_count: int
) -> bool:
    if conjunct.comparison is Comparison.IS_NULL:
        return null_count > 0
    if null_count == row_count:
        return False
    if conjunct.comparison is Comparison.IS_NOT_NULL or low is None or high is None:
        return True
    return any(_one_may_match(conjunct.comparison, low, high, value) for value in conjunct.values)


def _one_may_match(comparison: Comparison, low: Value, high: Value, value: Value) -> bool:
    comparable = _comparable(low, high, value)
    return True if comparable is None else _RULES[comparison](*comparable)


def _comparable(low: Value, high: Value, value: Value) -> tuple[Value, Value, Value] | None:
    """The three in one domain, or None if they have none: then nothing can be told."""
    if isinstance(value, str | bytes) or isinstance(low, str | bytes):
        return (low, high, value) if type(value) is type(low) else None
    if isinstance(value, float) or isinstance(low, float):
        # Engines compare an integer with a real as reals. Rounding keeps the order, so bounds
        # rounded alike still enclose.
        try:
            low, high, value = float(low), float(high), float(value)
        except OverflowError:
            return None
        return None if math.isnan(value) else (low, high, value)
    return low, high, value


def _prefix(low: Value, high: Value, value: Value) -> bool:
    if not (isinstance(low, str) and isinstance(high, str) and isinstance(value, str)):
        return True
    return low[: len(value)] <= value <= high


_RULES: Final[Mapping[Comparison, Callable[[Value, Value, Value], bool]]] = {
    Comparison.EQUAL: lambda low, high, value: low <= value <= high,  # type: ignore[operator]
    Comparison.LESS: lambda low, _, value: low < value,  # type: ignore[operator]
    Comparison.LESS_OR_EQUAL: lambda low, _, value: low <= value,  # type: ignore[operator]
    Comparison.GREATER: lambda _, high, value: high > value,  # type: ignore[operator]
    Comparison.GREATER_OR_EQUAL: lambda _, high, value: high >= value,  # type: ignore[operator]
    Comparison.STARTS_WITH: _prefix,
}


def columns_by_id(columns: Sequence[Column], column_ids: Sequence[int]) -> dict[int, Column]:
    """The ``columns`` argument of :func:`may_match` for a table's schema in force."""
    return dict(zip(column_ids, columns, strict=True))
