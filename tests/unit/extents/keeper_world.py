"""A keeper on a real catalog file, a real local root, and row stores in memory that can crash.

The row stores hold what a log would: a crash forgets only what was not "durable", which here is
nothing, so that what the keeper does with rows is all there is to see.
"""

from __future__ import annotations

import itertools
import random
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import CreateTable, SetTableStreamingPolicy
from cluster.catalog.driver import Catalog
from cluster.catalog.model import Column, RowStoreKey, ScalarType, StreamingIngestionPolicy
from cluster.extents.copies import Place
from cluster.extents.disk import LocalRoot
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.worker import Threads
from cluster.extents.writer import ExtentWriter
from cluster.limits import LIMITS
from cluster.replication.position import START, KeyPosition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from cluster.extents.keeping import CrashPoint

N = Column("n", ScalarType.LONG)
NAME = Column("name", ScalarType.STRING)
DATABASE = "Shop"
DAY_US = 24 * 3600 * 1_000_000
START_US = 1_700_000_000_000_000
ON = StreamingIngestionPolicy(True)


class Crash(BaseException):
    """The process dies here."""


class TestClock:
    __test__ = False

    def __init__(self) -> None:
        self.us = START_US

    def now_ns(self) -> int:
        return self.us * 1000

    def monotonic(self) -> float:
        return self.us / 1e6


@dataclass
class Record:
    batch: pa.RecordBatch
    version: int
    us: int
    position: KeyPosition


@dataclass(frozen=True)
class FakeRows:
    records: tuple[Record, ...]
    first_ordinal: int
    position: KeyPosition

    @property
    def batches(self):
        return tuple(record.batch for record in self.records)

    @property
    def schema_versions(self):
        return tuple(record.version for record in self.records)

    def ingestion_times(self):
        times = [record.us for record in self.records for _ in range(record.batch.num_rows)]
        return pa.array(times, pa.timestamp("us"))


@dataclass(frozen=True)
class FakeUnsealed:
    rows: int
    bytes: int
    oldest_ingest_us: int
    position: KeyPosition


@dataclass
class FakeRowStores:
    """Rows by key; survives a crash, as a log does. ``floors`` are what the keeper advanced to."""

    records: dict[RowStoreKey, list[Record]] = field(default_factory=dict)
    floors: dict[RowStoreKey, KeyPosition] = field(default_factory=dict)
    bytes_a_row: int = 100

    def put(self, key, batch, us, version=0):
        before = self.position_of([key])[key]
        after = KeyPosition(
            before.ordinal + batch.num_rows,
            xxh3_64_intdigest(batch.serialize().to_pybytes(), seed=before.checksum),
        )
        self.records.setdefault(key, []).append(Record(batch, version, us, after))

    def position_of(self, keys):
        return {
            key: self.records[key][-1].position
            if self.records.get(key)
            else self.floors.get(key, START)
            for key in keys
        }

    def rows(self, key, from_ordinal=0):
        kept = tuple(r for r in self.records.get(key, ()) if r.position.ordinal > from_ordinal)
        first = kept[0].position.ordinal - kept[0].batch.num_rows if kept else from_ordinal
        assert first == from_ordinal, "rows are read from a record boundary that is still there"
        return FakeRows(kept, from_ordinal, self.position_of([key])[key])

    def unsealed(self, keys):
        found = {}
        for key in keys:
            records = self.records.get(key)
            if records:
                count = sum(record.batch.num_rows for record in records)
                found[key] = FakeUnsealed(
                    count, count * self.bytes_a_row, records[0].us, records[-1].position
                )
        return found

    def advance(self, key, position):
        self.floors[key] = position
        kept = [r for r in self.records.get(key, ()) if r.position.ordinal > position.ordinal]
        self.records[key] = kept


class World:
    """What survives a crash: the catalog's file, the root's folder and the row stores."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.folder = folder
        self.clock = TestClock()
        self.row_stores = FakeRowStores()
        self.limits = LIMITS.__class__(row_stores=1, **limits)
        self.mint = itertools.count(1).__next__
        self.rng = random.Random(7)
        self.numbers = itertools.count()
        self.at_points: list[CrashPoint] = []
        self.crash_at: CrashPoint | None = None
        self.data_operations = []
        self.reports = []
        self.acknowledged = None
        self.on_point = None
        self.catalog: Catalog
        self.keeper: ExtentKeeper

    async def at(self, point: CrashPoint) -> None:
        self.at_points.append(point)
        if point == self.crash_at:
            self.crash_at = None
            raise Crash
        if self.on_point is not None:
            await self.on_point(point)

    @contextmanager
    def dies(self, point: CrashPoint) -> Iterator[None]:
        """The process dies at this point of what the block does."""
        self.crash_at = point
        with pytest.raises((Crash, BaseExceptionGroup)) as caught:
            yield
        group = caught.value
        crashes = group.split(Crash)[1] is None if isinstance(group, BaseExceptionGroup) else True
        assert crashes, group
        assert self.crash_at is None, "the point was reached"

    def make_root(self) -> LocalRoot:
        return LocalRoot(
            self.folder / "extents", limits=self.limits, threads=Threads(blocks=False, count=1)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ExtentKeeper]:
        """One life of the process; on a start the floors in the tree are what the log goes by."""
        async with await Catalog.open(
            self.folder / "catalog", clock=self.clock, mint=self.mint, limits=self.limits
        ) as catalog:
            self.catalog = catalog
            self.root = self.make_root()
            for table in catalog.tables_by_key().values():
                for reference in table.references:
                    position = KeyPosition(reference.sealed_ordinal, reference.sealed_checksum)
                    if position.ordinal:
                        self.row_stores.advance(reference.key, position)
            self.writer = ExtentWriter(
                root_of=lambda _: self.root,
                work=self.folder / "work",
                rng=self.rng,
                limits=self.limits,
                blocks=False,
            )
            self.files = ExtentFiles(
                place_of=lambda _: Place(self.root, in_place=True),
                cache=self.folder / "cache",
                limits=self.limits,
                blocks=False,
            )
            self.keeper = ExtentKeeper(
                catalog,
                self.row_stores,
                self.writer,
                self.files,
                lambda _: self.root,
                clock=self.clock,
                limits=self.limits,
                acknowledged=lambda _: self.acknowledged,
                on_report=self.reports.append,
                on_data_operation=self.data_operations.append,
                at=self.at,
            )
            yield self.keeper

    async def create(self, *tables: str) -> None:
        """The database, and tables with streaming enabled."""
        await self.catalog.create_database(DATABASE, if_not_exists=True)
        for name in tables:
            create = CreateTable(name, self.catalog.new_id(), self.catalog.new_key(), (N, NAME))
            await self.catalog.commit(
                DATABASE, [create, SetTableStreamingPolicy(name, ON)], text=""
            )

    def table(self, name: str = "T"):
        return self.catalog.get(DATABASE).tables[name]

    def stream(self, count: int, table: str = "T", *, reference: int = 0) -> list[int]:
        """Streams rows; returns their numbers, each used once in this world."""
        found = self.table(table)
        numbers = list(itertools.islice(self.numbers, count))
        columns = [pa.array(numbers, pa.int64()), pa.array([f"row {n}" for n in numbers])]
        batch = pa.RecordBatch.from_arrays(columns, schema=arrow_schema((N, NAME)))
        self.clock.us += 1
        key = found.references[reference].key
        self.row_stores.put(key, batch, self.clock.us)
        return numbers

    async def rows(self, table: str = "T") -> list[int]:
        """Every ``n`` a query would count now, sorted: sealed and streamed."""
        found = self.table(table)
        numbers = [n for n, _, _ in await self.sealed(table)]
        for reference in found.references:
            rows = self.row_stores.rows(reference.key, reference.sealed_ordinal)
            for batch in rows.batches:
                numbers.extend(batch.column(0).to_pylist())
        return sorted(numbers)

    async def sealed(self, table: str = "T") -> list[tuple]:
        """All rows in extents, with their ingestion time last."""
        found = self.table(table)
        rows = []
        database = self.catalog.get(DATABASE)
        extents = list(found.extents.values())
        async with self.files.acquire(database, extents) as paths:
            for extent in extents:
                path = paths[extent.file]
                for batch in read_extent(path, extent, found, with_ingestion_time=True):
                    rows.extend(zip(*(c.to_pylist() for c in batch.columns), strict=True))
        return rows

    async def files_in_root(self) -> list[str]:
        return [item.name for item in await self.root.list()]

    def extents(self, table: str = "T") -> list:
        return list(self.table(table).extents.values())
