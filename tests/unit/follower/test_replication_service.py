"""The servicer over the memory transport: errors a follower sees, and calls that must end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from follow_cluster import ADDRESS

from cluster.catalog.codec import encode_database
from cluster.catalog.model import Version
from cluster.errors import (
    DatabaseNotFoundError,
    FollowNotGrantedError,
    FollowRefusedError,
    ProtocolError,
    ThrottledError,
    UnavailableError,
)
from cluster.replication.acknowledged import UNKNOWN
from cluster.replication.position import Position
from cluster.replication.protocol import FollowAck, Hello
from cluster.replication.wire import follower_frame_to_message
from cluster.rpc.v1 import replication_pb2_grpc
from cluster.transport.faults import LinkFaults
from cluster.transport.memory import MemoryTransport

HELLO = Hello("follower", "test/0", "DB")


async def outcome(setup, *frames, limits=None):
    """Sends frames and reads until the leader ends the call; returns the error."""
    transport = MemoryTransport(network=setup.network, host="test")
    async with transport.connect(ADDRESS) as channel:
        stub = replication_pb2_grpc.ReplicationServiceStub(channel)
        async with stub.Follow() as stream:
            for frame in frames:
                await stream.send(follower_frame_to_message(frame))
            with trio.fail_after(60):
                try:
                    while await stream.recv_many():
                        pass
                    await stream.result()
                except Exception as error:
                    return error
    return None


async def test_a_follower_nobody_attached_is_denied(autojump_clock, setup):
    error = await outcome(setup, replace(HELLO, follower_cluster="stranger"))
    assert isinstance(error, FollowNotGrantedError)


async def test_a_database_that_is_not_there_is_denied_first(autojump_clock, setup):
    assert isinstance(await outcome(setup, replace(HELLO, database="x")), FollowNotGrantedError)


async def test_a_followed_database_leads_nobody(autojump_clock, setup):
    await setup.leader.catalog.install_snapshot(
        "other", "far", "other", replace(setup.leader.catalog.get("db"), tables={})
    )
    setup.leader.authority.view = replace(
        setup.leader.authority.view, followed=(replace(setup.grant(), database="other"),)
    )
    setup.tell = lambda *nodes: None
    error = await outcome(setup, replace(HELLO, database="other"))
    assert isinstance(error, DatabaseNotFoundError)


async def test_strict_without_the_right_ends_with_every_fact(autojump_clock, setup):
    setup.decide(rows=False)
    setup.tell()
    error = await outcome(setup, replace(HELLO, strict=True))
    assert isinstance(error, FollowRefusedError)
    assert error.metadata["follower_streaming_capability"] == "off"
    assert error.metadata["epoch"] == str(setup.epoch)


async def test_the_first_frame_is_hello(autojump_clock, setup):
    error = await outcome(setup, FollowAck(Position(setup.leader.catalog.get("db").version)))
    assert isinstance(error, ProtocolError)


async def test_a_silent_follower_is_left(autojump_clock, setup):
    before = trio.current_time()
    error = await outcome(setup, HELLO)
    assert isinstance(error, UnavailableError)
    assert "silent" in error.message
    assert 5 < trio.current_time() - before < 7


async def test_a_newer_session_of_the_same_follower_ends_the_older(autojump_clock, setup):
    errors = []

    async def older():
        errors.append(await outcome(setup, HELLO))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(older)
        await trio.sleep(0.1)
        assert len(setup.leader.service.statistics().sessions) == 2  # the real follower and this
        await outcome(setup, HELLO)
    assert "newer session" in errors[0].message


@pytest.mark.parametrize(("limit", "taken"), [(1, False), (2, True)])
async def test_calls_have_a_limit(autojump_clock, setup, limit, taken):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.leader.service.limits = replace(setup.limits, attachments=limit)
    error = await outcome(setup, HELLO)
    assert isinstance(error, ThrottledError) is not taken


async def test_a_large_record_and_a_large_snapshot_arrive(autojump_clock, setup):
    for number in range(40):
        await setup.leader.create_table(f"Table{number}")
    await setup.leader.ingest(range(400_000))
    await setup.follower.shows(range(400_000))


async def test_statistics_count_what_left(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])
    statistics = setup.leader.service.statistics()
    (session,) = statistics.sessions
    assert (session.follower_cluster, session.database) == ("follower", "db")
    assert statistics.records_sent_total == session.records_sent == 2
    assert statistics.bytes_sent_total == session.bytes_sent > 0
    assert session.gate_open
    await trio.sleep(1)
    assert setup.leader.service.statistics().sessions[0].bytes_unacknowledged == 0


async def test_a_caller_that_says_nothing_is_left(autojump_clock, setup):
    before = trio.current_time()
    error = await outcome(setup)
    assert isinstance(error, ProtocolError)
    assert "no Hello" in error.message
    assert trio.current_time() - before == setup.limits.lease_seconds


async def test_callers_that_say_nothing_count_as_followers(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    setup.leader.service.limits = replace(setup.limits, attachments=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, setup)
        await trio.sleep(0.1)
        error = await outcome(setup, HELLO)
        assert isinstance(error, ThrottledError)
        nursery.cancel_scope.cancel()


async def test_acknowledged_versions_are_those_of_followers_of_that_database(autojump_clock, setup):
    service = setup.leader.service
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    await trio.sleep(2)
    newest = setup.leader.catalog.get("db").version
    assert service.acknowledged_versions("DB") == (newest,)
    assert service.acknowledged_versions("other") == ()
    old = replace(HELLO, position=Position(Version(1, 1)), database_id=setup.leader.database_id())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, setup, old)
        await trio.sleep(0.1)
        assert sorted(service.acknowledged_versions("db")) == [Version(1, 1), newest]
        nursery.cancel_scope.cancel()
    assert sorted(service.acknowledged_versions("db")) == [Version(1, 1), newest]


async def test_a_follower_that_went_away_may_still_read_what_it_has(autojump_clock, setup):
    service = setup.leader.service
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    await trio.sleep(2)
    stored = setup.leader.catalog.get("db").version
    await setup.follower.stop()
    await trio.sleep(0.1)
    await setup.leader.create_table("Later")
    assert service.acknowledged_versions("db") == (stored,)
    authority = setup.leader.authority
    authority.view = replace(authority.view, followed=())
    assert service.acknowledged_versions("db") == (), "detached: it has nothing any more"


async def test_a_follower_not_heard_since_the_start_may_read_anything(autojump_clock, setup):
    await setup.follower.stop()
    await trio.sleep(0.1)
    await setup.leader.stop()
    await setup.leader.start()
    service, setup.leader.authority.view = setup.leader.service, None
    assert service.acknowledged_versions("db") == (UNKNOWN,), "the coordinator is not heard yet"
    setup.tell()
    assert service.acknowledged_versions("db") == (UNKNOWN,)
    assert service.acknowledged_versions("other") == ()


async def test_the_follower_is_told_where_the_extents_are(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    assert setup.follower.catalog.get("db").storage_root == "memory://leader"
    assert setup.leader.catalog.get("db").storage_root == "", "it may move"
    await setup.leader.stop()
    setup.leader.root.url = "memory://elsewhere"
    await setup.leader.start()
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])
    assert setup.follower.catalog.get("db").storage_root == "memory://elsewhere"
    assert setup.leader.service.statistics().records_sent_total == 1


async def test_a_tree_that_takes_longer_than_a_lease_arrives(autojump_clock, setup, monkeypatch):
    """Over a narrow link: neither end takes the other for silent."""
    monkeypatch.setattr("cluster.replication.wire.FRAGMENT_BYTES", 2048)
    await setup.follower.until(lambda node: node.database and node.database.copy.is_stored)
    setup.decide(attached=False)
    setup.tell()
    await setup.follower.until(lambda node: node.database is None)
    for number in range(40):
        await setup.leader.create_table(f"Table{number}")
    size = len(encode_database(setup.leader.catalog.get("db")))
    setup.network.set_faults("leader", "follower", LinkFaults(bytes_per_second=size // 15))
    sessions = setup.leader.service.statistics().sessions_total
    before = trio.current_time()
    setup.decide(attached=True)
    setup.tell()
    await setup.follower.until(lambda node: node.database and node.database.copy.is_stored)
    assert trio.current_time() - before > 14
    await trio.sleep(20)
    assert setup.leader.service.statistics().sessions_total == sessions + 1


async def test_a_follower_that_is_busy_for_longer_than_a_lease_is_not_left(
    autojump_clock, setup, monkeypatch
):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    copy, apply_delta = setup.follower.database.copy, setup.follower.database.copy.apply_delta

    async def slow(delta):
        await trio.sleep(12)
        await apply_delta(delta)

    monkeypatch.setattr(copy, "apply_delta", slow)
    sessions = setup.leader.service.statistics().sessions_total
    await setup.leader.create_table("U")
    await setup.leader.ingest([2], "U")
    await setup.follower.until(lambda node: node.tables() == ["T", "U"])
    await setup.follower.shows([2], "U")
    await trio.sleep(10)
    assert setup.leader.service.statistics().sessions_total == sessions
