"""Files of extents from the leader, and copies that cannot be written or are another's."""

from __future__ import annotations

import errno
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from follow_cluster import COLUMNS

from cluster.catalog.changes import DropTable, ReplaceExtents, SealedRange, SealRows
from cluster.catalog.model import Database, FollowingSource
from cluster.errors import (
    CorruptionError,
    DatabaseNotFoundError,
    DivergenceError,
    EntityNotFoundError,
    FollowNotGrantedError,
    UnavailableError,
)
from cluster.gateway.replication import EXTENT_MESSAGE_BYTES
from cluster.replication.position import KeyPosition
from cluster.replication.protocol import MetadataDelta
from cluster.rpc.v1 import replication_pb2, replication_pb2_grpc
from cluster.transport.memory import MemoryTransport
from follower.link import FETCH_SILENCE_SECONDS
from follower.store import FollowedCopy

paths = itertools.count()


async def sealed(setup):
    """An extent that both nodes have."""
    await setup.leader.ingest([1, 2, 3])
    extent = await setup.leader.seal()
    await setup.follower.shows([1, 2, 3])
    return extent


async def fetched(setup, tmp_path, extent):
    path = tmp_path / f"fetched{next(paths)}"
    await setup.follower.manager.fetch_extent(setup.follower.catalog.get("db"), extent, path)
    return path.read_bytes()


async def test_a_follower_fetches_the_file_of_an_extent(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    assert await fetched(setup, tmp_path, extent) == b"[1, 2, 3]"
    statistics = setup.leader.service.statistics()
    assert (statistics.extents_sent_total, statistics.extent_bytes_sent_total) == (1, 9)


@pytest.mark.parametrize("size", [0, EXTENT_MESSAGE_BYTES, 2 * EXTENT_MESSAGE_BYTES + 1])
async def test_a_file_of_any_size_arrives_whole(autojump_clock, setup, tmp_path, size):
    extent = await sealed(setup)
    content = bytes(index % 251 for index in range(size))
    await setup.leader.root.delete([extent.file])
    await setup.leader.root.put(extent.file, content)
    got = await fetched(setup, tmp_path, replace(extent, file_bytes=size))
    assert got == content


async def test_more_than_the_metadata_says_is_refused(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    with pytest.raises(CorruptionError, match=extent.extent_id):
        await fetched(setup, tmp_path, replace(extent, file_bytes=extent.file_bytes - 1))


async def test_a_closed_gate_does_not_keep_extents_away(autojump_clock, setup, tmp_path):
    setup.decide(rows=False)
    setup.tell()
    extent = await sealed(setup)
    assert await fetched(setup, tmp_path, extent) == b"[1, 2, 3]"


async def test_the_file_of_a_dropped_table_can_still_be_read(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    await setup.leader.catalog.commit("db", [DropTable("T", 5)], text="")
    assert await fetched(setup, tmp_path, extent) == b"[1, 2, 3]"


async def test_the_file_of_an_extent_that_was_merged_away_can_be_read_until_it_is_removed(
    autojump_clock, setup, tmp_path
):
    extent = await sealed(setup)
    change = ReplaceExtents("T", (extent.extent_id,), ())
    await setup.leader.catalog.commit("db", [change], text="")
    assert await fetched(setup, tmp_path, extent) == b"[1, 2, 3]"
    await setup.leader.catalog.forget_garbage(setup.leader.catalog.garbage())
    with pytest.raises(EntityNotFoundError, match=extent.extent_id):
        await fetched(setup, tmp_path, extent)


async def test_a_file_that_is_gone_is_not_found(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    await setup.leader.root.delete([extent.file])
    with pytest.raises(EntityNotFoundError, match=extent.extent_id):
        await fetched(setup, tmp_path, extent)
    unknown = replace(extent, extent_id="unknown", file="db/unknown.parquet")
    with pytest.raises(EntityNotFoundError, match="unknown"):
        await fetched(setup, tmp_path, unknown)


@pytest.mark.parametrize(
    ("database", "follower"), [("db", "stranger"), ("db", ""), ("other", "follower")]
)
async def test_only_an_attached_follower_may_read(autojump_clock, setup, database, follower):
    extent = await sealed(setup)
    transport = MemoryTransport(network=setup.network, host="test")
    async with transport.connect(setup.address) as channel:
        stub = replication_pb2_grpc.ReplicationServiceStub(channel)
        request = replication_pb2.FetchExtentRequest(
            database=database, extent_id=extent.extent_id, follower_cluster=follower
        )
        async with stub.FetchExtent(request) as stream:
            with pytest.raises(FollowNotGrantedError):
                await stream.result()


async def test_nothing_is_fetched_of_what_is_not_followed(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    other = Database("other", "id")
    with pytest.raises(DatabaseNotFoundError, match="other"):
        await setup.follower.manager.fetch_extent(other, extent, tmp_path / "x")
    setup.decide(address="")
    setup.tell()
    with pytest.raises(UnavailableError, match="address"):
        await fetched(setup, tmp_path, extent)


async def test_a_copy_whose_disk_was_full_goes_on_when_there_is_room(autojump_clock, setup):
    await setup.leader.ingest(range(100))
    await setup.follower.shows(range(100))
    disk = setup.follower.disk
    disk.capacity_bytes = sum(len(disk.content(path)) for path in disk.paths()) + 100
    await setup.leader.ingest(range(100, 200))
    await trio.sleep(5)
    assert setup.follower.numbers() == list(range(100)), "what was visible stays"
    assert "failed" in setup.follower.database.statistics().trouble
    calls = setup.follower.database.statistics().session.calls
    await trio.sleep(600)
    assert setup.follower.database.statistics().session.calls - calls < 30, "it is patient"
    assert setup.follower.numbers() == list(range(100))
    disk.capacity_bytes = None
    await trio.sleep(61)
    await setup.follower.shows(range(200))
    assert setup.follower.database.statistics().copies_dropped == 0
    await setup.leader.ingest([200])
    await setup.follower.shows(range(201))


async def test_a_copy_that_cannot_be_opened_again_stays_visible_until_it_can(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    disk = setup.follower.disk
    disk.fail("append")
    for _ in range(3):
        disk.fail("read", number=errno.EIO)
    await setup.leader.ingest([2])
    await trio.sleep(2)
    assert setup.follower.numbers() == [1]
    await setup.follower.shows([1, 2])


async def test_a_full_copy_still_learns_of_seals(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.follower.disk.fail("append")
    await setup.leader.ingest([2])
    await trio.sleep(0.5)
    await setup.leader.seal()
    await setup.leader.ingest([3])
    await setup.follower.shows([1, 2, 3])


async def test_rows_that_do_not_end_where_the_leaders_do_are_never_shown(autojump_clock, setup):
    """A copy that is not the leader's is found when a seal names a checksum."""
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    await setup.follower.stop()
    disk, rows = setup.follower.disk, setup.leader.row_stores
    table = setup.leader.table()
    async with trio.open_nursery() as nursery:
        copy = FollowedCopy(
            "copy",
            FollowingSource("leader", "db"),
            folder=Path("/other"),
            catalog=setup.leader.catalog,
            disk=disk,
            clock=setup.clock,
            limits=setup.limits,
        )
        await copy.open(nursery)
        database = setup.leader.catalog.get("db")
        await copy.install(database, reset_rows=True)
        at = rows.position_of([table.key])[table.key]
        chunk = await rows.read(rows.start_lsn_for({}, [table.key]), [table.key], {}, 1 << 20)
        await copy.apply_rows(chunk.records)
        assert copy.positions() == {table.key: at}
        extent = replace(
            await setup.leader.seal(advance=False), column_ids=tuple(range(len(COLUMNS)))
        )
        change = SealRows("T", (SealedRange(table.key, 2, at.checksum ^ 1),), (extent,))
        delta = MetadataDelta(database.version, database.version.next(), (change,))
        with pytest.raises(DivergenceError):
            await copy.apply_delta(delta)
        assert copy.rows() == {}
        assert copy.positions() == {table.key: KeyPosition(2, at.checksum ^ 1)}
        nursery.cancel_scope.cancel()


async def test_a_leader_that_stops_sending_is_left(autojump_clock, setup, tmp_path):
    extent = await sealed(setup)
    setup.leader.root.delay_seconds = FETCH_SILENCE_SECONDS / 4
    assert await fetched(setup, tmp_path, extent) == b"[1, 2, 3]"
    setup.leader.root.delay_seconds = FETCH_SILENCE_SECONDS * 2
    before = trio.current_time()
    with pytest.raises(UnavailableError, match="nothing of extent"):
        await fetched(setup, tmp_path, extent)
    assert trio.current_time() - before == pytest.approx(FETCH_SILENCE_SECONDS)
