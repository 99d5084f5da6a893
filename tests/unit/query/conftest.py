"""A table of all ten types with nulls, and engines that translate in place or in a process."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, ScalarType
from cluster.limits import LIMITS
from cluster.query.binding import QuerySnapshot, given_table
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate

NOW = dt.datetime(2023, 11, 14, 22, 13, 20)


class FixedClock:
    """The wall clock stands at NOW."""

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


class InPlace:
    """Translates in this process: the process itself is tested in test_query_process.py."""

    def __init__(self, limits) -> None:
        self.limits = limits
        self.asked: list[str] = []
        self.schemas: list[dict] = []

    async def translate(self, kql, database, schemas, others, functions=()):
        self.asked.append(kql)
        self.schemas.append(schemas)
        return translate(
            kql, database, schemas, others=others, functions=functions, limits=self.limits
        )

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

    def make(limits=LIMITS, cores=1, translator=None, **more) -> QueryEngine:
        chosen = InPlace(limits) if translator is None else translator
        return QueryEngine(
            clock=FixedClock(), cores=cores, limits=limits, translator=chosen, **more
        )

    return make


@pytest.fixture
async def answer(engine_with, snapshot):
    """Runs a query over the snapshot and returns its rows."""
    async with engine_with() as engine:

        async def run(kql: str, over: QuerySnapshot = snapshot) -> list[tuple[Any, ...]]:
            result = await engine.run(kql, over)
            return [tuple(row.values()) for row in result.table.to_pylist()]

        run.engine = engine  # type: ignore[attr-defined]
        yield run


@pytest.fixture
def streamed():
    """The class of streamed rows."""
    return Streamed


@pytest.fixture
def make():
    """Builders of columns and batches."""
    return columns, batch
