"""Forms about row stores (``adx-behaviour.md`` 2.3). Pure data.

The published grammar declares no columns of ``rowstore_sealinfo``, ``rowstore transactions`` and
``rowstore seals``; those here are Remora's.
"""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_MONITOR,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_ROW_STORES: Final = (
    "RowStoreName, RowStoreId:guid, WriteAheadLogStorage, PersistentStorage, IsActive:bool, "
    "AssignedToNode, NumberOfKeys:long, WriteAheadLogSize:long, WriteAheadLogStartOffset:long, "
    "LocalStorageSize:long, WriteAheadDistanceToSizeRatioThreshold:real, "
    "InsertsConcurrencyLimit:long, KeyInsertsConcurrencyLimit:long, UnsealedSizePerKeyLimit:long, "
    "NodeInsertsConcurrencyLimit:long, Status, StatusLastUpdatedOn:datetime, UsageTags, "
    "IsEmpty:bool, IsDataAvailableForQuery:bool"
)
_ROW_STORE: Final = (
    "RowStoreName, RowStoreId:guid, RowStoreKey, OrdinalFrom:long, OrdinalTo:long, "
    "EstimatedDataSize:long, MinWriteAheadLogOffset:long, LocalStorageSize:long, "
    "LocalStorageStartOffset:long, Status:int, StatusLastUpdatedOn:datetime, DatabaseName, "
    "TableName, AssignedToNode, LatestIngestionTime:datetime"
)
_TABLE_ROW_STORES: Final = (
    "DatabaseName, TableName, ExtentId:guid, IsSealed:bool, RowStoreName, RowStoreId, "
    "RowStoreKey, OrdinalFrom:long, OrdinalTo:long, WriteAheadLogSize:long, "
    "LocalStorageSize:long, EstimatedDataSize:long, MinWriteAheadLogOffset:long"
)
_REFERENCES: Final = (
    "DatabaseName, TableName, RowstoreReferenceKey, RowStoreName, EnabledForIngestion:bool"
)
_SEAL_INFO: Final = (
    "DatabaseName, TableName, RowStoreName, RowStoreKey, SealedOrdinal:long, EndOrdinal:long, "
    "UnsealedRowCount:long, UnsealedSize:long, OldestIngestionTime:datetime, "
    "SealSizeThreshold:long, SealIntervalLimit:timespan"
)
_TRANSACTIONS: Final = (
    "RowStoreName, RowStoreId:guid, Commits:long, CommittedRecords:long, CommittedRequests:long, "
    "MaxRequestsPerCommit:long, AvgCommitDuration:timespan, MaxCommitDuration:timespan, "
    "WaitingSize:long, EndWriteAheadLogOffset:long"
)
_SEALS: Final = (
    "Timestamp:datetime, DatabaseName, TableName, Reason, RowCount:long, OriginalSize:long, "
    "ExtentSize:long, ExtentCount:long, Duration:timespan"
)

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show rowstores", "show rowstores", _ROW_STORES, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show rowstore", "show rowstore <rowstore:rowstore>",
                _ROW_STORE, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show rowstore transactions", "show rowstore transactions",
                _TRANSACTIONS, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show rowstore seals", f"show rowstore seals <table:string> {WITH}",
                _SEALS, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show table rowstores", "show table <table:entity> rowstores",
                _TABLE_ROW_STORES, Kind.SHOW, VIEWER),
    CommandSpec("show table rowstore_references", "show table <table:entity> rowstore_references",
                _REFERENCES, Kind.SHOW, VIEWER),
    CommandSpec("show table rowstore_sealinfo", "show table <table:entity> rowstore_sealinfo",
                _SEAL_INFO, Kind.SHOW, VIEWER),
    refused("create rowstore", "create rowstore <rest:rest>",
            "a node makes its row stores itself, as many as limits.row_stores says."),
    refused("drop rowstore", "(drop | detach) rowstore <rest:rest>",
            "a node's row stores stay, and RowStore-<number> are reserved names."),
    refused("alter table rowstore_references",
            "alter table <table:entity> rowstore_references <rest:rest>",
            "the catalog assigns row stores by the streaming policy, and a key that has held rows "
            "stays with its table."),
    refused("set table rowstore_references",
            "set table <table:entity> rowstore_references <rest:rest>",
            "the catalog assigns row stores by the streaming policy."),
)  # fmt: skip
