"""A catalog in a file, on a clock that stands still, and a leader's tree for it to follow."""

from __future__ import annotations

import itertools

from cluster.catalog.changes import CreateTable, apply
from cluster.catalog.driver import Catalog
from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
)
from cluster.limits import LIMITS

A = Column("a", ScalarType.LONG)
ON = StreamingIngestionPolicy(True)
LEADER_TREE = apply(
    Database("Sales", "leader-guid"), [CreateTable("T", "id", RowStoreKey(77), (A,))], LIMITS
)


class FixedClock:
    def now_ns(self):
        return 1_700_000_000_000_000_000

    def monotonic(self):
        return 0.0


async def open_catalog(path, limits=LIMITS):
    return await Catalog.open(
        path, clock=FixedClock(), mint=itertools.count(1).__next__, limits=limits
    )


async def create_table(catalog, name, database="NetDefaultDB"):
    change = CreateTable(name, catalog.new_id(), catalog.new_key(), (A,))
    return await catalog.commit(database, [change], text=f".create table {name} (a:long)")


def extent(extent_id, file=None, **fields):
    """An extent of one row of a table with one column."""
    values = {
        "file_bytes": 1000,
        "file_checksum": 2**64 - 1,
        "column_ids": (0,),
        "row_count": 1,
        "original_bytes": 10,
        "created_min_us": 1,
        "created_max_us": 1,
        **fields,
    }
    return Extent(extent_id=extent_id, file=file or f"{extent_id}.parquet", **values)
