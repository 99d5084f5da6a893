"""A row store on a fake disk, and rows whose values say where they belong."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import trio

from cluster.catalog.model import RowStoreKey
from cluster.limits import LIMITS
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.driver import RowStore
from cluster.rowstore.record import RequestSpan, source_digest
from cluster.testing.disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cluster.limits import Limits

FOLDER = Path("/data/rows")
FIRST_SEGMENT = FOLDER / "00000000000000000000.wal"
CPU = RowStoreKey(0xC0FFEE)
LOGS = RowStoreKey(2**64 - 1)
SCHEMAS = (
    pa.schema([pa.field("n", pa.int64()), pa.field("name", pa.string())]),
    pa.schema(
        [pa.field("n", pa.int64()), pa.field("name", pa.string()), pa.field("more", pa.float64())]
    ),
)


class TestClock:
    """Time that moves by one second at each look."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 1_000

    def now_ns(self) -> int:
        self.seconds += 1
        return self.seconds * 10**9

    def monotonic(self) -> float:
        self.seconds += 1
        return float(self.seconds)


def batch(first: int, count: int, version: int = 0) -> pa.RecordBatch:
    """Rows numbered from ``first``."""
    columns: list[Any] = [
        pa.array(range(first, first + count), pa.int64()),
        pa.array([f"row {i}" for i in range(first, first + count)]),
    ]
    if version:
        columns.append(pa.array([i / 2 for i in range(count)], pa.float64()))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMAS[version])


class World:
    """One disk and what the catalog knows."""

    def __init__(self, **limits: int) -> None:
        self.disk = FakeDisk()
        self.limits: Limits = LIMITS.__class__(**limits)
        self.known = {CPU, LOGS}
        self.sealed: dict[RowStoreKey, KeyPosition] = {}

    def schema_of(self, key: RowStoreKey, version: int) -> pa.Schema | None:
        if key not in self.known or version >= len(SCHEMAS):
            return None
        return SCHEMAS[version]

    def sealed_of(self, key: RowStoreKey) -> KeyPosition:
        return self.sealed.get(key, START)

    def seal(self, store: RowStore, key: RowStoreKey, position: KeyPosition | None = None) -> None:
        """Moves a key's floor, in the catalog and then in the row store."""
        self.sealed[key] = position or store.rows(key).position
        store.advance(key, self.sealed[key])

    async def open(
        self, *, sync: bool = True, folder: Path = FOLDER, disk: Any | None = None
    ) -> RowStore:
        return await RowStore.open(
            folder,
            disk=self.disk if disk is None else disk,
            clock=TestClock(),
            limits=self.limits,
            sync=sync,
            schema_of=self.schema_of,
            sealed_of=self.sealed_of,
        )

    @asynccontextmanager
    async def running(
        self, *, sync: bool = True, folder: Path = FOLDER, disk: Any | None = None
    ) -> AsyncIterator[RowStore]:
        """An open row store whose run() is under way; stopped cleanly at the end."""
        store = await self.open(sync=sync, folder=folder, disk=disk)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            try:
                yield store
            finally:
                nursery.cancel_scope.cancel()


def put(
    store: RowStore,
    count: int = 3,
    *,
    key: RowStoreKey = CPU,
    source: str | None = None,
    version: int = 0,
) -> Any:
    """Stages the next ``count`` rows of a key that has nothing in flight; returns the Staged."""
    first = store._contents.state(key).staged_ordinal  # numbering only; never asserted on
    spans = [RequestSpan(b"" if source is None else source_digest(key, source), count)]
    return store.stage(key, version, batch(first, count, version), spans)


async def write(store: RowStore, *counts: int, key: RowStoreKey = CPU) -> None:
    """Commits one record for each count, each in a group of its own."""
    for count in counts:
        await put(store, count, key=key).committed()


def numbers(store: RowStore, key: RowStoreKey = CPU) -> list[int]:
    """The visible values of column ``n``, in order."""
    rows = store.rows(key)
    found = [value for item in rows.batches for value in item.column("n").to_pylist()]
    assert len(found) == rows.position.ordinal - rows.first_ordinal == rows.row_count
    assert len(rows.ingestion_times()) == len(found)
    return found


async def read_all(
    store: RowStore, keys: Iterable[RowStoreKey] = (CPU, LOGS), max_bytes: int = 1
) -> list[bytes]:
    """Chunks of the whole log, as small as possible."""
    wanted = set(keys)
    chunks = []
    lsn = 0
    while True:
        chunk = await store.read(lsn, wanted, {}, max_bytes)
        if not chunk.count:
            assert chunk.next_lsn == store.end_lsn()
            return chunks
        chunks.append(chunk.records)
        lsn = chunk.next_lsn
