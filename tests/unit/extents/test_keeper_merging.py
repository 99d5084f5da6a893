"""Merges end to end: the same rows in fewer extents, whatever happens meanwhile."""

from __future__ import annotations

import pytest
import trio
from keeper_world import DATABASE, NAME, N, World
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.changes import DropTable, RenameTables, SetPolicy, SetSchema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import ConflictError, CorruptionError
from cluster.extents.keeping import CrashPoint, JobKind
from cluster.extents.merging import FAN_IN
from cluster.extents.operations import Selection, TagChange

MERGE_POINTS = [point for point in CrashPoint if point.value.startswith("merge.")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def seal_each(world, *counts, table="T"):
    numbers = []
    for count in counts:
        numbers += await world.stream(count, table)
        await world.keeper.seal(DATABASE, table)
    return numbers


@pytest.mark.fidelity(
    "extents-overview.md", "Merging keeps the least and greatest creation time and all tags"
)
async def test_extents_of_like_size_become_one_that_knows_all_of_them(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers = await seal_each(world, *[3] * FAN_IN)
        old = world.extents()
        await keeper.retag(DATABASE, "T", [old[0].extent_id], TagChange.SET, ("a", "b"))
        await keeper.retag(DATABASE, "T", [old[1].extent_id], TagChange.SET, ("b", "c"))
        before = await world.sealed()
        ((merged, (new,)),) = await keeper.merge(DATABASE)
        assert len(merged) == FAN_IN
        assert world.extents() == [new]
        assert sorted(await world.sealed()) == sorted(before), "ingestion times included"
        assert await world.rows() == numbers
        assert sorted(new.tags) == ["a", "b", "c"]
        assert new.created_min_us == min(extent.created_min_us for extent in old)
        assert new.created_max_us == max(extent.created_max_us for extent in old)
        assert new.original_bytes == sum(extent.original_bytes for extent in old)
        assert new.ingested_min_us == min(extent.ingested_min_us for extent in old)
        assert [(s.key, s.first_ordinal, s.end_ordinal) for s in new.sources] == [
            (world.table().key, 0, len(numbers))
        ]
        assert await keeper.merge(DATABASE) == []


@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("point", MERGE_POINTS)
async def test_a_crash_at_any_point_of_a_merge_leaves_every_row_once(world, point, power_loss):
    async with world.running() as keeper:
        await world.create("T")
        numbers = await seal_each(world, *[2] * FAN_IN)
        with world.dies(point):
            await keeper.merge(DATABASE)
    async with world.running(power_loss=power_loss) as keeper:
        assert await world.rows() == numbers
        await keeper.sweep(at_start=True)
        assert await world.rows() == numbers
        await keeper.merge(DATABASE)
        assert await world.rows() == numbers
        assert len(world.extents()) == 1
        named = {extent.file for extent in world.extents()}
        garbage = {item.file for item in world.catalog.garbage()}
        assert set(await world.files_in_root()) == named | garbage


async def change_drop(world):
    await world.keeper.drop_extents(DATABASE, Selection(extent_ids=(world.extents()[0].extent_id,)))


async def change_retag(world):
    ids = [world.extents()[0].extent_id]
    await world.keeper.retag(DATABASE, "T", ids, TagChange.SET, ("drop-by:x",))


async def change_clear(world):
    await world.keeper.clear_table(DATABASE, "T")


async def change_table(world):
    await world.commit(DropTable("T"))
    await world.create("T")


@pytest.mark.parametrize("change", [change_drop, change_retag, change_clear, change_table])
@pytest.mark.parametrize("point", [CrashPoint.MERGE_PINNED, CrashPoint.MERGE_WRITTEN])
async def test_a_merge_of_extents_that_go_meanwhile_changes_nothing(world, change, point):
    async with world.running() as keeper:
        await world.create("T")
        await seal_each(world, *[2] * FAN_IN)

        async def meanwhile(reached):
            if reached == point:
                world.on_point = None
                await change(world)

        world.on_point = meanwhile
        assert await keeper.merge(DATABASE) == []
        after = await world.rows()
        trees_files = {extent.file for extent in world.extents()}
        kept = {
            extent.file
            for dropped in world.catalog.get(DATABASE).dropped_tables
            for extent in dropped.table.extents.values()
        }
        garbage = {item.file for item in world.catalog.garbage()}
        assert set(await world.files_in_root()) == trees_files | kept | garbage
        assert keeper.statistics().merges_abandoned == 1
        with_all = {change_retag: 2 * FAN_IN, change_drop: 2 * FAN_IN - 2}.get(change, 0)
        assert len(after) == with_all


async def test_a_table_renamed_and_altered_during_a_merge_keeps_its_rows(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers = await seal_each(world, *[2] * FAN_IN)

        async def meanwhile(point):
            if point == CrashPoint.MERGE_WRITTEN:
                world.on_point = None
                schema = (NAME, Column("m", ScalarType.LONG), Column("fresh", ScalarType.REAL))
                await world.commit(SetSchema("T", schema, (1, 0, 2)), RenameTables((("T", "New"),)))

        world.on_point = meanwhile
        assert len(await keeper.merge(DATABASE)) == 1
        rows = sorted(await world.sealed("New"), key=lambda row: row[1])
        assert [row[:3] for row in rows] == [(f"row {n}", n, None) for n in numbers]


async def test_a_merge_takes_the_columns_that_are_in_force(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers = await seal_each(world, *[2] * (FAN_IN // 2))
        await world.commit(SetSchema("T", (N, Column("later", ScalarType.STRING)), (0, 2)))
        numbers += await seal_each(world, *[2] * (FAN_IN - FAN_IN // 2))
        await keeper.merge(DATABASE)
        (extent,) = world.extents()
        assert extent.column_ids[:2] == (0, 2), "and the hidden one"
        assert await world.rows() == numbers


async def test_merging_by_command_takes_exactly_what_is_named(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers = await seal_each(world, 1, 50, 3)
        ids = [extent.extent_id for extent in world.extents()]
        (merged,) = await keeper.merge_extents(DATABASE, "T", ids[:2])
        assert {extent.extent_id for extent in world.extents()} == {merged.extent_id, ids[2]}
        assert await world.rows() == numbers

        async def meanwhile(point):
            if point == CrashPoint.MERGE_WRITTEN:
                world.on_point = None
                await keeper.drop_extents(DATABASE, Selection(extent_ids=(ids[2],)))

        world.on_point = meanwhile
        with pytest.raises(ConflictError):
            await keeper.merge_extents(DATABASE, "T", [merged.extent_id, ids[2]])
        assert world.extents() == [merged]


@pytest.mark.fidelity("merge-policy.md", "AllowMerge and AllowRebuild can forbid merging")
async def test_the_policy_can_forbid_merging(world):
    async with world.running() as keeper:
        await world.create("T")
        await seal_each(world, *[2] * FAN_IN)
        off = '{"AllowMerge":false,"AllowRebuild":false}'
        await world.commit(SetPolicy("T", "merge", off))
        assert keeper.plan_merge(DATABASE, "T") == []
        assert await keeper.merge(DATABASE) == []
        await world.commit(SetPolicy("T", "merge", None))
        assert len(keeper.plan_merge(DATABASE, "T")) == 1


async def test_a_damaged_file_stops_its_merge_and_nothing_is_lost(world):
    async with world.running() as keeper:
        await world.create("T")
        await seal_each(world, *[2] * FAN_IN)
        before = world.extents()
    world.root.flip_bit(before[3].file, 40)
    async with world.running() as keeper:
        with pytest.raises(CorruptionError) as caught:
            await keeper.merge(DATABASE)
        assert before[3].file in caught.value.message
        assert sorted(world.extents(), key=str) == sorted(before, key=str)
        failed = [report for report in world.reports if report.failure]
        assert [report.kind for report in failed] == [JobKind.MERGE]
        assert keeper.statistics().merge_failures == 1


async def test_rows_with_and_without_an_ingestion_time_stay_so_when_they_merge(world):
    async with world.running() as keeper:
        await world.create("T")
        await world.commit(SetPolicy("T", "ingestiontime", '{"IsEnabled":false}'))
        without = await seal_each(world, *[2] * (FAN_IN // 2))
        await world.commit(SetPolicy("T", "ingestiontime", '{"IsEnabled":true}'))
        await seal_each(world, *[2] * (FAN_IN // 2))
        before = await world.sealed()
        assert len(await keeper.merge(DATABASE)) == 1
        assert sorted(map(str, await world.sealed())) == sorted(map(str, before))
        assert sorted(row[0] for row in await world.sealed() if row[-1] is None) == without


@pytest.mark.parametrize("allowed", [1, 2, 3])
async def test_so_many_merges_run_at_once_commands_included(tmp_path, allowed):
    world = World(tmp_path, merge_concurrency=allowed)
    async with world.running() as keeper:
        names = ("A", "B", "C")
        await world.create(*names)
        for name in names:
            await seal_each(world, 1, 1, table=name)
        gate = trio.Event()

        async def hold(point):
            if point == CrashPoint.MERGE_PINNED:
                await gate.wait()

        world.on_point = hold
        async with trio.open_nursery() as nursery:
            for name in names:
                ids = tuple(world.table(name).extents)
                nursery.start_soon(keeper.merge_extents, DATABASE, name, ids)
            await wait_all_tasks_blocked()
            assert keeper.statistics().merges_running == allowed
            gate.set()
        assert [len(world.extents(name)) for name in names] == [1, 1, 1]
        assert keeper.statistics().merges == 3
