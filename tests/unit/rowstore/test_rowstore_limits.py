"""Every limit of the row store at one below, at and above."""

from __future__ import annotations

import pytest
from rowstore_world import CPU, LOGS, World, batch, numbers, put, read_all, write
from trio.testing import wait_all_tasks_blocked

from cluster.errors import PayloadTooLargeError, RowStoreFullError
from cluster.rowstore.record import source_digest


def size_of(rows) -> int:
    return 72 + 24 + rows.serialize().size


async def test_record_bytes() -> None:
    size = size_of(batch(0, 3))
    for limit, accepted in ((size - 1, False), (size, True), (size + 1, True)):
        async with World(row_store_record_bytes=limit).running() as store:
            if accepted:
                await write(store, 3)
            else:
                with pytest.raises(PayloadTooLargeError, match=f"{size} bytes.*{limit}"):
                    put(store, 3)
            assert store.rows(CPU).position.ordinal == (3 if accepted else 0)


async def test_row_store_bytes() -> None:
    size = size_of(batch(0, 3))
    for limit, accepted in ((2 * size - 1, 1), (2 * size, 2), (2 * size + 1, 2)):
        world = World(row_store_bytes=limit)
        async with world.running() as store:
            for n in range(3):
                if n < accepted:
                    put(store, 3, key=LOGS if n else CPU)
                else:
                    with pytest.raises(RowStoreFullError) as caught:
                        put(store, 3)
                    assert caught.value.metadata["bytes"] == str(limit)
            await wait_all_tasks_blocked()
            assert store.statistics().live_bytes == accepted * size
        async with world.running() as store:
            assert store.statistics().live_bytes == accepted * size
            world.known.remove(CPU)
            store.forget(CPU)
            await put(store, 3, key=LOGS).committed()


async def test_segment_bytes() -> None:
    size = size_of(batch(0, 3))
    for limit, records in ((2 * size - 1, 1), (2 * size, 2), (2 * size + 1, 2)):
        async with World(row_store_segment_bytes=limit).running() as store:
            put(store, 3)
            put(store, 3)
            await put(store, 3).committed()
            assert store.statistics().segments == -(-3 // records)
            assert numbers(store) == list(range(9))


async def test_a_record_larger_than_a_segment_has_one_to_itself() -> None:
    world = World(row_store_segment_bytes=300)
    async with world.running() as store:
        await write(store, 1, 200, 1, 300)
        assert store.statistics().segments == 4
    async with world.running() as store:
        assert len(numbers(store)) == 502
        await write(store, 1)
        assert len(await read_all(store)) == 5


async def test_source_id_window() -> None:
    for count in (2, 3, 4):
        world = World(source_id_window=3)
        async with world.running() as store:
            for n in range(count):
                await put(store, 1, source=str(n)).committed()
            for reopened in (store, None):
                known = [n for n in range(count) if (reopened or store).outcome_of(digest(n))]
                assert known == list(range(count))[-3:]
            assert store.statistics().source_ids == min(count, 3)
        async with world.running() as store:
            assert [n for n in range(count) if store.outcome_of(digest(n))] == known


def digest(n: int | str) -> bytes:
    return source_digest(CPU, str(n))
