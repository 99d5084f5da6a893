"""Retention, then garbage: what goes, when, and what is never touched."""

from __future__ import annotations

import json

import pytest
from keeper_world import DATABASE, DAY_US, World

from cluster.catalog.changes import DropTable, SetPolicy
from cluster.catalog.model import Version
from cluster.errors import StorageUnavailableError
from cluster.extents.keeping import CrashPoint, JobKind
from cluster.extents.operations import Selection, TagChange
from cluster.extents.retention import RECOVERABLE_US

SECOND_US = 1_000_000
GRACE_US = 300 * SECOND_US
GARBAGE_POINTS = [point for point in CrashPoint if point.value.startswith("garbage.")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def seal_one(world, count=2, table="T"):
    numbers = await world.stream(count, table)
    (extent,) = await world.keeper.seal(DATABASE, table)
    return numbers, extent


async def drop_all(world):
    await world.keeper.drop_extents(DATABASE, Selection(table="T"))


def retention(days, recoverable=True):
    return json.dumps(
        {
            "SoftDeletePeriod": f"{days}.00:00:00",
            "Recoverability": "Enabled" if recoverable else "Disabled",
        }
    )


@pytest.mark.fidelity(
    "retention-policy.md", "An extent goes when its newest row is older than SoftDeletePeriod"
)
async def test_an_extent_goes_when_its_newest_row_is_too_old_and_not_before(world):
    async with world.running() as keeper:
        await world.create("T", "Other")
        await seal_one(world)
        await seal_one(world, table="Other")
        await world.commit(SetPolicy("T", "retention", retention(2)))
        world.clock.us += 2 * DAY_US - 1
        assert await keeper.retain() == 0
        world.clock.us += 1
        later, _ = await seal_one(world)
        assert await keeper.retain() == 1
        assert await world.rows() == later
        assert len(world.extents("Other")) == 1, "no policy: kept for 1,000 years"
        assert keeper.statistics().dropped_extents == 1
        version = world.catalog.get(DATABASE).version
        assert await keeper.retain() == 0
        assert world.catalog.get(DATABASE).version == version, "nothing to drop, no version"


@pytest.mark.fidelity(
    "extent-tags-retention-policy.md", "Tags of a prefix go after their RetentionPeriod"
)
async def test_tags_go_by_their_own_policy(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers, extent = await seal_one(world)
        tags = ("drop-by:a", "ingest-by:b", "c")
        await keeper.retag(DATABASE, "T", [extent.extent_id], TagChange.SET, tags)
        rules = [{"TagPrefix": "drop-by:", "RetentionPeriod": "1.00:00:00"}]
        await world.commit(SetPolicy("T", "extent_tags_retention", json.dumps(rules)))
        world.clock.us += DAY_US - 1
        await keeper.retain()
        assert world.extents()[0].tags == tags
        world.clock.us += 1
        await keeper.retain()
        assert world.extents()[0].tags == ("ingest-by:b", "c")
        assert await world.rows() == numbers


@pytest.mark.fidelity("auto-delete-policy.md", "A table is dropped when its ExpiryDate has come")
@pytest.mark.parametrize(("delete_if_not_empty", "left"), [(True, set()), (False, {"T"})])
async def test_a_table_is_dropped_when_its_auto_delete_time_has_come(
    world, delete_if_not_empty, left
):
    async with world.running() as keeper:
        await world.create("T", "Empty")
        await world.stream(1)
        policy = {"ExpiryDate": "2023-11-15T00:00:00Z", "DeleteIfNotEmpty": delete_if_not_empty}
        for name in ("T", "Empty"):
            await world.commit(SetPolicy(name, "auto_delete", json.dumps(policy)))
        await keeper.retain()
        assert set(world.catalog.get(DATABASE).tables) == {"T", "Empty"}
        world.clock.us += DAY_US
        await keeper.retain()
        assert set(world.catalog.get(DATABASE).tables) == left


@pytest.mark.fidelity("undo-drop-table-command.md", "A dropped table can be recovered for 14 days")
@pytest.mark.parametrize("recoverable", [True, False])
async def test_a_dropped_table_is_kept_for_as_long_as_it_can_be_recovered(world, recoverable):
    async with world.running() as keeper:
        await world.create("T")
        _, extent = await seal_one(world)
        await world.commit(SetPolicy("T", "retention", retention(100, recoverable)))
        await world.commit(DropTable("T", world.clock.us))
        world.clock.us += RECOVERABLE_US - 1 if recoverable else 1
        await keeper.retain()
        assert len(world.catalog.get(DATABASE).dropped_tables) == recoverable
        await keeper.collect_garbage()
        assert await world.files_in_root() == [extent.file]
        world.clock.us += 1
        await keeper.retain()
        assert world.catalog.get(DATABASE).dropped_tables == ()
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        await keeper.collect_garbage()
        assert await world.files_in_root() == []


async def test_a_file_is_deleted_when_the_grace_is_over_and_nobody_holds_it(world):
    async with world.running() as keeper:
        await world.create("T")
        _, extent = await seal_one(world)
        tree = world.catalog.get(DATABASE)
        async with world.files.acquire(tree, [extent]):
            await drop_all(world)
            assert await keeper.collect_garbage() == 0
            world.clock.us += GRACE_US
            assert await keeper.collect_garbage() == 0, "a query holds it"
        assert await keeper.collect_garbage() == 1
        assert await world.files_in_root() == []
        assert world.catalog.garbage() == ()


@pytest.mark.parametrize("waited_us", [GRACE_US - 1, GRACE_US])
async def test_the_grace_counts_from_when_nothing_needs_the_file(world, waited_us):
    async with world.running() as keeper:
        await world.create("T")
        await seal_one(world)
        await drop_all(world)
        await keeper.collect_garbage()
        world.clock.us += waited_us
        assert await keeper.collect_garbage() == (waited_us >= GRACE_US)


async def test_a_shared_file_stays_while_any_extent_names_it(world):
    async with world.running() as keeper:
        await world.create("T", "Other")
        numbers, extent = await seal_one(world)
        await keeper.move_extents(DATABASE, [("T", None)], "Other")
        await keeper.collect_garbage()
        world.clock.us += 2 * GRACE_US
        assert await keeper.collect_garbage() == 0
        assert await world.rows("Other") == numbers
        assert await world.files_in_root() == [extent.file]


async def test_followers_are_waited_for_until_the_cap(world):
    async with world.running() as keeper:
        await world.create("T")
        await seal_one(world)
        world.acknowledged = world.catalog.get(DATABASE).version
        await drop_all(world)
        world.clock.us += 3600 * SECOND_US - 1
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        # Now it is past the cap, but that was not seen before: the grace starts here.
        assert await keeper.collect_garbage() == 0
        world.clock.us += GRACE_US
        assert await keeper.collect_garbage() == 1


async def test_a_follower_that_acknowledged_the_drop_needs_the_file_no_more(world):
    async with world.running() as keeper:
        await world.create("T")
        await seal_one(world)
        world.acknowledged = Version(1, 0)
        await drop_all(world)
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        assert await keeper.collect_garbage() == 0
        world.acknowledged = world.catalog.get(DATABASE).version
        assert await keeper.collect_garbage() == 0
        world.clock.us += GRACE_US
        assert await keeper.collect_garbage() == 1


@pytest.mark.parametrize("point", GARBAGE_POINTS)
async def test_a_crash_while_garbage_is_collected_is_made_good_later(world, point):
    async with world.running() as keeper:
        await world.create("T")
        await seal_one(world)
        await drop_all(world)
        kept, extent = await seal_one(world)
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        with world.dies(point):
            await keeper.collect_garbage()
    async with world.running() as keeper:
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        await keeper.collect_garbage()
        assert await world.files_in_root() == [extent.file]
        assert world.catalog.garbage() == ()
        assert await world.rows() == kept


async def test_garbage_that_cannot_be_deleted_is_tried_again(world):
    async with world.running() as keeper:
        await world.create("T")
        await seal_one(world)
        await drop_all(world)
        await keeper.collect_garbage()
        world.clock.us += GRACE_US
        world.root.fail("delete")
        with pytest.raises(StorageUnavailableError):
            await keeper.collect_garbage()
        assert len(world.catalog.garbage()) == 1
        assert keeper.statistics().upkeep_failures == 1
        assert [r.kind for r in world.reports if r.failure] == [JobKind.COLLECT]
        assert await keeper.collect_garbage() == 1
        assert await world.files_in_root() == []


async def test_the_sweep_at_start_deletes_only_what_nothing_names_below_our_databases(world):
    async with world.running():
        await world.create("T", "Gone", "Kept")
        _, named = await seal_one(world)
        _, garbage = await seal_one(world, table="Gone")
        await world.keeper.drop_extents(DATABASE, Selection(table="Gone"))
        _, dropped = await seal_one(world, table="Kept")
        await world.commit(DropTable("Kept", world.clock.us))
        database_id = world.catalog.get(DATABASE).database_id
        await world.root.put(f"{database_id}/table/orphan.parquet", b"x")
        await world.root.put("somebody-else/table/file.parquet", b"x")
    async with world.running() as keeper:
        assert await keeper.sweep(at_start=True) == 1
        assert await world.files_in_root() == sorted(
            [named.file, garbage.file, dropped.file, "somebody-else/table/file.parquet"]
        )


async def test_a_later_sweep_waits_before_it_deletes_what_may_be_on_its_way(world):
    async with world.running() as keeper:
        await world.create("T")
        database_id = world.catalog.get(DATABASE).database_id
        await world.root.put(f"{database_id}/table/file.parquet", b"x")
        day = int(world.limits.orphan_grace_seconds * SECOND_US)
        assert await keeper.sweep() == 0
        world.clock.us += day - 1
        assert await keeper.sweep() == 0
        world.clock.us += 1
        assert await keeper.sweep() == 1
        assert await world.files_in_root() == []


async def test_a_crash_in_the_sweep_is_made_good_by_the_next(world):
    async with world.running() as keeper:
        await world.create("T")
        numbers, extent = await seal_one(world)
        database_id = world.catalog.get(DATABASE).database_id
        await world.root.put(f"{database_id}/table/orphan.parquet", b"x")
        with world.dies(CrashPoint.SWEEP_LISTED):
            await keeper.sweep(at_start=True)
    async with world.running() as keeper:
        assert await keeper.sweep(at_start=True) == 1
        assert await world.files_in_root() == [extent.file]
        assert await world.rows() == numbers
