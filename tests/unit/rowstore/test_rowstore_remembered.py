"""Source ids outlive the records that brought them."""

from __future__ import annotations

import errno

import pytest
from rowstore_world import CPU, LOGS, World, numbers, put, write
from trio.testing import wait_all_tasks_blocked

from cluster.errors import CorruptionError, RowStoreReadOnlyError
from cluster.rowstore.checkpoint import OutcomeCheckpoint, RememberedRequest, encode_checkpoint
from cluster.rowstore.record import FLAG_OUTCOMES, encode_record, iter_records, source_digest


def known(store, count: int) -> list[int]:
    return [n for n in range(count) if store.outcome_of(source_digest(CPU, str(n)))]


async def ingest(world: World, store, first: int, count: int) -> None:
    for n in range(first, first + count):
        await put(store, 2, source=str(n)).committed()
    world.seal(store, CPU)
    await wait_all_tasks_blocked()


async def test_the_window_survives_trimming_and_restarts() -> None:
    world = World(row_store_segment_bytes=700, source_id_window=8)
    total = 0
    for _ in range(5):
        async with world.running() as store:
            for count in (1, 4, 2):
                await ingest(world, store, total, count)
                total += count
                assert known(store, total) == list(range(total))[-8:]
            assert store.statistics().segments <= 2
            assert store.statistics().first_lsn > 0
        async with world.running() as store:
            assert known(store, total) == list(range(total))[-8:]
            oldest = max(0, total - 8)
            outcome = store.outcome_of(source_digest(CPU, str(oldest)))
            assert (outcome.key, outcome.first_ordinal) == (CPU, 2 * oldest)
            assert (outcome.row_count, outcome.staged) == (2, None)


async def test_requests_without_a_source_id_push_nothing_out() -> None:
    world = World(source_id_window=3)
    async with world.running() as store:
        for n in range(3):
            await put(store, 1, source=str(n)).committed()
        await write(store, *[1] * 10)
    async with world.running() as store:
        assert known(store, 3) == [0, 1, 2]


async def test_nothing_is_written_when_nothing_is_remembered() -> None:
    world = World(row_store_segment_bytes=400)
    async with world.running() as store:
        await write(store, *[2] * 6)
        end = store.end_lsn()
        world.seal(store, CPU)
        await wait_all_tasks_blocked()
        assert (store.statistics().segments, store.end_lsn()) == (1, end)


async def test_a_power_loss_at_every_operation_of_a_trim_forgets_nothing() -> None:
    operations = 0
    at = 0
    while at <= operations:
        for kept in (0, 40, 10**6):
            world = World(row_store_segment_bytes=700)
            async with world.running() as store:
                for n in range(6):
                    await put(store, 2, source=str(n)).committed()
                before = len(world.disk.operations)
                world.disk.halt_at(before + at, kept_bytes=kept)
                world.seal(store, CPU)
                await wait_all_tasks_blocked()
                operations = max(operations, len(world.disk.operations) - before)
            world.disk.crash(kept_bytes=kept)
            async with world.running() as store:
                assert known(store, 6) == list(range(6))
                assert numbers(store) == []
                await put(store, 1, source="6").committed()
                await wait_all_tasks_blocked()
            async with world.running() as store:
                assert known(store, 7) == list(range(7))
        at += 1
    assert operations > 5


async def test_a_full_disk_refuses_and_removes_nothing() -> None:
    world = World(row_store_segment_bytes=700)
    async with world.running() as store:
        for n in range(6):
            await put(store, 2, source=str(n)).committed()
        files = world.disk.paths()
        world.disk.fail("append", number=errno.ENOSPC, kept_bytes=10)
        world.seal(store, CPU)
        await wait_all_tasks_blocked()
        assert set(files) <= set(world.disk.paths())
        with pytest.raises(RowStoreReadOnlyError, match="No space"):
            put(store)
        assert numbers(store) == []
    async with world.running() as store:
        await wait_all_tasks_blocked()
        assert known(store, 6) == list(range(6))
        assert store.statistics().first_lsn > 0, "room again: trimmed now"
    async with world.running() as store:
        assert known(store, 6) == list(range(6))


async def test_a_checkpoint_that_was_written_wrong_is_corrupt() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 1)
        end = store.end_lsn()
    request = RememberedRequest(bytes(range(16)), LOGS, 3, 4)
    good = bytes(encode_checkpoint(end, OutcomeCheckpoint(end, (request,)), 0))
    (record,) = iter_records(good)
    assert record.header.flags == FLAG_OUTCOMES
    (path,) = world.disk.paths()
    whole = world.disk.content(path)
    world.disk.overwrite(path, whole + good)
    async with world.running() as store:
        outcome = store.outcome_of(request.source)
        assert (outcome.key, outcome.first_ordinal, outcome.row_count) == (LOGS, 3, 4)
    two = OutcomeCheckpoint(end, (request, request))
    bad = bytearray(encode_checkpoint(end, two, 0))
    (record,) = iter_records(bytes(bad))
    forged = encode_record(record.header, (), bytes(record.body[:40]))
    world.disk.overwrite(path, whole + bytes(forged))
    with pytest.raises(CorruptionError, match="2 remembered requests in 40 bytes") as caught:
        await world.open()
    assert caught.value.metadata == {"file": str(path), "offset": str(len(whole))}
