"""A leader node and a follower node without processes: memory transport, fake disks, virtual time.

Worker threads are replaced by calls in place, because ``MockClock`` cannot see that a thread is
busy and would let leases run out meanwhile.
"""

from __future__ import annotations

import itertools
import random
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow as pa
import trio
from trio_time import TrioClock
from xxhash import xxh3_64_intdigest

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.changes import (
    ClearTable,
    CreateTable,
    SealedRange,
    SealRows,
    SetDatabaseStreamingPolicy,
)
from cluster.catalog.driver import Catalog
from cluster.catalog.following import EVERYTHING, ModificationKind
from cluster.catalog.model import (
    Column,
    Extent,
    Provenance,
    ScalarType,
    StreamingIngestionPolicy,
)
from cluster.gateway.replication import ReplicationService
from cluster.limits import LIMITS
from cluster.replication.authority import Authority, Capability, Grant, NodeView
from cluster.replication.floors import floors_of
from cluster.replication.position import START
from cluster.rowstore.record import RequestSpan
from cluster.rowstore.stores import RowStores
from cluster.rpc.v1 import replication_pb2_grpc
from cluster.testing.disk import FakeDisk
from cluster.testing.root import FakeRoot
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork
from follower.driver import FollowerManager

ADDRESS = "leader:7000"
COLUMNS = (Column("Number", ScalarType.LONG), Column("Name", ScalarType.STRING))
REFUSAL = "streaming ingestion is off on cluster 'follower'"


class Setup:
    """The coordinator's decisions, made by the test, and both nodes."""

    def __init__(self, folder: Path, limits=LIMITS):
        self.folder = folder
        self.limits = limits
        self.clock = TrioClock()
        self.network = MemoryNetwork()
        self.numbers = itertools.count(1000)
        self.leader = Leader(self)
        self.follower = Follower(self)
        self.epoch = 1
        self.revision = 0
        self.rows = True
        self.attached = True
        self.address = ADDRESS
        self.follower_database = "db"
        self.strict = False
        self.sharing = EVERYTHING
        self.principals_kind = ModificationKind.UNION

    def mint(self):
        return random.Random(next(self.numbers)).getrandbits(64)

    def grant(self):
        return Grant(
            "leader",
            "db",
            "follower",
            self.epoch,
            self.rows,
            "" if self.rows else REFUSAL,
            follower_database=self.follower_database,
            leader_address=self.address,
            leader_capability=Capability.ON,
            follower_capability=Capability.ON if self.rows else Capability.OFF,
            strict=self.strict,
            configuration="configuration",
            sharing=self.sharing,
            principals_kind=self.principals_kind,
        )

    def decide(self, **changes):
        """A new decision; nobody knows of it yet."""
        self.epoch += 1
        for name, value in changes.items():
            setattr(self, name, value)

    def tell(self, *nodes):
        """Answers a heartbeat of these nodes; of both if none is named."""
        self.revision += 1
        grants = (self.grant(),) if self.attached else ()
        capability = Capability.ON if self.rows else Capability.OFF
        if not nodes or self.leader in nodes:
            self.leader.hear(NodeView(self.revision, Capability.ON, followed=grants))
        if not nodes or self.follower in nodes:
            self.follower.hear(NodeView(self.revision, capability, following=grants))

    async def keep_leases(self):
        """Heartbeats of both nodes, for ever."""
        while True:
            self.tell()
            await trio.sleep(self.limits.heartbeat_seconds)


class Node:
    def __init__(self, setup):
        self.setup = setup
        self.disk = FakeDisk()
        self.authority = Authority()

    def hear(self, view):
        now = self.setup.clock.monotonic()
        self.authority.renew(view, now, self.setup.limits.lease_seconds)
        self.changed()

    async def start(self):
        """Starts the process; returns when it is ready."""
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

        async def live(task_status):
            with self.scope:
                await self.run(task_status)
            self.ended.set()

        await self.setup.nursery.start(live)

    async def stop(self):
        """Ends the process in good order; disks stay."""
        self.service = self.manager = None
        self.scope.cancel()
        await self.ended.wait()

    async def open_catalog(self, name):
        setup = self.setup
        return await Catalog.open(
            setup.folder / f"{name}.sqlite", clock=setup.clock, mint=setup.mint, limits=setup.limits
        )


class Leader(Node):
    service = None

    def __init__(self, setup):
        super().__init__(setup)
        self.root = FakeRoot("memory://leader")
        self.sealed = {}  # numbers of each extent, by its id

    def changed(self):
        if self.service is not None:
            self.service.authority_changed()

    async def run(self, task_status=trio.TASK_STATUS_IGNORED):
        setup = self.setup
        self.authority = Authority()
        self.catalog = await self.open_catalog("leader")
        await self.catalog.create_database("db", if_not_exists=True)
        async with self.catalog, trio.open_nursery() as nursery:
            self.row_stores = await RowStores.open(
                Path("/leader/rows"),
                disk=self.disk,
                clock=setup.clock,
                limits=setup.limits,
                schema_of=self.schema_of,
                store_of=self.store_of,
                sealed_of=lambda key: self.floors().get(key, START),
            )
            await nursery.start(self.row_stores.run)
            self.service = ReplicationService(
                row_stores=self.row_stores,
                root_of=lambda database: self.root,
                catalog=self.catalog,
                authority=self.authority,
                clock=setup.clock,
                limits=setup.limits,
            )
            server = MemoryTransport(
                network=setup.network, host="leader", limits=setup.limits
            ).server()
            replication_pb2_grpc.add_ReplicationServiceServicer_to_server(self.service, server)
            server.listen(setup.address)
            await nursery.start(server.serve)
            task_status.started()

    def schema_of(self, key, version):
        table = self.catalog.tables_by_key().get(key)
        if table is None or version >= len(table.schemas):
            return None
        return arrow_schema(table.schemas[version])

    def store_of(self, key):
        table = self.catalog.tables_by_key().get(key)
        for reference in table.references if table else ():
            if reference.key == key:
                return reference.row_store
        return None

    async def create_table(self, name="T", columns=COLUMNS):
        change = CreateTable(name, self.catalog.new_id(), self.catalog.new_key(), columns)
        await self.catalog.commit("db", [change], text="")

    async def enable_streaming(self):
        policy = StreamingIngestionPolicy(is_enabled=True)
        await self.catalog.commit("db", [SetDatabaseStreamingPolicy(policy)], text="")

    def table(self, name="T"):
        return self.catalog.get("db").tables[name]

    def database_id(self):
        return self.catalog.get("db").database_id

    def floors(self):
        return floors_of(self.catalog.get("db"))

    async def ingest(self, numbers, name="T", place=0):
        """A record of these numbers, under the key of the reference at ``place``."""
        table = self.table(name)
        schema = arrow_schema(table.columns)
        values = {"Number": list(numbers), "Name": [f"row {n}" for n in numbers]}
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(values.get(field.name, [None] * len(numbers)), field.type)
                for field in schema
            ],
            schema=schema,
        )
        staged = self.row_stores.stage(
            table.keys[place], table.schema_version, batch, [RequestSpan(b"", len(numbers))]
        )
        await staged.committed()

    async def seal(self, name="T", *, advance=True):
        """Everything a table has in the row store moves into one extent."""
        table = self.table(name)
        ranges, sources, numbers = [], [], []
        for reference in table.references:
            rows = self.row_stores.rows(reference.key, reference.sealed_ordinal)
            if not rows.batches:
                continue
            at = rows.position
            ranges.append(SealedRange(reference.key, at.ordinal, at.checksum))
            sources.append(Provenance(reference.key, reference.sealed_ordinal, at.ordinal))
            numbers += numbers_of(rows)
        extent_id = self.catalog.new_id()
        self.sealed[extent_id] = numbers
        content = repr(numbers).encode()
        extent = Extent(
            extent_id,
            f"db/{extent_id}.parquet",
            len(content),
            xxh3_64_intdigest(content),
            table.column_ids[-1],
            len(numbers),
            len(content),
            1,
            1,
            sources=tuple(sources),
        )
        await self.root.put(extent.file, content)
        change = SealRows(name, tuple(ranges), (extent,))
        await self.catalog.commit("db", [change], text="")
        if advance:
            self.advance()
        return extent

    async def clear(self, name="T"):
        """Every row of a table is gone."""
        table = self.table(name)
        at = self.row_stores.position_of(table.keys)
        ranges = tuple(
            SealedRange(key, at[key].ordinal, at[key].checksum)
            for key in table.keys
            if at[key].ordinal
        )
        await self.catalog.commit("db", [ClearTable(name, ranges)], text="")
        self.advance()

    def advance(self):
        for key, floor in self.floors().items():
            self.row_stores.advance(key, floor)

    def numbers(self, name="T"):
        """What a query sees now, in no order."""
        table = self.table(name)
        return self.sealed_numbers(table) + [
            number
            for reference in table.references
            for number in numbers_of(self.row_stores.rows(reference.key, reference.sealed_ordinal))
        ]

    def sealed_numbers(self, table):
        return [number for extent_id in table.extents for number in self.sealed[extent_id]]


class Follower(Node):
    manager = prefetch = None
    pokes = 0

    def changed(self):
        if self.manager is not None:
            self.manager.authority_changed()

    def poke(self):
        self.pokes += 1

    async def run(self, task_status=trio.TASK_STATUS_IGNORED):
        setup = self.setup
        self.authority = Authority()
        self.catalog = await self.open_catalog("follower")
        transport = MemoryTransport(network=setup.network, host="follower", limits=setup.limits)
        async with self.catalog, trio.open_nursery() as nursery:
            self.manager = FollowerManager(
                cluster="follower",
                node="follower/0",
                folder=Path("/follower/followed"),
                catalog=self.catalog,
                authority=self.authority,
                connect=transport.connect,
                disk=self.disk,
                clock=setup.clock,
                chance=lambda: 0.5,
                on_gate=self.poke,
                strict=setup.strict,
                prefetch=self.prefetch,
                limits=setup.limits,
            )
            await nursery.start(self.manager.run)
            task_status.started()

    @property
    def database(self):
        return self.manager.get(self.setup.follower_database)

    def tables(self):
        """Names of the tables that queries see, sorted."""
        return sorted(self.database.pin().database.tables)

    def numbers(self, name="T"):
        """What a query sees now."""
        database = self.database
        if database is None:
            return []
        pin = database.pin()
        table = pin.database.tables[name]
        return self.setup.leader.sealed_numbers(table) + [
            number for key in table.keys if key in pin.rows for number in numbers_of(pin.rows[key])
        ]

    async def until(self, condition):
        """Waits for what the follower does in the background, at most 30 virtual seconds."""
        for _ in range(3000):
            if condition(self):
                return
            await trio.sleep(0.01)
        raise AssertionError(f"not within 30 s; {self.manager.report()}")

    async def shows(self, numbers, name="T"):
        """Waits until exactly these numbers are visible, sealed ones first, then in order."""

        def done(node):
            try:
                return node.numbers(name) == list(numbers)
            except Exception:
                return False

        await self.until(done)


def numbers_of(rows):
    return [number for batch in rows.batches for number in batch.column("Number").to_pylist()]


@asynccontextmanager
async def running(folder, limits=LIMITS):
    """Both nodes up, attached, with leases that are kept, and table T."""
    setup = Setup(folder, limits)
    async with trio.open_nursery() as nursery:
        setup.nursery = nursery
        await setup.leader.start()
        await setup.follower.start()
        await setup.leader.create_table()
        await setup.leader.enable_streaming()
        nursery.start_soon(setup.keep_leases)
        yield setup
        nursery.cancel_scope.cancel()
