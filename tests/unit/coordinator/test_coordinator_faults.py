"""Faults at the coordinator: in effect when answered, over when cleared, kept when it dies.

Nodes are real links over the in-memory network; the proxy only remembers what it was told.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio
from coordinator_setup import ADDRESS, CUT, Setup, until

from cluster.conformance.faults import Fault, FaultKind
from cluster.coordinator.driver import CoordinatorDriver
from cluster.coordinator.service import CoordinatorServicer
from cluster.errors import (
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    UnavailableError,
)
from cluster.faults.driver import CONFIRM_SECONDS, FaultDriver
from cluster.faults.link import watch_faults
from cluster.faults.process import ProcessFaults
from cluster.faults.service import FaultServicer
from cluster.launcher.proxy import FAULTS_FILE
from cluster.limits import Limits
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc
from cluster.testing.disk import FakeDisk
from cluster.transport.memory import MemoryTransport

PROXIED = "coordinator:7001"
"""Where the proxy would forward to the coordinator; here it listens itself."""

STALL = Fault(kind=FaultKind.STALL, target="leader->follower")
CONTROL = Fault(kind=FaultKind.STALL, target="follower->coordinator")
FULL = Fault(kind=FaultKind.DISK_FULL, target="follower")


class WallClock:
    def now_ns(self) -> int:
        return 10**18 + round(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time()


class Proxy:
    """Remembers every plan, and gives each link an address."""

    def __init__(self) -> None:
        self.plans: list[tuple[set[tuple[str, str]], list[str]]] = []
        self.upstreams: dict[tuple[str, str], str] = {}
        self.gone = trio.Event()
        self.opened_count = 0
        self.ended_count = 0
        self.refuses = False

    @asynccontextmanager
    async def opened(self):
        if self.refuses:
            raise UnavailableError("no more processes")
        self.opened_count += 1
        self.gone = trio.Event()
        yield self

    async def end(self) -> None:
        self.ended_count += 1

    async def set_links(self, request):
        if self.refuses:
            raise UnavailableError("no answer")
        for link in request.links:
            self.upstreams[link.dialer, link.acceptor] = link.address
        pairs = {(link.dialer, link.acceptor) for link in request.links}
        self.plans.append((pairs, [one.id for one in request.faults]))
        links = [
            faults_pb2.ProxiedLink(
                dialer=link.dialer,
                acceptor=link.acceptor,
                address=PROXIED if link.acceptor == "coordinator" else f"proxy:{len(link.dialer)}",
            )
            for link in request.links
        ]
        return faults_pb2.SetLinksResponse(links=links)

    async def wait_exit(self) -> None:
        await self.gone.wait()


class FaultSetup(Setup):
    """A coordinator that serves faults, on two addresses, and a node's ear for its own."""

    def __init__(self, nursery, folder, **options) -> None:
        super().__init__(nursery, **options)
        self.folder = folder
        self.proxy = Proxy()
        self.faults: FaultDriver | None = None

    async def _serve(self, task_status) -> None:
        transport = MemoryTransport(network=self.network, host="coordinator", limits=self.limits)
        self.driver = CoordinatorDriver(
            self.disk.durable, self.disk, clock=self.clock, limits=self.limits
        )
        own = ProcessFaults(WallClock(), FakeDisk(), random.Random(1))
        self.faults = FaultDriver(
            self.driver, own, self.proxy, folder=self.folder, limits=self.limits
        )
        servers = [transport.server(), transport.server()]
        for server, address in zip(servers, (ADDRESS, PROXIED), strict=True):
            CoordinatorServicer(self.driver, self.clock, self.faults).add_to(server)
            FaultServicer(self.faults).add_to(server)
            server.listen(address)
        self.servers = servers
        with self._coordinator:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.driver.run)
                await nursery.start(self.faults.run, ADDRESS)
                for server in servers:
                    await nursery.start(server.serve)
                task_status.started()
        self._stopped.set()

    def proxied_calls(self) -> int:
        """Calls that are open through the proxy."""
        return int(self.servers[1].statistics().calls_live)

    def listen(self, process: str) -> ProcessFaults:
        """A process that suffers what it is told."""
        faults = ProcessFaults(WallClock(), FakeDisk(), random.Random(1))
        transport = MemoryTransport(network=self.network, host="ear", limits=self.limits)
        self.nursery.start_soon(watch_faults, ADDRESS, process, transport, faults)
        return faults


@pytest.fixture
async def setup(nursery, tmp_path) -> FaultSetup:
    return FaultSetup(nursery, tmp_path)


def following(node) -> str:
    return node.authority.view.following[0].leader_address


async def test_a_link_passes_through_the_proxy_before_it_suffers(autojump_clock, setup) -> None:
    leader, follower = await setup.pair()
    assert following(follower) == f"{leader.host}:1"
    added = await setup.faults.add(STALL)
    assert [one.in_effect for one in setup.faults.messages()] == [True]
    pairs = {("leader", "follower"), ("follower", "leader")}
    assert setup.proxy.plans == [(pairs, []), (pairs, [added.id])]
    assert setup.proxy.upstreams["follower", "leader"] == f"{leader.host}:1"
    assert following(follower) == "proxy:8"
    assert not leader.authority.view.following
    assert follower.open(), "only the address has changed"
    gone, confirmed = await setup.faults.clear("")
    assert (gone, confirmed) == ((added,), True)
    assert setup.proxy.plans[-1][1] == []
    assert following(follower) == f"{leader.host}:1"


async def test_a_node_calls_its_coordinator_through_the_proxy_and_directly_again(
    autojump_clock, setup
) -> None:
    await setup.pair()
    await setup.faults.add(CONTROL)
    await until(setup.proxied_calls)
    assert ("follower", "leader") in setup.proxy.plans[0][0], "so that it can be struck later"
    await setup.faults.clear("")
    await until(lambda: not setup.proxied_calls())


async def test_an_unconfirmed_fault_says_so(autojump_clock, setup) -> None:
    _, follower = await setup.pair()
    setup.network.set_faults(follower.host, "coordinator", CUT)
    began = trio.current_time()
    await setup.faults.add(STALL)
    assert trio.current_time() - began == pytest.approx(CONFIRM_SECONDS)
    assert [one.in_effect for one in setup.faults.messages()] == [False]


async def test_a_process_suffers_until_its_time_has_run_out_whoever_is_away(
    autojump_clock, setup
) -> None:
    await setup.pair()
    suffering = setup.listen("follower/0")
    await until(lambda: setup.faults.statistics().watchers)
    await setup.faults.add(Fault(kind=FaultKind.DISK_FULL, target="follower", duration=10.0))
    assert suffering.disk.faults.is_full
    assert [one.in_effect for one in setup.faults.messages()] == [True]
    await setup.stop()
    await trio.sleep(9.0)
    assert suffering.disk.faults.is_full
    await trio.sleep(1.5)
    assert not suffering.disk.faults.is_full


async def test_a_process_that_comes_later_is_told(autojump_clock, setup) -> None:
    await setup.pair()
    await setup.faults.add(FULL)
    assert [one.in_effect for one in setup.faults.messages()] == [False]
    suffering = setup.listen("follower/0")
    await until(lambda: suffering.disk.faults.is_full)
    await until(lambda: setup.faults.messages()[0].in_effect)
    gone, confirmed = await setup.faults.clear("f1")
    assert ([one.id for one in gone], confirmed) == (["f1"], True)
    assert not suffering.disk.faults.is_full


async def test_faults_run_out_also_at_the_proxy(autojump_clock, setup) -> None:
    await setup.pair()
    await setup.faults.add(Fault(kind=FaultKind.STALL, target="leader->follower", duration=5.0))
    await trio.sleep(5.5)
    assert setup.faults.messages() == []
    assert setup.proxy.plans[-1][1] == []
    statistics = setup.faults.statistics()
    assert (statistics.added, statistics.expired, statistics.routed) == (1, 1, 0)


async def test_the_proxy_is_told_where_a_node_serves_now(autojump_clock, setup) -> None:
    await setup.pair()
    await setup.faults.add(STALL)
    again = setup.launch("leader", instance="b")
    await again.started.wait()
    await until(lambda: setup.proxy.upstreams["follower", "leader"] == f"{again.host}:1")


async def test_a_proxy_that_is_gone_takes_the_links_faults_with_it(autojump_clock, setup) -> None:
    leader, follower = await setup.pair()
    setup.listen("follower/0")
    await until(lambda: setup.faults.statistics().watchers)
    await setup.faults.add(STALL)
    full = await setup.faults.add(FULL)
    setup.proxy.gone.set()
    await until(lambda: following(follower) == f"{leader.host}:1")
    assert [one.id for one in setup.faults.messages()] == [full.id]
    await setup.faults.add(STALL)
    assert setup.proxy.opened_count == 2


async def test_without_a_proxy_a_link_is_not_struck(autojump_clock, setup) -> None:
    await setup.pair()
    setup.proxy.refuses = True
    with pytest.raises(UnavailableError, match="no more processes"):
        await setup.faults.add(STALL)
    assert setup.faults.messages() == []
    setup.proxy.refuses = False
    await setup.faults.add(STALL)


async def test_whoever_gives_up_leaves_no_link_at_the_proxy(autojump_clock, setup) -> None:
    leader, follower = await setup.pair()
    setup.network.set_faults(follower.host, "coordinator", CUT)
    with trio.move_on_after(1.0):
        await setup.faults.add(STALL)  # waits for a word of the follower
    assert setup.faults.messages() == []
    setup.network.clear_faults()
    await until(lambda: setup.faults.statistics().routed == 0)
    await until(lambda: following(follower) == f"{leader.host}:1")


async def test_a_proxy_that_fails_meanwhile_keeps_nothing_from_ending(
    autojump_clock, setup
) -> None:
    await setup.pair()
    suffering = setup.listen("follower/0")
    await until(lambda: setup.faults.statistics().watchers)
    await setup.faults.add(Fault(kind=FaultKind.STALL, target="leader->follower", duration=5.0))
    await setup.faults.add(Fault(kind=FaultKind.DISK_FULL, target="follower", duration=5.0))
    setup.proxy.refuses = True
    await trio.sleep(6.0)
    assert setup.faults.messages() == []
    assert not suffering.disk.faults.is_full
    setup.proxy.refuses = False
    await setup.faults.add(STALL)
    await setup.faults.clear("")
    assert setup.faults.statistics().routed == 0


@pytest.mark.parametrize("there", [1, 2, 3])
async def test_faults_are_limited(autojump_clock, nursery, tmp_path, there) -> None:
    setup = FaultSetup(nursery, tmp_path, limits=Limits(faults=2))
    await setup.pair()
    for _ in range(min(there, 2)):
        await setup.faults.add(FULL)
    if there > 2:
        with pytest.raises(LimitExceededError, match="the limit is 2"):
            await setup.faults.add(FULL)
    assert len(setup.faults.messages()) == min(there, 2)


async def test_what_does_not_fit_changes_nothing(autojump_clock, setup) -> None:
    await setup.pair()
    with pytest.raises(EntityNotFoundError):
        await setup.faults.add(Fault(kind=FaultKind.STALL, target="leader->follower9"))
    with pytest.raises(InvalidRequestError):
        await setup.faults.add(Fault(kind=FaultKind.STALL, target="leader"))
    with pytest.raises(EntityNotFoundError, match="no fault 'f1'"):
        await setup.faults.clear("f1")
    assert setup.faults.messages() == []
    assert not setup.proxy.plans


async def test_a_killed_coordinator_finds_its_faults_a_stopped_one_leaves_none(
    autojump_clock, setup
) -> None:
    _, follower = await setup.pair()
    await setup.faults.add(STALL)
    kept = (setup.folder / FAULTS_FILE).read_text()
    await setup.stop()
    assert not (setup.folder / FAULTS_FILE).exists()
    assert setup.proxy.ended_count == 2, "before the first fault, and at the end"
    (setup.folder / FAULTS_FILE).write_text(kept)  # as if there had been no time for it
    await setup.start()
    await until(lambda: [one.in_effect for one in setup.faults.messages()] == [True])
    await until(lambda: following(follower) == "proxy:8")
    assert setup.proxy.ended_count == 2


async def test_damaged_faults_are_forgotten(autojump_clock, setup) -> None:
    (setup.folder / FAULTS_FILE).write_text("?")
    await setup.pair()
    assert setup.faults.messages() == []
    await setup.faults.add(FULL)


async def test_the_service_speaks_the_drivers_words(autojump_clock, setup) -> None:
    await setup.pair()
    transport = MemoryTransport(network=setup.network, host="tool", limits=setup.limits)
    async with transport.connect(ADDRESS) as channel:
        stub = faults_pb2_grpc.FaultServiceStub(channel)
        fault = faults_pb2.Fault(kind="clock", target="coordinator", seconds=60.0)
        request = faults_pb2.AddFaultRequest(fault=fault, duration_seconds=30.0)
        added = (await stub.AddFault(request)).fault
        assert (added.id, added.in_effect, added.remaining_seconds) == ("f1", True, 30.0)
        await trio.sleep(10.0)
        (listed,) = (await stub.ListFaults(faults_pb2.ListFaultsRequest())).faults
        assert (listed.age_seconds, listed.remaining_seconds) == (10.0, 20.0)
        cleared = await stub.ClearFaults(faults_pb2.ClearFaultsRequest())
        assert cleared.confirmed
        assert [one.id for one in cleared.faults] == ["f1"]
        async with stub.WatchFaults() as stream:
            await stream.send(faults_pb2.WatchFaultsRequest())
            with pytest.raises(InvalidRequestError, match="names no process"):
                await stream.result()
