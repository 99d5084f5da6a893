"""Staging, group commit, limits, source ids and reading."""

from __future__ import annotations

import errno

import pytest
import trio
from rowstore_world import CPU, FOLDER, LOGS, World, batch, numbers, put, read_all, write
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.model import RowStoreKey
from cluster.errors import (
    ConflictError,
    CorruptionError,
    RowStoreReadOnlyError,
    TableNotFoundError,
    UnavailableError,
)
from cluster.replication.position import START
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.record import NO_SOURCE, RequestSpan, iter_records, source_digest


@pytest.mark.fidelity(
    "white paper", "A row store gives each value an ordinal, logs it, then shows it to queries"
)
async def test_rows_get_dense_ordinals_and_are_visible_when_committed() -> None:
    async with World().running() as store:
        first, second, other = put(store, 3), put(store, 2), put(store, 4, key=LOGS)
        assert [(s.first_ordinal, s.row_count) for s in (first, second, other)] == [
            (0, 3),
            (3, 2),
            (0, 4),
        ]
        assert numbers(store) == []
        assert store.position_of([CPU, LOGS]) == {CPU: START, LOGS: START}
        await other.committed()
        assert numbers(store) == [0, 1, 2, 3, 4]
        assert numbers(store, LOGS) == [0, 1, 2, 3]
        position = store.rows(CPU).position
        assert position.ordinal == 5
        assert position.checksum
        assert store.position_of([CPU]) == {CPU: position}
        await first.committed()


async def test_everything_staged_during_a_sync_is_one_group() -> None:
    world = World()
    async with world.running() as store:
        await put(store).committed()
        before = len(world.disk.operations)
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(put(store, 1, source=str(n)).committed)
        kinds = [operation.kind for operation in world.disk.operations[before:]]
        assert kinds == ["append", "datasync"]
        statistics = store.statistics()
        assert (statistics.commits, statistics.committed_records) == (2, 51)
        assert statistics.group_requests_max == 50


async def test_the_first_ack_in_a_segment_comes_after_its_name_is_durable() -> None:
    world = World()
    async with world.running() as store:
        await put(store).committed()
        assert [operation.kind for operation in world.disk.operations] == [
            "create",
            "append",
            "datasync",
            "sync_folder",
            "append",
            "datasync",
        ]
        assert world.disk.unsynced_bytes == 0


@pytest.mark.fidelity(
    "white paper", "Rows are durable in the write-ahead log before they are acknowledged"
)
async def test_no_ack_before_the_sync() -> None:
    world = World()
    async with world.running() as store:
        await put(store).committed()
        events = []

        async def wait(staged) -> None:
            await staged.committed()
            events.append(world.disk.operations[-1].kind)
            assert world.disk.unsynced_bytes == 0

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, put(store))
        assert events == ["datasync"] * 3


async def test_a_copy_is_never_synced() -> None:
    world = World()
    async with world.running(sync=False) as store:
        await write(store, 1, 2)
    assert {operation.kind for operation in world.disk.operations} == {"create", "append"}


async def test_cancelling_run_commits_what_is_staged_and_frees_the_folder() -> None:
    world = World()
    async with world.running() as store:
        staged = put(store)
    await staged.committed()
    assert numbers(store) == [0, 1, 2]
    with pytest.raises(UnavailableError):
        put(store)
    async with world.running() as again:
        assert numbers(again) == [0, 1, 2]


async def test_a_folder_has_one_row_store(tmp_path) -> None:
    world = World()
    for disk, folder in ((world.disk, FOLDER), (RealDisk(), tmp_path)):
        async with world.running(disk=disk, folder=folder):
            with pytest.raises(ConflictError, match="in use by process"):
                await world.open(disk=disk, folder=folder)
        (await world.open(disk=disk, folder=folder)).close()


@pytest.mark.parametrize(
    ("rows", "version", "spans", "words"),
    [
        (batch(0, 3), 1, [RequestSpan(b"", 3)], "does not have schema 1"),
        (batch(0, 3), 7, [RequestSpan(b"", 3)], "does not have schema 7"),
        (batch(0, 3, 1), 0, [RequestSpan(b"", 3)], "does not have schema 0"),
        (batch(0, 0), 0, [], "no rows"),
        (batch(0, 3), 0, [RequestSpan(b"", 2)], "requests hold 2 rows"),
    ],
)
async def test_a_wrong_batch_leaves_nothing(rows, version, spans, words) -> None:
    async with World().running() as store:
        with pytest.raises(ValueError, match=words):
            store.stage(CPU, version, rows, spans)
        staged = put(store, 1)
        assert staged.first_ordinal == 0
        await staged.committed()
        assert store.statistics().committed_records == 1


async def test_an_unknown_table_is_refused() -> None:
    async with World().running() as store:
        with pytest.raises(TableNotFoundError, match="000000000000007b"):
            store.stage(RowStoreKey(123), 0, batch(0, 1), [RequestSpan(b"", 1)])


# Source ids


def digest(n: int | str) -> bytes:
    return source_digest(CPU, str(n))


async def test_a_retry_finds_the_first_outcome_before_and_after_the_commit() -> None:
    world = World()
    async with world.running() as store:
        spans = [
            RequestSpan(digest("a"), 2),
            RequestSpan(NO_SOURCE, 1),
            RequestSpan(digest("b"), 1),
        ]
        await write(store, 5)
        staged = store.stage(CPU, 0, batch(5, 4), spans)
        early = store.outcome_of(digest("b"))
        assert (early.key, early.first_ordinal, early.row_count) == (CPU, 8, 1)
        await early.staged.committed()
        await staged.committed()
        assert store.outcome_of(NO_SOURCE) is None
    async with world.running() as again:
        for source, first, rows in (("a", 5, 2), ("b", 8, 1)):
            for outcome in (store.outcome_of(digest(source)), again.outcome_of(digest(source))):
                assert (outcome.first_ordinal, outcome.row_count) == (first, rows)
                assert outcome.staged is None
        assert again.outcome_of(digest("c")) is None


# Failure


@pytest.mark.parametrize(
    ("kind", "number", "words"),
    [("append", errno.ENOSPC, "No space left"), ("datasync", errno.EIO, "Input/output error")],
)
async def test_a_failed_write_or_sync_is_final(kind, number, words) -> None:
    world = World()
    async with world.running() as store:
        await write(store, 3)
        world.disk.fail(kind, number=number, kept_bytes=40)
        failed = put(store, 2, source="x")
        with pytest.raises(RowStoreReadOnlyError, match=words):
            await failed.committed()
        writes = len(world.disk.operations)
        for attempt in (lambda: put(store), lambda: store.reset(CPU)):
            with pytest.raises(RowStoreReadOnlyError, match=words):
                attempt()
        with pytest.raises(RowStoreReadOnlyError):
            await store.apply(b"")
        with pytest.raises(RowStoreReadOnlyError):
            await store.outcome_of(digest("x")).staged.committed()
        assert numbers(store) == [0, 1, 2]
        assert len(await read_all(store)) == 1
        assert words in store.statistics().read_only_reason
        assert len(world.disk.operations) == writes, "nothing more is written to the file"
    assert len(world.disk.operations) == writes
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2]
        assert store.statistics().read_only_reason == ""
        assert store.outcome_of(digest("x")) is None
        await write(store, 2)
        assert numbers(store) == [0, 1, 2, 3, 4]


async def test_what_is_staged_behind_a_failing_group_fails_with_it() -> None:
    world = World()
    async with world.running() as store:
        world.disk.fail("datasync", after=1)
        errors = []

        async def wait(staged) -> None:
            with pytest.raises(RowStoreReadOnlyError) as caught:
                await staged.committed()
            errors.append(caught.value)

        append = world.disk.append_to

        def append_while_more_is_staged(*args) -> None:
            if len(late) == 0:
                late.append(put(store))
            append(*args)

        late: list = []
        world.disk.append_to = append_while_more_is_staged
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, put(store))
            await wait_all_tasks_blocked()
            nursery.start_soon(wait, late[0])
        assert len(errors) == 2
        assert errors[0] is not errors[1]


# Reading


async def test_reading_gives_whole_records_in_order_from_memory_and_from_disk() -> None:
    for tail_bytes in (0, 700, 10**6):
        world = World(row_store_segment_bytes=1000, row_store_tail_bytes=tail_bytes)
        async with world.running() as store:
            for n in range(20):
                await put(store, 1 + n % 3, key=(CPU, LOGS)[n % 2]).committed()
            small = await read_all(store)
            assert len(small) == 20
            assert b"".join(small) == b"".join(await read_all(store, max_bytes=10**6))
            records = [record for raw in small for record in iter_records(raw)]
            assert [r.header.key for r in records] == [CPU, LOGS] * 10
            only = [r for raw in await read_all(store, [LOGS]) for r in iter_records(raw)]
            assert only == [r for r in records if r.header.key == LOGS]
            statistics = store.statistics()
            assert statistics.tail_bytes <= tail_bytes
            assert (statistics.disk_reads == 0) == (tail_bytes == 10**6)


async def test_reading_starts_at_the_first_record_that_is_needed() -> None:
    async with World().running() as store:
        for n in range(12):
            await put(store, 2, key=(CPU, LOGS)[n % 2]).committed()
        assert store.start_lsn_for({}, [CPU, LOGS]) == 0
        assert store.start_lsn_for({CPU: 12, LOGS: 12}, [CPU, LOGS]) == store.end_lsn()
        assert store.start_lsn_for({}, [RowStoreKey(5)]) == store.end_lsn()
        for ordinal in range(12):
            cursors = {CPU: ordinal, LOGS: 99}
            start = store.start_lsn_for(cursors, [CPU, LOGS])
            chunk = await store.read(start, {CPU, LOGS}, cursors, 1)
            (record,) = iter_records(chunk.records)
            assert record.header.key == CPU
            assert record.header.first_ordinal <= ordinal < record.header.end_ordinal
        with pytest.raises(ValueError, match="beyond the end"):
            await store.read(store.end_lsn() + 1, {CPU}, {}, 1)


async def test_what_lies_between_two_records_of_a_table_is_not_read() -> None:
    async with World(row_store_tail_bytes=0, row_store_segment_bytes=4096).running() as store:
        await write(store, 2)
        await write(store, *[9] * 100, key=LOGS)
        await write(store, 2)
        assert store.statistics().segments > 10
        first = await store.read(0, {CPU}, {CPU: 0}, 1)
        second = await store.read(first.next_lsn, {CPU}, {CPU: 2}, 1)
        (record,) = iter_records(second.records)
        assert (record.header.first_ordinal, record.header.end_ordinal) == (2, 4)
        end = await store.read(second.next_lsn, {CPU}, {CPU: 4}, 1)
        assert (end.count, end.next_lsn) == (0, store.end_lsn())
        assert store.statistics().disk_reads <= 3, "one for each record, one for what lies between"


async def test_max_bytes_bounds_a_chunk_but_never_below_one_record() -> None:
    for tail_bytes in (0, 10**6):
        async with World(row_store_tail_bytes=tail_bytes).running() as store:
            await write(store, 3, 3, 3)
            size = store.end_lsn() // 3
            for limit, count in ((1, 1), (2 * size - 1, 1), (2 * size, 2), (2 * size + 1, 2)):
                chunk = await store.read(0, {CPU}, {}, limit)
                assert (chunk.count, len(chunk.records)) == (count, count * size)
                assert chunk.next_lsn == count * size
            for cursor, expected in ((2, 0), (3, 3), (5, 3), (6, 6)):
                chunk = await store.read(0, {CPU}, {CPU: cursor}, 1)
                assert next(iter_records(chunk.records)).header.first_ordinal == expected
            assert (await store.read(0, {CPU}, {CPU: 9}, 1)).count == 0


async def test_only_committed_records_are_read_and_waiting_wakes() -> None:
    async with World().running() as store:
        await write(store, 1)
        end = store.end_lsn()
        woken = []

        async def wait() -> None:
            await store.wait_beyond(end)
            woken.append((await store.read(end, {CPU}, {}, 1)).count)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            staged = put(store, 1)
            assert (await store.read(end, {CPU}, {}, 1)).count == 0
            assert store.end_lsn() == end
            await staged.committed()
        assert woken == [1]
        await store.wait_beyond(end)


async def test_reading_goes_on_while_segments_roll() -> None:
    world = World(row_store_segment_bytes=500, row_store_tail_bytes=0)
    async with world.running() as store:
        seen: list[int] = []

        async def read() -> None:
            lsn = 0
            while len(seen) < 60:
                chunk = await store.read(lsn, {CPU}, {CPU: len(seen)}, 600)
                lsn = chunk.next_lsn
                seen.extend(
                    n
                    for record in iter_records(chunk.records)
                    for n in range(record.header.first_ordinal, record.header.end_ordinal)
                )
                if not chunk.count:
                    await store.wait_beyond(lsn)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for n in range(30):
                await put(store, 1 + n % 3).committed()
        assert seen == list(range(60))
        assert store.statistics().segments > 5


async def test_a_rotten_record_is_not_given_out() -> None:
    world = World(row_store_tail_bytes=0)
    async with world.running() as store:
        await write(store, 3)
        (path,) = world.disk.paths()
        world.disk.flip_bit(path, 32 + 100)
        with pytest.raises(CorruptionError, match="does not match") as caught:
            await store.read(0, {CPU}, {}, 1)
        assert caught.value.metadata == {"file": str(path), "offset": "32"}
        world.disk.fail("read")
        with pytest.raises(CorruptionError, match="reading it failed"):
            await store.read(0, {CPU}, {}, 1)


async def test_it_works_on_a_real_disk(tmp_path) -> None:
    world = World(row_store_segment_bytes=2000, row_store_tail_bytes=0)
    for first in (0, 40):
        async with world.running(disk=RealDisk(), folder=tmp_path / "rows") as store:
            assert store.rows(CPU).position.ordinal == first
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(put(store, 2).committed)
            assert numbers(store) == list(range(first + 40))
            assert sum(len(c) for c in await read_all(store)) == store.end_lsn()
