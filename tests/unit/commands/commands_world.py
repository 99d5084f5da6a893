"""A command service on a real catalog, what tests ask of it, and a leader's tree to follow."""

from __future__ import annotations

import uuid

import pyarrow as pa
from data_examples import ID, OTHER_ID
from data_world import LOAD, FakeDatabases, FakeRowStores, keeper_of, sealed

from cluster.catalog.changes import (
    CreateTable,
    ReplaceExtents,
    SetDatabaseStreamingPolicy,
    SetFunction,
    SetMapping,
    apply,
)
from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    Function,
    IngestionMapping,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.catalog.policies import update_of
from cluster.commands.context import NodeFacts, Services
from cluster.commands.doors import FollowingState
from cluster.commands.service import CommandService
from cluster.history.driver import OperationRunner
from cluster.history.log import History
from cluster.limits import LIMITS
from cluster.query.binding import QueryResult, ResultColumn
from cluster.request import NODE_REQUEST

NS = 10**9
ON = '{"IsEnabled": true, "HintAllocatedRate": null}'
OFF = '{"IsEnabled": false, "HintAllocatedRate": null}'
MAPPING = IngestionMapping(
    "M",
    "csv",
    '[{"Name":"a","DataType":"","CsvDataType":null,"Ordinal":0,"ConstValue":null}]',
    5,
)
LEADER_TREE = apply(
    Database("Sales", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    [
        CreateTable(
            "T",
            "3f8fad5b-d9cb-469f-a165-70867728950f",
            RowStoreKey(77),
            (Column("a", ScalarType.LONG),),
        ),
        SetDatabaseStreamingPolicy(StreamingIngestionPolicy(True)),
        SetFunction("F", Function("F", "()", "{ T }")),
        SetMapping("T", "csv", "M", MAPPING),
        SetMapping("", "csv", "M", MAPPING),
        ReplaceExtents("T", (), (sealed(ID), sealed(OTHER_ID))),
    ],
    LIMITS,
)


FOLLOWING_STATE = FollowingState(
    leader_cluster="leader",
    leader_database="Sales",
    configuration="sales",
    origin="Direct",
    epoch=7,
    gate="closed",
    reason="streaming ingestion is off on this cluster",
    is_connected=True,
    version=Version(1, 1),
    ordinals={RowStoreKey(77): 12},
    rows_visible=0,
    lag_seconds=0.25,
    apply_lag_p50_seconds=None,
    apply_lag_p99_seconds=1.5,
    trouble="",
)


class FakeQueries:
    """Notes what it is asked, and answers with the first column alone."""

    def __init__(self):
        self.asked = []

    async def run(self, kql, snapshot, *, caller=None):
        """No rows of the only table that the text names."""
        (table,) = [t.table for name, t in snapshot.tables.items() if name in kql.split()]
        columns = tuple(ResultColumn(column.name, column.type) for column in table.columns)
        return QueryResult(columns, pa.table({}))

    async def run_over(self, columns, rows, kql):
        self.asked.append((columns, rows, kql))
        found = (ResultColumn(columns[0].name, columns[0].type),)
        values = pa.array([row[0] for row in rows], pa.string())
        return QueryResult(found, pa.table({columns[0].name: values}))


class FakeUpdatePolicies:
    """Notes what it is asked, and refuses if told to."""

    def __init__(self):
        self.asked = []
        self.refusal = None

    async def check(self, database, target, policies):
        assert update_of(database.tables[target]) == policies
        self.asked.append((target, policies))
        if self.refusal is not None:
            raise self.refusal


class FakeSchemaCache:
    """Notes what it is asked to forget."""

    def __init__(self):
        self.cleared = []

    def clear(self, keys):
        self.cleared.append(keys)


class FakeResources:
    """Storage at the address the caller used."""

    def __init__(self):
        self.refreshed = []

    async def ingestion_resources(self, request):
        return (("TempStorage", f"{request.origin}/account/temporary?sas"),)

    async def identity_token(self, request):
        return f"token of {request.caller.principal}"

    async def export_containers(self, request):
        return (f"{request.origin}/account/export?sas",)

    async def temporary_storage(self, request):
        return (f"{request.origin}/account/temporary?sas",)

    async def refresh_batching(self, database, table):
        self.refreshed.append((database, table))


class FakeNode:
    capability = True

    def __init__(self):
        self.queries = FakeQueries()
        self.update_policies = FakeUpdatePolicies()
        self.schema_cache = FakeSchemaCache()
        self.clock = FixedClock()
        self.history = History(self.clock)
        self.operations = OperationRunner(
            self.history, clock=self.clock, new_id=lambda: str(uuid.uuid4())
        )
        self.resources = FakeResources()
        self.cancelled = []
        self.detached = []
        self.followers = ()
        self.extents = self.ingestion = None
        self.row_stores, self.databases = FakeRowStores(), FakeDatabases()

    @property
    def services(self):
        return Services(
            clock=self.clock,
            queries=self.queries,
            update_policies=self.update_policies,
            schema_cache=self.schema_cache,
            history=self.history,
            operations=self.operations,
            extents=self.extents,
            ingestion=self.ingestion,
            row_stores=self.row_stores,
            databases=self.databases,
            followers=self,
            attachments=self,
            resources=self.resources,
            cancel_query=self.cancel_query,
            load=lambda: LOAD,
            limits=LIMITS,
        )

    def cancel_query(self, activity_id):
        self.cancelled.append(activity_id)
        return activity_id == "running"

    async def detach(self, leader_cluster, leader_database):
        self.detached.append((leader_cluster, leader_database))

    async def followers_of(self, database):
        if isinstance(self.followers, Exception):
            raise self.followers
        return self.followers

    def state(self, database):
        return FOLLOWING_STATE

    def streaming_capability(self):
        return self.capability

    def facts(self):
        return NodeFacts(
            cluster="leader",
            node_id="leader-0",
            address="127.0.0.1:5000",
            started_at_ns=1_700_000_000 * NS,
            is_admin=True,
            total_memory_bytes=1000,
            available_memory_bytes=500,
            processor_count=2,
            build_version="0.1.0",
            built_at_ns=1_600_000_000 * NS + 123_456_789,
        )


class FixedClock:
    ns = 1_000

    def now_ns(self):
        return self.ns

    def monotonic(self):
        return 0.0


class World:
    """A catalog with database Sales, which has table T; and what tests ask of it."""

    def __init__(self, catalog, limits):
        self.catalog = catalog
        self.node = FakeNode()
        self.node.extents = keeper_of(catalog, self.node)
        self.service = CommandService(catalog, self.node, limits)

    async def run(self, text, database="Sales", request=NODE_REQUEST):
        result = await self.service.execute(database, text, request)
        return list(result.rows)

    async def row(self, text, database="Sales"):
        (row,) = await self.run(text, database)
        return row

    def version(self, database="Sales"):
        return self.catalog.get(database).version


def table_row(policy):
    return ("StreamingIngestionPolicy", "[Sales].[T]", policy, "", "Table")


def database_row(policy):
    return ("StreamingIngestionPolicy", "Sales", policy, '["T"]', "Database")


def extent(extent_id, rows, created_us=1, columns=(0, 1)):
    """An extent of table T; ids are made guids of the name."""
    return Extent(
        extent_id=extent_id,
        file=f"{extent_id}.parquet",
        file_bytes=100,
        file_checksum=1,
        column_ids=columns,
        row_count=rows,
        original_bytes=1000,
        created_min_us=created_us,
        created_max_us=created_us,
    )
