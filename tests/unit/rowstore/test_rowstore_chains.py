"""Records that belong together: written, shown and recovered together, or not at all."""

from __future__ import annotations

import pytest
import trio
from rowstore_world import CPU, LOGS, World, batch, numbers, put, read_all, write
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.model import RowStoreKey
from cluster.errors import RowStoreReadOnlyError, TableNotFoundError, UnavailableError
from cluster.rowstore.record import RequestSpan, iter_records, source_digest


def stage(store, key, first, count, *, with_next=False, source=None):
    span = RequestSpan(source_digest(key, source) if source else b"", count)
    return store.stage(key, 0, batch(first, count), [span], with_next=with_next)


def both(store) -> tuple[list[int], list[int]]:
    return numbers(store, CPU), numbers(store, LOGS)


async def test_a_chain_is_one_commit() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 1)
        first = stage(store, CPU, 1, 2, with_next=True, source="a")
        middle = stage(store, LOGS, 0, 1, with_next=True)
        told: list[int] = []
        first.when_decided(lambda: told.append(1))
        last = stage(store, CPU, 3, 1)
        last.when_decided(lambda: told.append(3))
        assert [s.first_ordinal for s in (first, middle, last)] == [1, 0, 3]
        await first.committed()
        assert sorted(told) == [1, 3]
        assert both(store) == ([0, 1, 2, 3], [0])
        for staged in (middle, last):
            staged.check_committed()
        assert store.statistics().commits == 2
        assert store.outcome_of(source_digest(CPU, "a")).first_ordinal == 1
    async with world.running() as store:
        assert both(store) == ([0, 1, 2, 3], [0])
        assert store.statistics().recovery.cut_bytes == 0


async def test_a_power_loss_at_every_byte_keeps_all_of_a_chain_or_nothing() -> None:
    survivors = set()
    size = 0
    for kept in (*range(0, 5000, 7), 10**6):
        if kept > size and survivors and kept != 10**6:
            continue
        world = World()
        async with world.running() as store:
            await write(store, 1)
            world.disk.halt_at(len(world.disk.operations) + 1)
            stage(store, CPU, 1, 2, with_next=True, source="a")
            staged = stage(store, LOGS, 0, 1)
            with pytest.raises(RowStoreReadOnlyError):
                await staged.committed()
            size = world.disk.unsynced_bytes
        world.disk.crash(kept_bytes=kept)
        async with world.running() as store:
            found = both(store)
            survivors.add((len(found[0]), len(found[1])))
            assert (store.outcome_of(source_digest(CPU, "a")) is None) == (len(found[1]) == 0)
            await put(store, 1).committed()
        async with world.running() as store:
            assert len(numbers(store)) == len(found[0]) + 1
    assert survivors == {(1, 0), (3, 1)}


async def test_a_killed_writer_that_stopped_between_two_records_is_cut_before_the_first() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 1)
        at = store.end_lsn()
        stage(store, CPU, 1, 2, with_next=True)
        await stage(store, LOGS, 0, 1).committed()
        await write(store, 1)
    (path,) = world.disk.paths()
    whole = world.disk.content(path)
    ends = [32 + r.header.lsn + r.header.length for r in iter_records(whole[32:])]
    world.disk.overwrite(path, whole[: ends[1]])
    async with world.running() as store:
        assert both(store) == ([0], [])
        report = store.statistics().recovery
        assert (report.cut_offset, report.cut_bytes) == (32 + at, ends[1] - 32 - at)
        assert store.end_lsn() == at


async def test_a_chain_never_lies_in_two_segments() -> None:
    world = World(row_store_segment_bytes=700)
    async with world.running() as store:
        await write(store, 1)
        stage(store, CPU, 1, 3, with_next=True)
        await stage(store, LOGS, 0, 3).committed()
        await write(store, 1)
        assert store.statistics().segments == 3
        assert len(await read_all(store)) == 4
    async with world.running() as store:
        assert both(store) == ([0, 1, 2, 3, 4], [0, 1, 2])


async def test_what_cannot_be_completed_was_never_staged() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 1)
        before = store.statistics()
        first = stage(store, CPU, 1, 2, with_next=True, source="a")
        with pytest.raises(TableNotFoundError):
            stage(store, RowStoreKey(77), 0, 1)
        with pytest.raises(UnavailableError, match="not all staged"):
            first.check_committed()
        assert store.outcome_of(source_digest(CPU, "a")) is None
        assert store.statistics().live_bytes == before.live_bytes
        second = stage(store, CPU, 1, 2, with_next=True)
        assert second.first_ordinal == 1
        store.withdraw()
        store.withdraw()
        await stage(store, CPU, 1, 1).committed()
        assert both(store) == ([0, 1], [])
    async with world.running() as store:
        assert both(store) == ([0, 1], [])


async def test_a_chain_left_open_at_a_checkpoint_is_withdrawn() -> None:
    world = World()
    async with world.running() as store:
        first = stage(store, CPU, 0, 2, with_next=True)
        told: list[str] = []
        first.when_decided(lambda: told.append("withdrawn"))
        await wait_all_tasks_blocked()
        assert told == ["withdrawn"]
        with pytest.raises(UnavailableError):
            await first.committed()
        await stage(store, CPU, 0, 1).committed()

        async def other() -> None:
            await stage(store, LOGS, 0, 1).committed()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            left = stage(store, CPU, 1, 2, with_next=True)
        with pytest.raises(UnavailableError):
            left.check_committed()
        assert both(store) == ([0], [0])


async def test_a_void_key_in_a_chain_gets_its_mark_in_the_chain() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 2, key=LOGS)
        world.known.remove(LOGS)
        store.forget(LOGS)
        world.known.add(LOGS)
        stage(store, CPU, 0, 1, with_next=True)
        stage(store, LOGS, 0, 3)
        with pytest.raises(TableNotFoundError):
            stage(store, RowStoreKey(77), 0, 1)
        await wait_all_tasks_blocked()
        assert both(store) == ([0], [0, 1, 2])
    async with world.running() as store:
        assert both(store) == ([0], [0, 1, 2])
        world.known.remove(LOGS)
        store.forget(LOGS)
        world.known.add(LOGS)
        stage(store, LOGS, 0, 1, with_next=True)
        store.withdraw()
        await stage(store, LOGS, 0, 2).committed()
    async with world.running() as store:
        assert both(store) == ([0], [0, 1])
