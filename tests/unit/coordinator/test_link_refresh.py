"""A node's link asked afresh: what the coordinator has answered anybody before is known then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from coordinator_setup import Setup, until

from cluster.rpc.v1 import coordinator_pb2
from cluster.transport.faults import LinkFaults

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.fixture
async def setup(nursery: trio.Nursery) -> Setup:
    return Setup(nursery)


async def test_who_asks_afresh_hears_what_was_decided_before_they_asked(
    autojump_clock: MockClock, setup: Setup
) -> None:
    leader, _ = await setup.pair()
    await until(lambda: bool(leader.authority.view.followed))
    setup.cut(leader)
    request = coordinator_pb2.DetachRequest(
        leader_cluster="leader", database="Db", follower_cluster="follower"
    )
    await setup.call("Detach", request)
    assert leader.authority.view.followed, "nobody could tell it"
    heard = trio.Event()

    async def ask() -> None:
        await leader.link.refresh()
        heard.set()

    setup.nursery.start_soon(ask)
    await trio.sleep(1.0)
    assert not heard.is_set()
    for ends in ((leader.host, "coordinator"), ("coordinator", leader.host)):
        setup.network.set_faults(*ends, LinkFaults())
    await heard.wait()
    assert not leader.authority.view.followed


async def test_asking_afresh_does_not_wait_until_a_heartbeat_is_due(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("leader")
    await trio.sleep(0.1)
    before, began = node.link.statistics().heartbeats, trio.current_time()
    for asked in range(1, 4):
        await node.link.refresh()
        assert node.link.statistics().heartbeats == before + asked
    assert trio.current_time() == began
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(node.link.refresh)
    assert node.link.statistics().heartbeats <= before + 5, "who asks at once is told at once"
