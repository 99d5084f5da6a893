"""Batch ingestion on real parts: catalog, row stores, extent files in a folder, queries."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import trio

from cluster.batch.download import Downloads
from cluster.batch.driver import BatchIngestion
from cluster.batch.ports import Request
from cluster.batch.properties import parse_properties
from cluster.batch.schema import Mode
from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import CreateTable, SetPolicy, SetTableStreamingPolicy
from cluster.catalog.driver import Catalog
from cluster.catalog.model import Column, ScalarType, StreamingIngestionPolicy
from cluster.commands.context import Services
from cluster.commands.resources import NoResources
from cluster.commands.service import CommandService
from cluster.extents.copies import Place
from cluster.extents.disk import LocalRoot
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.writer import ExtentWriter
from cluster.history.driver import OperationRunner
from cluster.history.log import History
from cluster.ingest.deriving import UpdatePolicies
from cluster.ingest.worker import BatchDecode
from cluster.limits import LIMITS
from cluster.node.databases import NodeDatabases
from cluster.node.lookup import KeyLookup
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.records import storage_batches
from cluster.query.translate import translate
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.stores import RowStores
from cluster.testing.disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cluster.catalog.model import Extent, Table
    from cluster.limits import Limits

DATABASE = "Shop"
DAY_US = 24 * 3600 * 1_000_000
NOW_US = 1_700_000_000_000_000  # 2023-11-14 22:13:20
COLUMNS = (Column("n", ScalarType.LONG), Column("name", ScalarType.STRING))


class TestClock:
    """Stands still."""

    __test__ = False
    us = NOW_US

    def now_ns(self) -> int:
        return self.us * 1000

    def monotonic(self) -> float:
        return 0.0


class InPlace:
    """Translates in this process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    async def translate(self, query):
        return translate(query, self.limits)

    async def aclose(self) -> None:
        """Nothing to free."""

    def statistics(self) -> TranslatorStatistics:
        return TranslatorStatistics(None, 0, 0, 0, 0, 0.0, 0)


class NoFollowers:
    def get(self, name):
        return None


class DatabasesDoor:
    def __init__(self, databases: NodeDatabases) -> None:
        self.databases = databases

    def snapshot(self, database, text):
        return self.databases.pin(database, text).snapshot


class FakeNode:
    """A node whose commands have what ingestion needs."""

    def __init__(self, world: World) -> None:
        self.services = Services(
            clock=world.clock,
            queries=world.engine,
            update_policies=world.updates,
            schema_cache=None,
            history=world.history,
            operations=world.operations,
            extents=world.keeper,
            ingestion=world.batch,
            row_stores=world.row_stores,
            databases=DatabasesDoor(world.databases),
            followers=None,
            attachments=None,
            resources=NoResources(),
            cancel_query=None,
            load=None,
            limits=world.limits,
        )

    def streaming_capability(self):
        return True


class PausingStore:
    """The keeper; before a transaction something else may happen."""

    def __init__(self, keeper: ExtentKeeper) -> None:
        self.keeper = keeper
        self.before_commit: Callable[[], Awaitable[None]] | None = None

    async def commit_extents(self, database, plan, extents, *, text=""):
        if self.before_commit is not None:
            before, self.before_commit = self.before_commit, None
            await before()
        return await self.keeper.commit_extents(database, plan, extents, text=text)

    def positions(self, table):
        return self.keeper.positions(table)


class World:
    """See the module. Made by :func:`batch_world`."""

    catalog: Catalog
    row_stores: RowStores
    keeper: ExtentKeeper
    store: PausingStore
    engine: QueryEngine
    databases: NodeDatabases
    batch: BatchIngestion

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.clock = TestClock()
        self.history = History(self.clock, limits)
        self.root = LocalRoot(folder / "extents", limits=limits)
        self.numbers = itertools.count(1)
        self.ingest_folder = folder / "ingest"
        self.ingest_folder.mkdir(parents=True)

    # Tables

    async def create(self, name: str = "T", columns=COLUMNS, **policies: Any) -> Table:
        new = CreateTable(name, self.catalog.new_id(), self.catalog.new_key(), tuple(columns))
        await self.commit(new, *(SetPolicy(name, k, json.dumps(v)) for k, v in policies.items()))
        return self.table(name)

    async def commit(self, *changes) -> None:
        await self.catalog.commit(DATABASE, changes, text="")

    def table(self, name: str = "T") -> Table:
        return self.catalog.get(DATABASE).tables[name]

    def extents(self, name: str = "T") -> list[Extent]:
        return list(self.table(name).extents.values())

    async def stream(self, *rows: tuple, table: str = "T") -> None:
        """Streams rows into a table, which gets the policy for it."""
        await self.commit(SetTableStreamingPolicy(table, StreamingIngestionPolicy(True)))
        found = self.table(table)
        batch = pa.RecordBatch.from_arrays(
            [pa.array(list(values)) for values in zip(*rows, strict=True)],
            schema=arrow_schema(found.columns),
        )
        spans = [RequestSpan(b"", len(rows))]
        staged = self.row_stores.stage(found.key, found.schema_version, batch, spans)
        await staged.committed()

    # Ingesting

    def request(self, table: str = "T", kind: str = "DataIngestPull", **properties: Any) -> Request:
        given = parse_properties(properties.items(), from_query=kind.startswith("Table"))
        operation_id = f"00000000-0000-0000-0000-{next(self.numbers):012}"
        return Request(DATABASE, table, given, kind, ".text", operation_id)

    async def inline(self, data: str | bytes, table: str = "T", **properties: Any):
        data = data.encode() if isinstance(data, str) else data
        return await self.batch.inline(self.request(table, "DataIngestInline", **properties), data)

    async def ingest(self, *sources, table: str = "T", **properties: Any):
        extents, _ = await self.batch.sources(self.request(table, **properties), sources)
        return extents

    async def from_query(self, mode: str, query: str, table: str = "T", **properties: Any):
        result = await self.engine.run(query, self.databases.pin(DATABASE, query).snapshot)
        columns = [Column(column.name, column.type) for column in result.columns]
        request = self.request(table, "TableSetOrAppend", **properties)
        return await self.batch.result(request, Mode(mode), columns, storage_batches(result))

    async def command(self, text: str, database: str = DATABASE) -> list[tuple]:
        return list((await self.commands.execute(database, text)).rows)

    # Looking

    async def query(self, text: str) -> list[tuple]:
        result = await self.engine.run(text, self.databases.pin(DATABASE, text).snapshot)
        return list(zip(*(c.to_pylist() for c in result.table.columns), strict=True))

    async def rows(self, table: str = "T") -> list[tuple]:
        return sorted(await self.query(f"['{table}']"))

    async def files(self) -> set[str]:
        return {item.name for item in await self.root.list()}

    async def assert_tidy(self) -> None:
        """Every file is named by an extent, and no download is left."""
        named = {
            extent.file
            for table in self.catalog.get(DATABASE).tables.values()
            for extent in table.extents.values()
        }
        garbage = {item.file for item in self.catalog.garbage()}
        dropped = self.catalog.get(DATABASE).dropped_tables
        if not dropped:
            assert await self.files() <= named | garbage
        work = self.folder / "ingest-work"
        assert not work.exists() or not list(work.iterdir())
        assert not list((self.folder / "extent-work").iterdir())

    def failure(self):
        """The newest ingestion failure."""
        return self.history.ingestion_failures()[-1]


@asynccontextmanager
async def batch_world(folder: Path, **limits: Any) -> AsyncIterator[World]:
    """One database, ``Shop``, without tables."""
    world = World(folder, replace(LIMITS, row_stores=1, **limits))
    async with (
        QueryEngine(
            clock=world.clock,
            cores=4,
            limits=world.limits,
            translator=InPlace(world.limits),
            folders=(folder / "extents",),
        ) as engine,
        await Catalog.open(
            folder / "catalog.db",
            clock=world.clock,
            mint=_mint(),
            limits=world.limits,
        ) as catalog,
        trio.open_nursery() as nursery,
    ):
        world.engine, world.catalog = engine, catalog
        await _open(world, nursery)
        await catalog.create_database(DATABASE)
        try:
            yield world
        finally:
            nursery.cancel_scope.cancel()


def _mint():
    rng = random.Random(3)
    return lambda: rng.getrandbits(64)


async def _open(world: World, nursery: trio.Nursery) -> None:
    catalog, limits, clock = world.catalog, world.limits, world.clock
    keys = KeyLookup(catalog)
    world.row_stores = await RowStores.open(
        Path("/data"),
        disk=FakeDisk(),
        clock=clock,
        limits=limits,
        schema_of=keys.schema_of,
        sealed_of=keys.sealed_of,
        store_of=keys.store_of,
    )
    await nursery.start(world.row_stores.run)
    writer = ExtentWriter(
        root_of=lambda _: world.root,
        work=world.folder / "extent-work",
        rng=random.Random(7),
        limits=limits,
    )
    files = ExtentFiles(
        place_of=lambda _: Place(world.root, in_place=True),
        cache=world.folder / "cache",
        limits=limits,
    )
    world.keeper = ExtentKeeper(
        catalog,
        world.row_stores,
        writer,
        files,
        lambda _: world.root,
        clock=clock,
        limits=limits,
    )
    world.store = PausingStore(world.keeper)
    world.engine.serve(files)
    world.databases = NodeDatabases(
        catalog, world.row_stores, NoFollowers(), cursor_us=world.row_stores.times.cursor_us
    )
    world.downloads = Downloads(
        folder=world.ingest_folder, work=world.folder / "ingest-work", limits=limits
    )
    world.updates = UpdatePolicies(
        world.engine.run_to_store,
        snapshot_of=lambda name: world.databases.pin(name).snapshot,
        clock=clock,
        on_failure=world.history.ingestion_failure,
    )
    world.operations = OperationRunner(
        world.history, clock=clock, new_id=catalog.new_id, limits=limits
    )
    await nursery.start(world.operations.run)
    world.batch = BatchIngestion(
        catalog=catalog,
        store=world.store,
        writer=writer,
        decode=BatchDecode(limits),
        update_policies=world.updates,
        downloads=world.downloads,
        times=world.row_stores.times,
        history=world.history,
        clock=clock,
        limits=limits,
    )
    world.commands = CommandService(catalog, FakeNode(world), limits)
