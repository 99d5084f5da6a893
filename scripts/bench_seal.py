"""scripts/bench seal: what sealing and merging cost, each beside the bare work of the same rows.

seal    rows a second and a core, and memory growth, against pyarrow writing the same table
tables  a look at many tables with a trickle each, and sealing them all
extents planning and committing beside many extents: nothing may be quadratic
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import CreateTable, ReplaceExtents, SetTableStreamingPolicy
from cluster.catalog.driver import Catalog
from cluster.catalog.model import Column, Extent, ScalarType, StreamingIngestionPolicy
from cluster.extents.copies import Place
from cluster.extents.disk import LocalRoot
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.rules import Rules
from cluster.extents.schedule import Schedule
from cluster.extents.writer import ExtentWriter
from cluster.limits import LIMITS, Limits
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.stores import RowStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATABASE = "Bench"
COLUMNS = (
    Column("At", ScalarType.DATETIME),
    Column("Machine", ScalarType.STRING),
    Column("Id", ScalarType.GUID),
    Column("Number", ScalarType.LONG),
    Column("Small", ScalarType.INT),
    Column("Value", ScalarType.REAL),
    Column("Flag", ScalarType.BOOL),
    Column("Took", ScalarType.TIMESPAN),
    Column("Text", ScalarType.STRING),
    Column("Bag", ScalarType.DYNAMIC),
)
RECORD_ROWS = 4096
MIB = 1024 * 1024


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


def record(rng: random.Random, first: int, count: int) -> pa.RecordBatch:
    """Rows of ten types, about 190 bytes of CSV each."""
    start = 1_767_225_600_000_000
    arrays = [
        pa.array([start + (first + n) * 1000 for n in range(count)], pa.timestamp("us")),
        pa.array([f"machine-{rng.randrange(500)}" for _ in range(count)]),
        pa.array([rng.randbytes(16) for _ in range(count)], pa.binary(16)),
        pa.array([first + n for n in range(count)], pa.int64()),
        pa.array([rng.randrange(1000) for _ in range(count)], pa.int32()),
        pa.array([rng.random() for _ in range(count)], pa.float64()),
        pa.array([rng.random() < 0.5 for _ in range(count)], pa.bool_()),
        pa.array([rng.randrange(10**9) for _ in range(count)], pa.duration("us")),
        pa.array([f"request {first + n} answered by {rng.randrange(99)}" for n in range(count)]),
        pa.array([f'{{"level":{rng.randrange(5)},"ok":true}}' for _ in range(count)]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(COLUMNS))


class Node:
    """What a node has of storage, in one folder."""

    def __init__(self, folder: Path, catalog: Catalog, stores: RowStores, limits: Limits) -> None:
        clock = SystemClock()
        root = LocalRoot(folder / "extents", limits=limits)
        self.catalog = catalog
        self.stores = stores
        self.keeper = ExtentKeeper(
            catalog,
            stores,
            ExtentWriter(
                root_of=lambda _: root, work=folder / "work", rng=random.Random(1), limits=limits
            ),
            ExtentFiles(
                place_of=lambda _: Place(root, in_place=True), cache=folder / "cache", limits=limits
            ),
            lambda _: root,
            clock=clock,
            limits=limits,
        )
        self.schedule = Schedule(catalog, stores, Rules(catalog, limits))

    async def create(self, name: str) -> None:
        """A table with streaming enabled."""
        table = CreateTable(name, self.catalog.new_id(), self.catalog.new_key(), COLUMNS)
        policy = SetTableStreamingPolicy(name, StreamingIngestionPolicy(True))
        await self.catalog.commit(DATABASE, [table, policy], text="")

    async def stream(self, name: str, batch: pa.RecordBatch) -> None:
        """Rows of one request, durable."""
        table = self.catalog.get(DATABASE).tables[name]
        key = self.stores.choose(table.references).key
        await self.stores.stage(key, 0, batch, [RequestSpan(b"", batch.num_rows)]).committed()


@asynccontextmanager
async def running(limits: Limits) -> AsyncIterator[Node]:
    """A catalog, row stores and a keeper on the machine's own disk."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as name:
        folder = Path(name)
        rng = random.Random(2)
        async with await Catalog.open(
            folder / "catalog", clock=SystemClock(), mint=lambda: rng.getrandbits(64), limits=limits
        ) as catalog:
            await catalog.create_database(DATABASE)

            def reference_of(key: Any) -> Any:
                table = catalog.tables_by_key().get(key)
                references = table.references if table else ()
                return next((item for item in references if item.key == key), None)

            def sealed_of(key: Any) -> KeyPosition:
                found = reference_of(key)
                if found is None:
                    return START
                return KeyPosition(found.sealed_ordinal, found.sealed_checksum)

            stores = await RowStores.open(
                folder,
                disk=RealDisk(),
                clock=SystemClock(),
                limits=limits,
                schema_of=lambda *_: arrow_schema(COLUMNS),
                sealed_of=sealed_of,
                store_of=lambda key: getattr(reference_of(key), "row_store", None),
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(stores.run)
                yield Node(folder, catalog, stores, limits)
                nursery.cancel_scope.cancel()


class Peak:
    """The most resident memory above the start, in bytes, while the block runs."""

    def __enter__(self) -> Self:
        self._process = psutil.Process()
        self.bytes = 0
        self._start = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


async def seal(rows: int) -> dict[str, Any]:
    """Seals one large table; then pyarrow writes the same rows."""
    rng = random.Random(3)
    limits = Limits(row_store_bytes=64 * 1024 * MIB)
    pool = [record(rng, n * RECORD_ROWS, RECORD_ROWS) for n in range(16)]
    async with running(limits) as node:
        await node.create("T")
        for n in range(0, rows, RECORD_ROWS):
            await node.stream("T", pool[n // RECORD_ROWS % len(pool)])
        table = node.catalog.get(DATABASE).tables["T"]
        pinned = [node.stores.rows(key) for key in table.keys]
        held = sum(item.bytes for item in node.stores.unsealed(table.keys).values())
        bare = bare_seconds([batch for item in pinned for batch in item.batches])
        del pinned
        pa.default_memory_pool().release_unused()
        with Peak() as peak:
            began, cpu = time.perf_counter(), time.process_time()
            extents = await node.keeper.seal(DATABASE)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        sealed = sum(extent.row_count for extent in extents)
        return {
            "rows": sealed,
            "row_store_mib": round(held / MIB),
            "extents": len(extents),
            "file_bytes_a_row": round(sum(e.file_bytes for e in extents) / sealed, 1),
            "seconds": round(seconds, 2),
            "rows_per_second": round(sealed / seconds),
            "rows_per_cpu_second": round(sealed / cpu),
            "bare_rows_per_second": round(sealed / bare[0]),
            "bare_rows_per_cpu_second": round(sealed / bare[1]),
            "share_of_bare": round(bare[0] / seconds, 2),
            "share_of_bare_cpu": round(bare[1] / cpu, 2),
            "memory_growth_mib": round(peak.bytes / MIB),
        }


def bare_seconds(batches: list[pa.RecordBatch]) -> tuple[float, float]:
    """What pyarrow needs to write these rows to one file, wall and processor seconds."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:
        whole = pa.Table.from_batches(batches)
        return measured(lambda: write_bare(whole, Path(folder) / "bare.parquet"))


def write_bare(table: pa.Table, path: Path) -> None:
    """zstd at the same level, synced."""
    pq.write_table(table, path, compression="zstd", compression_level=1, row_group_size=128 * 1024)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def measured(work: Any) -> tuple[float, float]:
    """Wall and processor seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


async def tables(count: int) -> dict[str, Any]:
    """Many tables with a few rows each: what a look costs, and sealing all of them."""
    batch = record(random.Random(4), 0, 10)
    async with running(LIMITS) as node:
        for n in range(count):
            await node.create(f"T{n}")
        async with trio.open_nursery() as nursery:
            for n in range(count):
                nursery.start_soon(node.stream, f"T{n}", batch)
        now_us = time.time_ns() // 1000
        node.schedule.begin_look()
        look, _ = measured(lambda: node.schedule.seals(list(node.schedule.streamed()), now_us))
        quiet, _ = measured(lambda: node.schedule.may_be_due(now_us))
        idle, _ = measured(lambda: list(node.schedule.tables_to_merge(())))
        began, cpu = time.perf_counter(), time.process_time()
        drained = await node.keeper.drain()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert drained.is_empty
        changed, _ = measured(lambda: node.schedule.may_be_due(now_us))
        return {
            "tables": count,
            "look_ms": round(look * 1000, 2),
            "look_ms_when_nothing_came": round(quiet * 1000, 3),
            "look_ms_when_all_changed": round(changed * 1000, 2),
            "merge_look_ms": round(idle * 1000, 2),
            "seals_per_second": round(len(drained.extents) / seconds),
            "cpu_ms_a_seal": round(cpu / count * 1000, 2),
        }


async def extents(count: int) -> dict[str, Any]:
    """One more extent beside many: planning a merge, retention, and a commit."""
    async with running(LIMITS) as node:
        await node.create("T")
        table = node.catalog.get(DATABASE).tables["T"]
        few = await _commit_ms(node)
        many = tuple(_extent(node, number, rows=8**5 * (1 + number % 7)) for number in range(count))
        await node.catalog.commit(DATABASE, [ReplaceExtents("T", (), many)], text="")
        commit = await _commit_ms(node)
        tree = node.catalog.get(DATABASE)
        table = tree.tables["T"]
        now_us = time.time_ns() // 1000
        plan, _ = measured(lambda: node.schedule.merges(tree, table, now_us))
        began = time.perf_counter()
        await node.keeper.retain()
        retain = time.perf_counter() - began
        return {
            "extents": count,
            "commit_ms_empty": few,
            "commit_ms": commit,
            "plan_merges_ms": round(plan * 1000, 2),
            "retain_ms": round(retain * 1000, 2),
        }


def _extent(node: Node, number: int, *, rows: int) -> Extent:
    extent_id = node.catalog.new_id()
    us = 1_767_225_600_000_000 + number
    return Extent(extent_id, f"d/t/{extent_id}", 1000, 0, (0,), rows, 1000, us, us)


async def _commit_ms(node: Node) -> float:
    """Median of adding one extent, durably."""
    times = []
    for _ in range(30):
        change = ReplaceExtents("T", (), (_extent(node, 0, rows=1),))
        began = time.perf_counter()
        await node.catalog.commit(DATABASE, [change], text="")
        times.append(time.perf_counter() - began)
    return round(sorted(times)[len(times) // 2] * 1000, 2)


def main() -> None:
    """Parses the command line and runs the parts asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench seal",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", default=["seal", "tables", "extents"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tables", type=int, default=1_000)
    parser.add_argument("--extents", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    arguments = parser.parse_args(sys.argv[2:])
    runs = {}
    for part in arguments.parts:
        if part == "seal":
            runs[part] = trio.run(seal, arguments.rows)
        elif part == "tables":
            runs[part] = trio.run(tables, arguments.tables)
        elif part == "extents":
            runs[part] = trio.run(extents, arguments.extents)
        else:
            parser.error(f"there is no part '{part}'")
    if arguments.json:
        sys.stdout.write(json.dumps({"verb": "seal", "runs": runs}) + "\n")
        return
    for part, run in runs.items():
        sys.stdout.write(f"{part}\n")
        for key, value in run.items():
            sys.stdout.write(f"{key:>26}  {value}\n")


if __name__ == "__main__":
    main()
