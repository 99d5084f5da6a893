"""What a row store costs beside the disk alone: commits and opening, as ratios in one run.

Commits: 64 writers wait, each for a request of its own; requests waiting for the same table are
one record, as the ingestion pipeline makes them. The disk alone: ``write`` and ``fdatasync`` of as
many bytes as a commit had, in turns with it. Opening: a log of so many bytes a record, beside
reading its files.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import trio

from cluster.catalog.model import RowStoreKey
from cluster.limits import Limits
from cluster.processors import keep_to_one
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.driver import RowStore
from cluster.rowstore.record import RequestSpan

WRITERS = 64
ROWS = 10
ROUNDS = 5
ROUND_SECONDS = 0.6
LOG_BYTES = 250_000_000
OPENINGS = (
    (10, 1, LOG_BYTES // 4),
    (160, 16, LOG_BYTES),
    (640, 64, LOG_BYTES // 2),
    (640, 64, LOG_BYTES),
    (640, 64, LOG_BYTES * 2),
    (5000, 1, LOG_BYTES),
)
"""Rows and requests a record, and bytes of the log."""

UNBOUNDED = Limits(row_store_bytes=2**40)
SPAN = RequestSpan(b"", ROWS)


class SystemClock:
    """Real time."""

    def now_ns(self) -> int:
        """Wall clock."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class CommitFigures:
    """One arrangement of writers, the best rounds: ``ratio`` is ours to the disk alone."""

    writers: int
    tables: int
    requests_per_second: float
    commits_per_second: float
    bytes_per_commit: int
    disk_commits_per_second: float
    ratio: float


@dataclass(frozen=True, slots=True)
class OpeningFigures:
    """One size of records, the best of several openings; ``ratio`` is ours to reading alone."""

    rows_per_record: int
    bytes_per_record: int
    log_megabytes: float
    megabytes_per_second: float
    rows_per_second: float
    reading_megabytes_per_second: float
    ratio: float


def rows(count: int) -> pa.RecordBatch:
    """Rows of ten typed columns, 150 to 180 bytes each."""
    return pa.record_batch(
        {
            "Timestamp": pa.array([1_750_000_000_000_000] * count, pa.timestamp("us")),
            "Name": pa.array([f"sensor {n % 7}" for n in range(count)]),
            "Source": pa.array([f"source {n}" for n in range(count)]),
            "Bag": pa.array([f'{{"a":{n}}}' for n in range(count)]),
            "Metric": pa.array(range(count), pa.int32()),
            "Count": pa.array([n * 7 for n in range(count)], pa.int64()),
            "Value": pa.array([n / 3 for n in range(count)]),
            "Id": pa.array([bytes(16)] * count, pa.binary(16)),
            "Ok": pa.array([True] * count),
            "Span": pa.array([5] * count, pa.duration("us")),
        }
    )


async def _open(folder: Path, schema: pa.Schema, *, sync: bool) -> RowStore:
    return await RowStore.open(
        folder,
        disk=RealDisk(),
        clock=SystemClock(),
        limits=UNBOUNDED,
        sync=sync,
        schema_of=lambda _key, _version: schema,
    )


class Writers:
    """64 writers on some tables; whoever is answered asks again."""

    def __init__(self, store: RowStore, tables: int) -> None:
        self.store = store
        self.answered = 0
        self._waiting = [WRITERS // tables] * tables
        self._batches = {n: rows(n * ROWS) for n in range(1, WRITERS // tables + 1)}
        self._ready = list(range(tables))
        self._wake = trio.Event()
        self._wake.set()

    async def write(self, seconds: float) -> None:
        """Stages whatever waits, as soon as anything does."""
        stop = time.perf_counter() + seconds
        turns = 0
        while time.perf_counter() < stop:
            await self._wake.wait()
            self._wake = trio.Event()
            ready, self._ready = self._ready, []
            for table in ready:
                self._stage(table)
            turns += 1
            if turns % 200 == 0:  # as if sealed, so that memory is bounded
                for table in range(len(self._waiting)):
                    key = RowStoreKey(table)
                    self.store.advance(key, self.store.rows(key).position)

    def _stage(self, table: int) -> None:
        count, self._waiting[table] = self._waiting[table], 0
        spans = [SPAN] * count
        staged = self.store.stage(RowStoreKey(table), 0, self._batches[count], spans)

        def decided() -> None:
            staged.check_committed()
            self.answered += count
            self._waiting[table] += count
            self._ready.append(table)
            self._wake.set()

        staged.when_decided(decided)


async def _commit_round(folder: Path, tables: int) -> tuple[float, float, float]:
    """Requests and commits a second, and bytes a commit."""
    store = await _open(folder, rows(1).schema, sync=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        writers = Writers(store, tables)
        started = time.perf_counter()
        await writers.write(ROUND_SECONDS)
        seconds = time.perf_counter() - started
        counters = store.statistics()
        nursery.cancel_scope.cancel()
    commits = max(1, counters.commits)
    return writers.answered / seconds, commits / seconds, counters.end_lsn / commits


def _disk_round(folder: Path, size: int) -> float:
    """Appends of so many bytes a second, each with fdatasync."""
    data = os.urandom(size)
    path = folder / "disk"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < ROUND_SECONDS:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += 1
    seconds = time.perf_counter() - started
    os.close(descriptor)
    path.unlink()
    return count / seconds


def measure_commits(tables: int) -> CommitFigures:
    """Our commits and the disk's in turns; the best round of each, since others disturb both."""
    ours: list[tuple[float, float, float]] = []
    alone: list[float] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="remora-bench-", dir=_work_folder()) as name:
            ours.append(trio.run(_commit_round, Path(name) / "store", tables))
            size = statistics.median(size for _, _, size in ours)
            alone.append(_disk_round(Path(name), round(size)))
    requests, commits, size = max(ours)
    disk_bytes = max(alone) * statistics.median(size for _, _, size in ours)
    return CommitFigures(
        WRITERS,
        tables,
        round(requests),
        round(commits),
        round(size),
        round(disk_bytes / size),
        round(commits * size / disk_bytes, 2),
    )


async def _fill(folder: Path, batch: pa.RecordBatch, requests: int, count: int) -> int:
    store = await _open(folder, batch.schema, sync=False)
    spans = [RequestSpan(b"", batch.num_rows // requests)] * requests
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        for n in range(count):
            staged = store.stage(RowStoreKey(n % 4), 0, batch, spans)
            if n % 50 == 0 or n == count - 1:
                await staged.committed()
        end = store.end_lsn()
        nursery.cancel_scope.cancel()
    return end


async def _opening_seconds(folder: Path, schema: pa.Schema) -> float:
    started = time.perf_counter()
    store = await _open(folder, schema, sync=True)
    seconds = time.perf_counter() - started
    store.close()
    return seconds


def _reading_seconds(folder: Path) -> float:
    started = time.perf_counter()
    for path in sorted(folder.glob("*.wal")):
        path.read_bytes()
    return time.perf_counter() - started


def measure_opening(row_count: int, requests: int, log_bytes: int) -> OpeningFigures:
    """Opens a log of so many bytes with records of so many rows."""
    batch = rows(row_count)
    count = max(8, log_bytes // batch.serialize().size)
    with tempfile.TemporaryDirectory(prefix="remora-bench-", dir=_work_folder()) as name:
        folder = Path(name) / "store"
        size = trio.run(_fill, folder, batch, requests, count)
        opening = min(trio.run(_opening_seconds, folder, batch.schema) for _ in range(3))
        reading = min(_reading_seconds(folder) for _ in range(3))
    return OpeningFigures(
        row_count,
        size // count,
        round(size / 1e6, 1),
        round(size / opening / 1e6),
        round(count * row_count / opening),
        round(size / reading / 1e6),
        round(reading / opening, 2),
    )


def _work_folder() -> str:
    # /tmp is often in memory, where syncing costs nothing.
    return os.environ.get("REMORA_BENCH_FOLDER", "/var/tmp")


def main() -> None:
    """Measures and prints; ``--json`` as one line."""
    # As a node does: its threads hand the interpreter's lock to each other on one processor.
    keep_to_one(0)
    commits = [asdict(measure_commits(tables)) for tables in (1, 4, 16, 64)]
    opening = [asdict(measure_opening(*size)) for size in OPENINGS]
    if "--json" in sys.argv:
        result = {"verb": "rowstore", "commits": commits, "opening": opening}
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for figures in (*commits, *opening):
        for key, value in figures.items():
            sys.stdout.write(f"{key:>32}  {value}\n")
        sys.stdout.write("\n")
