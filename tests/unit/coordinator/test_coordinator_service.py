"""The driver and the service: durable first, then heard; bounded; ends with what went wrong."""

from __future__ import annotations

import contextlib

import pytest
import trio
from coordinator_setup import ADDRESS, Setup, until
from trio.testing import MockClock, wait_all_tasks_blocked

from cluster.coordinator import events
from cluster.coordinator.driver import CoordinatorDriver
from cluster.coordinator.reports import DatabaseReport, FollowingReport
from cluster.errors import (
    ConflictError,
    EntityNotFoundError,
    ThrottledError,
    TimedOutError,
    UnavailableError,
)
from cluster.limits import LIMITS, Limits
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.memory import MemoryTransport


@pytest.fixture
async def setup(nursery: trio.Nursery) -> Setup:
    return Setup(nursery)


async def test_nothing_is_heard_before_it_is_durable(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    revision = follower.revisions[-1]
    setup.disk.allowed = trio.Event()
    answered = trio.Event()

    async def turn_off() -> None:
        await setup.capability("follower", False)
        answered.set()

    setup.nursery.start_soon(turn_off)
    await trio.sleep(0.9)  # shorter than a heartbeat: heartbeats wait for the disk too
    assert follower.revisions[-1] == revision
    assert follower.open()
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    assert all(cluster.streaming_ingestion for cluster in status.clusters)
    assert not answered.is_set()
    setup.disk.allowed.set()
    await answered.wait()
    assert not follower.open()


async def test_a_failed_save_stops_the_coordinator_and_answers_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    setup = Setup(nursery)
    setup.disk.broken = True
    driver = CoordinatorDriver(setup.disk.durable, setup.disk, clock=setup.clock, limits=LIMITS)
    refused: list[Exception] = []

    async def register() -> None:
        try:
            await driver.request(lambda n: events.RegisterNode(n, "c", "c/0", "i", "h:1"))
        except UnavailableError as error:
            refused.append(error)

    nursery.start_soon(register)
    with pytest.raises(OSError, match="no space left"):
        await driver.run()
    await wait_all_tasks_blocked()
    assert len(refused) == 1
    assert not driver.state.durable.nodes
    with pytest.raises(UnavailableError):
        await driver.request(lambda n: events.SetCapability(n, "c", True))


@pytest.mark.parametrize("waiting", [2, 3, 4])
async def test_requests_that_wait_are_limited(
    autojump_clock: MockClock, nursery: trio.Nursery, waiting: int
) -> None:
    setup = Setup(nursery, limits=Limits(coordinator_requests=3, lease_seconds=1000))
    leader, follower = await setup.pair()
    follower.scope.cancel()  # so that off has to wait for the lease
    refusals: list[ThrottledError] = []

    async def turn_off() -> None:
        try:
            with trio.move_on_after(10):
                await setup.capability("follower", False)
        except ThrottledError as error:
            refusals.append(error)

    async with trio.open_nursery() as callers:
        for _ in range(waiting):
            callers.start_soon(turn_off)
    assert len(refusals) == max(0, waiting - 3)
    assert setup.driver is not None
    await wait_all_tasks_blocked()
    assert leader.link.statistics().heartbeat_failures == 0  # nodes are never turned away
    statistics = setup.driver.statistics()
    assert statistics.pending == 0  # who has left is forgotten
    assert statistics.throttled == len(refusals)
    assert [len(w.requests) for w in setup.driver.state.waiting.values()] == [0]


async def test_a_caller_that_gives_up_does_not_stop_the_change(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    setup.cut(follower)
    request = coordinator_pb2.SetCapabilityRequest(cluster="follower", streaming_ingestion=False)
    with pytest.raises(TimedOutError):
        await setup.call("SetCapability", request, timeout=1.0)
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    changing = {cluster.name: cluster.changing for cluster in status.clusters}
    assert changing == {"leader": False, "follower": True}
    await trio.sleep(LIMITS.lease_seconds)
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    assert not any(cluster.changing for cluster in status.clusters)


async def test_a_slow_watcher_gets_the_newest_view_only(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    transport = MemoryTransport(network=setup.network, host="watcher")
    request = coordinator_pb2.WatchRequest(cluster="follower", node="follower/0", instance="a")
    async with transport.connect(ADDRESS) as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        async with stub.Watch(request) as stream:
            (first,) = await stream.recv_many()
            assert first.view.revision == follower.revisions[-1]
            setup.disk.allowed = trio.Event()
            async with trio.open_nursery() as callers:
                for on in (False, True, False, True):
                    callers.start_soon(change_and_ignore, setup, on)
                await wait_all_tasks_blocked()
                setup.disk.allowed.set()
            messages = await stream.recv_many()
    assert setup.driver is not None
    assert messages[-1].view.revision == setup.driver.state.durable.revision
    assert len(messages) < 4


async def change_and_ignore(setup: Setup, on: bool) -> None:
    """Flips; an off that is superseded is not this test's subject."""
    with contextlib.suppress(ConflictError):
        await setup.capability("follower", on)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (coordinator_pb2.WatchRequest(cluster="x", node="x/0", instance="a"), EntityNotFoundError),
        (
            coordinator_pb2.WatchRequest(cluster="leader", node="leader/0", instance="zz"),
            ConflictError,
        ),
    ],
)
async def test_watch_refuses_strangers(
    autojump_clock: MockClock,
    setup: Setup,
    request_: coordinator_pb2.WatchRequest,
    error: type[Exception],
) -> None:
    await setup.start()
    await setup.node("leader")
    transport = MemoryTransport(network=setup.network, host="watcher")
    async with transport.connect(ADDRESS) as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        async with stub.Watch(request_) as stream:
            with pytest.raises(error):
                await stream.result()


async def test_status_tells_everything(autojump_clock: MockClock, setup: Setup) -> None:
    leader, follower = await setup.pair()
    leader.databases[0] = DatabaseReport("Db", True, ("T",))
    await trio.sleep(1.25)
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    names = [cluster.name for cluster in status.clusters]
    assert names == ["follower", "leader"]
    (node,) = status.clusters[1].nodes
    assert (node.node, node.grpc_address, node.data) == ("leader/0", leader.host + ":1", "/data")
    assert node.alive
    assert 0 <= node.heartbeat_age_ms < 1000
    assert node.databases[0].streaming_tables == ["T"]
    (reported,) = status.clusters[0].nodes[0].following
    assert reported.applied_epoch == status.grants[0].epoch == status.epoch
    assert reported.lag_ms == -1
    follower.scope.cancel()
    await trio.sleep(6)
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    (gone,) = status.clusters[0].nodes
    assert not gone.alive
    assert gone.heartbeat_age_ms > 5000
    await setup.stop()
    await setup.start()
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    (unheard,) = status.clusters[0].nodes
    assert not unheard.alive
    assert unheard.heartbeat_age_ms == -1


async def test_detach_over_the_wire(autojump_clock: MockClock, setup: Setup) -> None:
    _, follower = await setup.pair()
    request = coordinator_pb2.DetachRequest(
        leader_cluster="leader", database="db", follower_cluster="follower"
    )
    answer = await setup.call("Detach", request)
    assert answer.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    assert not follower.applied
    with pytest.raises(EntityNotFoundError):
        await setup.call("Detach", request)


async def test_every_field_of_a_report_arrives(autojump_clock: MockClock, setup: Setup) -> None:
    _, follower = await setup.pair()
    full = FollowingReport(
        "leader",
        "Db",
        applied_epoch=99,
        gate="open",
        refusal="none",
        lag_ms=1.5,
        rows_visible=3,
        connected=True,
        apply_lag_ms_p50=0.5,
        apply_lag_ms_p99=2.5,
    )
    report = follower.report()
    follower.link._report = lambda: type(report)((full,), ())
    follower.link.poke()
    assert setup.driver is not None
    session = setup.driver.state.sessions["follower/0"]

    def arrived() -> bool:
        nonlocal session
        session = setup.driver.state.sessions["follower/0"]
        return session.report is not None and session.report.following == (full,)

    with trio.fail_after(1):
        await until(arrived)
