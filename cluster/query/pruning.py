"""Which extents a query can leave out: its filters as conjuncts over column ids. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from cluster.catalog.model import ScalarType
from cluster.extents.pruning import (
    INGESTION_TIME_ID,
    Comparison,
    Conjunct,
    columns_by_id,
    may_match,
)
from cluster.query.translation import INGESTION_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from cluster.catalog.model import Database, Extent, Table
    from cluster.extents.stats import ExtentStatistics
    from cluster.query.translation import Filter, TableUse


class ExtentSource(Protocol):
    """Files of extents and what is known of them: :class:`cluster.extents.files.ExtentFiles`."""

    def acquire(
        self, database: Database, extents: Iterable[Extent]
    ) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """Holds files; local paths by ``Extent.file``."""

    async def statistics_of(
        self, database: Database, extents: Iterable[Extent]
    ) -> Mapping[str, ExtentStatistics]:
        """Statistics by ``Extent.file``, where they are at hand."""


Groups = tuple[tuple[Conjunct, ...], ...]


def conjunct_groups(table: Table, use: TableUse, now_us: int) -> Groups:
    """The filters of each place that reads the table, at the time of the query."""
    ids = {
        column.name: (identity, column.type)
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
    }
    ids[INGESTION_TIME] = (INGESTION_TIME_ID, ScalarType.DATETIME)
    return tuple(
        tuple(_conjunct(one, *ids[one.column], now_us) for one in group) for group in use.filters
    )


def _conjunct(one: Filter, identity: int, kind: ScalarType, now_us: int) -> Conjunct:
    values = one.values
    if one.relative:
        values = tuple(now_us + int(value) for value in values)
    if kind is ScalarType.DECIMAL:
        return Conjunct(identity, Comparison(one.comparison), tuple(map(_decimal, values)))
    return Conjunct(identity, Comparison(one.comparison), values)


def _decimal(value: float | str) -> Decimal | float:
    return Decimal(value) if isinstance(value, int) else float(value)


def holding(
    groups: Groups,
    table: Table,
    extents: Iterable[Extent],
    statistics: Mapping[str, ExtentStatistics],
) -> tuple[Extent, ...]:
    """Those extents that can have a row of which some place of the query has a use."""
    columns = columns_by_id(table.columns, table.column_ids[-1])
    return tuple(
        extent
        for extent in extents
        if any(may_match(group, extent, statistics.get(extent.file), columns) for group in groups)
    )
