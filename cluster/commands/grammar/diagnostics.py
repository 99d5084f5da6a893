"""Forms about the state of the cluster (``adx-behaviour.md`` 1.9, 3.11, 7.6). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import CLUSTER_MONITOR, WITH, CommandSpec, Kind, refused

_CLUSTER: Final = (
    "NodeId, Address, Name, StartTime:datetime, IsAdmin:bool, MachineTotalMemory:long, "
    "MachineAvailableMemory:long, ProcessorCount:int, EnvironmentDescription, NetAndClsVersion"
)
_SERVICES: Final = (
    "NodeId, IsClusterAdmin:bool, IsFabricManager:bool, IsDatabaseAdmin:bool, "
    "IsWeakConsistencyNode:bool, IsRowStoreHostNode:bool, IsDataNode:bool"
)
_CAPACITY: Final = "Resource, Total:long, Consumed:long, Remaining:long, Origin"
RESOURCES: Final = (
    "ingestions", "extents-merge", "streaming-ingestion-post-processing", "queries",
    "table-purge", "data-export", "mirroring", "query-acceleration", "extents-partition",
    "materialized-view", "graph_snapshot", "stored-query-results",
    "purge-storage-artifacts-cleanup", "periodic-storage-artifacts-cleanup",
)  # fmt: skip
"""What ``.show capacity`` may ask for; the first four are used here."""

_CACHE: Final = (
    "NodeId, TotalMemoryCapacity:long, MemoryCacheCapacity:long, MemoryCacheInUse:long, "
    "MemoryCacheHitCount:long, TotalDiskCapacity:long, DiskCacheCapacity:long, "
    "DiskCacheInUse:long, DiskCacheHitCount:long, DiskCacheMissCount:long, MemoryCacheDetails, "
    "DiskCacheDetails, WarmedShardsSize:long, ShardsSizeToWarm:long, HotShardsSize:long"
)
# The published grammar names DataPartitioningOperationsInProgress twice; a table has a name once.
_DIAGNOSTICS: Final = (
    "IsHealthy:bool, EnvironmentDescription, IsScaleOutRequired:bool, MachinesTotal:int, "
    "MachinesOffline:int, NodeLastRestartedOn:datetime, AdminLastElectedOn:datetime, "
    "ExtentsTotal:int, DiskColdAllocationPercentage:int, InstancesTargetBasedOnDataCapacity:int, "
    "TotalOriginalDataSize:real, TotalExtentSize:real, IngestionsLoadFactor:real, "
    "IngestionsInProgress:long, IngestionsSuccessRate:real, MergesInProgress:long, BuildVersion, "
    "BuildTime:datetime, ClusterDataCapacityFactor:real, IsDataWarmingRequired:bool, "
    "DataWarmingLastRunOn:datetime, MergesSuccessRate:real, NotHealthyReason, "
    "IsAttentionRequired:bool, AttentionRequiredReason, ProductVersion, "
    "FailedIngestOperations:int, FailedMergeOperations:int, MaxExtentsInSingleTable:int, "
    "TableWithMaxExtents, MergesLoadFactor:real, WarmExtentSize:real, NumberOfDatabases:int, "
    "PurgeExtentsRebuildLoadFactor:real, PurgeExtentsRebuildInProgress:long, "
    "PurgesInProgress:long, RowStoreLocalStorageCapacityFactor:real, ExportsLoadFactor:real, "
    "ExportsInProgress:long, PendingContinuousExports:long, "
    "MaxContinuousExportLatenessMinutes:long, RowStoreSealsInProgress:long, "
    "IsRowStoreUnhealthy:bool, MachinesSuspended:int, DataPartitioningLoadFactor:real, "
    "DataPartitioningOperationsInProgress:long, MinPartitioningPercentageInSingleTable:real, "
    "TableWithMinPartitioningPercentage, V3DataCapacityFactor:real, "
    "MaterializedViewsInProgress:long, IngestionCapacityUtilization:real, ShardsWarmingStatus, "
    "ShardsWarmingTemperature:real, ShardsWarmingDetails, StoredQueryResultsInProgress:long, "
    "HotDataDiskSpaceUsage:real, MirroringOperationsLoadFactor:real, "
    "MirroringOperationsInProgress:long, QueryAccelerationLoadFactor:real, "
    "QueryAccelerationInProgress:long, QueryAccelerationCapacityUtilization:real, "
    "GraphSnapshotsLoadFactor:real, GraphSnapshotsInProgress:long"
)
_MAINTENANCE: Final = "there is no maintenance mode: set the policy or the capability."

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show cluster details", "show cluster details",
                _CLUSTER, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show cluster services", "show cluster services",
                _SERVICES, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show diagnostics", f"show diagnostics {WITH}",
                _DIAGNOSTICS, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show capacity", f"show capacity [{' | '.join(RESOURCES)}] {WITH}",
                _CAPACITY, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show cache", "show cache", _CACHE, Kind.SHOW, CLUSTER_MONITOR),
    refused("alter cache", "alter cache on <rest:rest>",
            "the hot cache fills itself by the caching policies."),
    refused("cluster maintenance_mode", "(enable | disable) cluster maintenance_mode",
            _MAINTENANCE),
    refused("database maintenance_mode",
            "(enable | disable) database [<database:name>] "
            "(maintenance_mode | streamingingestion_maintenance_mode)", _MAINTENANCE),
)  # fmt: skip
