"""The keeper on its timers, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from keeper_world import DATABASE, DAY_US, OFF, ON, World

from cluster.catalog.changes import SetPolicy, SetTableStreamingPolicy
from cluster.extents.keeping import CrashPoint, JobKind
from cluster.extents.merging import FAN_IN
from cluster.testing.root import FakeRoot

HOUR = 3600


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """A virtual clock would run on while a thread works; so none does."""

    async def run_sync(function, *arguments, **_):
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.clock.goes = True
    return made


@pytest.fixture
def slow_world(tmp_path):
    """Looks less often, so that a day takes no time."""
    made = World(tmp_path, seal_check_seconds=60.0, merge_check_seconds=600.0)
    made.clock.goes = True
    return made


@asynccontextmanager
async def running(world):
    """A life in which the keeper runs."""
    async with world.running() as keeper, trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        yield keeper
        nursery.cancel_scope.cancel()


def reasons(world):
    return [operation.properties["Reason"] for operation in world.data_operations]


@pytest.mark.fidelity(
    "rowstore_policy.md (2018)", "Rows are sealed when the interval of the table is over"
)
async def test_rows_are_sealed_when_the_interval_is_over(slow_world, autojump_clock):
    world = slow_world
    async with running(world):
        await world.create("T")
        written = await world.stream(3)
        await trio.sleep(24 * HOUR - 65)
        assert world.extents() == []
        await trio.sleep(130)
        assert reasons(world) == ["Age"]
        assert await world.rows() == written


@pytest.mark.fidelity(
    "rowstore_policy.md (2018)",
    "The row store policy of the cluster decides when tables are sealed",
)
async def test_the_interval_is_that_of_the_row_store_policy(slow_world, autojump_clock):
    world = slow_world
    async with running(world):
        await world.create("T")
        policy = '{"TableSealThresholdBytes":10485760,"SealIntervalLimit":"01:00:00"}'
        await world.catalog.commit(
            "NetDefaultDB", [SetPolicy("", "cluster rowstore", policy)], text=""
        )
        await world.stream(3)
        await trio.sleep(HOUR - 65)
        assert reasons(world) == []
        await trio.sleep(130)
        assert reasons(world) == ["Age"]


@pytest.mark.fidelity("ingest-data-streaming.md", "Removing the policy moves the rows into extents")
async def test_removing_the_policy_seals_within_a_look(world, autojump_clock):
    async with running(world):
        await world.create("T")
        written = await world.stream(3)
        await trio.sleep(10)
        assert reasons(world) == []
        await world.commit(SetTableStreamingPolicy("T", OFF))
        await trio.sleep(2)
        assert reasons(world) == ["StreamingPolicyRemoved"]
        await world.commit(SetTableStreamingPolicy("T", ON))
        written += await world.stream(3)
        await trio.sleep(10)
        assert await world.rows() == written
        assert len(world.extents()) == 1


async def test_a_full_row_store_seals_its_largest_table(tmp_path, autojump_clock):
    world = World(tmp_path, row_store_bytes=64 * 1024)
    world.clock.goes = True
    async with running(world):
        await world.create("Small", "Large")
        small = await world.stream(10, "Small")
        large = []
        for _ in range(20):
            large += await world.stream(100, "Large")
            await trio.sleep(2)
        assert "RowStorePressure" in reasons(world)
        assert world.extents("Small") == []
        assert await world.rows("Small") == small
        assert await world.rows("Large") == large


async def test_a_failed_seal_is_tried_again_later_and_later(world, autojump_clock):
    async with running(world) as keeper:
        await world.create("T")
        written = await world.stream(3)
        world.root.disconnect()
        await world.commit(SetTableStreamingPolicy("T", OFF))
        await trio.sleep(HOUR)
        failed = [report.ended_ns for report in world.reports if report.failure]
        waits = [round((b - a) / 1e9) for a, b in pairwise(failed)]
        assert waits[:6] == [1, 2, 4, 8, 16, 32]
        assert set(waits[6:]) == {60}
        assert keeper.statistics().retry_tables == 1
        assert await world.rows() == written
        world.root.reconnect()
        await trio.sleep(61)
        assert len(world.extents()) == 1
        assert await world.rows() == written
        assert keeper.statistics().retry_tables == 0


async def test_a_table_that_fails_does_not_hold_up_the_others(world, autojump_clock):
    async with running(world):
        await world.create("A", "B")
        await world.stream(3, "A")
        await world.stream(3, "B")
        world.root.fail("put")
        await world.commit(SetTableStreamingPolicy("A", OFF), SetTableStreamingPolicy("B", OFF))
        await trio.sleep(1.5)
        assert len(world.extents("A")) + len(world.extents("B")) == 1
        await trio.sleep(3)
        assert len(world.extents("A")) + len(world.extents("B")) == 2


async def test_extents_are_merged_and_the_old_files_go(world, autojump_clock):
    async with running(world) as keeper:
        await world.create("T")
        written = []
        for _ in range(FAN_IN):
            written += await world.stream(3)
            await keeper.seal(DATABASE)
        assert len(world.extents()) == FAN_IN
        await trio.sleep(10)
        (extent,) = world.extents()
        assert await world.rows() == written
        assert len(await world.files_in_root()) == FAN_IN + 1
        await trio.sleep(10 * 60)
        assert await world.files_in_root() == [extent.file]
        kinds = {report.kind for report in world.reports}
        assert kinds == {JobKind.SEAL, JobKind.MERGE, JobKind.COLLECT}


async def test_a_failed_merge_is_tried_again(world, autojump_clock):
    async with running(world) as keeper:
        await world.create("T")
        for _ in range(FAN_IN):
            await world.stream(3)
            await keeper.seal(DATABASE)
        world.root.fail("put")
        await trio.sleep(6)
        assert keeper.statistics().merge_failures == 1
        assert len(world.extents()) == FAN_IN
        await trio.sleep(20)
        assert len(world.extents()) == 1


async def test_retention_runs_by_itself(slow_world, autojump_clock):
    world = slow_world
    async with running(world) as keeper:
        await world.create("T")
        await world.stream(3)
        await keeper.seal(DATABASE)
        await world.commit(SetPolicy("T", "retention", '{"SoftDeletePeriod":"1.00:00:00"}'))
        await trio.sleep(DAY_US / 1e6 - 120)
        assert len(world.extents()) == 1
        await trio.sleep(240)
        assert world.extents() == []
        await trio.sleep(600)
        assert await world.files_in_root() == []


async def test_a_start_sweeps_what_a_crash_has_left(world, autojump_clock):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(3)
        with world.dies(CrashPoint.SEAL_WRITTEN):
            await keeper.seal(DATABASE)
    assert len(await world.files_in_root()) == 1
    async with running(world):
        assert await world.files_in_root() == []
        assert await world.rows() == written


async def test_a_root_that_is_away_at_the_start_does_not_keep_the_node_down(
    slow_world, autojump_clock, monkeypatch
):
    world = slow_world
    async with world.running() as keeper:
        await world.create("T")
        await world.stream(3)
        with world.dies(CrashPoint.SEAL_WRITTEN):
            await keeper.seal(DATABASE)
    # running() ends the faults of the life before, so this one is of the new life.
    crash = FakeRoot.crash
    monkeypatch.setattr(FakeRoot, "crash", lambda root: (crash(root), root.fail("list")))
    async with running(world) as keeper:
        assert keeper.statistics().upkeep_failures == 1
        assert len(await world.files_in_root()) == 1
        # No sweep of a running node takes a file at once: it may be on its way to be committed.
        await trio.sleep(24 * HOUR + 130)
        assert len(await world.files_in_root()) == 2, "the orphan, and the seal by age"
        await trio.sleep(3 * HOUR)
        assert await world.files_in_root() == [extent.file for extent in world.extents()]


async def test_stopping_in_the_middle_of_everything_loses_nothing(world, autojump_clock):
    written = []
    for point in (
        CrashPoint.SEAL_PINNED,
        CrashPoint.SEAL_WRITTEN,
        CrashPoint.SEAL_COMMITTED,
        CrashPoint.MERGE_WRITTEN,
        CrashPoint.MERGE_COMMITTED,
    ):
        async with world.running() as keeper:
            await world.create(*([] if written else ["T"]))
            for _ in range(FAN_IN):
                written += await world.stream(2)
                await keeper.seal(DATABASE)
            written += await world.stream(2)
            reached = trio.Event()

            async def hold(at, *, wanted=point, reached=reached):
                if at == wanted:
                    reached.set()
                    await trio.sleep(1)

            world.on_point = hold
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.seal, DATABASE)
                nursery.start_soon(keeper.merge, DATABASE)
                await reached.wait()
                nursery.cancel_scope.cancel()
            world.on_point = None
        async with world.running() as keeper:
            assert await world.rows() == written
            await keeper.sweep(at_start=True)
            assert await world.rows() == written


async def test_a_wake_looks_at_once(world, autojump_clock):
    async with running(world) as keeper:
        await world.create("T")
        await world.stream(3)
        await trio.sleep(0.5)
        await world.commit(SetTableStreamingPolicy("T", OFF))
        keeper.wake()
        await trio.sleep(0.01)
        assert reasons(world) == ["StreamingPolicyRemoved"]
