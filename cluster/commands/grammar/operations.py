"""Forms about operations, queries and commands (``adx-behaviour.md`` 7.7 to 7.9). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_MONITOR,
    DATABASE_ADMIN,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_OPERATIONS: Final = (
    "OperationId:guid, Operation, NodeId, StartedOn:datetime, LastUpdatedOn:datetime, "
    "Duration:timespan, State, Status, RootActivityId:guid, ShouldRetry:bool, Database, "
    "Principal, User, AdminEpochStartTime:datetime, VirtualCluster"
)
_DATA_OPERATIONS: Final = (
    "Timestamp:datetime, Database, Table, ClientActivityId, OperationKind, OriginalSize:long, "
    "ExtentSize:long, RowCount:long, Duration:timespan, TotalCpu:timespan, ExtentCount:long, "
    "Principal, Properties:dynamic"
)
_INGESTION_FAILURES: Final = (
    "OperationId:guid, Database, Table, FailedOn:datetime, IngestionSourcePath, Details, "
    "FailureKind, RootActivityId:guid, OperationKind, OriginatesFromUpdatePolicy:bool, ErrorCode, "
    "Principal, ShouldRetry:bool, User, IngestionProperties"
)
_STREAMING_STATISTICS: Final = (
    "Database, Table, StartTime:datetime, EndTime:datetime, Count:long, MinDuration:timespan, "
    "MaxDuration:timespan, AvgDuration:timespan, TotalDataSize:long, MinDataSize:long, "
    "MaxDataSize:long, TotalRowCount:long, MinRowCount:long, MaxRowCount:long, IngestionStatus, "
    "NumOfRowStoresReferences:int, Principal, NodeId, IngestionProperties:dynamic"
)
_STREAMING_FAILURES: Final = (
    "Database, Table, Principal, RootActivityId:guid, IngestionProperties:dynamic, Count:long, "
    "FirstFailureOn:datetime, LastFailureOn:datetime, FailureKind, ErrorCode, Details"
)
_QUERIES: Final = (
    "ClientActivityId, Text, Database, StartedOn:datetime, LastUpdatedOn:datetime, "
    "Duration:timespan, State, RootActivityId:guid, User, FailureReason, TotalCpu:timespan, "
    "CacheStatistics:dynamic, Application, MemoryPeak:long, ScannedExtentsStatistics:dynamic, "
    "Principal, ClientRequestProperties:dynamic, ResultSetStatistics:dynamic, WorkloadGroup, "
    "OverallQueryStats, VirtualCluster"
)
_COMMANDS: Final = (
    "ClientActivityId, CommandType, Text, Database, StartedOn:datetime, LastUpdatedOn:datetime, "
    "Duration:timespan, State, RootActivityId:guid, User, FailureReason, Application, Principal, "
    "TotalCpu:timespan, ResourcesUtilization:dynamic, ClientRequestProperties:dynamic, "
    "WorkloadGroup, VirtualCluster"
)
_COMMANDS_AND_QUERIES: Final = (
    "ClientActivityId, CommandType, Text, Database, StartedOn:datetime, LastUpdatedOn:datetime, "
    "Duration:timespan, State, FailureReason, RootActivityId:guid, User, Application, Principal, "
    "ClientRequestProperties:dynamic, TotalCpu:timespan, MemoryPeak:long, "
    "CacheStatistics:dynamic, ScannedExtentsStatistics:dynamic, ResultSetStatistics:dynamic, "
    "WorkloadGroup, VirtualCluster"
)

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show operations", "show operations [<operation:guid> | <operations:guids>]",
                _OPERATIONS, Kind.SHOW, VIEWER),
    # The columns are those of the command that ran: this row is what an empty one has.
    CommandSpec("show operation details", "show operation <operation:guid> details",
                "Details", Kind.SHOW, VIEWER),
    CommandSpec("cancel operation", f"cancel operation <operation:guid> {WITH}",
                "OperationId:guid, Operation, StartedOn:datetime, CancellationState, ReasonPhrase",
                Kind.SHOW, DATABASE_ADMIN),
    CommandSpec("show data operations", "show data operations",
                _DATA_OPERATIONS, Kind.SHOW, VIEWER),
    CommandSpec("show ingestion failures", f"show ingestion failures {WITH}",
                _INGESTION_FAILURES, Kind.SHOW, VIEWER),
    CommandSpec("show streamingingestion statistics", "show streamingingestion statistics",
                _STREAMING_STATISTICS, Kind.SHOW, VIEWER),
    CommandSpec("show streamingingestion failures", "show streamingingestion failures",
                _STREAMING_FAILURES, Kind.SHOW, VIEWER),
    CommandSpec("show queries", "show queries", _QUERIES, Kind.SHOW, VIEWER),
    CommandSpec("show running queries",
                "show running queries [by (user <user:string> | '*')]",
                _QUERIES, Kind.SHOW, VIEWER),
    CommandSpec("cancel query", f"cancel query <query:string> {WITH}",
                "ClientRequestId, ReasonPhrase, RunningQueryCanceled:bool",
                Kind.SHOW, DATABASE_ADMIN),
    CommandSpec("show commands", "show commands", _COMMANDS, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show commands-and-queries", "show commands-and-queries",
                _COMMANDS_AND_QUERIES, Kind.SHOW, CLUSTER_MONITOR),
    refused("show queryplan", f"show queryplan {WITH} '<|' <query:rest>",
            "plans of queries are not part of the interface."),
    refused("show running callouts", "show running callouts", "queries make no callouts."),
)  # fmt: skip
