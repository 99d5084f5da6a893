"""A setup of real processes for tests: launch it once, use it from many tests.

::

    launcher, setup = trio.run(launch, folder)          # once a session
    async with LocalSetup.connected(launcher, setup, database="Mine") as local:
        await local.client("leader").command("", ".create database Mine")
        await local.attach("follower1")
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import trio

from cluster.client import Client
from cluster.errors import EntityNotFoundError, RemoraError
from cluster.launcher.lifecycle import Launcher
from cluster.launcher.links import client_links
from cluster.launcher.setup import Home, Setup
from cluster.launcher.topology import ClusterSpec, Topology
from cluster.rpc.convert import position_from_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from cluster.replication.position import Position
    from cluster.transport.api import Channel

PATIENCE_SECONDS: Final = 30.0
"""How long a helper waits for something that must come about."""


def default_topology(limits: Mapping[str, float]) -> Topology:
    """A leader (on), follower1 (on) and follower2 (off), with these limits everywhere."""
    specs = (("leader", True), ("follower1", True), ("follower2", False))
    clusters = tuple(
        ClusterSpec(name, streaming_ingestion=streaming, limits=limits) for name, streaming in specs
    )
    return Topology(clusters=clusters, limits=limits)


def launcher_in(folder: Path) -> Launcher:
    """What operates the setup in ``folder``, which may not be there yet."""
    return Launcher(Home(folder / "home"), "local")


async def launch(
    folder: Path, *, limits: Mapping[str, float], topology: Topology | None = None
) -> tuple[Launcher, Setup]:
    """Starts a topology, or else the default one with ``limits``, in ``folder``.

    End it with ``await launcher.destroy()``.
    """
    launcher = launcher_in(folder)
    setup = await launcher.up(topology or default_topology(limits), folder / "data")
    return launcher, setup


class LocalSetup:
    """A running setup, seen from one test. ``database`` is the test's own on the leader."""

    def __init__(
        self, launcher: Launcher, setup: Setup, stack: AsyncExitStack, database: str
    ) -> None:
        self.database = database
        self._launcher = launcher
        self._setup = setup
        self._stack = stack
        self._channels: dict[str, Channel] = {}
        self._attached: list[str] = []

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, launcher: Launcher, setup: Setup, *, database: str
    ) -> AsyncIterator[Self]:
        """Opens channels to every process; on the way out puts the setup back in order."""
        transport = client_links(setup).transport()
        async with AsyncExitStack() as stack:
            local = cls(launcher, setup, stack, database)
            for record in setup.processes.values():
                name = record.id.partition("/")[0]
                channel: Channel = transport.connect(record.grpc)
                local._channels[name] = await stack.enter_async_context(channel)
            yield local
            await local._restore()

    def channel(self, cluster: str) -> Channel:
        """A channel to a cluster's node, or to ``coordinator``."""
        return self._channels[cluster]

    def client(self, cluster: str) -> Client:
        """A client of a cluster's node."""
        return Client(self._channels[cluster])

    @property
    def _coordinator(self) -> Any:
        return coordinator_pb2_grpc.CoordinatorServiceStub(self._channels["coordinator"])

    async def kill(self, process: str) -> None:
        """SIGKILL; returns when the process is gone."""
        await self._launcher.kill(process)

    async def start(self, process: str) -> None:
        """Starts a process that was killed, on the same port; returns when it serves."""
        await self._launcher.start(process)

    async def pause(self, process: str) -> None:
        """SIGSTOP."""
        await self._launcher.pause(process)

    async def resume(self, process: str) -> None:
        """SIGCONT."""
        self._launcher.resume(process)
        await trio.lowlevel.checkpoint()

    async def status(self) -> coordinator_pb2.GetStatusResponse:
        """What the coordinator knows."""
        response: coordinator_pb2.GetStatusResponse = await self._coordinator.GetStatus(
            coordinator_pb2.GetStatusRequest(), timeout=PATIENCE_SECONDS
        )
        return response

    async def attach(self, follower: str, *, leader: str = "leader") -> coordinator_pb2.Grant:
        """Attaches the test's database, waiting until the leader has reported it."""
        request = coordinator_pb2.AttachRequest(
            leader_cluster=leader, database=self.database, follower_cluster=follower
        )
        response: coordinator_pb2.AttachResponse = await self._coordinator.Attach(
            request, timeout=PATIENCE_SECONDS
        )
        self._attached.append(follower)
        return response.grant

    async def detach(self, follower: str, *, leader: str = "leader") -> None:
        """Detaches the test's database."""
        await self._coordinator.Detach(
            coordinator_pb2.DetachRequest(
                leader_cluster=leader, database=self.database, follower_cluster=follower
            ),
            timeout=PATIENCE_SECONDS,
        )
        self._attached.remove(follower)

    async def capability(self, cluster: str, *, on: bool) -> coordinator_pb2.SetCapabilityResponse:
        """Turns a capability on or off; returns when that is certain."""
        response: coordinator_pb2.SetCapabilityResponse = await self._coordinator.SetCapability(
            coordinator_pb2.SetCapabilityRequest(cluster=cluster, streaming_ingestion=on),
            timeout=PATIENCE_SECONDS,
        )
        return response

    async def adopt(self) -> None:
        """The coordinator takes the place of whatever coordinator nodes obey."""
        await self._coordinator.Adopt(coordinator_pb2.AdoptRequest(), timeout=PATIENCE_SECONDS)

    async def following(self, cluster: str) -> coordinator_pb2.FollowingReport:
        """The newest report of a follower about the test's database."""
        for entry in (await self.status()).clusters:
            if entry.name == cluster:
                for node in entry.nodes:
                    for report in node.following:
                        if report.database == self.database:
                            return report
        raise EntityNotFoundError(f"'{cluster}' reports nothing about '{self.database}'")

    async def until_followed(self, cluster: str) -> None:
        """Returns when the follower has the database's metadata."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await self.client(cluster).query(self.database, "print 1")
                except RemoraError:
                    await trio.sleep(0.01)
                else:
                    return

    async def wait_for(self, cluster: str, position: Position) -> None:
        """Returns when the node shows ``position``; a node that restarts is waited for."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await self.client(cluster).wait_for(
                        self.database, position, timeout_seconds=PATIENCE_SECONDS
                    )
                except RemoraError:
                    await trio.sleep(0.01)
                else:
                    return

    @staticmethod
    def position(response: Any) -> Position:
        """The position of an ingestion's response."""
        return position_from_message(response.position)

    async def detach_all(self) -> None:
        """Ends every attachment that :meth:`attach` made and is still there."""
        for follower in list(self._attached):
            await self.detach(follower)

    async def _restore(self) -> None:
        await self.detach_all()
        for cluster in (await self.status()).clusters:
            wanted = next(
                spec for spec in self._setup.topology.clusters if spec.name == cluster.name
            )
            if cluster.streaming_ingestion != wanted.streaming_ingestion:
                await self.capability(cluster.name, on=wanted.streaming_ingestion)
