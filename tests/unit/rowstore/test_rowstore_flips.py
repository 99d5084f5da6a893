"""One flipped bit anywhere: the right rows, or a refusal that says where and what to do.

The log has everything a log can have: several segments, records with and without source ids, of two
schema versions, a reset mark, a chain, remembered requests, sealed records.
"""

from __future__ import annotations

import pytest
from rowstore_world import CPU, LOGS, World, batch, numbers, put, write
from trio.testing import wait_all_tasks_blocked

from cluster.errors import CorruptionError
from cluster.rowstore.record import RequestSpan, source_digest
from cluster.rowstore.segment import SEGMENT_HEADER_BYTES


async def rich_log() -> World:
    world = World(row_store_segment_bytes=1100)
    async with world.running() as store:
        await write(store, 1, key=LOGS)
        world.known.remove(LOGS)
        store.forget(LOGS)
        world.known.add(LOGS)
        for n in range(4):
            await put(store, 2, source=str(n)).committed()
        world.seal(store, CPU)
        await wait_all_tasks_blocked()
        await put(store, 1, source="4").committed()
        await put(store, 2, version=1).committed()
        first = put(store, 1, key=LOGS)
        await first.committed()
        store.stage(CPU, 0, batch(11, 1), [RequestSpan(b"", 1)], with_next=True)
        await put(store, 2, key=LOGS, source="5").committed()
        await put(store, 1, source="6").committed()
    assert len(world.disk.paths()) > 2
    return world


def seen(store) -> tuple[object, ...]:
    sources = [source_digest(CPU, str(n)) for n in range(7)]
    return (
        numbers(store),
        numbers(store, LOGS),
        store.position_of([CPU, LOGS]),
        [store.rows(key).ingestion_times().cast("int64").to_pylist() for key in (CPU, LOGS)],
        [store.outcome_of(source) for source in sources],
    )


async def test_a_leader_never_shows_other_rows() -> None:
    world = await rich_log()
    async with world.running() as store:
        expected = seen(store)
        assert len(expected[0]) == 5
        assert len(expected[1]) == 3
        assert [outcome is None for outcome in expected[-1]] == [False] * 5 + [True, False]
    refused = 0
    for path in world.disk.paths():
        whole = world.disk.content(path)
        for at in range(len(whole)):
            world.disk.flip_bit(path, at, at % 8)
            with pytest.raises(CorruptionError) as caught:
                await world.open()
            error = caught.value
            assert error.metadata["file"] == str(path)
            offset = int(error.metadata["offset"])
            assert offset <= at or at < SEGMENT_HEADER_BYTES
            assert error.remedy
            refused += 1
            assert world.disk.content(path)[:at] == whole[:at], "nothing is cut"
            world.disk.overwrite(path, whole)
    assert refused > 2000
    async with world.running() as store:
        assert seen(store) == expected


async def test_a_copy_shows_a_prefix_and_takes_the_rest_again() -> None:
    world = await rich_log()
    files = {path: world.disk.content(path) for path in world.disk.paths()}
    async with world.running(sync=False) as store:
        cpu, logs = numbers(store), numbers(store, LOGS)
    for path, whole in files.items():
        for at in range(0, len(whole), 7):
            for each, content in files.items():
                world.disk.overwrite(each, content)
            world.disk.flip_bit(path, at, at % 8)
            store = await world.open(sync=False)
            assert cpu[: len(numbers(store))] == numbers(store)
            assert logs[: len(numbers(store, LOGS))] == numbers(store, LOGS)
            store.close()
