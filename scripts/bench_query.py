"""scripts/bench query: queries over streamed and sealed rows, beside the least they could cost.

Each pair is measured in one process, in alternating rounds; the ratio is that of the medians. The
rows have ten typed columns, about 190 bytes of CSV each.

fresh    KQL over the rows of four keys, as many batches, against the same KQL over one Arrow batch
sealed   KQL over extents in the hot cache, against hand-written SQL over the same DuckDB tables
extents  what 100, 1,000 and 10,000 extents in one table cost, read from files and from memory
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import (
    Column,
    Database,
    Extent,
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
from cluster.node.clock import SystemClock
from cluster.query.binding import BoundTable, GivenRows, QuerySnapshot
from cluster.query.driver import QueryEngine
from cluster.query.hot.driver import HotCache
from cluster.testing.root import FakeRoot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

DATABASE = Database("Bench", "8a7e2f10-0000-4000-8000-00000000000d")
COLUMNS = tuple(
    Column(name, ScalarType(kind))
    for name, kind in (
        ("Timestamp", "datetime"), ("Level", "string"), ("Service", "string"), ("Node", "int"),
        ("RequestId", "guid"), ("DurationMs", "real"), ("Bytes", "long"), ("Ok", "bool"),
        ("Elapsed", "timespan"), ("Message", "string"),
    )
)  # fmt: skip
START_US = 1_704_067_200_000_000
STEP_US = 500_000  # 5 M rows are 29 days
SQL = {
    "count": ("T | count", "SELECT count(*) FROM {rows}"),
    "one day": (
        "T | where Timestamp >= datetime(2024-01-10) and Timestamp < datetime(2024-01-11) | count",
        (
            "SELECT count(*) FROM {rows} WHERE c0 >= TIMESTAMP '2024-01-10' "
            "AND c0 < TIMESTAMP '2024-01-11'"
        ),
    ),
    "bin(1h)": (
        "T | summarize count() by bin(Timestamp, 1h)",
        "SELECT date_trunc('hour', c0), count(*) FROM {rows} GROUP BY 1",
    ),
    "bin(1h), level": (
        "T | summarize count(), avg(DurationMs) by bin(Timestamp, 1h), Level",
        "SELECT date_trunc('hour', c0), c1, count(*), avg(c5) FROM {rows} GROUP BY 1, 2",
    ),
    "bin(5m)": (
        "T | summarize count() by bin(Timestamp, 5m)",
        "SELECT time_bucket(INTERVAL 5 MINUTE, c0), count(*) FROM {rows} GROUP BY 1",
    ),
    "top 10": (
        "T | top 10 by DurationMs",
        "SELECT * FROM {rows} ORDER BY c5 DESC LIMIT 10",
    ),
    "by service": (
        "T | summarize count(), sum(Bytes) by Service",
        "SELECT c2, count(*), sum(c6) FROM {rows} GROUP BY 1",
    ),
    "string ==": (
        "T | where Level == 'ERROR' | count",
        "SELECT count(*) FROM {rows} WHERE c1 = 'ERROR'",
    ),
}  # fmt: skip


def rows_of(count: int, first: int) -> pa.RecordBatch:
    """``count`` rows, ``first`` of them before; spread like a log, the same every time."""
    rng = random.Random(first)
    numbers = [rng.randrange(1 << 30) for _ in range(1000)]
    index = pa.array(range(first, first + count), pa.int64())
    mixed = pa.array([numbers[i % 1000] ^ (i * 2_654_435_761 & 0xFFFFF) for i in range(count)])
    levels = pa.array(["INFO"] * 17 + ["WARN"] * 2 + ["ERROR"])
    services = pa.array([f"service-{i:02d}" for i in range(20)])
    at = pc.add(pc.multiply(index, STEP_US), START_US).cast(pa.timestamp("us"))
    message = pc.binary_join_element_wise(
        "request for /api/v1/items handled by worker", mixed.cast(pa.string()), " "
    )
    columns = [
        at,
        levels.take(pc.subtract(mixed, pc.multiply(pc.divide(mixed, 20), 20))),
        services.take(pc.subtract(index, pc.multiply(pc.divide(index, 20), 20))),
        pc.subtract(mixed, pc.multiply(pc.divide(mixed, 64), 64)).cast(pa.int32()),
        pa.array([i.to_bytes(16) for i in range(first, first + count)], pa.binary(16)),
        pc.divide(mixed.cast(pa.float64()), 1000.0),
        pc.divide(mixed, 1000),
        pc.greater(mixed, 1 << 20),
        pc.divide(mixed, 10).cast(pa.duration("us")),
        message,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(COLUMNS))


class Bench:
    """One table, an engine over it, and files of extents in a folder."""

    def __init__(self, folder: Path, engine: QueryEngine) -> None:
        self.engine = engine
        self.root = FakeRoot(folder=folder / "root")
        self.writer = ExtentWriter(
            root_of=lambda _: self.root, work=folder / "work", rng=random.Random(1)
        )
        self.files = ExtentFiles(
            place_of=lambda _: Place(self.root, in_place=True), cache=folder / "cache"
        )
        self.table = Table(
            "T",
            "8a7e2f10-0000-4000-8000-00000000000a",
            (RowStoreReference(0, RowStoreKey(1)),),
            (COLUMNS,),
            (tuple(range(len(COLUMNS))),),
        )
        self.hot = HotCache(
            engine.database,
            files=self.files,
            tables=lambda: [(DATABASE, self.table, CachingPolicy(None))],
            clock=SystemClock(),
        )

    def snapshot(self, *fresh: GivenRows) -> QuerySnapshot:
        """The table now, with these streamed rows."""
        bound = BoundTable(self.table, fresh, self.table.extents, DATABASE)
        return QuerySnapshot("Bench", {"T": bound})

    def with_extents(self, extents: dict[str, Extent]) -> None:
        """The table has these extents and no others."""
        known = self.table.extents
        for name in list(known):
            known = known.delete(name)
        self.table = replace(self.table, extents=known.update(extents))

    async def seal(self, batch: pa.RecordBatch, created_us: int) -> tuple[Extent, ...]:
        """Writes rows as extents."""
        return await self.writer.write(
            DATABASE, self.table, 0, [batch], created_us=(created_us, created_us),
            original_bytes=batch.nbytes, ingested_us=created_us,
        )  # fmt: skip

    def by_hand(self, sql: str) -> pa.Table:
        """SQL over the relations of the hot cache, as one would write it."""
        relations = [r.sql for r in self.hot._relations.relations]
        parts = " UNION ALL ".join(f"FROM {one}" for one in relations)
        rows = relations[0] if len(relations) == 1 else f"({parts})"
        cursor = self.engine.database.cursor()
        try:
            return cursor.sql(sql.format(rows=rows)).to_arrow_table()
        finally:
            cursor.close()


async def alternating(
    rounds: int, *candidates: Callable[[], Awaitable[object]]
) -> list[tuple[float, float]]:
    """(median, least) milliseconds of each candidate."""
    taken: list[list[float]] = [[] for _ in candidates]
    for one in candidates:
        await one()
    for _ in range(rounds):
        for one, times in zip(candidates, taken, strict=True):
            began = time.perf_counter()
            await one()
            times.append((time.perf_counter() - began) * 1e3)
    return [(statistics.median(times), min(times)) for times in taken]


def in_pieces(batch: pa.RecordBatch, count: int) -> Iterator[pa.RecordBatch]:
    """A batch cut into ``count`` of like size, each in memory of its own."""
    step = -(-batch.num_rows // count)
    for first in range(0, batch.num_rows, step):
        yield pa.concat_batches([batch.slice(first, step)])


def row(name: str, measured: list[tuple[float, float]]) -> dict[str, Any]:
    """One line of the result."""
    (ours, ours_least), (least, least_least) = measured
    return {
        "query": name,
        "ms": round(ours, 2),
        "least_ms": round(least, 2),
        "ratio": round(ours / least, 2),
        "ratio_of_best": round(ours_least / least_least, 2),
    }


async def fresh(bench: Bench, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Streamed rows of four keys against one Arrow table."""
    whole = rows_of(rows, 0)
    quarters = list(in_pieces(whole, 4))
    keys = [GivenRows(tuple(in_pieces(quarter, 46)), 1) for quarter in quarters]
    many, one = bench.snapshot(*keys), bench.snapshot(GivenRows((whole,), 1))
    result = []
    for name, (kql, _) in SQL.items():
        if name != "count":  # answered without looking at a row
            measured = await alternating(
                rounds,
                lambda kql=kql: bench.engine.run(kql, many),  # type: ignore[misc]
                lambda kql=kql: bench.engine.run(kql, one),  # type: ignore[misc]
            )
            result.append(row(name, measured))
    return result


async def sealed(bench: Bench, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Extents in memory against hand-written SQL over the same tables."""
    step = rows // 10
    extents: dict[str, Extent] = {}
    for number in range(10):
        for extent in await bench.seal(rows_of(step, number * step), START_US + number):
            extents[extent.extent_id] = extent
    bench.with_extents(extents)
    cold = bench.snapshot()
    bench.engine.serve(bench.files)
    in_files = {}
    for name, (kql, _) in SQL.items():
        in_files[name] = await alternating(3, lambda kql=kql: bench.engine.run(kql, cold))  # type: ignore[misc]
    bench.engine.serve(bench.files, bench.hot)
    began = time.perf_counter()
    await bench.hot.settle()
    taken = time.perf_counter() - began
    held = bench.hot.statistics()
    result: list[dict[str, Any]] = [
        {
            "load_rows_per_second": round(rows / taken),
            "bytes_per_row": round(held.byte_count / rows, 1),
            "relations": held.relations,
        }
    ]
    snapshot = bench.snapshot()
    for name, (kql, sql) in SQL.items():

        async def hand(sql: str = sql) -> pa.Table:
            return await trio.to_thread.run_sync(bench.by_hand, sql)

        measured = await alternating(
            rounds,
            lambda kql=kql: bench.engine.run(kql, snapshot),  # type: ignore[misc]
            hand,
        )
        result.append({**row(name, measured), "files_ms": round(in_files[name][0][0], 2)})
    return result


async def linked(bench: Bench, count: int) -> dict[str, Extent]:
    """``count`` small extents; their files are links to one."""
    batch = rows_of(100, 0)
    (first,) = await bench.seal(batch, START_US)
    path = bench.root.local_path(first.file)
    assert path is not None
    extents = {}
    for number in range(count):
        name = f"8a7e2f10-0000-4000-8000-{number:012x}"
        file = first.file.replace(first.extent_id, name)
        target = bench.root.local_path(file)
        assert target is not None
        if not target.exists():
            os.link(path, target)
        extents[name] = replace(
            first,
            extent_id=name,
            file=file,
            created_min_us=START_US + number,
            created_max_us=START_US + number,
        )
    return extents


async def many_extents(bench: Bench, count: int, rounds: int) -> dict[str, Any]:
    """Many small extents in one table."""
    bench.with_extents(await linked(bench, count))
    snapshot = bench.snapshot()
    figures: dict[str, Any] = {"extents": count}

    async def median_of(kql: str) -> float:
        ((median, _),) = await alternating(rounds, lambda: bench.engine.run(kql, snapshot))
        return round(median, 2)

    bench.engine.serve(bench.files)
    figures["files_count_ms"] = await median_of("T | count")
    figures["files_sum_ms"] = await median_of("T | summarize sum(Bytes)")
    figures["files_pruned_ms"] = await median_of(
        "T | where Timestamp > datetime(2025-01-01) | summarize sum(Bytes)"
    )
    bench.engine.serve(bench.files, bench.hot)
    began = time.perf_counter()
    await bench.hot.settle()
    figures["load_seconds"] = round(time.perf_counter() - began, 2)
    began = time.perf_counter()
    await bench.hot.settle()
    figures["look_ms"] = round((time.perf_counter() - began) * 1e3, 2)
    held = bench.hot.statistics()
    figures["relations"] = held.relations
    figures["megabytes"] = round(held.byte_count / 1e6, 1)
    figures["memory_sum_ms"] = await median_of("T | summarize sum(Bytes)")
    return figures


async def measure(parts: list[str], rows: int, rounds: int) -> dict[str, Any]:
    """All parts asked for; figures by part."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as name:
        folder = Path(name)
        for part in parts:
            async with QueryEngine(
                clock=SystemClock(), cores=os.cpu_count() or 1, folders=[folder], limits=LIMITS
            ) as engine:
                await engine.prewarm()
                bench = Bench(folder / part, engine)
                if part == "fresh":
                    result[part] = await fresh(bench, rows // 5, rounds)
                elif part == "sealed":
                    result[part] = await sealed(bench, rows, rounds)
                else:
                    result[part] = [
                        await many_extents(bench, count, 3) for count in (100, 1_000, 10_000)
                    ]
    return result


PARTS = ["fresh", "sealed", "extents"]


def main() -> None:
    """``scripts/bench query``: measures, and prints one line of JSON for each figure."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench query",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("verb", choices=["query"])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rows", type=int, default=5_000_000, help="sealed rows (default 5 M)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds a query (default 15)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    arguments = parser.parse_args()
    figures = trio.run(measure, arguments.parts or PARTS, arguments.rows, arguments.rounds)
    if arguments.json:
        sys.stdout.write(json.dumps({"verb": "query", **figures}) + "\n")
        return
    for part, lines in figures.items():
        sys.stdout.write(f"{part}\n")
        for line in lines:
            sys.stdout.write(f"    {json.dumps(line)}\n")
