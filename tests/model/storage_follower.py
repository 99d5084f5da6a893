"""A follower of the simulated leader: real sessions, gate, copy and cache over memory transport."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from storage_node import DATABASE, StorageNode, tuples

from cluster.catalog.driver import Catalog
from cluster.errors import DatabaseNotFoundError
from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.sealing import slices
from cluster.gateway.replication import ReplicationService
from cluster.node.databases import NodeDatabases
from cluster.replication.authority import Authority, Capability, Grant, NodeView
from cluster.rpc.v1 import replication_pb2_grpc
from cluster.testing.disk import FakeDisk
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork
from follower.driver import FollowerManager

if TYPE_CHECKING:
    from portal import Portal

    from cluster.catalog.model import Version
    from cluster.query.binding import BoundTable

ADDRESS = "leader:7000"
LEASE_SECONDS = 1e9
"""Leases have their own tests: here nothing is hidden for lack of time."""


class FollowedNode(StorageNode):
    """A leader that lets itself be followed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = MemoryNetwork()
        self.authority = Authority()
        self.replication: Any = None

    async def serve(self, nursery: trio.Nursery) -> None:
        """Offers the replication service, as the node's last part."""
        self.replication = ReplicationService(
            row_stores=self.row_stores,
            root_of=lambda _: self.root,
            catalog=self.catalog,
            authority=self.authority,
            clock=self.clock,
            limits=self.limits,
        )
        transport = MemoryTransport(network=self.network, host="leader", limits=self.limits)
        server = transport.server()
        replication_pb2_grpc.add_ReplicationServiceServicer_to_server(self.replication, server)
        server.listen(ADDRESS)
        await nursery.start(server.serve)

    def acknowledged(self, database: str) -> Version | None:
        """As a node tells its keeper."""
        return min(self.replication.acknowledged_versions(database), default=None)


class Follower:
    """The following node. Its extents come from the leader or straight from the leader's root."""

    def __init__(self, leader: FollowedNode, *, shares_root: bool) -> None:
        self.leader = leader
        self.folder = leader.folder / "follower"
        self.disk = FakeDisk()
        self.shares_root = shares_root
        self.is_open = True
        self.epoch = 1
        self.revision = 0
        self._decoded: dict[object, list[tuple[Any, ...]]] = {}

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """One life, until :meth:`end`."""
        self.scope, self.ended = trio.CancelScope(), trio.Event()
        try:
            with self.scope:
                await self._live(task_status)
        finally:
            self.ended.set()

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        leader = self.leader
        self.authority = Authority()
        transport = MemoryTransport(network=leader.network, host="follower", limits=leader.limits)
        async with (
            await Catalog.open(
                self.folder / "catalog.db",
                clock=leader.clock,
                mint=lambda: leader.mint.getrandbits(64),
                limits=leader.limits,
            ) as self.catalog,
            trio.open_nursery() as nursery,
        ):
            self.manager = FollowerManager(
                cluster="follower",
                node="follower/0",
                folder=Path("/followed"),
                catalog=self.catalog,
                authority=self.authority,
                connect=transport.connect,
                disk=self.disk,
                clock=leader.clock,
                chance=lambda: 0.5,
                on_gate=lambda: None,
                limits=leader.limits,
            )
            self.databases = NodeDatabases(self.catalog, leader.row_stores, self.manager)
            self.files = ExtentFiles(
                place_of=lambda _: Place(
                    leader.root if self.shares_root else None, fetch=self.manager.fetch_extent
                ),
                cache=self.folder / "cache",
                limits=leader.limits,
                blocks=False,
            )
            self._decoded = {}
            await nursery.start(self.manager.run)
            task_status.started()
            await trio.sleep_forever()

    async def start(self, portal: Portal) -> None:
        await portal.nursery.start(self.live)

    async def end(self, how: str, kept_bytes: int = 0) -> None:
        """``stop``, ``kill`` or ``crash``: a copy is never synced."""
        if how == "kill":
            self.disk.kill()
        elif how == "crash":
            self.disk.crash(kept_bytes=kept_bytes)
        self.scope.cancel()
        await self.ended.wait()
        self.disk.kill()

    def tell(self) -> None:
        """The coordinator's word reaches both nodes."""
        self.revision += 1
        grant = Grant(
            "leader",
            DATABASE,
            "follower",
            self.epoch,
            self.is_open,
            "" if self.is_open else "streaming ingestion is off on cluster 'follower'",
            follower_database=DATABASE,
            leader_address=ADDRESS,
            leader_capability=Capability.ON,
            follower_capability=Capability.ON if self.is_open else Capability.OFF,
        )
        now = self.leader.clock.monotonic()
        capability = Capability.ON if self.is_open else Capability.OFF
        for authority, view in (
            (self.leader.authority, NodeView(self.revision, Capability.ON, followed=(grant,))),
            (self.authority, NodeView(self.revision, capability, following=(grant,))),
        ):
            authority.renew(view, now, LEASE_SECONDS)
        self.leader.replication.authority_changed()
        self.manager.authority_changed()

    def flip(self) -> None:
        """The follower's streaming capability goes on or off."""
        self.is_open = not self.is_open
        self.epoch += 1
        self.tell()

    def pin(self) -> Any:
        """What a query would see; None before the leader's metadata has come."""
        try:
            return self.databases.pin(DATABASE)
        except DatabaseNotFoundError:
            return None

    async def read(self, bound: BoundTable) -> list[tuple[Any, ...]]:
        """Every row of a pinned table, with its ingestion time."""
        rows = []
        for fresh in bound.fresh:
            for batch in slices(fresh, bound.table, with_times=True):  # type: ignore[arg-type]
                rows.extend(tuples(batch))
        database = bound.database
        assert database is not None
        names = {
            extent.extent_id: (extent, bound.table.column_ids[-1], bound.table.columns)
            for extent in bound.extents.values()
        }
        wanted = [e for e in bound.extents.values() if names[e.extent_id] not in self._decoded]
        async with self.files.acquire(database, wanted) as paths:
            for extent in wanted:
                found: list[tuple[Any, ...]] = []
                for batch in read_extent(
                    paths[extent.file], extent, bound.table, with_ingestion_time=True
                ):
                    found.extend(tuples(batch))
                self._decoded[names[extent.extent_id]] = found
        for name in names.values():
            rows.extend(self._decoded[name])
        return rows
