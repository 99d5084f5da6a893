"""Stories in a simulated setup: what faults do, and that everything comes back."""

from __future__ import annotations

import pytest
import trio
from sim_worlds import DATABASE, play

from cluster.conformance.faults import Fault, FaultKind
from cluster.conformance.notes import Delivered, ProcessBegan, ProcessEnded, Reached
from cluster.errors import RemoraError
from cluster.extents.keeping import CrashPoint
from cluster.testing.sim.damage import MEMORY
from cluster.testing.sim.lives import AFTER_SYNC, BEFORE_SYNC
from cluster.testing.sim.settings import Reach, Settings

TARGETS = {
    FaultKind.REPLACE: "follower1/0",
    FaultKind.BIT_FLIP: "follower1/0",
    FaultKind.COORDINATOR_OLD_STATE: "coordinator",
    FaultKind.COORDINATOR_TWICE: "coordinator",
    **dict.fromkeys(
        (
            FaultKind.PARTITION,
            FaultKind.ONE_WAY,
            FaultKind.DELAY,
            FaultKind.DROP,
            FaultKind.DUPLICATE,
            FaultKind.REORDER,
            FaultKind.BANDWIDTH,
            FaultKind.STALL,
            FaultKind.RESET,
        ),
        "leader->follower1",
    ),
}


def notes(system, kind):
    return [event.what for event in system.history if isinstance(event.what, kind)]


def test_rows_reach_followers_whose_capability_is_on():
    async def story(told):
        await told.ingest(1, 2, 3)
        await trio.sleep(5)
        assert await told.ids("follower1") == [1, 2, 3]
        hidden = await told.read("follower2")
        assert hidden.ids == ()
        assert "streaming ingestion is off" in hidden.hidden_reason

    system = play(story)
    assert system.failures == []
    assert [(note.first, note.end) for note in notes(system, Delivered)] == [(0, 3)]


@pytest.mark.parametrize("reach", list(Reach))
def test_sealed_rows_are_read_in_every_way_a_follower_can_reach_them(reach):
    async def story(told):
        await told.ingest(1, 2)
        await told.doors["leader"].command(DATABASE, ".seal table T1")
        await trio.sleep(5)
        assert await told.ids("follower2") == [1, 2]
        files = told.world.node("follower2").statistics().files
        counts = {
            Reach.LINKED: files.linked,
            Reach.DOWNLOADED: files.downloaded,
            Reach.FETCHED: files.fetched,
        }
        assert counts.pop(reach) == 1
        assert not any(counts.values())

    system = play(story, Settings(seed=1, reach=(("follower2", reach),)))
    assert system.failures == []
    states = {note.state for note in notes(system, Reached)}
    assert ("extent fetched from leader" in states) is (reach is Reach.FETCHED)


@pytest.mark.parametrize("kind", list(FaultKind), ids=lambda kind: kind.value)
def test_every_fault_begins_ends_and_leaves_nothing_behind(kind):
    async def story(told):
        await told.ingest(1, 2)
        await trio.sleep(20)
        fault = Fault(
            kind=kind,
            target=TARGETS.get(kind, "leader/0"),
            ratio=0.3 if kind not in (FaultKind.RESET, FaultKind.FSYNC_ERROR) else 0.0,
            seconds=2.0,
            bytes_per_second=2000,
            detail="cache" if kind is FaultKind.BIT_FLIP else CrashPoint.SEAL_WRITTEN.value,
        )
        await told.system.begin(0, fault)
        with trio.move_on_after(25):
            try:
                await told.ingest(3, 4)
            except RemoraError:
                await trio.sleep(1)
        await told.system.end(0)
        await told.system.heal()
        await trio.sleep(60)
        if await told.ids("leader") == [1, 2]:
            await told.ingest(3, 4)
        await trio.sleep(5)
        assert await told.ids("leader") == [1, 2, 3, 4]
        assert await told.ids("follower1") == [1, 2, 3, 4]

    system = play(story)
    assert system.failures == []


@pytest.mark.parametrize(("point", "survives"), [(BEFORE_SYNC, False), (AFTER_SYNC, True)])
def test_a_process_dies_before_or_after_its_write_is_durable(point, survives):
    async def story(told):
        await told.ingest(1)
        await told.system.begin(
            0, Fault(kind=FaultKind.CRASH_POINT, target="leader/0", detail=point)
        )
        with pytest.raises(RemoraError):
            await told.ingest(2)
        await told.system.end(0)
        await trio.sleep(30)
        assert await told.ids("leader") == ([1, 2] if survives else [1])

    system = play(story)
    assert [note.how for note in notes(system, ProcessEnded)] == ["kill"]


def test_power_loss_takes_what_was_not_synced():
    async def story(told):
        await told.ingest(1)
        process = told.world.process_at("follower1")
        await trio.sleep(5)
        assert process.disk.unsynced_bytes, "copies of rows are never synced"
        await told.system.begin(0, Fault(kind=FaultKind.POWER, target="follower1/0"))
        assert not process.disk.unsynced_bytes
        await told.system.end(0)
        await trio.sleep(30)
        assert await told.ids("follower1") == [1], "the leader sends them again"

    system = play(story)
    began = notes(system, ProcessBegan)
    assert [note.process for note in began if note.lost_disk] == ["follower1/0"]


def test_a_process_that_ends_by_itself_fails_the_run():
    async def story(told):
        program = told.world.programs["follower1"]

        async def broken(life, ready):
            raise AssertionError("a defect")

        await told.world.process_at("follower1").end("stop")
        told.world.process_at("follower1")._program = broken
        await told.world.process_at("follower1").start()
        await trio.sleep(1)
        told.world.process_at("follower1")._program = program

    system = play(story)
    assert len(system.failures) == 1
    assert "follower1/0 ended by itself" in system.failures[0]
    assert "a defect" in system.failures[0]


@pytest.mark.parametrize("is_newest", [True, False])
def test_a_copy_with_a_bit_that_flipped_in_memory_is_replaced(is_newest):
    """The leader sees it in a position that is as new as its own, else the follower by itself."""

    async def story(told):
        await told.ingest(1, 2)
        await trio.sleep(5)
        fault = Fault(kind=FaultKind.BIT_FLIP, target="follower1/0", detail=MEMORY)
        await told.system.begin(0, fault)
        if not is_newest:
            await told.ingest(3)
        await told.system.end(0)
        await trio.sleep(60)
        assert await told.ids("follower1") == await told.ids("leader")

    system = play(story)
    assert system.failures == []
    assert "divergence answered by snapshot" in {note.state for note in notes(system, Reached)}
