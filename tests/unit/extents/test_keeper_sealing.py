"""Seals end to end: rows leave the row stores, each counted once at every moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from keeper_world import DATABASE, NAME, N, World
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.changes import DropTable, RenameTables, SetPolicy, SetSchema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    DatabaseNotFoundError,
    StorageFullError,
    StorageUnavailableError,
    TableNotFoundError,
    UnavailableError,
)
from cluster.extents.keeping import CrashPoint, Drained, JobKind, SealReason
from cluster.history.records import DataOperationKind

SEAL_POINTS = [point for point in CrashPoint if point.value.startswith("seal.")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.fidelity("how-it-works.md", "Rows of row stores become extents")
async def test_a_sealed_row_is_in_an_extent_and_nowhere_else(world):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5) + await world.stream(7, reference=1)
        extents = await keeper.seal(DATABASE, "T")
        assert await world.rows() == written
        assert [extent.row_count for extent in extents] == [12]
        assert world.extents() == list(extents)
        assert not world.row_stores.unsealed(world.table().keys)
        sealed = await world.sealed()
        assert sorted(row[0] for row in sealed) == written
        assert {row[1] for row in sealed} == {f"row {n}" for n in written}
        assert len({row[-1] for row in sealed}) == 2, "each row keeps the time of its record"


@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("point", SEAL_POINTS)
async def test_a_crash_at_any_point_of_a_seal_leaves_every_row_once(world, point, power_loss):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5) + await world.stream(4, reference=1)
        with world.dies(point):
            await keeper.seal(DATABASE)
    async with world.running(power_loss=power_loss) as keeper:
        assert await world.rows() == written
        await keeper.sweep(at_start=True)
        assert await world.rows() == written
        named = [extent.file for extent in world.extents()]
        assert await world.files_in_root() == named, "no file is left that nothing names"
        written += await world.stream(3)
        await keeper.seal(DATABASE)
        assert await world.rows() == written
        assert sum(extent.row_count for extent in world.extents()) == len(written)


async def while_sealing(world, point, action):
    """Seals everything; does something when the seal has reached a point."""

    async def meanwhile(reached):
        if reached == point:
            world.on_point = None
            await action()

    world.on_point = meanwhile
    return await world.keeper.seal(DATABASE)


BEFORE_COMMIT = [CrashPoint.SEAL_PINNED, CrashPoint.SEAL_WRITTEN]


@pytest.mark.parametrize("point", SEAL_POINTS)
async def test_rows_that_come_during_a_seal_stay_and_every_row_counts_once(world, point):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5)

        async def ingest_and_look():
            written.extend(await world.stream(3))
            written.extend(await world.stream(2, reference=1))
            assert await world.rows() == written

        (extent,) = await while_sealing(world, point, ingest_and_look)
        assert extent.row_count == 5
        assert await world.rows() == written
        await keeper.seal(DATABASE)
        assert await world.rows() == written
        assert not world.row_stores.unsealed(world.table().keys)


@pytest.mark.parametrize("point", BEFORE_COMMIT)
async def test_a_table_dropped_during_its_seal_leaves_nothing(world, point):
    async with world.running() as keeper:
        await world.create("T")
        await world.stream(5)

        async def drop():
            await world.commit(DropTable("T"))
            await world.create("T")

        assert await while_sealing(world, point, drop) == ()
        assert await world.rows() == []
        assert await world.files_in_root() == []
        assert keeper.statistics().seals_abandoned == 1


@pytest.mark.parametrize("point", BEFORE_COMMIT)
async def test_a_table_cleared_during_its_seal_stays_cleared(world, point):
    async with world.running() as keeper:
        await world.create("T")
        await world.stream(5)
        later = []

        async def clear():
            await keeper.clear_table(DATABASE, "T")
            later.extend(await world.stream(2))

        await while_sealing(world, point, clear)
        assert await world.rows() == later
        await keeper.seal(DATABASE)
        assert await world.rows() == later
        assert len(await world.files_in_root()) == 1


@pytest.mark.parametrize("point", BEFORE_COMMIT)
async def test_a_table_renamed_and_altered_during_its_seal_gets_its_rows(world, point):
    async with world.running():
        await world.create("T")
        written = await world.stream(5)

        async def alter():
            columns = (NAME, replace(N, name="m"), Column("fresh", ScalarType.REAL))
            await world.commit(SetSchema("T", columns, (1, 0, 2)), RenameTables((("T", "New"),)))

        await while_sealing(world, point, alter)
        rows = await world.sealed("New")
        assert [row[:3] for row in rows] == [(f"row {n}", n, None) for n in written]


async def test_rows_of_several_schemas_become_one_extent_of_the_last(world):
    async with world.running() as keeper:
        await world.create("T")
        first = await world.stream(2)
        await world.commit(SetSchema("T", (N, Column("text", ScalarType.STRING)), (0, 2)))
        second = await world.stream(2)
        (extent,) = await keeper.seal(DATABASE)
        assert extent.row_count == 4
        assert [row[:2] for row in await world.sealed()] == [
            *((n, "") for n in first),
            *((n, None) for n in second),
        ]


async def test_without_the_ingestion_time_policy_rows_have_none(world):
    async with world.running() as keeper:
        await world.create("T")
        await world.commit(SetPolicy("T", "ingestiontime", '{"IsEnabled":false}'))
        await world.stream(2)
        await world.stream(2)
        (extent,) = await keeper.seal(DATABASE)
        assert extent.ingested_min_us is None
        assert {row[-1] for row in await world.sealed()} == {None}


async def test_a_large_table_becomes_several_extents_with_their_own_ordinals(world):
    async with world.running() as keeper:
        await world.create("T")
        policy = (
            '{"ShardEngineMaxRowCount":4,"ShardEngineMaxExtentSizeInMb":8192,'
            '"ShardEngineMaxOriginalSizeInMb":3072}'
        )
        await world.commit(SetPolicy("T", "sharding", policy))
        written = await world.stream(3) + await world.stream(3) + await world.stream(4, reference=1)
        extents = await keeper.seal(DATABASE)
        assert [extent.row_count for extent in extents] == [4, 4, 2]
        first, second = (reference.key for reference in world.table().references[:2])
        ranges = [(s.key, s.first_ordinal, s.end_ordinal) for e in extents for s in e.sources]
        assert ranges == [(first, 0, 4), (first, 4, 6), (second, 0, 2), (second, 2, 4)]
        assert sum(extent.original_bytes for extent in extents) > 0
        assert await world.rows() == written


@pytest.mark.parametrize(
    "error",
    [StorageFullError("no space"), StorageUnavailableError("no network")],
    ids=["full", "network"],
)
@pytest.mark.parametrize("takes_effect", [False, True])
async def test_a_write_that_fails_keeps_the_rows_where_they_were(world, error, takes_effect):
    async with world.running() as keeper:
        await world.create("T", "Other")
        written = await world.stream(5)
        other = await world.stream(2, "Other")
        world.root.fail("put", error=error, takes_effect=takes_effect)
        with pytest.raises(type(error)):
            await keeper.seal(DATABASE)
        assert await world.rows() == written
        assert await world.rows("Other") == other
        assert len(world.extents()) + len(world.extents("Other")) == 1, "the others are sealed"
        failed = [report for report in world.reports if report.failure]
        assert [(r.kind, r.failure) for r in failed] == [(JobKind.SEAL, error.message)]
        statistics = keeper.statistics()
        assert (statistics.seals, statistics.seal_failures, statistics.retry_tables) == (1, 1, 1)
        assert error.message in statistics.last_failure
        await keeper.seal(DATABASE)
        assert await world.rows() == written
        assert await world.rows("Other") == other
        assert keeper.statistics().retry_tables == 0
        named = world.extents() + world.extents("Other")
        if not takes_effect:
            assert await world.files_in_root() == sorted(extent.file for extent in named)


async def test_a_transaction_that_may_have_been_committed_leaves_its_files(world):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5)

        async def break_catalog():
            await world.catalog.aclose()

        with pytest.raises(UnavailableError):
            await while_sealing(world, CrashPoint.SEAL_WRITTEN, break_catalog)
        assert len(await world.files_in_root()) == 1, "nobody knows whether they are named"
    async with world.running() as keeper:
        assert await world.rows() == written
        assert await keeper.sweep(at_start=True) == 1


@pytest.mark.fidelity("show-data-operations.md", "A seal is a data operation of kind RowStoreSeal")
async def test_a_seal_is_reported_as_a_data_operation(world):
    async with world.running() as keeper:
        await world.create("T")
        await world.stream(5)
        (extent,) = await keeper.seal(DATABASE, "T", SealReason.SIZE)
        (operation,) = world.data_operations
        assert operation.kind is DataOperationKind.ROW_STORE_SEAL
        assert (operation.database, operation.table) == (DATABASE, "T")
        assert (operation.row_count, operation.extent_count) == (5, 1)
        assert operation.original_bytes == extent.original_bytes > 0
        assert operation.extent_bytes == extent.file_bytes > 0
        assert operation.properties == {"Reason": "Size"}
        await keeper.seal(DATABASE)
        assert len(world.data_operations) == 1, "a seal of nothing is none"


async def test_draining_seals_everything_and_says_when_nothing_is_left(world):
    async with world.running() as keeper:
        await world.create("T", "Other")
        await world.catalog.create_database("Second")
        written = await world.stream(5) + await world.stream(3)
        await world.stream(2, "Other", reference=1)
        drained = await keeper.drain(DATABASE)
        assert drained.is_empty
        assert sum(extent.row_count for extent in drained.extents) == 10
        assert await world.rows() == written
        assert {operation.properties["Reason"] for operation in world.data_operations} == {"Drain"}
        assert await keeper.drain() == Drained((), is_empty=True)


async def test_draining_says_when_rows_keep_coming(world):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(1)

        async def ingest(point):
            if point == CrashPoint.SEAL_COMMITTED:
                written.extend(await world.stream(1))

        world.on_point = ingest
        drained = await keeper.drain()
        assert not drained.is_empty
        assert await world.rows() == written


async def test_sealing_what_is_not_there_is_refused(world):
    async with world.running() as keeper:
        await world.create("T")
        with pytest.raises(TableNotFoundError):
            await keeper.seal(DATABASE, "No")
        with pytest.raises(DatabaseNotFoundError):
            await keeper.seal("No")


@pytest.mark.fidelity("capacity-policy.md", "At most four seals of a node run at once")
@pytest.mark.parametrize("allowed", [1, 3, 4])
async def test_so_many_seals_run_at_once_and_never_two_of_a_table(tmp_path, allowed):
    world = World(tmp_path, seal_concurrency=allowed)
    async with world.running() as keeper:
        names = [f"T{n}" for n in range(6)]
        await world.create(*names)
        for name in names:
            await world.stream(2, name)
        gate = trio.Event()
        running = []

        async def hold(point):
            if point == CrashPoint.SEAL_PINNED:
                running.append(point)
                await gate.wait()

        world.on_point = hold
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.seal, DATABASE)
            nursery.start_soon(keeper.seal, DATABASE, "T0")
            await wait_all_tasks_blocked()
            assert len(running) == allowed
            assert keeper.statistics().seals_running == allowed
            gate.set()
        assert len(running) == 6, "the second seal of T0 found nothing left"
        assert [len(world.extents(name)) for name in names] == [1] * 6
