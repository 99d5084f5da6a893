"""A coordinator and nodes in one trio process, over the in-memory network, on virtual time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from cluster.coordinator.driver import CoordinatorDriver
from cluster.coordinator.identity import begin
from cluster.coordinator.reports import DatabaseReport, FollowingReport, Report
from cluster.coordinator.service import CoordinatorServicer
from cluster.coordinator.state import Durable
from cluster.errors import RemoraError
from cluster.limits import LIMITS, Limits
from cluster.node.link import CoordinatorLink, Identity
from cluster.replication.authority import Authority, Capability
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.transport.faults import LinkFaults
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "coordinator:7000"
CUT = LinkFaults(partitioned=True)


class VirtualClock:
    """Trio's clock. Nobody may ask for the wall clock: it jumps."""

    def now_ns(self) -> int:
        raise AssertionError("leases and epochs must not depend on the wall clock")

    def monotonic(self) -> float:
        return trio.current_time()


class Disk:
    """Keeps what was saved; ``allowed`` holds saves back while it is not set."""

    def __init__(self, durable: Durable | None = None) -> None:
        self.durable = durable or Durable()
        self.allowed = trio.Event()
        self.allowed.set()
        self.broken = False
        self.saves = 0

    async def save(self, before: Durable, after: Durable) -> None:
        assert before == self.durable
        await self.allowed.wait()
        if self.broken:
            raise OSError("no space left on device")
        assert after.epoch >= self.durable.epoch
        assert after.revision >= self.durable.revision
        self.durable = after
        self.saves += 1


async def until(condition: Callable[[], bool]) -> None:
    """Returns when it holds; looks every virtual hundredth of a second."""
    while not condition():  # noqa: ASYNC110 - virtual time, and nothing here has an event for all
        await trio.sleep(0.01)


class FakeNode:
    """A node whose gates apply each view as soon as they hear of it, unless ``stuck``."""

    def __init__(self, setup: Setup, cluster: str, instance: str, *, on: bool) -> None:
        self.cluster = cluster
        self.host = f"{cluster}-{instance}"
        self.authority = Authority()
        self.databases: list[DatabaseReport] = []
        self.applied: dict[tuple[str, str], int] = {}
        self.stuck = False
        self.unsealed = False
        self.changes = 0
        self.revisions: list[int] = []
        self.ended: RemoraError | None = None
        self.scope = trio.CancelScope()
        self.started = trio.Event()
        identity = Identity(
            cluster=cluster,
            node=f"{cluster}/0",
            instance=instance,
            grpc_address=f"{self.host}:1",
            pid=1,
            data="/data",
            initial_streaming_ingestion=on,
        )
        self.link = CoordinatorLink(
            ADDRESS,
            MemoryTransport(network=setup.network, host=self.host, limits=setup.limits),
            clock=setup.clock,
            identity=identity,
            authority=self.authority,
            report=self.report,
            on_change=self.on_change,
            rng=random.Random(instance),
            limits=setup.limits,
        )

    def report(self) -> Report:
        following = (FollowingReport(*key, epoch) for key, epoch in self.applied.items())
        view = self.authority.view
        is_off = view is not None and view.capability is Capability.OFF
        drained = view.revision if is_off and not self.unsealed else 0
        return Report(tuple(following), tuple(self.databases), drained)

    def on_change(self) -> None:
        self.changes += 1
        assert self.authority.view is not None
        self.revisions.append(self.authority.view.revision)
        if not self.stuck:
            self.apply()
        self.link.poke()

    def apply(self) -> None:
        assert self.authority.view is not None
        self.applied = {
            (g.leader_cluster, g.database): g.epoch for g in self.authority.view.following
        }

    def open(self, leader: str = "leader", database: str = "Db") -> bool:
        return self.authority.following(leader, database, trio.current_time()).open


class Setup:
    """Starts and stops the pieces."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        limits: Limits = LIMITS,
        durable: Durable | None = None,
        seed: int = 0,
    ) -> None:
        self.nursery = nursery
        self.limits = limits
        self.clock = VirtualClock()
        self.network = MemoryNetwork(seed=seed)
        self.disk = Disk(durable)
        self.driver: CoordinatorDriver | None = None
        self.lives = 0
        self._adopts = False
        self._coordinator = trio.CancelScope()
        self._stopped = trio.Event()

    async def start(self, *, adopts: bool = False) -> None:
        """Starts a coordinator process on what the disk holds."""
        self.lives += 1
        self.disk.durable = begin(
            self.disk.durable, coordinator=f"id-{self.lives}", instance=f"life {self.lives}"
        )
        self._adopts = adopts
        self._coordinator = trio.CancelScope()
        self._stopped = trio.Event()
        await self.nursery.start(self._serve)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        transport = MemoryTransport(network=self.network, host="coordinator", limits=self.limits)
        self.driver = CoordinatorDriver(
            self.disk.durable,
            self.disk,
            clock=self.clock,
            limits=self.limits,
            adopts=self._adopts,
        )
        server = transport.server()
        CoordinatorServicer(self.driver, self.clock).add_to(server)
        server.listen(ADDRESS)
        with self._coordinator:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.driver.run)
                await nursery.start(server.serve)
                task_status.started()
        self._stopped.set()

    async def stop(self) -> None:
        """The coordinator's process is gone."""
        self._coordinator.cancel()
        await self._stopped.wait()

    def launch(self, cluster: str, *, instance: str = "a", on: bool = True) -> FakeNode:
        """A node process that has begun to run."""
        node = FakeNode(self, cluster, instance, on=on)
        if cluster == "leader":
            node.databases.append(DatabaseReport("Db"))
        self.nursery.start_soon(self._run, node)
        return node

    async def node(self, cluster: str, *, instance: str = "a", on: bool = True) -> FakeNode:
        """A node process that has its first lease."""
        node = self.launch(cluster, instance=instance, on=on)
        await node.started.wait()
        return node

    async def _run(self, node: FakeNode) -> None:
        with node.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._link, node)
                node.started.set()

    async def _link(self, node: FakeNode, task_status: trio.TaskStatus[None]) -> None:
        try:
            await node.link.run(task_status=task_status)
        except RemoraError as error:
            node.ended = error
            node.started.set()
            await trio.sleep_forever()

    async def pair(self) -> tuple[FakeNode, FakeNode]:
        """A coordinator, a leader with database Db, and a follower that follows it with rows."""
        await self.start()
        leader, follower = await self.node("leader"), await self.node("follower")
        await self.call(
            "Attach",
            coordinator_pb2.AttachRequest(
                leader_cluster="leader", database="Db", follower_cluster="follower"
            ),
        )
        with trio.fail_after(1):
            await until(follower.open)
        return leader, follower

    async def call(self, method: str, request: object, timeout: float = 60.0) -> object:
        """Calls the coordinator as a tool would."""
        transport = MemoryTransport(network=self.network, host="tool", limits=self.limits)
        async with transport.connect(ADDRESS) as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            return await getattr(stub, method)(request, timeout=timeout)

    async def capability(self, cluster: str, on: bool) -> coordinator_pb2.SetCapabilityResponse:
        return await self.call(
            "SetCapability",
            coordinator_pb2.SetCapabilityRequest(cluster=cluster, streaming_ingestion=on),
        )

    def cut(self, node: FakeNode, *, requests: bool = True, answers: bool = True) -> None:
        """Partitions a node from the coordinator, in one direction or both."""
        if requests:
            self.network.set_faults(node.host, "coordinator", CUT)
        if answers:
            self.network.set_faults("coordinator", node.host, CUT)
