"""The writer when things go wrong: failures, cancellation, full disks, what is left."""

from __future__ import annotations

import errno
import os
import random

import pyarrow.parquet as pq
import pytest
import trio
from extent_data import CREATED_US, DATABASE, LONGS, longs

from cluster.errors import ConflictError, StorageFullError, StorageUnavailableError
from cluster.extents import writer as writer_module
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot


def make(tmp_path, root, **options):
    options = {"rng": random.Random(1), "blocks": False, **options}
    return ExtentWriter(root_of=lambda _: root, work=tmp_path / "work", **options)


async def write(writer, *batches, **options):
    options = {"created_us": CREATED_US, "original_bytes": 1, **options}
    return await writer.write(DATABASE, LONGS, 0, batches, **options)


def left(tmp_path):
    return list((tmp_path / "work").iterdir())


def test_the_work_folder_is_emptied_at_start(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/old.parquet").write_bytes(b"half")
    make(tmp_path, FakeRoot())
    assert left(tmp_path) == []


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_a_failed_put_takes_everything_back(tmp_path, takes_effect):
    root = FakeRoot()
    writer = make(tmp_path, root)
    root.fail("put", after=1, takes_effect=takes_effect)
    with pytest.raises(StorageUnavailableError):
        await write(writer, longs(1, 2, 3), max_rows=1)
    assert root.names() == []
    assert left(tmp_path) == []
    statistics = writer.statistics()
    assert (statistics.extents, statistics.failed_writes, statistics.left_behind) == (0, 1, 0)
    assert len(await write(writer, longs(1))) == 1
    assert writer.statistics().writing == 0


async def test_what_cannot_be_taken_back_is_counted(tmp_path):
    root = FakeRoot()
    writer = make(tmp_path, root)
    root.fail("put", after=1)
    root.fail("delete")
    with pytest.raises(StorageUnavailableError):
        await write(writer, longs(1, 2), max_rows=1)
    assert writer.statistics().left_behind == 2
    assert len(root.names()) == 1


async def test_an_object_that_was_there_before_is_not_taken_back(tmp_path):
    root = FakeRoot()
    (extent,) = await write(make(tmp_path, root), longs(1))
    with pytest.raises(ConflictError):
        await write(make(tmp_path, root), longs(1))
    assert root.names() == [extent.file]


async def test_a_full_root_is_refused_and_left_as_it_was(tmp_path):
    root = FakeRoot(capacity_bytes=3000)
    writer = make(tmp_path, root)
    with pytest.raises(StorageFullError):
        await write(writer, longs(*range(100)), max_rows=10)
    assert root.names() == []


async def test_a_full_work_folder_is_refused(tmp_path, monkeypatch):
    def full(self, batch):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer_module.ExtentFileWriter, "write", full)
    with pytest.raises(StorageFullError, match="cannot write an extent in"):
        await write(make(tmp_path, FakeRoot()), longs(1))
    assert left(tmp_path) == []


async def test_an_error_of_the_rows_is_the_callers(tmp_path):
    def rows():
        yield longs(1)
        raise KeyError("x")

    root = FakeRoot()
    with pytest.raises(KeyError):
        await make(tmp_path, root).write(
            DATABASE, LONGS, 0, rows(), created_us=CREATED_US, original_bytes=1
        )
    assert root.names() == left(tmp_path) == []


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_cancelled_write_leaves_nothing(tmp_path, blocks):
    root = FakeRoot()
    writer = make(tmp_path, root, blocks=blocks)
    drawn = []
    scope = trio.CancelScope()

    def rows():
        for number in range(10_000):
            drawn.append(number)
            if number == 25:
                if blocks:
                    trio.from_thread.run_sync(scope.cancel)
                else:
                    scope.cancel()
            yield longs(number)

    with scope:
        await writer.write(
            DATABASE, LONGS, 0, rows(), created_us=CREATED_US, original_bytes=1, max_rows=10
        )
    assert scope.cancelled_caught
    assert len(drawn) < 50
    assert root.names() == left(tmp_path) == []
    assert writer.statistics().failed_writes == 1


async def test_taking_back_is_bounded_in_time(tmp_path, autojump_clock):
    root = FakeRoot()
    writer = make(tmp_path, root)
    root.fail("put", after=1)
    root.delay_seconds = 100
    start = trio.current_time()
    with pytest.raises(StorageUnavailableError):
        await write(writer, longs(1, 2), max_rows=1)
    assert trio.current_time() - start == 210
    assert writer.statistics().left_behind == 2


@pytest.mark.parametrize(("rows", "count"), [(4, 1), (5, 1), (6, 2)])
async def test_the_limit_holds_where_no_policy_says(tmp_path, rows, count):
    writer = make(tmp_path, FakeRoot(), limits=Limits(extent_rows=5))
    assert len(await write(writer, longs(*range(rows)))) == count


@pytest.mark.parametrize("options", [{"max_rows": 0}, {"max_bytes": 0}])
async def test_an_extent_has_a_row(tmp_path, options):
    with pytest.raises(ValueError, match="an extent has a row"):
        await write(make(tmp_path, FakeRoot()), longs(1), **options)


async def test_rows_are_drawn_only_as_they_are_written(tmp_path):
    root = FakeRoot()
    stored_when_drawn = []

    def rows():
        for number in range(4):
            stored_when_drawn.append(len(root.names()))
            yield longs(number)

    await make(tmp_path, root).write(
        DATABASE, LONGS, 0, rows(), created_us=CREATED_US, original_bytes=1, max_rows=1
    )
    assert stored_when_drawn == [0, 0, 1, 2]


async def test_a_wide_row_group_ends_by_bytes(tmp_path):
    root = FakeRoot(folder=tmp_path / "root")
    writer = make(tmp_path, root, limits=Limits(extent_row_group_bytes=80))
    for rows, groups in ((9, 1), (10, 1), (11, 2)):
        (extent,) = await write(writer, longs(*range(rows)))
        assert pq.read_metadata(root.local_path(extent.file)).num_row_groups == groups
