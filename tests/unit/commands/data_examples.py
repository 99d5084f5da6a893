"""One text of every form about data and history, and the documented columns of each."""

from __future__ import annotations

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_ID = "1f8fad5b-d9cb-469f-a165-70867728950e"

_ASYNC = {
    "move extents all": ".move {} extents all from table T to table U",
    "move extents from": f".move {{}} extents from table T to table U ({ID})",
    "move extents query": ".move {} extents to table U <| .show table T extents",
    "replace extents": (
        ".replace {} extents in table U <| {{.show table U extents}}, {{.show table T extents}}"
    ),
    "merge extents": f".merge {{}} T ({ID}, {OTHER_ID}) with (rebuild=true)",
    "alter table extent tags": ".alter {} table T extent tags ('a', 'b') <| .show table T extents",
    "alter-merge table extent tags": (
        ".alter-merge {} table T extent tags ('a') <| .show table T extents"
    ),
    "drop table extent tags": ".drop {} table T extent tags ('a')",
    "drop table extent tags query": ".drop {} table T extent tags <| .show table T extents",
    "clear table data": ".clear {} table T data",
}

DATA_EXAMPLES = {
    "show table extents": (
        f".show table T extents ({ID}) hot where tags has 'a' and tags !contains 'b' "
        "with (extentsShowFilteringRuntimePolicy='{\"MaximumResultsCount\":3}')"
    ),
    "show table extents metadata": f".show table T extents ({ID}, '{OTHER_ID}') hot metadata",
    "show tables extents": ".show tables (T) extents where tags contains 'a'",
    "show tables extents metadata": ".show tables (T) extents metadata",
    "show database extents": ".show database extents",
    "show database extents metadata": ".show database Sales extents metadata",
    "show databases extents": ".show databases (Sales) extents hot",
    "show databases extents metadata": ".show databases (Sales) extents metadata",
    "show cluster extents": ".show cluster extents where tags !has 'a'",
    "show cluster extents metadata": ".show cluster extents metadata",
    "show database extent tags statistics": (
        ".show database extent tags statistics with (minCreationTime=datetime(2020-01-01))"
    ),
    "show table data statistics": ".show table T data statistics with (samplepercent=50)",
    "show database extents partitioning statistics": (
        ".show database extents partitioning statistics"
    ),
    "drop extent": f".drop extent {ID} from T",
    "drop extents": f".drop extents ({ID}, {OTHER_ID})",
    "drop extents query": ".drop extents <| .show table T extents | where Tags has 'x'",
    "drop extents whatif": ".drop extents whatif <| .show table T extents",
    "drop extents from": (
        ".drop extents older 10 days from all tables trim by extentsize 5 GB limit 7"
    ),
    "drop-pretend extents": ".drop-pretend extents from T trim by datasize 5 bytes",
    "drop extents partition metadata": ".drop extents partition metadata from table T",
    "merge dryrun": f".merge dryrun T ({ID}, {OTHER_ID})",
    "seal table": ".seal table T",
    "seal database": ".seal database",
    "shuffle table extents": ".shuffle table T extents all",
    "attach extents": ".attach extents into table T by metadata <| T",
    "undo drop extentcontainer": f".undo drop extentcontainer {ID}",
    "extentcontainers": ".show extentcontainers",
    "drop extent tags retention": ".drop extent tags retention",
    **{name: text.format("").replace("  ", " ") for name, text in _ASYNC.items()},
    **{f"{name} async": text.format("async") for name, text in _ASYNC.items()},
    "show rowstores": ".show rowstores",
    "show rowstore": ".show rowstore RowStore-0",
    "show rowstore transactions": ".show rowstore transactions",
    "show rowstore seals": ".show rowstore seals 'T'",
    "show table rowstores": ".show table Sales.T rowstores",
    "show table rowstore_references": ".show table T rowstore_references",
    "show table rowstore_sealinfo": ".show table T rowstore_sealinfo",
    "create rowstore": ".create rowstore with (x=1)",
    "drop rowstore": ".detach rowstore ['RowStore-0'] ifexists",
    "alter table rowstore_references": ".alter table T rowstore_references drop blocked keys",
    "set table rowstore_references": ".set table T rowstore_references '{}'",
    "show operations": f".show operations ({ID}, {OTHER_ID})",
    "show operation details": f".show operation {ID} details",
    "cancel operation": f".cancel operation {ID} with (reason='x')",
    "show data operations": ".show data operations",
    "show ingestion failures": f".show ingestion failures with (OperationId={ID})",
    "show streamingingestion statistics": ".show streamingingestion statistics",
    "show streamingingestion failures": ".show streamingingestion failures",
    "show queries": ".show queries",
    "show running queries": ".show running queries by *",
    "cancel query": ".cancel query 'x' with (reason='y')",
    "show commands": ".show commands",
    "show commands-and-queries": ".show commands-and-queries",
    "show queryplan": ".show queryplan <| T",
    "show running callouts": ".show running callouts",
    "show cluster details": ".show cluster details",
    "show cluster services": ".show cluster services",
    "show diagnostics": ".show diagnostics with (scope=cluster)",
    "show capacity": ".show capacity extents-merge",
    "show cache": ".show cache",
    "alter cache": ".alter cache on * ['x']",
    "cluster maintenance_mode": ".enable cluster maintenance_mode",
    "database maintenance_mode": ".disable database Sales maintenance_mode",
}

EXTENT_ROW = (
    "ExtentId:guid DatabaseName TableName MaxCreatedOn:datetime OriginalSize:real ExtentSize:real "
    "CompressedSize:real IndexSize:real Blocks:long Segments:long ExtentContainerId RowCount:long "
    "MinCreatedOn:datetime Tags Kind DeletedRowCount:long"
)
METADATA_ROW = "ExtentId:guid DatabaseName TableName ExtentMetadata"
DROPPED_ROW = "ExtentId:guid TableName CreatedOn:datetime"
MOVED_ROW = "OriginalExtentId ResultExtentId Details"
TAGGED_ROW = "OriginalExtentId ResultExtentId ResultExtentTags Details"
MERGED_ROW = "OriginalExtentId ResultExtentId Duration:timespan"
SEALED_ROW = "TableName ExtentId:guid RowCount:long OriginalSize:long ExtentSize:long"
QUERY_ROW = (
    "ClientActivityId Text Database StartedOn:datetime LastUpdatedOn:datetime Duration:timespan "
    "State RootActivityId:guid User FailureReason TotalCpu:timespan CacheStatistics:dynamic "
    "Application MemoryPeak:long ScannedExtentsStatistics:dynamic Principal "
    "ClientRequestProperties:dynamic ResultSetStatistics:dynamic WorkloadGroup OverallQueryStats "
    "VirtualCluster"
)
_CHANGES = {
    "move extents all": MOVED_ROW,
    "move extents from": MOVED_ROW,
    "move extents query": MOVED_ROW,
    "replace extents": MOVED_ROW,
    "merge extents": MERGED_ROW,
    "alter table extent tags": TAGGED_ROW,
    "alter-merge table extent tags": TAGGED_ROW,
    "drop table extent tags": TAGGED_ROW,
    "drop table extent tags query": TAGGED_ROW,
    "clear table data": "Status",
}

DATA_RESULTS = {
    **{
        f"show {scope} extents": EXTENT_ROW
        for scope in ("table", "tables", "database", "databases", "cluster")
    },
    **{
        f"show {scope} extents metadata": METADATA_ROW
        for scope in ("table", "tables", "database", "databases", "cluster")
    },
    "show database extent tags statistics": (
        "TableName TotalExtentsCount:long TaggedExtentsCount:long TotalTagsCount:long "
        "TotalTagsLength:long DropByTagsCount:long DropByTagsLength:long IngestByTagsCount:long "
        "IngestByTagsLength:long"
    ),
    "show table data statistics": (
        "ColumnName ColumnType ColumnId:guid OriginalSize:long ExtentSize:long "
        "CompressionRatio:real DataCompressionSize:long SharedIndexSize:long IndexSize:long "
        "IndexSizePercent:real StorageEngineVersion PresentRowCount:long DeletedRowCount:long "
        "SamplePercent:real IncludeColdData:bool"
    ),
    "drop extent": DROPPED_ROW,
    "drop extents": DROPPED_ROW,
    "drop extents query": DROPPED_ROW,
    "drop extents whatif": DROPPED_ROW,
    "drop extents from": DROPPED_ROW,
    "drop-pretend extents": DROPPED_ROW,
    "merge dryrun": MERGED_ROW,
    "seal table": SEALED_ROW,
    "seal database": SEALED_ROW,
    **_CHANGES,
    **{f"{name} async": "OperationId:guid" for name in _CHANGES},
    "show rowstores": (
        "RowStoreName RowStoreId:guid WriteAheadLogStorage PersistentStorage IsActive:bool "
        "AssignedToNode NumberOfKeys:long WriteAheadLogSize:long WriteAheadLogStartOffset:long "
        "LocalStorageSize:long WriteAheadDistanceToSizeRatioThreshold:real "
        "InsertsConcurrencyLimit:long KeyInsertsConcurrencyLimit:long "
        "UnsealedSizePerKeyLimit:long NodeInsertsConcurrencyLimit:long Status "
        "StatusLastUpdatedOn:datetime UsageTags IsEmpty:bool IsDataAvailableForQuery:bool"
    ),
    "show rowstore": (
        "RowStoreName RowStoreId:guid RowStoreKey OrdinalFrom:long OrdinalTo:long "
        "EstimatedDataSize:long MinWriteAheadLogOffset:long LocalStorageSize:long "
        "LocalStorageStartOffset:long Status:int StatusLastUpdatedOn:datetime DatabaseName "
        "TableName AssignedToNode LatestIngestionTime:datetime"
    ),
    "show rowstore transactions": (
        "RowStoreName RowStoreId:guid Commits:long CommittedRecords:long CommittedRequests:long "
        "MaxRequestsPerCommit:long AvgCommitDuration:timespan MaxCommitDuration:timespan "
        "WaitingSize:long EndWriteAheadLogOffset:long"
    ),
    "show rowstore seals": (
        "Timestamp:datetime DatabaseName TableName Reason RowCount:long OriginalSize:long "
        "ExtentSize:long ExtentCount:long Duration:timespan"
    ),
    "show table rowstores": (
        "DatabaseName TableName ExtentId:guid IsSealed:bool RowStoreName RowStoreId RowStoreKey "
        "OrdinalFrom:long OrdinalTo:long WriteAheadLogSize:long LocalStorageSize:long "
        "EstimatedDataSize:long MinWriteAheadLogOffset:long"
    ),
    "show table rowstore_references": (
        "DatabaseName TableName RowstoreReferenceKey RowStoreName EnabledForIngestion:bool"
    ),
    "show table rowstore_sealinfo": (
        "DatabaseName TableName RowStoreName RowStoreKey SealedOrdinal:long EndOrdinal:long "
        "UnsealedRowCount:long UnsealedSize:long OldestIngestionTime:datetime "
        "SealSizeThreshold:long SealIntervalLimit:timespan"
    ),
    "show operations": (
        "OperationId:guid Operation NodeId StartedOn:datetime LastUpdatedOn:datetime "
        "Duration:timespan State Status RootActivityId:guid ShouldRetry:bool Database Principal "
        "User AdminEpochStartTime:datetime VirtualCluster"
    ),
    "show operation details": "Details",
    "cancel operation": (
        "OperationId:guid Operation StartedOn:datetime CancellationState ReasonPhrase"
    ),
    "show data operations": (
        "Timestamp:datetime Database Table ClientActivityId OperationKind OriginalSize:long "
        "ExtentSize:long RowCount:long Duration:timespan TotalCpu:timespan ExtentCount:long "
        "Principal Properties:dynamic"
    ),
    "show ingestion failures": (
        "OperationId:guid Database Table FailedOn:datetime IngestionSourcePath Details FailureKind "
        "RootActivityId:guid OperationKind OriginatesFromUpdatePolicy:bool ErrorCode Principal "
        "ShouldRetry:bool User IngestionProperties"
    ),
    "show streamingingestion statistics": (
        "Database Table StartTime:datetime EndTime:datetime Count:long MinDuration:timespan "
        "MaxDuration:timespan AvgDuration:timespan TotalDataSize:long MinDataSize:long "
        "MaxDataSize:long TotalRowCount:long MinRowCount:long MaxRowCount:long IngestionStatus "
        "NumOfRowStoresReferences:int Principal NodeId IngestionProperties:dynamic"
    ),
    "show streamingingestion failures": (
        "Database Table Principal RootActivityId:guid IngestionProperties:dynamic Count:long "
        "FirstFailureOn:datetime LastFailureOn:datetime FailureKind ErrorCode Details"
    ),
    "show queries": QUERY_ROW,
    "show running queries": QUERY_ROW,
    "cancel query": "ClientRequestId ReasonPhrase RunningQueryCanceled:bool",
    "show commands": (
        "ClientActivityId CommandType Text Database StartedOn:datetime LastUpdatedOn:datetime "
        "Duration:timespan State RootActivityId:guid User FailureReason Application Principal "
        "TotalCpu:timespan ResourcesUtilization:dynamic ClientRequestProperties:dynamic "
        "WorkloadGroup VirtualCluster"
    ),
    "show commands-and-queries": (
        "ClientActivityId CommandType Text Database StartedOn:datetime LastUpdatedOn:datetime "
        "Duration:timespan State FailureReason RootActivityId:guid User Application Principal "
        "ClientRequestProperties:dynamic TotalCpu:timespan MemoryPeak:long CacheStatistics:dynamic "
        "ScannedExtentsStatistics:dynamic ResultSetStatistics:dynamic WorkloadGroup VirtualCluster"
    ),
    "show cluster details": (
        "NodeId Address Name StartTime:datetime IsAdmin:bool MachineTotalMemory:long "
        "MachineAvailableMemory:long ProcessorCount:int EnvironmentDescription NetAndClsVersion"
    ),
    "show cluster services": (
        "NodeId IsClusterAdmin:bool IsFabricManager:bool IsDatabaseAdmin:bool "
        "IsWeakConsistencyNode:bool IsRowStoreHostNode:bool IsDataNode:bool"
    ),
    "show capacity": "Resource Total:long Consumed:long Remaining:long Origin",
    "show cache": (
        "NodeId TotalMemoryCapacity:long MemoryCacheCapacity:long MemoryCacheInUse:long "
        "MemoryCacheHitCount:long TotalDiskCapacity:long DiskCacheCapacity:long "
        "DiskCacheInUse:long DiskCacheHitCount:long DiskCacheMissCount:long MemoryCacheDetails "
        "DiskCacheDetails WarmedShardsSize:long ShardsSizeToWarm:long HotShardsSize:long"
    ),
    "show diagnostics": (
        "IsHealthy:bool EnvironmentDescription IsScaleOutRequired:bool MachinesTotal:int "
        "MachinesOffline:int NodeLastRestartedOn:datetime AdminLastElectedOn:datetime "
        "ExtentsTotal:int DiskColdAllocationPercentage:int InstancesTargetBasedOnDataCapacity:int "
        "TotalOriginalDataSize:real TotalExtentSize:real IngestionsLoadFactor:real "
        "IngestionsInProgress:long IngestionsSuccessRate:real MergesInProgress:long BuildVersion "
        "BuildTime:datetime ClusterDataCapacityFactor:real IsDataWarmingRequired:bool "
        "DataWarmingLastRunOn:datetime MergesSuccessRate:real NotHealthyReason "
        "IsAttentionRequired:bool AttentionRequiredReason ProductVersion "
        "FailedIngestOperations:int FailedMergeOperations:int MaxExtentsInSingleTable:int "
        "TableWithMaxExtents MergesLoadFactor:real WarmExtentSize:real NumberOfDatabases:int "
        "PurgeExtentsRebuildLoadFactor:real PurgeExtentsRebuildInProgress:long "
        "PurgesInProgress:long RowStoreLocalStorageCapacityFactor:real ExportsLoadFactor:real "
        "ExportsInProgress:long PendingContinuousExports:long "
        "MaxContinuousExportLatenessMinutes:long RowStoreSealsInProgress:long "
        "IsRowStoreUnhealthy:bool MachinesSuspended:int DataPartitioningLoadFactor:real "
        "DataPartitioningOperationsInProgress:long MinPartitioningPercentageInSingleTable:real "
        "TableWithMinPartitioningPercentage V3DataCapacityFactor:real "
        "MaterializedViewsInProgress:long IngestionCapacityUtilization:real ShardsWarmingStatus "
        "ShardsWarmingTemperature:real ShardsWarmingDetails StoredQueryResultsInProgress:long "
        "HotDataDiskSpaceUsage:real MirroringOperationsLoadFactor:real "
        "MirroringOperationsInProgress:long QueryAccelerationLoadFactor:real "
        "QueryAccelerationInProgress:long QueryAccelerationCapacityUtilization:real "
        "GraphSnapshotsLoadFactor:real GraphSnapshotsInProgress:long"
    ),
}
