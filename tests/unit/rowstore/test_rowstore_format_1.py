"""Files of format 1, as an older build left them, opened by today's code."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import trio
from old_formats import unpack_format_1
from rowstore_world import TestClock

from cluster.catalog.arrow_types import ARROW_TYPES
from cluster.catalog.model import RowStoreKey, ScalarType
from cluster.replication.position import KeyPosition
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.driver import RowStore
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.segment import parse_segment_header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TELEMETRY = RowStoreKey(5237161784658095297)
OTHER = RowStoreKey(17872420110596528942)
OLD = "Timestamp:datetime,Device:string,Value:real,Count:long,Ok:bool,Id:guid,Span:timespan,"
OLD += "Bag:dynamic,Small:int,Price:decimal"
SCHEMAS = {
    TELEMETRY: (OLD, f"{OLD},Late:string,Later:long"),
    OTHER: ("Name:string,N:long",),
}
ENDS = {
    TELEMETRY: KeyPosition(3, 10803862233870915729),
    OTHER: KeyPosition(3, 2506453063287134618),
}


def schema_of(key: RowStoreKey, version: int) -> pa.Schema | None:
    if version >= len(SCHEMAS.get(key, ())):
        return None
    columns = [column.split(":") for column in SCHEMAS[key][version].split(",")]
    return pa.schema([pa.field(name, ARROW_TYPES[ScalarType(kind)]) for name, kind in columns])


@asynccontextmanager
async def running(folder: Path, *, sync: bool) -> AsyncIterator[RowStore]:
    store = await RowStore.open(
        folder, disk=RealDisk(), clock=TestClock(), sync=sync, schema_of=schema_of
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


def folders(root: Path) -> dict[bool, Path]:
    unpack_format_1(root)
    (copy,) = (root / "follower1/0/followed").iterdir()
    return {True: root / "leader/0/rowstore", False: copy}


@pytest.mark.parametrize("sync", [True, False])
async def test_rows_positions_and_source_ids_are_there(tmp_path, sync) -> None:
    folder = folders(tmp_path)[sync]
    before = (folder / "00000000000000000000.wal").read_bytes()
    async with running(folder, sync=sync) as store:
        assert store.position_of(SCHEMAS) == ENDS
        rows = store.rows(TELEMETRY)
        assert rows.schema_versions == (0, 1)
        assert [batch.num_rows for batch in rows.batches] == [2, 1]
        assert all(batch.validate(full=True) is None for batch in rows.batches)
        times = rows.ingestion_times().cast("int64").to_pylist()
        assert times == [1795264421677235] * 2 + [1795264424928481]
        assert len(store.rows(OTHER).batches[0]) == 3
        report = store.statistics().recovery
        assert (report.cut_bytes, report.skipped_records) == (0, int(sync))
        assert store.statistics().source_ids == (3 if sync else 0)
        if sync:
            outcome = store.outcome_of(b"\x00\x1eA\xe0u7\x92\x8aq\xef\xbaH\x1b&\x1d\x94")
            assert (outcome.key, outcome.first_ordinal, outcome.row_count) == (TELEMETRY, 0, 2)
    assert (folder / "00000000000000000000.wal").read_bytes() == before


@pytest.mark.parametrize("sync", [True, False])
async def test_new_rows_go_to_a_segment_of_todays_format(tmp_path, sync) -> None:
    folder = folders(tmp_path)[sync]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["new"]), pa.array([1], pa.int64())], schema=schema_of(OTHER, 0)
    )
    for life in range(2):
        async with running(folder, sync=sync) as store:
            staged = store.stage(OTHER, 0, batch, [RequestSpan(b"", 1)])
            assert staged.first_ordinal == 3 + life
            await staged.committed()
            assert store.rows(OTHER).ingestion_times().to_pylist()[-1] is not None
    versions = [parse_segment_header(memoryview(p.read_bytes())).version for p in segments(folder)]
    assert versions == [1, 2]
    async with running(folder, sync=sync) as store:
        assert store.position_of([OTHER])[OTHER].ordinal == 5
        store.advance(OTHER, store.rows(OTHER).position)
        store.advance(TELEMETRY, ENDS[TELEMETRY])
        with trio.fail_after(5):
            while len(segments(folder)) > 1:
                await trio.lowlevel.checkpoint()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wal"))


async def test_an_empty_segment_of_format_1_gives_its_name_to_a_new_one(tmp_path) -> None:
    folder = folders(tmp_path)[True]
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes()[:32])
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["new"]), pa.array([1], pa.int64())], schema=schema_of(OTHER, 0)
    )
    async with running(folder, sync=True) as store:
        await store.stage(OTHER, 0, batch, [RequestSpan(b"", 1)]).committed()
    assert [parse_segment_header(memoryview(p.read_bytes())).version for p in segments(folder)] == [
        2
    ]
