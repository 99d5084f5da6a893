"""Floors: sealed rows leave memory and log, and never come back; copies jump over them."""

from __future__ import annotations

import pytest
from rowstore_world import CPU, LOGS, World, numbers, put, read_all, write
from trio.testing import wait_all_tasks_blocked

from cluster.errors import CorruptionError, DivergenceError
from cluster.replication.position import KeyPosition


async def test_sealed_rows_are_gone_and_the_rest_goes_on() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 2, 3)
        middle = store.rows(CPU).position
        await write(store, 4)
        before = store.statistics().live_bytes
        world.seal(store, CPU, middle)
        assert numbers(store) == [5, 6, 7, 8]
        rows = store.rows(CPU)
        assert (rows.first_ordinal, rows.row_count, rows.position.ordinal) == (5, 4, 9)
        assert store.statistics().live_bytes == before - (before - store.unsealed([CPU])[CPU].bytes)
        store.advance(CPU, middle)
        store.advance(CPU, KeyPosition(2, 7))
        assert numbers(store) == [5, 6, 7, 8]
        end = rows.position
    for _ in range(2):
        async with world.running() as store:
            assert numbers(store) == [5, 6, 7, 8]
            assert store.rows(CPU).position == end
            assert store.statistics().recovery.sealed_records == 2
            assert store.statistics().recovery.rows == 4
    async with world.running() as store:
        world.seal(store, CPU)
        assert numbers(store) == []
        assert store.rows(CPU).position == end
        assert store.unsealed([CPU]) == {}
        assert store.statistics().live_bytes == 0
        await write(store, 1)
        assert numbers(store) == [9]
    async with world.running() as store:
        assert numbers(store) == [9]
        assert store.rows(CPU).position.ordinal == 10


async def test_a_reader_from_before_a_seal_of_everything_finds_nothing_to_read() -> None:
    """Its cursor is below the floor; it jumps when the metadata that raised it come."""
    world = World()
    async with world.running() as store:
        await write(store, 2, 3)
        world.seal(store, CPU)
        for ordinal in range(6):
            assert store.lsn_of(CPU, ordinal) is None
            start = store.start_lsn_for({CPU: ordinal}, [CPU])
            assert start == store.end_lsn()
            assert (await store.read(start, {CPU}, {CPU: ordinal}, 1)).count == 0
        await write(store, 1)
        last = store.lsn_of(CPU, 5)
        assert last is not None
        assert [store.lsn_of(CPU, ordinal) for ordinal in range(7)] == [*[last] * 6, None]


async def test_a_leader_refuses_to_seal_what_it_has_not() -> None:
    async with World().running() as store:
        await write(store, 4)
        with pytest.raises(ValueError, match="has 4 rows, 5 are sealed"):
            store.advance(CPU, KeyPosition(5, 1))
        with pytest.raises(DivergenceError, match="no record here ends there"):
            store.advance(CPU, KeyPosition(3, 1))
        with pytest.raises(DivergenceError, match="no record here ends there"):
            store.advance(CPU, KeyPosition(4, 1))
        assert numbers(store) == [0, 1, 2, 3]


async def test_rows_from_an_ordinal_on() -> None:
    async with World().running() as store:
        for count in (2, 3, 4, 1):
            await put(store, count, version=int(count == 4)).committed()
        for first in range(12):
            rows = store.rows(CPU, first)
            found = [n for item in rows.batches for n in item.column("n").to_pylist()]
            assert found == list(range(first, 10))
            assert rows.first_ordinal == min(first, 10)
            assert rows.row_count == len(rows.ingestion_times()) == len(found)
            assert len(rows.schema_versions) == len(rows.batches)


async def test_ingestion_times_are_those_of_the_records() -> None:
    async with World().running() as store:
        await write(store, 2, 3, 1)
        rows = store.rows(CPU)
        times = rows.ingestion_times().cast("int64").to_pylist()
        assert times == [times[0]] * 2 + [times[2]] * 3 + [times[5]]
        assert times[0] < times[2] < times[5]
        assert store.rows(CPU, 4).ingestion_times().cast("int64").to_pylist() == times[4:]
        for first in range(6):
            for count in range(6 - first):
                part = rows.ingestion_times(first, count).cast("int64").to_pylist()
                assert part == times[first : first + count]
        with pytest.raises(ValueError, match="rows 5 to 7 are not among 0 to 6"):
            rows.ingestion_times(5, 2)
        store.advance(CPU, rows.position)
        assert rows.ingestion_times().cast("int64").to_pylist() == times
        await write(store, 1)
        assert store.rows(CPU).ingestion_times().cast("int64").to_pylist()[0] > times[-1]


async def test_segments_go_as_their_rows_are_sealed() -> None:
    world = World(row_store_segment_bytes=300, row_store_tail_bytes=0)
    async with world.running() as store:
        for n in range(12):
            await put(store, 3, key=(CPU, LOGS)[n % 2]).committed()
        assert store.statistics().segments == 12
        world.seal(store, CPU)
        await wait_all_tasks_blocked()
        assert store.statistics().segments == 11, "the second segment is needed for LOGS"
        world.seal(store, LOGS)
        await wait_all_tasks_blocked()
        assert store.statistics().segments == 1
        await write(store, 1)
        assert len(await read_all(store)) == 2
    async with world.running() as store:
        assert numbers(store) == [18]
        assert numbers(store, LOGS) == []


async def shipped(*counts: int) -> tuple[list[bytes], list[KeyPosition]]:
    async with World().running() as leader:
        positions = []
        for count in counts:
            await write(leader, count)
            positions.append(leader.rows(CPU).position)
        return await read_all(leader), positions


async def test_a_copy_jumps_over_what_it_never_had() -> None:
    records, positions = await shipped(2, 3, 4, 5, 6)
    for had in (0, 1, 2):
        world = World()
        async with world.running(sync=False) as store:
            await store.apply(b"".join(records[:had]))
            world.seal(store, CPU, positions[2])
            assert numbers(store) == []
            assert store.position_of([CPU])[CPU] == positions[2]
            assert await store.apply(b"".join(records[:3])) == ()
            await store.apply(records[3])
            assert numbers(store) == list(range(9, 14))
        async with world.running(sync=False) as store:
            assert numbers(store) == list(range(9, 14))
            world.seal(store, CPU, positions[4])
            assert store.position_of([CPU])[CPU] == positions[4]
        async with world.running(sync=False) as store:
            assert store.position_of([CPU])[CPU] == positions[4]
            assert store.statistics().recovery.cut_bytes == 0


async def test_a_floor_inside_a_record_is_corruption_and_a_copy_drops_the_key() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 2, 3)
        await write(store, 1, key=LOGS)
    world.sealed[CPU] = KeyPosition(3, 9)
    with pytest.raises(CorruptionError, match="continues at ordinal 2, expected 3"):
        await world.open()
    world.disk.kill()
    async with world.running(sync=False) as store:
        assert numbers(store) == []
        assert store.rows(CPU).position == KeyPosition(3, 9)
        assert numbers(store, LOGS) == [0]
    world.sealed[CPU] = KeyPosition(2, 9)
    with pytest.raises(CorruptionError, match="rolling checksum"):
        await world.open()
    world.disk.kill()


async def test_a_key_sealed_and_dropped_is_void_when_it_is_used_again() -> None:
    world = World()
    async with world.running(sync=False) as store:
        await write(store, 2, 3)
        world.seal(store, CPU)
        world.known.remove(CPU)
        store.forget(CPU)
        world.known.add(CPU)
        del world.sealed[CPU]
        await write(store, 4)
    async with world.running(sync=False) as store:
        assert numbers(store) == [0, 1, 2, 3]
