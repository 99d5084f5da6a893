"""Sizes of tables and databases, from their extents. Pure.

Rows that are still in a row store are in no extent and are not counted, as in Kusto, whose figures
are of extents. There are no indexes beside the columns' own: ``IndexSize`` is 0 and
``CompressedSize`` is ``ExtentSize``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.policies import caching_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.catalog.model import Database, Extent, Table


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sums over extents; sizes in bytes. Times are of creation, None without extents."""

    extents: int = 0
    extent_bytes: int = 0
    original_bytes: int = 0
    rows: int = 0
    created_min_us: int | None = None
    created_max_us: int | None = None

    def __add__(self, other: Sizes) -> Sizes:
        created = [t for t in (self.created_min_us, other.created_min_us) if t is not None]
        newest = [t for t in (self.created_max_us, other.created_max_us) if t is not None]
        return Sizes(
            self.extents + other.extents,
            self.extent_bytes + other.extent_bytes,
            self.original_bytes + other.original_bytes,
            self.rows + other.rows,
            min(created, default=None),
            max(newest, default=None),
        )


def sizes_of(extents: Iterable[Extent]) -> Sizes:
    """Of these extents together."""
    count = size = original = rows = 0
    oldest: int | None = None
    newest: int | None = None
    for extent in extents:
        count += 1
        size += extent.file_bytes
        original += extent.original_bytes
        rows += extent.row_count
        first, last = extent.created_min_us, extent.created_max_us
        oldest = first if oldest is None else min(oldest, first)
        newest = last if newest is None else max(newest, last)
    return Sizes(count, size, original, rows, oldest, newest)


def table_sizes(database: Database, table: Table, now_us: int) -> tuple[Sizes, Sizes]:
    """Of all extents of a table, and of those that its caching policy keeps hot."""
    policy = caching_of(database, table)
    extents = table.extents.values()
    hot = (extent for extent in extents if policy.is_hot(extent.created_max_us, now_us))
    return sizes_of(extents), sizes_of(hot)


def database_sizes(database: Database, now_us: int) -> tuple[Sizes, Sizes]:
    """Of all extents of all tables, and of the hot ones."""
    everything, hot = Sizes(), Sizes()
    for table in database.tables.values():
        whole, warm = table_sizes(database, table, now_us)
        everything, hot = everything + whole, hot + warm
    return everything, hot
