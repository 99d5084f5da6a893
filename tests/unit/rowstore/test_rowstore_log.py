"""The log on its own: what a reader may see of it."""

from __future__ import annotations

import pytest
from rowstore_world import CPU, FOLDER, LOGS, World, read_all, write

from cluster.errors import CorruptionError
from cluster.rowstore.log import SegmentedLog
from cluster.testing.disk import FakeDisk


async def records() -> list[bytes]:
    async with World().running() as store:
        await write(store, 1, 2, 3)
        return await read_all(store)


def log_on(disk: FakeDisk, segment_bytes: int) -> SegmentedLog:
    disk.make_folder(FOLDER)
    return SegmentedLog(
        disk, FOLDER, store_id=1, segments=(), segment_bytes=segment_bytes, sync=True
    )


async def test_reading_stops_at_the_committed_end_although_more_is_written() -> None:
    first, second, third = await records()
    for segment_bytes in (1, 10**6):
        log = log_on(FakeDisk(), segment_bytes)
        log.append([first, second, third])
        for count, end in ((1, len(first)), (2, len(first + second))):
            lsn, found = 0, b""
            while lsn < end:
                chunk = log.read(lsn, end, {CPU}, {}, 10**6)
                lsn, found = chunk.next_lsn, found + chunk.records
            assert found == (first, first + second)[count - 1]
            assert log.read(end, end, {CPU}, {}, 1).count == 0


async def test_keys_and_cursors_choose_records() -> None:
    first, second, third = await records()
    log = log_on(FakeDisk(), 10**6)
    log.append([first, second, third])
    end = log.end_lsn
    assert log.read(0, end, {LOGS}, {}, 10**6).records == b""
    for cursor, expected in ((0, first), (1, second), (2, second), (3, third)):
        assert log.read(0, end, {CPU}, {CPU: cursor}, 1).records == expected
    assert log.read(0, end, {CPU}, {CPU: 6}, 1) == log.read(0, end, {LOGS}, {}, 1)


async def test_a_reader_behind_the_trimmed_part_is_moved_on() -> None:
    first, second, third = await records()
    disk = FakeDisk()
    log = log_on(disk, 1)
    log.append([first, second, third])
    log.detach_before(len(first + second))
    log.remove_detached()
    assert [operation.kind for operation in disk.operations[-4:]] == ["remove", "sync_folder"] * 2
    assert log.first_lsn == len(first + second)
    assert log.read(0, log.end_lsn, {CPU}, {}, 1).records == third
    disk.remove(FOLDER / log.segments[0].name)
    with pytest.raises(CorruptionError, match="the file is missing"):
        log.read(0, log.end_lsn, {CPU}, {}, 1)
