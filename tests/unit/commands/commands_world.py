"""A command service on a real catalog, what tests ask of it, and a leader's tree to follow."""

from __future__ import annotations

from cluster.catalog.changes import CreateTable, SetDatabaseStreamingPolicy, apply
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
)
from cluster.commands.context import NodeFacts
from cluster.commands.service import CommandService
from cluster.limits import LIMITS

NS = 10**9
ON = '{"IsEnabled": true, "HintAllocatedRate": null}'
OFF = '{"IsEnabled": false, "HintAllocatedRate": null}'
LEADER_TREE = apply(
    Database("Sales", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    [
        CreateTable("T", "id", RowStoreKey(77), (Column("a", ScalarType.LONG),)),
        SetDatabaseStreamingPolicy(StreamingIngestionPolicy(True)),
    ],
    LIMITS,
)


class FakeNode:
    capability = True

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
    def now_ns(self):
        return 1

    def monotonic(self):
        return 0.0


class World:
    """A catalog with database Sales, which has table T; and what tests ask of it."""

    def __init__(self, catalog, limits):
        self.catalog = catalog
        self.node = FakeNode()
        self.service = CommandService(catalog, self.node, limits)

    async def run(self, text, database="Sales"):
        result = await self.service.execute(database, text)
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
