"""Dropped tables, databases no longer followed, reset keys: their rows never come back."""

from __future__ import annotations

from rowstore_world import CPU, LOGS, World, numbers, put, read_all, write
from trio.testing import wait_all_tasks_blocked


async def test_records_of_dropped_tables_are_skipped() -> None:
    world = World()
    async with world.running() as store:
        for n in range(4):
            await put(store, 1 + n, key=(CPU, LOGS)[n % 2]).committed()
    world.known.remove(LOGS)
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2, 3]
        assert store.rows(LOGS).batches == ()
        statistics = store.statistics()
        assert (statistics.recovery.skipped_records, statistics.keys) == (2, 1)
        assert store.outcome_of(b"") is None
        await write(store, 1)


async def test_a_voided_key_starts_again_and_its_old_rows_never_come_back() -> None:
    for end in ("reset", "forget", "forget and restart"):
        world = World()
        async with world.running(sync=False) as store:
            await write(store, 2, 3)
            await write(store, 4, key=LOGS)
            if end == "reset":
                store.reset(CPU)
            else:
                world.known.remove(CPU)
                store.forget(CPU)
            assert numbers(store) == []
        if end != "forget":
            async with world.running(sync=False) as store:
                assert numbers(store) == []
                world.known.add(CPU)
                if end == "reset":
                    assert store.statistics().recovery.skipped_records == 0
                await write(store, 1, 1)
        else:
            world.known.add(CPU)
            async with world.running(sync=False) as store:
                assert numbers(store) == [0, 1, 2, 3, 4], "nothing was said in the log yet"
                store.reset(CPU)
                await write(store, 1, 1)
        for _ in range(2):
            async with world.running(sync=False) as store:
                assert numbers(store) == [0, 1]
                assert numbers(store, LOGS) == [0, 1, 2, 3]
                await write(store, 1)
                world.disk.kill()
                assert numbers(store) == [0, 1, 2]
            async with world.running(sync=False) as store:
                assert numbers(store)[:2] == [0, 1]
                store.reset(CPU)
                await write(store, 1, 1)


async def test_segments_without_needed_records_are_removed() -> None:
    world = World(row_store_segment_bytes=300, row_store_tail_bytes=0)
    async with world.running() as store:
        await write(store, 3, 3, 3)
        await write(store, 3, 3, key=LOGS)
        segments = store.statistics().segments
        world.known.remove(CPU)
        store.forget(CPU)
        await write(store, 3, key=LOGS)
        await wait_all_tasks_blocked()
        assert store.statistics().segments == segments + 1 - 3
        assert store.statistics().log_bytes == store.statistics().live_bytes
        assert len(await read_all(store)) == 3
        assert numbers(store, LOGS) == list(range(9))
    async with world.running() as store:
        assert numbers(store, LOGS) == list(range(9))
        world.known.add(CPU)
        await write(store, 2)
    async with world.running() as store:
        assert numbers(store) == [0, 1]


async def test_a_key_whose_void_records_lost_their_beginning() -> None:
    """Void records of CPU lie on both sides of the cut that trimming made."""
    world = World(row_store_segment_bytes=300)
    async with world.running(sync=False) as store:
        await write(store, 3)
        await write(store, 3, key=LOGS)
        await write(store, 3)
        world.known.remove(CPU)
        store.forget(CPU)
        world.known.add(CPU)
        await write(store, 2)
    assert len(world.disk.paths()) == 4
    async with world.running(sync=False) as store:
        assert numbers(store) == [0, 1]
        world.known.remove(CPU)
        store.forget(CPU)
    world.disk.overwrite(world.disk.paths()[-2], b"")  # the mark and what follows it are lost
    world.known.add(CPU)
    async with world.running(sync=False) as store:
        assert numbers(store) == []
        await write(store, 2)
    async with world.running(sync=False) as store:
        assert numbers(store) == [0, 1]


async def test_a_failed_removal_costs_space_only() -> None:
    world = World(row_store_segment_bytes=300)
    async with world.running() as store:
        await write(store, 3, 3)
        await write(store, 3, key=LOGS)
        world.disk.fail("remove")
        world.known.remove(CPU)
        store.forget(CPU)
        await write(store, 1, key=LOGS)
        await wait_all_tasks_blocked()
        assert store.statistics().trim_failures == 1
    async with world.running() as store:
        await write(store, 1, key=LOGS)
        await wait_all_tasks_blocked()
        assert numbers(store, LOGS) == [0, 1, 2, 3, 4]
        assert store.statistics().log_bytes == store.statistics().live_bytes
