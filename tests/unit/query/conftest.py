"""A table of all ten types with nulls, and engines that translate in place or in a process."""

from __future__ import annotations

import datetime as dt
import decimal
import random
import uuid
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.catalog.policies import CachingPolicy
from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.writer import ExtentWriter
from cluster.limits import LIMITS
from cluster.query.binding import BoundTable, QuerySnapshot, given_table
from cluster.query.driver import QueryEngine
from cluster.query.hot.driver import HotCache
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate
from cluster.testing.root import FakeRoot

DATABASE = Database("Home", "8a7e2f10-0000-4000-8000-00000000000d")
NOW = dt.datetime(2023, 11, 14, 22, 13, 20)


class FixedClock:
    """The wall clock stands at NOW, the other one where the test puts it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return self.seconds


class InPlace:
    """Translates in this process: the process itself is tested in test_query_process.py."""

    def __init__(self, limits) -> None:
        self.limits = limits
        self.asked: list[str] = []
        self.schemas: list[dict] = []

    async def translate(self, query):
        self.asked.append(query.kql)
        self.schemas.append(query.schemas)
        return translate(query, self.limits)

    async def aclose(self) -> None:
        """Nothing to free."""

    def statistics(self) -> TranslatorStatistics:
        return TranslatorStatistics(None, 0, 0, 0, len(self.asked), 0.0, 0)


class Streamed:
    """Rows of one key as a row store pins them; the n-th came at microsecond ``first_us + n``."""

    def __init__(self, batches, schema_versions, first_us=0):
        self.batches = tuple(batches)
        self.schema_versions = tuple(schema_versions)
        self.first_us = first_us

    def ingestion_times(self):
        count = sum(batch.num_rows for batch in self.batches)
        return pa.array(range(self.first_us, self.first_us + count), pa.int64()).cast(
            "timestamp[us]"
        )


def columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, ScalarType(kind)) for name, kind in types.items())


def batch(schema: tuple[Column, ...], *rows: tuple[Any, ...]) -> pa.RecordBatch:
    arrow = arrow_schema(schema)
    values = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(list(v), f.type) for v, f in zip(values, arrow, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


ALL = columns(
    b="bool", t="datetime", d="decimal", j="dynamic", g="guid",
    i="int", l="long", r="real", s="string", ts="timespan",
)  # fmt: skip
ROWS = (
    (
        True, dt.datetime(2024, 1, 1, 1), decimal.Decimal("1.5"), '{"a":{"b":1},"x":[1,2]}',
        uuid.UUID(int=1).bytes, 2_000_000_000, 1, 1.5, "foo", dt.timedelta(hours=25),
    ),
    (None, None, None, None, None, None, None, None, "", None),
    (
        False, dt.datetime(2024, 1, 1, 2, 30), decimal.Decimal("0.1"), '"text"',
        uuid.UUID(int=2).bytes, 2_000_000_000, 3, 2.5, "bar baz", dt.timedelta(microseconds=5),
    ),
)  # fmt: skip
PAIRS = columns(l="long", z="string")
SORTED = columns(Description="string", desc_no="long")


@pytest.fixture
def snapshot() -> QuerySnapshot:
    return QuerySnapshot(
        "Home",
        {
            "T": given_table("T", ALL, (batch(ALL, *ROWS),)),
            "U": given_table("U", PAIRS, (batch(PAIRS, (1, "one"), (5, "five")),)),
            "Sorted": given_table("Sorted", SORTED, (batch(SORTED, ("b", 2), ("a", 1), ("c", 3)),)),
            'od"d name': given_table("U", PAIRS, (batch(PAIRS, (7, "seven")),)),
            "Empty": given_table("Empty", PAIRS),
        },
        {"Away": {"U": given_table("U", PAIRS, (batch(PAIRS, (9, "nine")),))}},
    )


@pytest.fixture
def limits():
    """The defaults with some changed."""

    def changed(**values):
        return replace(LIMITS, **values)

    return changed


@pytest.fixture
def engine_with():
    """An engine that translates in place, with limits."""
    return new_engine


def new_engine(limits=LIMITS, cores=1, translator=None, **more) -> QueryEngine:
    chosen = InPlace(limits) if translator is None else translator
    return QueryEngine(clock=FixedClock(), cores=cores, limits=limits, translator=chosen, **more)


def answers_of(engine, snapshot):
    """What runs a query over a snapshot, by default this one, and returns its rows."""

    async def run(kql: str, over: QuerySnapshot = snapshot) -> list[tuple[Any, ...]]:
        result = await engine.run(kql, over)
        return [tuple(row.values()) for row in result.table.to_pylist()]

    run.engine = engine  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def shared_engine():
    """One engine for a module: a query leaves nothing in it but its translation, kept for others.

    Whoever counts, or changes what the engine reaches, takes ``own_answer``.
    """
    engine = new_engine()
    yield engine
    engine.database.close()


@pytest.fixture
def answer(shared_engine, snapshot):
    """Runs a query over the snapshot and returns its rows."""
    return answers_of(shared_engine, snapshot)


@pytest.fixture
async def own_answer(snapshot):
    """The same, in an engine that nobody asked before."""
    async with new_engine() as engine:
        yield answers_of(engine, snapshot)


@pytest.fixture
def streamed():
    """The class of streamed rows."""
    return Streamed


@pytest.fixture
def make():
    """Builders of columns and batches."""
    return columns, batch


class World:
    """One table: its extents in a folder, its streamed rows, an engine over both."""

    def __init__(self, folder, engine, make, streamed, limits=LIMITS):
        self.columns, self.batch = make
        self.streamed = streamed
        self.engine: QueryEngine = engine
        self.clock = engine._clock
        self.root = FakeRoot(folder=folder / "root")
        self.writer = ExtentWriter(
            root_of=lambda _: self.root, work=folder / "work", rng=random.Random(1), blocks=False
        )
        self.files = ExtentFiles(
            place_of=lambda _: Place(self.root, in_place=True), cache=folder / "cache", blocks=False
        )
        self.fresh = []
        self.policy = CachingPolicy(None)
        self.table = Table(
            name="T",
            table_id="8a7e2f10-0000-4000-8000-00000000000a",
            references=(RowStoreReference(0, RowStoreKey(1)),),
            schemas=(self.columns(a="long", s="string"),),
            column_ids=((0, 1),),
        )
        self.hot = HotCache(
            engine.database,
            files=self.files,
            tables=lambda: [(DATABASE, self.table, self.policy)],
            clock=engine._clock,
            limits=limits,
        )
        engine.serve(self.files)

    def evolve(self, columns, ids):
        self.table = replace(
            self.table,
            schemas=(*self.table.schemas, columns),
            column_ids=(*self.table.column_ids, ids),
        )

    async def seal(self, *rows, created_us=1, ingested_us=None, **options):
        batch = self.batch(self.table.columns, *rows)
        extents = await self.writer.write(
            DATABASE,
            self.table,
            self.table.schema_version,
            [batch],
            created_us=(created_us, created_us),
            original_bytes=100,
            ingested_us=ingested_us,
            **options,
        )
        self.add(*extents)
        return extents[0]

    def add(self, *extents):
        known = self.table.extents
        for extent in extents:
            known = known.set(extent.extent_id, extent)
        self.table = replace(self.table, extents=known)

    def drop(self, *extents):
        known = self.table.extents
        for extent in extents:
            known = known.delete(extent.extent_id)
        self.table = replace(self.table, extents=known)

    def stream(self, *rows, first_us=0):
        batch = self.batch(self.table.columns, *rows)
        self.fresh.append(self.streamed([batch], [self.table.schema_version], first_us))

    def snapshot(self, **more):
        bound = BoundTable(self.table, tuple(self.fresh), self.table.extents, DATABASE)
        return QuerySnapshot("Home", {"T": bound}, **more)

    async def run(self, kql, snapshot=None):
        return await self.engine.run(kql, snapshot or self.snapshot())

    async def ask(self, kql, snapshot=None):
        result = await self.run(kql, snapshot)
        return [tuple(row.values()) for row in result.table.to_pylist()]

    async def warm(self):
        """All extents that fit are in memory from now on."""
        self.engine.serve(self.files, self.hot)
        await self.hot.settle()


@pytest.fixture
async def world(tmp_path, engine_with, make, streamed):
    async with engine_with(folders=[tmp_path]) as engine:
        yield World(tmp_path, engine, make, streamed)
