"""A node's link against the real service: what is lost, late, reordered or restarted."""

from __future__ import annotations

import pytest
import trio
from coordinator_setup import FakeNode, Setup, until
from trio.testing import MockClock, wait_all_tasks_blocked

from cluster.coordinator.reports import DatabaseReport, Report
from cluster.coordinator.state import Durable, longest_lease
from cluster.errors import ConflictError, InvalidRequestError, TimedOutError
from cluster.limits import LIMITS, Limits
from cluster.replication.authority import LEASE_EXPIRED, Capability
from cluster.rpc.v1 import coordinator_pb2
from cluster.transport.faults import LinkFaults

LEASE = LIMITS.lease_seconds


@pytest.fixture
async def setup(nursery: trio.Nursery) -> Setup:
    return Setup(nursery)


async def test_a_started_link_has_a_view_and_a_lease(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("leader")
    now = trio.current_time()
    assert node.authority.capability(now) is Capability.ON
    assert node.authority.lease_left(now) == pytest.approx(LEASE)
    assert setup.disk.durable.nodes["leader/0"].grpc_address == node.host + ":1"


async def test_off_is_confirmed_without_waiting_for_a_heartbeat_to_be_due(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    began = trio.current_time()
    answer = await setup.capability("follower", False)
    assert answer.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    assert answer.epoch == follower.applied["leader", "Db"]
    assert trio.current_time() == began
    assert not follower.open()
    decision = follower.authority.following("leader", "Db", began)
    assert "remora capability follower on" in decision.reason


async def test_on_again_reopens_at_once(autojump_clock: MockClock, setup: Setup) -> None:
    _, follower = await setup.pair()
    closed = await setup.capability("follower", False)
    began = trio.current_time()
    opened = await setup.capability("follower", True)
    assert opened.epoch > closed.epoch
    await wait_all_tasks_blocked()
    assert follower.open()
    assert trio.current_time() == began


async def test_off_waits_for_a_gate_that_takes_its_time(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    follower.stuck = True
    began = trio.current_time()

    async def get_unstuck() -> None:
        await trio.sleep(2.5)
        follower.apply()
        follower.link.poke()

    setup.nursery.start_soon(get_unstuck)
    answer = await setup.capability("follower", False)
    assert answer.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    assert trio.current_time() - began == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("requests", "answers"),
    [(True, True), (True, False), (False, True)],
    ids=["both", "up", "down"],
)
async def test_off_of_an_unreachable_follower_is_done_when_its_lease_has_run_out(
    autojump_clock: MockClock, setup: Setup, requests: bool, answers: bool
) -> None:
    _, follower = await setup.pair()
    setup.cut(follower, requests=requests, answers=answers)
    began = trio.current_time()
    answer = await setup.capability("follower", False)
    # If only requests are cut the watch still tells the node; nobody hears that it obeys.
    assert answer.certainty == coordinator_pb2.CERTAINTY_LEASE_EXPIRED
    assert trio.current_time() - began <= longest_lease(LIMITS)
    assert not follower.open()


async def test_coordinator_lost_closes_after_the_lease_and_resumes_by_itself(
    autojump_clock: MockClock, setup: Setup
) -> None:
    leader, follower = await setup.pair()
    await trio.sleep(10)
    await setup.stop()
    left = follower.authority.lease_left(trio.current_time())
    assert LEASE - LIMITS.heartbeat_seconds <= left <= LEASE
    await trio.sleep(left - 0.001)
    assert follower.open()
    changes = follower.changes
    await trio.sleep(0.002)
    assert not follower.open()
    decision = follower.authority.following("leader", "Db", trio.current_time())
    assert decision.reason == LEASE_EXPIRED
    assert follower.changes == changes + 1  # it was told
    await trio.sleep(600)
    assert not follower.open()
    changes = follower.changes
    await setup.start()
    with trio.fail_after(LEASE):
        await until(follower.open)
        await until(lambda: leader.authority.lease_left(trio.current_time()) > 0)
    assert follower.changes > changes
    assert follower.link.statistics().lapses == 1
    assert follower.link.statistics().registrations == 1  # the store remembers it


async def test_a_short_absence_of_the_coordinator_closes_nothing(
    autojump_clock: MockClock, setup: Setup
) -> None:
    _, follower = await setup.pair()
    await setup.stop()
    await trio.sleep(2)
    await setup.start()
    for _ in range(100):
        await trio.sleep(0.1)
        assert follower.open()


async def test_off_right_after_a_restart_of_the_coordinator_trusts_no_earlier_lease(
    autojump_clock: MockClock,
    setup: Setup,
) -> None:
    _, follower = await setup.pair()
    setup.cut(follower)
    await setup.stop()
    await setup.start()
    began = trio.current_time()
    answer = await setup.capability("follower", False)
    assert answer.certainty == coordinator_pb2.CERTAINTY_LEASE_EXPIRED
    assert trio.current_time() - began == pytest.approx(longest_lease(LIMITS))
    assert not follower.open()


async def test_a_node_may_start_before_the_coordinator(
    autojump_clock: MockClock, setup: Setup
) -> None:
    node = setup.launch("leader")
    await trio.sleep(60)
    assert not node.started.is_set()
    assert "ServiceUnavailable" in node.link.statistics().last_error
    await setup.start()
    with trio.fail_after(LEASE / 3 + 0.001):
        await node.started.wait()
    assert node.link.statistics().last_error == ""


async def test_a_superseded_process_ends_with_a_typed_error(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    old = await setup.node("leader", instance="old")
    await setup.node("leader", instance="new")
    await wait_all_tasks_blocked()  # the watch tells it at once
    assert isinstance(old.ended, ConflictError)
    assert "superseded" in str(old.ended)


async def test_a_node_is_registered_again_when_the_coordinator_has_forgotten_it(
    autojump_clock: MockClock,
    setup: Setup,
) -> None:
    await setup.start()
    node = await setup.node("leader")
    await setup.stop()
    setup.disk.durable = Durable(epoch=50, revision=50, issuer=setup.disk.durable.issuer)
    await setup.start()
    with trio.fail_after(LEASE):
        await until(lambda: node.revisions[-1] > 50)
    assert node.link.statistics().registrations == 2


async def test_off_of_a_leader_waits_until_its_row_stores_are_sealed(
    autojump_clock: MockClock, setup: Setup
) -> None:
    leader, _ = await setup.pair()
    leader.unsealed = True
    began = trio.current_time()

    async def seal() -> None:
        await trio.sleep(30)
        status = await setup.call("GetStatus", coordinator_pb2.GetStatusRequest())
        (cluster,) = (entry for entry in status.clusters if entry.name == "leader")
        assert cluster.phase == "draining"
        assert cluster.changing
        assert "leader/0" in cluster.waiting_for[0]
        leader.unsealed = False
        leader.link.poke()

    leader.databases[0] = DatabaseReport("Db", streaming_content=True)
    leader.link.poke()
    await wait_all_tasks_blocked()
    setup.nursery.start_soon(seal)
    answer = await setup.capability("leader", False)
    assert trio.current_time() == began + 30
    assert answer.certainty == coordinator_pb2.CERTAINTY_CONFIRMED


async def test_a_registration_that_can_never_succeed_ends_the_link(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("a/b")
    assert isinstance(node.ended, InvalidRequestError)


async def test_pokes_without_news_cost_nothing(autojump_clock: MockClock, setup: Setup) -> None:
    await setup.start()
    node = await setup.node("leader")  # pokes at every change of the authority
    before = node.link.statistics().heartbeats
    await trio.sleep(10.5)
    assert node.link.statistics().heartbeats - before == 10


async def test_many_pokes_without_news_cost_few_reports(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("leader")
    report, made = node.link._report, 0

    def counted() -> Report:
        nonlocal made
        made += 1
        return report()

    node.link._report = counted
    for _ in range(1000):
        node.link.poke()
        await trio.sleep(0.001)
    assert 40 < made < 60, "one in 20 ms"


async def test_a_heartbeat_whose_answer_is_no_news_composes_one_report(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    node = await setup.node("leader")
    await trio.sleep(LIMITS.heartbeat_seconds / 2)
    report, made = node.link._report, 0

    def counted() -> Report:
        nonlocal made
        made += 1
        return report()

    node.link._report = counted
    node.link._on_change = lambda: None  # a longer lease changes nothing it would poke for
    beats = node.link.statistics().heartbeats
    await trio.sleep(5 * LIMITS.heartbeat_seconds)
    assert node.link.statistics().heartbeats - beats == 5
    assert made == 5


async def test_a_new_database_is_reported_at_once_when_poked(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    leader = await setup.node("leader")
    await setup.node("follower")
    leader.databases.append(DatabaseReport("New"))
    leader.link.poke()
    began = trio.current_time()
    request = coordinator_pb2.AttachRequest(
        leader_cluster="leader", database="new", follower_cluster="follower"
    )
    answer = await setup.call("Attach", request)
    assert answer.grant.database == "New"
    assert trio.current_time() == began


async def test_a_new_database_is_attached_at_once_even_if_nobody_pokes(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    leader = await setup.node("leader")
    await setup.node("follower")
    leader.databases.append(DatabaseReport("New"))
    began = trio.current_time()
    request = coordinator_pb2.AttachRequest(
        leader_cluster="leader", database="New", follower_cluster="follower"
    )
    await setup.call("Attach", request)
    assert trio.current_time() == began


async def test_heartbeats_are_never_further_apart_than_a_third_of_the_lease(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    setup = Setup(nursery, limits=Limits(lease_seconds=3.0, heartbeat_seconds=100.0))
    await setup.start()
    node = await setup.node("leader")
    for _ in range(200):
        await trio.sleep(0.1)
        assert node.authority.lease_left(trio.current_time()) >= 3.0 * 2 / 3 - 1e-6


async def hold(setup: Setup, follower: FakeNode, hidden: list[bool], seconds: float) -> None:
    """Looks at the follower often; nothing may be open while ``hidden``."""
    for _ in range(int(seconds / 0.05)):
        await trio.sleep(0.05)
        assert not (hidden[0] and follower.open())
    assert follower.revisions == sorted(follower.revisions)


@pytest.mark.parametrize("seed", range(8))
async def test_capability_storm_over_a_bad_network(
    autojump_clock: MockClock, nursery: trio.Nursery, seed: int
) -> None:
    """Delays, losses, reordering, resets and restarts; then all is well and everybody agrees."""
    setup = Setup(nursery, seed=seed)
    _, follower = await setup.pair()
    bad = LinkFaults(
        delay_seconds=0.01,
        jitter_seconds=0.4,
        drop_ratio=0.1,
        reset_ratio=0.02,
        reorder_ratio=0.2,
        reorder_seconds=1.0,
    )
    for ends in (follower.host, "coordinator"), ("coordinator", follower.host):
        setup.network.set_faults(*ends, bad)
    hidden = [False]
    for round_number in range(12):
        on = round_number % 2 == 1
        if on:
            hidden[0] = False
        with trio.move_on_after(30):
            try:
                await setup.capability("follower", on)
            except TimedOutError:
                continue
            hidden[0] = not on
        if round_number % 5 == seed % 5:
            await setup.stop()
            await setup.start()
        await hold(setup, follower, hidden, 3.0)
    setup.network.clear_faults()
    hidden[0] = False
    await setup.capability("follower", True)
    await trio.sleep(LEASE)
    assert follower.open()
    durable = setup.disk.durable
    assert follower.authority.view is not None
    assert follower.authority.view.revision == durable.revision
    assert durable.epoch >= 12
