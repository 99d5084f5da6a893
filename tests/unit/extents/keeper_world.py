"""A keeper on a real catalog, real row stores on a fake disk, and a storage root that can fail.

What survives the end of :meth:`World.running` is what a process leaves behind when it dies: the
catalog's file, what was synced to the disk, and the objects of the root.
"""

from __future__ import annotations

import itertools
import random
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import CreateTable, SetTableStreamingPolicy
from cluster.catalog.driver import Catalog
from cluster.catalog.model import Column, ScalarType, StreamingIngestionPolicy
from cluster.extents.copies import Place
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.writer import ExtentWriter
from cluster.limits import LIMITS
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.stores import RowStores
from cluster.testing.disk import FakeDisk
from cluster.testing.root import FakeRoot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cluster.extents.keeping import CrashPoint

N = Column("n", ScalarType.LONG)
NAME = Column("name", ScalarType.STRING)
DATABASE = "Shop"
DAY_US = 24 * 3600 * 1_000_000
START_US = 1_700_000_000_000_000
ON = StreamingIngestionPolicy(True)
OFF = StreamingIngestionPolicy(False)


class Crash(BaseException):
    """The process dies here."""


class TestClock:
    """Stands still, or goes with trio's clock: for tests with a virtual one."""

    __test__ = False

    def __init__(self) -> None:
        self.us = START_US
        self.goes = False

    def now_ns(self) -> int:
        return self.us * 1000 + int(self.monotonic() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time() if self.goes else 0.0


class World:
    """See the module. ``limits`` are overrides of the defaults."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.folder = folder
        self.clock = TestClock()
        self.disk = FakeDisk()
        self.limits = LIMITS.__class__(**{"row_stores": 2, **limits})
        self.root = FakeRoot(folder=folder / "extents", limits=self.limits)
        self.mint = random.Random(3)
        self.rng = random.Random(7)
        self.numbers = itertools.count()
        self.at_points: list[CrashPoint] = []
        self.crash_at: CrashPoint | None = None
        self.on_point = None
        self.acknowledged = None
        self.data_operations = []
        self.reports = []
        self.catalog: Catalog
        self.row_stores: RowStores
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
        if isinstance(caught.value, BaseExceptionGroup):
            assert caught.value.split(Crash)[1] is None, caught.value
        assert self.crash_at is None, "the point was reached"

    @contextmanager
    def may_die(self) -> Iterator[list[CrashPoint]]:
        """Ends with the point at which the process died in the block, if it did."""
        dead: list[CrashPoint] = []
        try:
            yield dead
        except Crash:
            dead.append(self.at_points[-1])
        except BaseExceptionGroup as group:
            if group.split(Crash)[1] is not None:
                raise
            dead.append(self.at_points[-1])

    @asynccontextmanager
    async def running(self, *, power_loss: bool = False) -> AsyncIterator[ExtentKeeper]:
        """One life of the process. ``power_loss``: the one before lost what was not synced."""
        self.disk.kill()
        if power_loss:
            self.disk.crash()
        self.root.crash()
        self.clock.us += 1_000_000
        async with await Catalog.open(
            self.folder / "catalog",
            clock=self.clock,
            mint=lambda: self.mint.getrandbits(64),
            limits=self.limits,
        ) as catalog:
            self.catalog = catalog
            self.row_stores = await self._open_row_stores(catalog)
            self._make_keeper(catalog)
            async with trio.open_nursery() as nursery:
                await nursery.start(self.row_stores.run)
                try:
                    yield self.keeper
                finally:
                    nursery.cancel_scope.cancel()

    async def _open_row_stores(self, catalog: Catalog) -> RowStores:
        def reference_of(key):
            table = catalog.tables_by_key().get(key)
            found = table and [item for item in table.references if item.key == key]
            return found[0] if found else None

        def schema_of(key, version):
            table = catalog.tables_by_key().get(key)
            if table is None or version >= len(table.schemas):
                return None
            return arrow_schema(table.schemas[version])

        def sealed_of(key):
            found = reference_of(key)
            if found is None:
                return START
            return KeyPosition(found.sealed_ordinal, found.sealed_checksum)

        def store_of(key):
            found = reference_of(key)
            return None if found is None else found.row_store

        return await RowStores.open(
            Path("/data"),
            disk=self.disk,
            clock=self.clock,
            limits=self.limits,
            schema_of=schema_of,
            sealed_of=sealed_of,
            store_of=store_of,
        )

    def _make_keeper(self, catalog: Catalog) -> None:
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

    async def create(self, *tables: str) -> None:
        """The database, and tables with streaming enabled."""
        await self.catalog.create_database(DATABASE, if_not_exists=True)
        for name in tables:
            create = CreateTable(name, self.catalog.new_id(), self.catalog.new_key(), (N, NAME))
            await self.commit(create, SetTableStreamingPolicy(name, ON))

    async def commit(self, *changes) -> None:
        """A transaction of somebody else."""
        await self.catalog.commit(DATABASE, changes, text="")

    def table(self, name: str = "T"):
        return self.catalog.get(DATABASE).tables[name]

    async def stream(self, count: int, table: str = "T", *, reference: int = 0) -> list[int]:
        """Streams rows, durably; returns their numbers, each used once in this world."""
        found = self.table(table)
        numbers = list(itertools.islice(self.numbers, count))
        columns = {"n": numbers, "name": [f"row {n}" for n in numbers]}
        schema = arrow_schema(found.columns)
        arrays = [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        key = found.references[reference].key
        spans = [RequestSpan(b"", count)]
        await self.row_stores.stage(key, found.schema_version, batch, spans).committed()
        return numbers

    async def rows(self, table: str = "T") -> list[int]:
        """Every ``n`` a query would count now, sorted: sealed and streamed."""
        found = self.table(table)
        numbers = [row[0] for row in await self.sealed(table)]
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

    async def numbers_in(self, extents: list, table: str) -> list[int]:
        """Every ``n`` of some extents of a table."""
        found = self.table(table)
        numbers = []
        async with self.files.acquire(self.catalog.get(DATABASE), extents) as paths:
            for extent in extents:
                for batch in read_extent(paths[extent.file], extent, found):
                    numbers.extend(batch.column(0).to_pylist())
        return numbers

    async def files_in_root(self) -> list[str]:
        return sorted(item.name for item in await self.root.list())

    def extents(self, table: str = "T") -> list:
        return list(self.table(table).extents.values())
