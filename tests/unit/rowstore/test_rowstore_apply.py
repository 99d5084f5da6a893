"""A follower's copy: shipped bytes are checked, stored as they are and shown once."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
import trio
from rowstore_world import CPU, FIRST_SEGMENT, LOGS, World, batch, numbers, put, read_all, write

from cluster.errors import (
    DivergenceError,
    PayloadTooLargeError,
    ProtocolError,
    RowStoreFullError,
    RowStoreReadOnlyError,
    UnavailableError,
)
from cluster.rowstore.record import (
    RecordHeader,
    RequestSpan,
    encode_record,
    encode_reset,
    iter_records,
    next_checksum,
    source_digest,
)
from cluster.rowstore.worker import INLINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


async def shipped(*counts: int, **options: int) -> list[bytes]:
    """Records a leader would send: these row counts for CPU and LOGS in turn."""
    async with World().running() as leader:
        for n, count in enumerate(counts):
            key = (CPU, LOGS)[n % 2] if not options else CPU
            await put(leader, count, key=key, source=str(n), **options).committed()
        return await read_all(leader)


def forged(
    rows: pa.RecordBatch,
    *,
    first: int = 0,
    checksum: int = 0,
    spoil: Callable[[bytes], bytes] = bytes,
    **fields: int,
) -> bytes:
    """A record whose checks match, of whatever a hostile leader may say."""
    body = spoil(rows.serialize().to_pybytes())
    values = {
        "lsn": 0,
        "key": CPU,
        "first_ordinal": first,
        "checksum": next_checksum(checksum, body),
        "ingest_time_ns": 0,
        "length": 0,
        "row_count": rows.num_rows,
        "schema_version": 0,
        "request_count": 0,
        "flags": 0,
    }
    header = RecordHeader(**{**values, **fields})
    spans = [RequestSpan(b"", header.row_count)] if header.row_count else []
    return bytes(encode_record(header, spans, body))


async def test_applied_records_are_visible_and_stored_verbatim() -> None:
    records = await shipped(1, 2, 3, 4)
    world = World()
    async with world.running(sync=False) as store:
        headers = await store.apply(b"".join(records[:3]))
        assert [(h.key, h.first_ordinal, h.row_count) for h in headers] == [
            (CPU, 0, 1),
            (LOGS, 0, 2),
            (CPU, 1, 3),
        ]
        assert numbers(store) == [0, 1, 2, 3]
        assert numbers(store, LOGS) == [0, 1]
        await store.apply(memoryview(records[3]))
        position = store.position_of([CPU, LOGS])
        assert {key: at.ordinal for key, at in position.items()} == {CPU: 4, LOGS: 6}
        assert store.outcome_of(source_digest(CPU, "0")) is None
        assert await read_all(store) == records
    assert world.disk.content(FIRST_SEGMENT)[32:] == b"".join(records)
    async with world.running(sync=False) as store:
        assert store.position_of([CPU, LOGS]) == position
        assert numbers(store) == [0, 1, 2, 3]
        assert await read_all(store) == records


async def test_it_does_not_need_run_for_small_records() -> None:
    store = await World().open(sync=False)
    await store.apply((await shipped(2))[0])
    assert numbers(store) == [0, 1]
    store.close()
    with pytest.raises(UnavailableError):
        await store.apply(b"")


async def test_applying_again_changes_nothing() -> None:
    records = await shipped(1, 2, 3, 4, 5)
    world = World()
    async with world.running(sync=False) as store:
        await store.apply(b"".join(records[:4]))
        size = store.end_lsn()
        assert await store.apply(b"".join(records[:4])) == ()
        assert await store.apply(records[0]) == ()
        assert await store.apply(b"") == ()
        assert store.end_lsn() == size
        (only,) = await store.apply(b"".join(records))
        assert only.first_ordinal == 4
        assert numbers(store) == list(range(9))
    async with world.running(sync=False) as store:
        assert await store.apply(b"".join(records)) == ()
        assert numbers(store) == list(range(9))


async def unchanged(store, records: bytes, error: type[Exception], words: str) -> None:
    before = store.statistics()
    with pytest.raises(error, match=words):
        await store.apply(records)
    after = store.statistics()
    assert after.end_lsn == before.end_lsn
    assert after.live_bytes == before.live_bytes
    assert after.visible_rows == before.visible_rows


async def test_a_gap_is_refused_and_nothing_of_the_call_applied() -> None:
    records = await shipped(1, 2, 3, 4, 5)
    async with World().running(sync=False) as store:
        await store.apply(records[0])
        words = "key 0000000000c0ffee has a gap: expected ordinal 1, got 4"
        await unchanged(store, records[1] + records[4], ProtocolError, words)
        await store.apply(b"".join(records))
        assert numbers(store) == list(range(9))


async def test_other_bytes_at_the_same_ordinal_are_divergence() -> None:
    first, second = await shipped(2, 3, version=0)
    async with World().running(sync=False) as store:
        await store.apply(first)
        start = next(iter_records(first)).header.checksum
        await unchanged(
            store, forged(batch(9, 2)), DivergenceError, "another checksum at ordinal 2"
        )
        other = forged(batch(2, 3), first=2, checksum=start + 1)
        await unchanged(store, other, DivergenceError, "diverges after ordinal 2")
        wide = forged(batch(0, 5))
        await unchanged(store, wide, DivergenceError, "other record bounds")
        await store.apply(second)
        await unchanged(store, forged(batch(0, 4), first=1), DivergenceError, "another checksum")


async def test_every_flipped_bit_of_a_record_is_refused() -> None:
    (record,) = await shipped(1)
    async with World().running(sync=False) as store:
        for at in range(len(record)):
            damaged = bytearray(record)
            damaged[at] ^= 1 << at % 8
            with pytest.raises(ProtocolError, match="bad record"):
                await store.apply(bytes(damaged))
        for size in range(1, len(record)):
            with pytest.raises(ProtocolError, match="cut short"):
                await store.apply(record[:size])
        assert store.end_lsn() == 0
        await store.apply(record)


def far_offsets(body: bytes) -> bytes:
    """The body of ``batch(0, 3)`` with a string that reaches far out of its buffer."""
    good = b"".join(n.to_bytes(4, "little") for n in (0, 5, 10, 15))
    assert body.count(good) == 1
    return body.replace(good, good[:-4] + (2**30).to_bytes(4, "little"))


def not_utf8(body: bytes) -> bytes:
    """The same with a value that is no text."""
    return body.replace(b"row 2", b"row \xff")


async def test_a_hostile_leader_is_refused() -> None:
    cases = {
        "without rows": bytes(encode_reset(0, CPU, 0)),
        "record without rows": forged(batch(0, 0)),
        "unknown table": forged(batch(0, 1), key=5),
        "before its schema version 9": forged(batch(0, 1), schema_version=9),
        "1 rows instead of 7": forged(batch(0, 1), row_count=7),
        "cannot be decoded: ": forged(batch(0, 1), schema_version=1),
        "cannot be decoded.*UTF8": forged(batch(0, 3), spoil=not_utf8),
        "cannot be decoded.*offset": forged(batch(0, 3), spoil=far_offsets),
        "cannot be decoded.* ": forged(batch(0, 3), spoil=lambda body: b"\xff" * len(body)),
    }
    async with World().running(sync=False) as store:
        for words, record in cases.items():
            await unchanged(store, record, ProtocolError, words)
        await store.apply((await shipped(1))[0])


async def test_limits_of_a_copy() -> None:
    (record,) = await shipped(3)
    for limit, accepted in ((len(record) - 1, 0), (len(record), 3), (len(record) + 1, 3)):
        for name, error in (
            ("row_store_record_bytes", PayloadTooLargeError),
            ("row_store_bytes", RowStoreFullError),
        ):
            async with World(**{name: limit}).running(sync=False) as store:
                if accepted:
                    await store.apply(record)
                else:
                    await unchanged(store, record, error, "bytes")
                assert store.rows(CPU).position.ordinal == accepted


async def test_schema_versions_change_in_the_middle_of_a_call() -> None:
    async with World().running() as leader:
        for version in (0, 0, 1, 0):
            await put(leader, 2, version=version).committed()
        data = b"".join(await read_all(leader))
    async with World().running(sync=False) as store:
        await store.apply(data)
        rows = store.rows(CPU)
        assert rows.schema_versions == (0, 1, 0)
        assert [item.num_rows for item in rows.batches] == [4, 2, 2]
        assert numbers(store) == list(range(8))


async def test_large_records_and_concurrent_calls() -> None:
    rows = 20_000
    async with World().running() as leader:
        await write(leader, rows)
        await write(leader, 5, key=LOGS)
        large, small = await read_all(leader)
    assert len(large) > INLINE_BYTES
    async with World().running(sync=False) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.apply, large)
            nursery.start_soon(store.apply, small)
            nursery.start_soon(store.apply, large)
        assert store.rows(CPU).position.ordinal == rows
        assert numbers(store, LOGS) == [0, 1, 2, 3, 4]


async def test_a_copy_can_be_synced_too() -> None:
    records = await shipped(1, 2, 3)
    world = World()
    async with world.running() as store:
        await store.apply(b"".join(records))
        world.disk.crash()
    async with world.running() as store:
        assert numbers(store) == [0, 1, 2, 3]
        assert await read_all(store) == records


async def test_a_full_disk_stops_a_copy_but_not_its_readers() -> None:
    records = await shipped(1, 2, 3)
    world = World()
    async with world.running(sync=False) as store:
        await store.apply(records[0])
        world.disk.fail("append", number=errno.ENOSPC, kept_bytes=99)
        with pytest.raises(RowStoreReadOnlyError, match="No space left"):
            await store.apply(records[1])
        with pytest.raises(RowStoreReadOnlyError):
            await store.apply(records[1])
        assert numbers(store) == [0]
        assert numbers(store, LOGS) == []
    async with world.running(sync=False) as store:
        assert store.statistics().recovery.cut_bytes == 99
        await store.apply(b"".join(records))
        assert numbers(store) == [0, 1, 2, 3]


async def test_a_reset_key_takes_other_rows_from_the_start() -> None:
    old = await shipped(2, 3, 4)
    async with World().running() as leader:
        await write(leader, 9, 9)
        new = await read_all(leader)
    world = World()
    async with world.running(sync=False) as store:
        await store.apply(b"".join(old))
        store.reset(CPU)
        assert numbers(store) == []
        assert numbers(store, LOGS) == [0, 1, 2]
        await store.apply(b"".join(new))
        assert numbers(store) == list(range(18))
        position = store.position_of([CPU, LOGS])
    async with world.running(sync=False) as store:
        assert store.position_of([CPU, LOGS]) == position
        assert numbers(store) == list(range(18))


async def test_following_again_after_the_key_was_forgotten() -> None:
    """Detached and attached again in one life and in two: the same keys, from the start."""
    records = await shipped(2, 3, 4)
    others = await shipped(1, 3, 5)
    world = World()
    for restart in (False, True):
        async with world.running(sync=False) as store:
            if not restart:
                await store.apply(b"".join(records))
            world.known.remove(CPU)
            store.forget(CPU)
            with pytest.raises(ProtocolError, match="unknown table"):
                await store.apply(records[0])
            if restart:
                continue
            world.known.add(CPU)
            await store.apply(b"".join(others))
            position = store.rows(CPU).position
        async with world.running(sync=False) as store:
            assert store.statistics().recovery.cut_bytes == 0
            assert store.rows(CPU).position == position
    async with world.running(sync=False) as store:
        world.known.add(CPU)
        await store.apply(b"".join(others))
    async with world.running(sync=False) as store:
        assert store.statistics().recovery.cut_bytes == 0
        assert store.rows(CPU).position == position
        assert numbers(store) == list(range(6))
