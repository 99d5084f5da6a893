"""Opening a log after whatever happened to it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from rowstore_world import (
    CPU,
    FIRST_SEGMENT,
    FOLDER,
    LOGS,
    World,
    batch,
    numbers,
    put,
    read_all,
    write,
)

from cluster.errors import CorruptionError, RowStoreReadOnlyError
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.segment import SEGMENT_HEADER_BYTES, SegmentHeader, encode_segment_header


async def filled(world: World, *counts: int, sync: bool = True) -> list[int]:
    """Writes records to two keys, stops cleanly; returns the file offset after each record."""
    ends = []
    async with world.running(sync=sync) as store:
        for n, count in enumerate(counts):
            await put(store, count, key=(CPU, LOGS)[n % 2], source=str(n)).committed()
            ends.append(store.end_lsn() + SEGMENT_HEADER_BYTES)
    return ends


def seen(store) -> tuple[object, ...]:
    rows = store.rows(CPU), store.rows(LOGS)
    return (
        store.position_of([CPU, LOGS]),
        [numbers(store, CPU), numbers(store, LOGS)],
        [{batch.schema: None for batch in item.batches} for item in rows],
        store.end_lsn(),
    )


async def test_reopening_changes_nothing() -> None:
    world = World(row_store_segment_bytes=2000)
    async with world.running() as store:
        for n in range(40):
            version = int(n > 20)
            put(store, 1 + n % 4, key=(CPU, LOGS)[n % 2], source=str(n), version=version)
        await put(store).committed()
        before = seen(store)
        records = b"".join(await read_all(store))
    for _ in range(3):
        async with world.running() as store:
            assert seen(store) == before
            assert b"".join(await read_all(store)) == records
            assert store.rows(CPU).schema_versions == (0, 1, 0)
            report = store.statistics().recovery
            assert (report.records, report.cut_bytes, report.cut_file) == (41, 0, "")
            assert report.rows == 3 + sum(1 + n % 4 for n in range(40))


async def test_positions_go_on_as_if_there_had_been_no_restart() -> None:
    straight, restarted = World(), World()
    await filled(straight, 1, 2, 3, 4)
    async with restarted.running() as store:
        await write(store, 1)
    async with restarted.running() as store:
        await write(store, 2, key=LOGS)
        await write(store, 3)
    async with restarted.running() as store, straight.running() as other:
        await write(store, 4, key=LOGS)
        assert store.position_of([CPU, LOGS]) == other.position_of([CPU, LOGS])


async def test_a_power_loss_at_every_byte_of_an_unsynced_group_keeps_whole_records() -> None:
    group_bytes = 1
    kept = 0
    survivors = set()
    while kept <= group_bytes:
        world = World()
        async with world.running() as store:
            await write(store, 2)
            start = store.end_lsn()
            world.disk.halt_at(len(world.disk.operations) + 1)  # the append works, its sync not
            staged = [put(store, 1, source="a"), put(store, 3), put(store, 2, key=LOGS)]
            with pytest.raises(RowStoreReadOnlyError):
                await staged[0].committed()
            group_bytes = world.disk.unsynced_bytes
        world.disk.crash(kept_bytes=kept)
        async with world.running() as store:
            found = [store.position_of([key])[key].ordinal for key in (CPU, LOGS)]
            survivors.add(tuple(found))
            report = store.statistics().recovery
            assert report.cut_bytes == kept - (store.end_lsn() - start)
            assert (report.cut_file == str(FIRST_SEGMENT)) == (report.cut_bytes > 0)
            assert world.disk.unsynced_bytes == 0, "what is visible is durable"
            known = store.outcome_of(b"") is None and numbers(store)
            await write(store, 1)
            assert numbers(store) == [*known, found[0]]
        async with world.running() as store:
            assert store.rows(CPU).position.ordinal == found[0] + 1
        # Every byte of the last record, some of the others.
        kept += 1 if kept > group_bytes * 2 // 3 else 7
    assert survivors == {(2, 0), (3, 0), (6, 0), (6, 2)}


async def test_a_torn_write_in_every_operation_of_a_busy_log() -> None:
    """The power fails at operation k, for every k: what was acknowledged is there afterwards."""

    async def run(world: World) -> int:
        acknowledged = 0
        async with world.running() as store:
            with suppress(RowStoreReadOnlyError):
                for _ in range(6):
                    await put(store, 2).committed()
                    acknowledged += 2
        return acknowledged

    calm = World(row_store_segment_bytes=400)
    assert await run(calm) == 12
    operations = len(calm.disk.operations)
    assert operations > 20
    for at in range(operations):
        for kept in (0, 1, 50, 10**6):
            world = World(row_store_segment_bytes=400)
            world.disk.halt_at(at, kept_bytes=kept)
            acknowledged = await run(world)
            world.disk.crash(kept_bytes=kept)
            async with world.running() as store:
                found = numbers(store)
                assert found in (list(range(acknowledged)), list(range(acknowledged + 2)))
                await write(store, 2)
            async with world.running() as store:
                assert numbers(store) == list(range(len(found) + 2))


async def test_a_killed_process_loses_nothing_it_wrote_and_what_shows_is_durable() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 2)
        world.disk.halt_at(len(world.disk.operations) + 1)
        staged = put(store, 3)
        with pytest.raises(RowStoreReadOnlyError):
            await staged.committed()
    world.disk.kill()
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2, 3, 4]
    world.disk.crash()
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2, 3, 4]


async def test_after_a_failed_sync_only_what_the_device_holds_comes_back() -> None:
    world = World()
    async with world.running() as store:
        await write(store, 2)
        world.disk.fail("datasync")
        staged = put(store, 3)
        with pytest.raises(RowStoreReadOnlyError):
            await staged.committed()
    async with world.running() as store:
        assert numbers(store) == [0, 1]
        assert store.statistics().recovery.cut_bytes > 0


async def test_a_segment_whose_beginning_is_torn_never_was() -> None:
    for leftover in (b"", b"RMRL", bytes(32), bytes(5000)):
        world = World()
        (*_, end) = await filled(world, 2, 3)
        lsn = end - SEGMENT_HEADER_BYTES
        path = FOLDER / f"{lsn:020d}.wal"
        world.disk.overwrite(path, leftover)
        async with world.running() as store:
            assert numbers(store) == [0, 1]
            assert store.end_lsn() == lsn
            await write(store, 1)
        assert world.disk.paths() == [FIRST_SEGMENT]
    world = World()
    world.disk.overwrite(FIRST_SEGMENT, b"RM")
    async with world.running() as store:
        await write(store, 1)
        assert numbers(store) == [0]


async def test_zeros_at_the_end_are_cut() -> None:
    world = World()
    await filled(world, 2, 3)
    whole = world.disk.content(FIRST_SEGMENT)
    world.disk.overwrite(FIRST_SEGMENT, whole + bytes(4096))
    async with world.running() as store:
        assert store.statistics().recovery.cut_bytes == 4096
    assert world.disk.content(FIRST_SEGMENT) == whole


# Corruption


async def refused(world: World) -> CorruptionError:
    before = {path: world.disk.content(path) for path in world.disk.paths()}
    with pytest.raises(CorruptionError) as caught:
        await world.open()
    assert {path: world.disk.content(path) for path in world.disk.paths()} == before
    world.disk.lock_folder(FOLDER).release()
    assert str(caught.value.metadata["offset"]) in str(caught.value)
    return caught.value


async def test_a_flipped_bit_anywhere_is_refused_and_nothing_is_touched() -> None:
    world = World()
    ends = await filled(world, 1, 2, 3)
    starts = [SEGMENT_HEADER_BYTES, *ends]
    for at in range(0, ends[-1], 3):
        world.disk.flip_bit(FIRST_SEGMENT, at, at % 8)
        error = await refused(world)
        expected = 0 if at < SEGMENT_HEADER_BYTES else max(s for s in starts if s <= at)
        assert error.metadata == {"file": str(FIRST_SEGMENT), "offset": str(expected)}
        world.disk.flip_bit(FIRST_SEGMENT, at, at % 8)
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2, 3]


async def test_a_hole_before_acknowledged_records_is_refused() -> None:
    world = World()
    ends = await filled(world, 1, 2, 3)
    world.disk.zero(FIRST_SEGMENT, ends[0], ends[1] - ends[0])
    assert (await refused(world)).metadata["offset"] == str(ends[0])


async def test_damage_in_a_segment_that_is_not_the_last_is_refused() -> None:
    for spoil in ("cut", "zero", "longer", "missing", "foreign", "renamed", "headless"):
        world = World(row_store_segment_bytes=300)
        await filled(world, 3, 3, 3, 3)
        first, second, third, last = world.disk.paths()
        content = world.disk.content(second)
        if spoil == "cut":
            world.disk.overwrite(second, content[:-8])
        elif spoil == "zero":
            world.disk.zero(second, 100, len(content) - 100)
        elif spoil == "longer":
            world.disk.overwrite(second, content + bytes(8))
        elif spoil == "missing":
            world.disk.remove(second)
        elif spoil == "foreign":
            header = encode_segment_header(SegmentHeader(1, int(second.stem)))
            world.disk.overwrite(second, header + content[SEGMENT_HEADER_BYTES:])
        elif spoil == "renamed":
            world.disk.overwrite(last, content)
        elif spoil == "headless":
            world.disk.remove(first)
        error = await refused(world)
        # Without the first segment, the third is where a key goes on that never began.
        named = {"missing": third, "headless": third, "renamed": last}.get(spoil, second)
        assert error.metadata["file"] == str(named)


async def test_records_that_do_not_continue_their_key_are_refused() -> None:
    donor, world = World(), World()
    ends = await filled(world, 1, 1, 1)
    await filled(donor, 2, 1, 1)
    mine, theirs = (w.disk.content(FIRST_SEGMENT) for w in (world, donor))
    tail = theirs[len(theirs) - (ends[2] - ends[1]) :]  # ordinal 2 of CPU, whole and valid
    world.disk.overwrite(FIRST_SEGMENT, mine[: ends[1]] + tail)
    assert "continues at ordinal 2, expected 1" in str(await refused(world))
    repeated = mine[: ends[0]] + mine[SEGMENT_HEADER_BYTES : ends[0]]
    world.disk.overwrite(FIRST_SEGMENT, repeated)
    assert "continues at ordinal 0, expected 1" in str(await refused(world))


async def test_a_record_of_another_history_is_refused() -> None:
    """Right key, right ordinal, whole: only the rolling checksum knows."""
    world, donor = World(), World()
    ends = await filled(world, 1, 1, 1)
    async with donor.running() as store:
        spans = [RequestSpan(b"", 1)]
        await store.stage(CPU, 0, batch(7, 1), spans).committed()
        await write(store, 1, key=LOGS)
        await put(store, 1, source="2").committed()
    mine, theirs = (w.disk.content(FIRST_SEGMENT) for w in (world, donor))
    tail = theirs[len(theirs) - (ends[2] - ends[1]) :]
    world.disk.overwrite(FIRST_SEGMENT, mine[: ends[1]] + tail)
    error = await refused(world)
    assert "the rolling checksum of key 0000000000c0ffee is broken" in str(error)
    assert error.metadata["offset"] == str(ends[1])


async def test_a_newer_format_is_refused_by_leader_and_copy() -> None:
    for sync in (True, False):
        world = World()
        await filled(world, 1)
        content = world.disk.content(FIRST_SEGMENT)
        header = encode_segment_header(SegmentHeader(1, 0, version=3))
        world.disk.overwrite(FIRST_SEGMENT, header + content[SEGMENT_HEADER_BYTES:])
        with pytest.raises(CorruptionError, match="format version 3, this build reads 1 to 2"):
            await world.open(sync=sync)
        assert len(world.disk.content(FIRST_SEGMENT)) == len(content)


async def test_a_schema_the_catalog_lost_is_refused() -> None:
    world = World()
    async with world.running() as store:
        await put(store, 1).committed()
        await put(store, 1, version=1).committed()
    known = world.schema_of
    world.schema_of = lambda key, version: known(key, version) if version == 0 else None
    assert "schema version 1" in str(await refused(world))


# Copies


async def test_a_copy_is_cut_at_the_first_bad_byte() -> None:
    for spoil in ("flip", "zero", "gap", "order"):
        world = World(row_store_segment_bytes=300)
        await filled(world, 2, 2, 2, 2, 2, 2, sync=False)
        first, second, third, *_ = world.disk.paths()
        if spoil == "flip":
            world.disk.flip_bit(third, 60)
        elif spoil == "zero":
            world.disk.zero(third, 40, 50)
        elif spoil == "gap":
            world.disk.remove(third)
        else:
            world.disk.overwrite(third, world.disk.content(second))
        async with world.running(sync=False) as store:
            assert (numbers(store), numbers(store, LOGS)) == ([0, 1], [0, 1])
            await write(store, 5)
        async with world.running(sync=False) as store:
            assert (numbers(store), numbers(store, LOGS)) == ([0, 1, 2, 3, 4, 5, 6], [0, 1])
        assert first in world.disk.paths()


async def test_the_name_of_a_segment_made_just_before_a_kill_becomes_durable() -> None:
    """The first write of a segment fails after its file was made; the next process adopts it."""
    world = World()
    async with world.running() as store:
        world.disk.fail("append", kept_bytes=32)
        put(store, 1)
    world.disk.kill()
    async with world.running() as store:
        await put(store, 1).committed()
        world.disk.crash()
    async with world.running() as store:
        assert numbers(store) == [0]
