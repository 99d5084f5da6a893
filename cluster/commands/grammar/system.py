"""Forms about the cluster, its nodes and its journal (``adx-behaviour.md`` 7.6, 7.8). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_MONITOR,
    DATABASE_ADMIN,
    DATABASE_INGESTOR,
    VIEWER,
    CommandSpec,
    Kind,
)

_JOURNAL_ROW: Final = (
    "Event, EventTimestamp:datetime, Database, EntityName, UpdatedEntityName, EntityVersion, "
    "EntityContainerName, OriginalEntityState, UpdatedEntityState, ChangeCommand, Principal, "
    "RootActivityId:guid, ClientRequestId, User, OriginalEntityVersion"
)
_CACHE_ROW: Final = "NodeId, Status"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("clear table cache",
                "clear table <table:name> cache streamingingestion schema",
                _CACHE_ROW, Kind.SHOW, DATABASE_INGESTOR),
    CommandSpec("clear database cache", "clear database cache streamingingestion schema",
                _CACHE_ROW, Kind.SHOW, DATABASE_INGESTOR),
    CommandSpec("clear query results", "clear database cache query_results",
                "NodeId, Count:long", Kind.SHOW, DATABASE_ADMIN),
    CommandSpec("show query results", "show database cache query_results",
                "NodeId, Hits:long, Misses:long, CacheCapacityInBytes:long, UsedBytes:long, "
                "Count:long",
                Kind.SHOW, VIEWER),
    CommandSpec("show cluster", "show cluster",
                "NodeId, Address, Name, StartTime:datetime, IsAdmin:bool, "
                "MachineTotalMemory:long, MachineAvailableMemory:long, ProcessorCount:int, "
                "EnvironmentDescription",
                Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show version", "show version",
                "BuildVersion, BuildTime:datetime, ServiceType, ProductVersion",
                Kind.SHOW, "any"),
    CommandSpec("show journal", "show journal", _JOURNAL_ROW, Kind.SHOW, "any"),
    CommandSpec("show database journal", "show database <database:name> journal",
                _JOURNAL_ROW, Kind.SHOW, "any"),
    CommandSpec("show cluster journal", "show cluster journal", _JOURNAL_ROW, Kind.SHOW, "any"),
)  # fmt: skip
