"""A node's link when it is in doubt who the coordinator is: lost data, old copies, two at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from coordinator_setup import ADDRESS, FakeNode, Setup, until

from cluster.coordinator.state import Durable
from cluster.errors import ConflictError, EntityNotFoundError
from cluster.limits import LIMITS
from cluster.replication.authority import Capability, Issuer, NodeView, PastLife
from cluster.rpc.convert import view_to_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from trio.testing import MockClock

    from cluster.transport.api import Call, ServerStream

LEASE = LIMITS.lease_seconds


@pytest.fixture
async def setup(nursery: trio.Nursery) -> Setup:
    return Setup(nursery)


async def test_a_coordinator_that_lost_its_data_is_not_believed(
    autojump_clock: MockClock, setup: Setup
) -> None:
    leader, follower = await setup.pair()
    await setup.stop()
    known, setup.disk.durable = setup.disk.durable, Durable()
    await setup.start()
    await trio.sleep(2)
    for node in leader, follower:
        assert node.ended is None
        assert "another coordinator" in node.link.statistics().doubt
    assert not follower.open()
    decision = follower.authority.following("leader", "Db", trio.current_time())
    assert "adopt" in decision.reason
    before = follower.link.statistics().heartbeats
    await trio.sleep(10)
    assert follower.link.statistics().heartbeats - before < 15, "it does not ask all the time"
    status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
    assert "another coordinator" in status.doubt
    await setup.stop()
    setup.disk.durable = known  # its data is found again
    await setup.start()
    with trio.fail_after(2 * LEASE):
        await until(follower.open)
    assert follower.link.statistics().doubt == ""


async def restored(setup: Setup, *, adopts: bool) -> FakeNode:
    """A follower whose coordinator has lost that it was turned off."""
    _, follower = await setup.pair()
    copy = setup.disk.durable
    await setup.capability("follower", False)
    assert not follower.open()
    await setup.stop()
    setup.disk.durable = copy
    await setup.start(adopts=adopts)
    return follower


async def test_an_old_copy_of_the_data_shows_nothing_that_was_hidden_since(
    autojump_clock: MockClock, setup: Setup
) -> None:
    follower = await restored(setup, adopts=False)
    for _ in range(1000):
        await trio.sleep(0.03)
        assert not follower.open()
    assert follower.ended is None
    assert "old copy" in follower.link.statistics().doubt
    with pytest.raises(ConflictError, match="old copy"):
        await setup.capability("follower", True)


async def test_an_old_copy_that_adopts_decides_again_and_counts_on(
    autojump_clock: MockClock, setup: Setup
) -> None:
    follower = await restored(setup, adopts=True)
    before = follower.authority.view
    assert before is not None
    with trio.fail_after(3 * LEASE):
        await until(follower.open)  # what the copy says counts now: that is what adopt means
    after = follower.authority.view
    assert after is not None
    assert after.revision > before.revision
    assert after.following[0].epoch > before.following[0].epoch
    answer = await setup.capability("follower", False)
    assert answer.epoch > after.following[0].epoch
    assert not follower.open()
    await setup.stop()
    await setup.start()
    await trio.sleep(2 * LEASE)
    assert follower.link.statistics().doubt == ""


async def test_two_coordinators_on_copies_of_one_folder_close_everything(
    autojump_clock: MockClock, setup: Setup
) -> None:
    leader, follower = await setup.pair()
    await setup.stop()
    copy = setup.disk.durable
    await setup.start()
    with trio.fail_after(LEASE):
        await until(lambda: follower.authority.issuer.instance == "life 2")
    await setup.stop()
    setup.disk.durable = copy  # the other process of the same start now answers at the address
    await setup.start()
    await trio.sleep(2)
    assert not follower.open()
    assert "a copy of its data" in follower.link.statistics().doubt
    await setup.stop()
    await setup.start()  # one of them is restarted: the other is no life of its past
    await trio.sleep(2 * LEASE)
    assert not follower.open()
    assert "old copy" in follower.link.statistics().doubt
    await setup.stop()
    await setup.start(adopts=True)
    with trio.fail_after(2 * LEASE):
        await until(follower.open)
    assert leader.ended is None


async def test_another_coordinator_does_not_say_where_to_call(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("leader")
    told: list[str] = []
    node.link._dialer.call_at = told.append
    await setup.stop()
    setup.disk.durable = Durable()
    await setup.start()
    with trio.fail_after(LEASE):
        await until(lambda: bool(node.link.statistics().doubt))
    await trio.sleep(LEASE)
    assert told == []


class _Alternating(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Two coordinators behind one address, as the second asks: they know nothing of the process.

    The first to register with gives it number 18; then the other, of an earlier start of a copy of
    the data, gives it 14.
    """

    def __init__(self, second: Issuer) -> None:
        first = Issuer("c", 7, "first", began=17)
        self._answers = [(first, 18), (second, 14)]
        self.heard: list[tuple[str, int]] = []

    async def RegisterNode(  # noqa: N802
        self, request: coordinator_pb2.RegisterNodeRequest, call: Call
    ) -> coordinator_pb2.RegisterNodeResponse:
        issuer, number = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        seen = NodeView(number, Capability.ON, issuer=issuer)
        return coordinator_pb2.RegisterNodeResponse(view=view_to_message(seen), registration=number)

    async def Heartbeat(  # noqa: N802
        self, request: coordinator_pb2.HeartbeatRequest, call: Call
    ) -> coordinator_pb2.HeartbeatResponse:
        self.heard.append((request.obeys.instance, request.registration))
        assert not request.obeys.past, "nobody asks for it"
        raise EntityNotFoundError("this process is not registered")

    async def Watch(  # noqa: N802
        self,
        request: coordinator_pb2.WatchRequest,
        stream: ServerStream[coordinator_pb2.WatchRequest, coordinator_pb2.WatchResponse],
    ) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("second", "then"),
    [
        (Issuer("c", 5, "second", 13), ("first", 18)),
        (Issuer("c2", 5, "second", 13), ("first", 18)),
        (Issuer("c", 8, "second", 18, past=(PastLife(7, "first", 18),)), ("second", 14)),
    ],
    ids=["copy", "stranger", "next"],
)
async def test_a_process_has_its_number_of_whom_it_obeys(
    autojump_clock: MockClock, setup: Setup, second: Issuer, then: tuple[str, int]
) -> None:
    """Another's number would be compared with those of the first, and could end the process."""
    servicer = _Alternating(second)
    transport = MemoryTransport(network=setup.network, host="coordinator", limits=LIMITS)
    server = transport.server()
    coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(servicer, server)
    server.listen(ADDRESS)
    await setup.nursery.start(server.serve)
    setup.launch("follower")
    with trio.fail_after(2 * LEASE):
        await until(lambda: len(servicer.heard) > 2)
    assert servicer.heard[:3] == [("first", 18), then, then]
