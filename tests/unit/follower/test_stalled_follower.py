"""What a follower that does not keep up costs its leader: bounded, and it comes back by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from follow_cluster import ADDRESS, running

from cluster.limits import LIMITS
from cluster.replication.position import Position
from cluster.replication.protocol import FollowAck, Hello, MetadataDelta, Progress, Snapshot
from cluster.replication.wire import follower_frame_to_message, leader_frame_from_message
from cluster.rpc.v1 import replication_pb2_grpc
from cluster.transport.memory import MemoryTransport

KEPT = 20
SMALL = replace(
    LIMITS, catalog_history_deltas=KEPT, stream_window_messages=4, stream_window_bytes=100_000
)


class Idler:
    """Follows, says that it lives, and reads only when it is told to."""

    def __init__(self, setup, stream):
        self.setup = setup
        self.stream = stream

    @property
    def session(self):
        (found,) = self.setup.leader.service.statistics().sessions
        return found

    async def say(self, frame):
        await self.stream.send(follower_frame_to_message(frame))

    async def live(self):
        """Acknowledges nothing, for ever."""
        number = 0
        while True:
            number += 1
            version = self.setup.leader.catalog.get("db").version
            await self.say(FollowAck(Position(version), 0, 0, number))
            await trio.sleep(1)

    async def read_to_the_end(self):
        """Everything up to a bookmark at the newest version."""
        frames = []
        version = self.setup.leader.catalog.get("db").version
        while True:
            for message in await self.stream.recv_many():
                frames.append(frame := leader_frame_from_message(message))
                if isinstance(frame, Progress) and frame.position.version == version:
                    return frames


async def test_metadata_does_not_pile_up(autojump_clock, tmp_path, no_threads):
    async with running(tmp_path, SMALL) as setup:
        await setup.follower.stop()
        await trio.sleep(1)
        transport = MemoryTransport(network=setup.network, host="idler", limits=SMALL)
        async with transport.connect(ADDRESS) as channel:
            stub = replication_pb2_grpc.ReplicationServiceStub(channel)
            async with stub.Follow() as stream, trio.open_nursery() as nursery:
                idler = Idler(setup, stream)
                await idler.say(Hello("follower", "follower/0", "db"))
                nursery.start_soon(idler.live)
                for number in range(5 * KEPT):
                    await setup.leader.create_table(f"Table{number}")
                    await trio.sleep(0.3)
                    assert idler.session.frames_waiting <= KEPT
                    kept = setup.leader.service.statistics().metadata_kept_bytes
                    assert kept <= SMALL.replication_encoded_bytes
                sent = idler.session.frames_sent
                assert sent <= 4 * SMALL.stream_window_messages, "the rest was never encoded"
                frames = await idler.read_to_the_end()
                assert idler.session.snapshots_sent == 2, "the history does not go that far back"
                (_, newest) = (frame for frame in frames if isinstance(frame, Snapshot))
                assert not newest.reset_rows
                assert f"Table{5 * KEPT - 1}" in newest.database.tables
                versions = [
                    frame.to_version if isinstance(frame, MetadataDelta) else frame.database.version
                    for frame in frames
                    if isinstance(frame, MetadataDelta | Snapshot)
                ]
                assert versions == sorted(versions)
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("missed", "snapshots"), [(KEPT - 1, 0), (KEPT, 0), (KEPT + 1, 1)], ids=str
)
async def test_how_far_behind_a_follower_may_be(
    autojump_clock, tmp_path, no_threads, missed, snapshots
):
    async with running(tmp_path, SMALL) as setup:
        await setup.leader.ingest([1])
        await setup.follower.shows([1])
        await setup.follower.stop()
        for number in range(missed):
            await setup.leader.create_table(f"Table{number}")
        await setup.leader.ingest([2], f"Table{missed - 1}")
        await setup.leader.ingest([3])
        records = setup.leader.service.statistics().records_sent_total
        await setup.follower.start()
        await setup.follower.shows([1, 3])
        await setup.follower.shows([2], f"Table{missed - 1}")
        statistics = setup.follower.database.statistics().session
        assert (statistics.snapshots_installed, statistics.resets) == (snapshots, 0)
        sent = setup.leader.service.statistics().records_sent_total - records
        assert sent == 2, "rows go on from what is there"


async def test_a_follower_that_acknowledges_nothing_holds_no_more_than_its_window(
    autojump_clock, tmp_path, no_threads
):
    limits = replace(LIMITS, replication_window_bytes=4096, replication_frame_bytes=1024)
    async with running(tmp_path, limits) as setup:
        await setup.leader.ingest([0])
        await setup.follower.shows([0])
        copy, apply_rows = setup.follower.database.copy, setup.follower.database.copy.apply_rows
        release = trio.Event()

        async def slow(records):
            await release.wait()
            return await apply_rows(records)

        copy.apply_rows = slow
        sessions = setup.leader.service.statistics().sessions_total
        for number in range(1, 200):
            await setup.leader.ingest([number])
            await trio.sleep(0.1)
            (session,) = setup.leader.service.statistics().sessions
            assert session.bytes_unacknowledged <= limits.replication_window_bytes
        assert session.window_waits > 0
        release.set()
        await setup.follower.shows(range(200))
        assert setup.leader.service.statistics().sessions_total == sessions, "it was only slow"
