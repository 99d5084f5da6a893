"""The simulated setup: a network, machines, and on them the real coordinator and real nodes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from cluster.coordinator.main import CoordinatorConfig, serve
from cluster.errors import StorageRefusedError
from cluster.node.app import Node
from cluster.node.config import NodeConfig
from cluster.node.platform import Platform
from cluster.testing.root import FakeRoot
from cluster.testing.sim.clock import MachineClock
from cluster.testing.sim.disk import MachineDisk
from cluster.testing.sim.lives import LivingRoot
from cluster.testing.sim.network import SimulatedNetwork
from cluster.testing.sim.process import Process
from cluster.testing.sim.queries import ScanQueries
from cluster.testing.sim.settings import CONTROL, COORDINATOR, PORT, Reach
from cluster.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.extents.root import StorageRoot
    from cluster.testing.sim.lives import Life
    from cluster.testing.sim.process import Watcher
    from cluster.testing.sim.settings import Settings


def address_of(host: str) -> str:
    """Where the process on a host listens."""
    return f"{host}:{PORT}"


def node_of(cluster: str) -> str:
    """The name of a cluster's only node."""
    return f"{cluster}/0"


class NodeProgram:
    """Runs a node; ``node`` is the one of the present life.

    ``reach`` is told of every named point of the work on extents.
    """

    def __init__(
        self,
        cluster: str,
        settings: Settings,
        folder: Path,
        roots: dict[str, FakeRoot],
        network: SimulatedNetwork,
        clock: MachineClock,
        disk: MachineDisk,
        reach: Callable[[str, str], None],
    ) -> None:
        self.node: Node | None = None
        self.folder = folder
        self._cluster = cluster
        self._settings = settings
        self._roots = roots
        self._network = network
        self._clock = clock
        self._disk = disk
        self._reach = reach
        self._lives = 0

    async def __call__(self, life: Life, ready: Callable[[], None]) -> None:
        """See :class:`cluster.testing.sim.process.Program`."""
        self._lives += 1
        settings, cluster = self._settings, self._cluster
        rng = random.Random(f"{settings.seed} {cluster} {self._lives}")  # noqa: S311
        config = NodeConfig(
            cluster=cluster,
            node=node_of(cluster),
            data=self.folder,
            coordinator=address_of(COORDINATOR),
            grpc_port=PORT,
            streaming_ingestion=cluster in settings.streaming,
            strict=cluster in settings.strict,
            storage_root=f"memory://{cluster}",
            limits=settings.limits,
        )
        platform = Platform(
            transport=MemoryTransport(network=self._network, host=cluster, limits=settings.limits),
            clock=self._clock,
            disk=self._disk,
            rng=rng,
            random_bits=rng.getrandbits,
            open_root=lambda url: self._root(url, life),
            queries=ScanQueries(lambda: rng.random() * settings.think_seconds),
            cores=2,
            host=cluster,
            blocks=False,
            reach=lambda point: self._reach(node_of(cluster), point.value),
        )
        self.node = node = Node(config, platform)
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            ready()

    def _root(self, url: str, life: Life) -> StorageRoot:
        root = self._roots.get(url.removeprefix("memory://"))
        reach = self._settings.reach_of(self._cluster)
        is_own = url == f"memory://{self._cluster}"
        if root is None or (reach is Reach.FETCHED and not is_own):
            raise StorageRefusedError(f"the storage root {url} cannot be opened here")
        remote = reach is Reach.DOWNLOADED and not is_own
        view: StorageRoot = LivingRoot(root, life, is_remote=remote)
        return view


class CoordinatorProgram:
    """Runs a coordinator on a host, with its state in a folder."""

    def __init__(
        self,
        host: str,
        settings: Settings,
        folder: Path,
        network: SimulatedNetwork,
        clock: MachineClock,
    ) -> None:
        self.folder = folder
        self.adopts = False
        """It takes the place of whatever coordinator the nodes obey.

        From its next start on, until it ends after every node had the time to be heard: an
        operator whose word had no effect gives it again.
        """
        self._lives = 0
        self._host = host
        self._settings = settings
        self._network = network
        self._clock = clock

    async def __call__(self, life: Life, ready: Callable[[], None]) -> None:
        """See :class:`cluster.testing.sim.process.Program`."""
        del life
        limits = self._settings.limits
        self._lives += 1
        rng = random.Random(f"{self._settings.seed} {self.folder.name} {self._lives}")  # noqa: S311
        began = trio.current_time()
        try:
            await serve(
                CoordinatorConfig(
                    data=self.folder, grpc_port=PORT, limits=limits, adopt=self.adopts
                ),
                MemoryTransport(network=self._network, host=self._host, limits=limits),
                self._clock,
                lambda _: ready(),
                host=self._host,
                mint=lambda: f"{rng.getrandbits(128):032x}",
            )
        finally:
            if trio.current_time() - began > 2 * limits.lease_seconds:
                self.adopts = False


class World:
    """All of it. :meth:`start` starts every process and returns when all serve.

    ``folder`` is an empty folder of the operating system, in memory if possible: catalogs, work
    files and extents are real files there. ``reach`` is told (process, point) of named points.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        nursery: trio.Nursery,
        watcher: Watcher,
        reach: Callable[[str, str], None],
    ) -> None:
        self.settings = settings
        self._reach = reach
        self.folder = folder
        self.network = SimulatedNetwork(settings)
        self.roots: dict[str, FakeRoot] = {}
        self.programs: dict[str, NodeProgram] = {}
        self.processes: dict[str, Process] = {}
        self._nursery = nursery
        self._watcher = watcher
        self._chance = random.Random(f"{settings.seed} machines")  # noqa: S311
        for cluster in settings.clusters:
            self.roots[cluster] = FakeRoot(
                f"memory://{cluster}", folder=folder / cluster / "root", limits=settings.limits
            )
        self.coordinator = self.add_coordinator(COORDINATOR, folder / COORDINATOR)
        self.processes[COORDINATOR] = self.coordinator
        for cluster in settings.clusters:
            self._add_node(cluster)

    def add_coordinator(self, host: str, folder: Path) -> Process:
        """A coordinator that is not running yet, on a machine of its own."""
        clock, disk = self._machine(host)
        program = CoordinatorProgram(host, self.settings, folder, self.network, clock)
        if host == COORDINATOR:
            self.coordinator_program = program
        return self._process(host, host, program, clock, disk)

    def _add_node(self, cluster: str) -> None:
        clock, disk = self._machine(cluster)
        program = NodeProgram(
            cluster,
            self.settings,
            self.folder / cluster / "data",
            self.roots,
            self.network,
            clock,
            disk,
            self._reach,
        )
        self.programs[cluster] = program
        name = node_of(cluster)
        self.processes[name] = self._process(name, cluster, program, clock, disk)

    def _machine(self, host: str) -> tuple[MachineClock, MachineDisk]:
        clock = MachineClock(uptime_seconds=round(self._chance.uniform(1e2, 1e5), 3))
        disk = MachineDisk(self.settings.seed, host, sync_seconds=self.settings.sync_seconds)
        return clock, disk

    def _process(
        self,
        name: str,
        host: str,
        program: NodeProgram | CoordinatorProgram,
        clock: MachineClock,
        disk: MachineDisk,
    ) -> Process:
        return Process(
            name,
            host,
            program,
            clock=clock,
            disk=disk,
            network=self.network,
            nursery=self._nursery,
            watcher=self._watcher,
            point=lambda point: self._reach(name, point),
        )

    async def start(self) -> None:
        """Starts every process; returns when all of them serve."""
        for process in self.processes.values():
            await process.start()
        for process in self.processes.values():
            await process.served.wait()

    def process_at(self, target: str) -> Process:
        """The process of a fault's target: its name, or its cluster's. Raises KeyError."""
        return self.processes.get(target) or self.processes[node_of(target)]

    def node(self, cluster: str) -> Node | None:
        """The node of a cluster while it serves."""
        process = self.processes[node_of(cluster)]
        serves = process.is_running and process.served.is_set()
        return self.programs[cluster].node if serves else None

    def transport(self, host: str) -> MemoryTransport:
        """What clients on a host use."""
        return MemoryTransport(network=self.network, host=host, limits=self.settings.limits)

    @property
    def control_host(self) -> str:
        """The host whoever changes the setup calls from."""
        return CONTROL
