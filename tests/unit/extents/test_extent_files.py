"""Extent files at hand: verified, pinned, copied within bounds, fetched again when damaged."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio
from extent_data import CREATED_US, DATABASE, LONGS, longs
from extent_leader import Leader, flip, values

from cluster.errors import (
    CorruptionError,
    FileMissingError,
    LimitExceededError,
    StorageFullError,
    StorageUnavailableError,
    ThrottledError,
)
from cluster.extents.copies import Place
from cluster.extents.disk import LocalRoot
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.stats import StatisticsCache
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot


@pytest.fixture
def leader(tmp_path):
    return Leader(tmp_path)


async def test_files_of_the_own_folder_are_used_where_they_lie(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    extents = await leader.write()
    files = leader.files(in_place=True, blocks=True)
    async with files.acquire(DATABASE, extents) as paths:
        assert paths == {e.file: leader.root.local_path(e.file) for e in extents}
    assert await values(files, extents) == [0, 1, 2]
    assert files.statistics().verified == 3
    assert leader.copies() == []


async def test_a_damaged_file_of_the_own_folder_is_named(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    extents = await leader.write()
    path = leader.root.local_path(extents[1].file)
    flip(path, 10)
    files = leader.files(in_place=True)
    with pytest.raises(CorruptionError) as caught:
        await values(files, extents)
    assert caught.value.metadata["file"] == str(path)
    assert caught.value.metadata["offset"] == "0"
    assert caught.value.remedy
    assert await values(files, [extents[0], extents[2]]) == [0, 2]
    path.unlink()
    with pytest.raises(FileMissingError, match=extents[1].extent_id):
        await values(files, extents)
    assert files.statistics().pinned_files == 0


async def test_copies_are_downloaded_once(leader):
    extents = await leader.write()
    files = leader.files()
    assert await values(files, extents) == [0, 1, 2]
    assert await values(files, extents) == [0, 1, 2]
    statistics = files.statistics()
    assert (statistics.downloaded, statistics.hits, statistics.cached_files) == (3, 3, 3)
    assert statistics.cached_bytes == sum(e.file_bytes for e in extents)


async def test_copies_survive_a_restart_and_are_verified_again(leader):
    extents = await leader.write()
    await values(leader.files(), extents)
    flip(leader.copies()[0])
    (leader.tmp_path / "cache/half.0.partial").write_bytes(b"half")
    files = leader.files()
    assert len(leader.copies()) == files.statistics().cached_files == 3
    assert await values(files, extents) == [0, 1, 2]
    statistics = files.statistics()
    assert (statistics.hits, statistics.corrupt, statistics.downloaded) == (2, 1, 1)


async def test_a_damaged_copy_is_fetched_again(leader):
    extents = await leader.write(1)
    await values(leader.files(), extents)
    flip(leader.copies()[0])
    files = leader.files()
    assert await values(files, extents) == [0]
    assert (files.statistics().corrupt, files.statistics().downloaded) == (1, 1)


async def test_a_file_damaged_at_the_root_is_tried_twice_then_fetched(leader):
    extents = await leader.write(1)
    good = leader.root.content(extents[0].file)
    leader.root.flip_bit(extents[0].file, 50)
    with pytest.raises(CorruptionError):
        await values(leader.files(), extents)
    assert [call.kind for call in leader.root.calls].count("download") == 2
    assert leader.copies() == []

    async def fetch(database, extent, path):
        path.write_bytes(good)

    leader.fetch = fetch
    files = leader.files(fetch=True)
    assert await values(files, extents) == [0]
    assert files.statistics().fetched == 1


async def test_without_the_root_the_leader_is_asked(leader):
    extents = await leader.write(2)
    files = leader.files(root=False, fetch=True)
    assert await values(files, extents) == [0, 1]
    assert sorted(leader.fetched) == sorted(("db", e.file) for e in extents)
    leader.root.disconnect()
    assert await values(leader.files(fetch=True), extents) == [0, 1]


async def test_with_no_way_at_all_it_says_so(leader):
    extents = await leader.write(1)
    files = leader.files(root=False)
    with pytest.raises(StorageUnavailableError, match="there is no way to the extent file"):
        await values(files, extents)
    assert files.statistics().cached_bytes == 0


async def test_a_leaders_local_files_are_linked(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    extents = await leader.write(1)
    files = leader.files()
    async with files.acquire(DATABASE, extents) as paths:
        await leader.root.delete([extents[0].file])
        path = paths[extents[0].file]
        assert path.parent == tmp_path / "cache"
        assert [b["x"].to_pylist() for b in read_extent(path, extents[0], LONGS)] == [[0]]
    assert files.statistics().linked == 1


@pytest.mark.parametrize("spare", [-1, 0, 1])
async def test_one_request_may_fill_the_cache_and_no_more(leader, spare):
    extents = await leader.write(3)
    files = leader.files(copies=3 * leader.size + spare)
    if spare < 0:
        with pytest.raises(LimitExceededError, match="extent_cache_bytes is"):
            await values(files, extents)
        assert files.statistics().cached_bytes == 0
    else:
        assert await values(files, extents) == [0, 1, 2]


async def test_what_was_not_used_for_longest_makes_room(leader):
    extents = await leader.write(3)
    files = leader.files(copies=2 * leader.size)
    for wanted in (0, 1, 0, 2):
        assert await values(files, [extents[wanted]]) == [wanted]
    assert files.statistics().evictions == 1
    assert len(leader.copies()) == 2
    await values(files, [extents[0]])
    assert files.statistics().downloaded == 3


async def test_pinned_copies_are_never_evicted(leader):
    extents = await leader.write(3)
    files = leader.files(copies=2 * leader.size)
    async with files.acquire(DATABASE, extents[:2]) as paths:
        assert files.is_pinned(extents[0].file)
        with pytest.raises(ThrottledError, match="extent_cache_bytes is"):
            await values(files, extents[2:])
        assert all(path.exists() for path in paths.values())
        assert await values(files, extents[:1]) == [0]
        assert files.is_pinned(extents[0].file)
    assert not files.is_pinned(extents[0].file)
    assert await values(files, extents[2:]) == [2]


async def test_two_requests_at_once_fetch_a_file_once(leader, autojump_clock):
    extents = await leader.write(2)
    leader.root.delay_seconds = 1
    files = leader.files()
    found = []

    async def read():
        found.append(await values(files, extents))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert found == [[0, 1], [0, 1]]
    assert files.statistics().downloaded == 2


async def test_who_waits_for_a_fetch_that_is_cancelled_fetches_itself(leader, autojump_clock):
    extents = await leader.write(1)
    leader.root.delay_seconds = 1
    files = leader.files()
    first = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def give_up():
            with first:
                await values(files, extents)

        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(values, files, extents)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
    assert first.cancelled_caught
    assert files.statistics().downloaded == 1
    assert len(leader.copies()) == 1


async def test_a_failed_fetch_gives_its_room_back(leader):
    extents = await leader.write(2)
    files = leader.files(copies=2 * leader.size)
    leader.root.fail("download", error=StorageFullError("full"), after=1)
    with pytest.raises(StorageFullError):
        await values(files, extents)
    assert files.statistics().cached_bytes == leader.size * len(leader.copies())
    assert await values(files, extents) == [0, 1]


@pytest.mark.parametrize("fetches", [1, 2, 3])
async def test_so_many_files_are_fetched_at_once(leader, autojump_clock, fetches):
    extents = await leader.write(6)
    leader.root.delay_seconds = 1
    files = ExtentFiles(
        place_of=lambda _: Place(leader.root),
        cache=leader.tmp_path / "cache",
        limits=Limits(extent_fetches=fetches),
        blocks=False,
    )
    start = trio.current_time()
    await values(files, extents)
    assert trio.current_time() - start == pytest.approx(6 / fetches)


async def test_statistics_come_from_memory_footers_or_the_end_of_remote_files(leader):
    extents = await leader.write(3)
    files = leader.files()
    found = await files.statistics_of(DATABASE, extents)
    assert [found[e.file].columns[0].maximum for e in extents] == [0, 1, 2]
    assert {call.kind for call in leader.root.calls} == {"put", "get_range"}
    calls = len(leader.root.calls)
    assert await files.statistics_of(DATABASE, extents) == found
    assert len(leader.root.calls) == calls
    files.forget([extents[0].file])
    await values(files, extents)
    calls = len(leader.root.calls)
    assert await files.statistics_of(DATABASE, extents) == found
    assert len(leader.root.calls) == calls  # the footer of the copy
    assert await leader.files(root=False).statistics_of(DATABASE, extents) == found  # copies again


async def test_statistics_that_only_the_leader_has_are_left_out(leader):
    extents = await leader.write(1)
    assert await leader.files(root=False, fetch=True).statistics_of(DATABASE, extents) == {}


async def test_a_writer_and_the_files_share_what_is_known(tmp_path):
    known = StatisticsCache(10)
    root = FakeRoot()
    writer = ExtentWriter(
        root_of=lambda _: root,
        work=tmp_path / "work",
        rng=random.Random(1),
        statistics=known,
        blocks=False,
    )
    extents = await writer.write(
        DATABASE, LONGS, 0, [longs(1)], created_us=CREATED_US, original_bytes=1
    )
    files = ExtentFiles(
        place_of=lambda _: Place(root), cache=tmp_path / "cache", statistics=known, blocks=False
    )
    assert (await files.statistics_of(DATABASE, extents))[extents[0].file].row_count == 1
    assert [call.kind for call in root.calls] == ["put"]


async def test_names_from_a_leader_never_become_paths(leader):
    extents = await leader.write(1)
    files = leader.files(root=False, fetch=True)
    await values(files, extents)
    assert [path.name for path in leader.copies()] == [
        f"{extents[0].file_checksum:016x}-{leader.size}.parquet"
    ]


async def test_statistics_of_a_leaders_damaged_or_missing_files_are_left_out(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    extents = await leader.write(3)
    damaged = leader.root.local_path(extents[0].file)
    flip(damaged, damaged.stat().st_size - 20)
    leader.root.local_path(extents[1].file).unlink()
    assert set(await leader.files().statistics_of(DATABASE, extents)) == {extents[2].file}
    own = leader.files(in_place=True)
    with pytest.raises(CorruptionError):
        await own.statistics_of(DATABASE, extents)
    with pytest.raises(FileMissingError):
        await own.statistics_of(DATABASE, extents[1:])


async def test_a_copy_outlives_the_leaders_file(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    extents = await leader.write(1)
    files = leader.files()
    await values(files, extents)
    await leader.root.delete([extents[0].file])
    assert len(await leader.files().statistics_of(DATABASE, extents)) == 1
    assert await values(leader.files(), extents) == [0]


@pytest.mark.parametrize(("seconds", "asked"), [(29, 0), (30, 1), (31, 1)])
async def test_a_root_that_failed_rests_while_the_leader_is_there(
    leader, autojump_clock, seconds, asked
):
    extents = await leader.write(3)
    files = leader.files(fetch=True)
    leader.root.disconnect()
    assert await values(files, extents[:1]) == [0]
    leader.root.calls.clear()
    await trio.sleep(seconds)
    assert await values(files, extents[1:2]) == [1]
    assert len(leader.root.calls) == asked
    leader.root.reconnect()
    await trio.sleep(30)
    assert await values(files, extents[2:]) == [2]
    assert files.statistics().downloaded == 1


async def test_statistics_do_not_ask_a_root_that_rests(leader):
    extents = await leader.write(3)
    files = leader.files(fetch=True)
    leader.root.disconnect()
    leader.root.calls.clear()
    assert await files.statistics_of(DATABASE, extents) == {}
    assert await files.statistics_of(DATABASE, extents) == {}
    assert len(leader.root.calls) == 1
    with pytest.raises(StorageUnavailableError):
        await leader.files(in_place=True).statistics_of(DATABASE, extents)


async def test_what_is_prefetched_is_there_when_it_is_asked_for(leader):
    extents = await leader.write(3)
    files = leader.files(copies=3 * leader.size)
    await files.prefetch(DATABASE, extents)
    found = files.statistics()
    assert (found.prefetched, found.downloaded, found.cached_files) == (3, 3, 3)
    await leader.root.delete([extent.file for extent in extents])
    assert await values(files, extents) == [0, 1, 2]
    assert files.statistics().pinned_files == 0


@pytest.mark.parametrize(("spare", "fetched"), [(-1, [2]), (0, [1, 2]), (1, [1, 2])])
async def test_the_newest_that_fit_are_prefetched(leader, spare, fetched):
    extents = [
        replace(extent, created_max_us=age) for age, extent in enumerate(await leader.write(3))
    ]
    files = leader.files(copies=2 * leader.size + spare)
    await files.prefetch(DATABASE, extents)
    assert files.statistics().cached_bytes == len(fetched) * leader.size
    assert files.statistics().evictions == 0
    await leader.root.delete([extent.file for extent in extents])
    assert await values(files, [extents[number] for number in fetched]) == fetched


async def test_a_prefetch_that_fails_raises_nothing_and_tries_no_further(leader, autojump_clock):
    extents = await leader.write(3)
    files = leader.files()
    await leader.root.delete([extents[0].file])
    await files.prefetch(DATABASE, extents)
    assert files.statistics().prefetch_failures == 1
    assert await values(files, extents[1:]) == [1, 2]


async def test_the_own_folder_needs_no_prefetch(tmp_path):
    leader = Leader(tmp_path, LocalRoot(tmp_path / "root"))
    files = leader.files(in_place=True, blocks=True)
    await files.prefetch(DATABASE, await leader.write())
    assert leader.copies() == []
