"""The documented columns of every command, from the pages and the published grammar."""

from __future__ import annotations

from client_examples import CLIENT_RESULTS
from data_examples import DATA_RESULTS
from follower_examples import FOLLOWER_RESULTS
from ingestion_examples import INGESTION_RESULTS

DATABASE_START = (
    "DatabaseName PersistentStorage Version IsCurrent:bool DatabaseAccessMode PrettyName"
)
DATABASE_END = "DatabaseId:guid InTransitionTo"
SIZES = (
    "{0}OriginalSize:real {0}ExtentSize:real {0}CompressedSize:real {0}IndexSize:real "
    "{0}RowCount:long"
)
DETAILS = (
    f"{DATABASE_START} AuthorizedPrincipals RetentionPolicy MergePolicy ReservedSlot1 "
    "CachingPolicy ShardingPolicy StreamingIngestionPolicy IngestionBatchingPolicy "
    f"TotalSize:real {DATABASE_END}"
)
DATABASE_POLICIES = (
    f"{DATABASE_START} DatabaseId:guid AuthorizedPrincipals RetentionPolicy MergePolicy "
    "CachingPolicy ShardingPolicy StreamingIngestionPolicy IngestionBatchingPolicy"
)
METADATA = "DatabaseName Version PersistentStorage MetadataPersistentStorage DatabaseAccessMode"
POLICY_ROW = "PolicyName EntityName Policy ChildEntities EntityType"
SCHEMA_ROW = "TableName Schema DatabaseName Folder DocString"
TABLE_ROW = "TableName DatabaseName Folder DocString"
REMAINING = "TableName DatabaseName"
COLUMN_ROW = "EntityName DataType Policy"
FUNCTION_ROW = "Name Parameters Body Folder DocString"
MAPPING_ROW = "Name Kind Mapping LastUpdatedOn:datetime Database"
DATABASE_ROW = f"{DATABASE_START} ReservedSlot1:bool {DATABASE_END}"
IDENTITY = f"{DATABASE_START} CurrentUserIsUnrestrictedViewer:bool {DATABASE_END}"
STATISTICS = f"{SIZES.format('')} {SIZES.format('Hot')}"
FLAT_ROW = (
    "DatabaseName TableName ColumnName ColumnType IsDefaultTable:bool IsDefaultColumn:bool "
    "PrettyName Version Folder DocString"
)
ENTITY_ROW = (
    "DatabaseName EntityType EntityName DocString Folder CslInputSchema Content CslOutputSchema "
    "Properties:dynamic"
)
TABLE_DETAILS = (
    f"{TABLE_ROW} TotalExtents:long TotalExtentSize:real TotalOriginalSize:real "
    "TotalRowCount:long HotExtents:long HotExtentSize:real HotOriginalSize:real HotRowCount:long "
    "AuthorizedPrincipals RetentionPolicy CachingPolicy ShardingPolicy MergePolicy "
    "StreamingIngestionPolicy IngestionBatchingPolicy MinExtentsCreationTime:datetime "
    "MaxExtentsCreationTime:datetime RowOrderPolicy TableId:guid"
)
JOURNAL_ROW = (
    "Event EventTimestamp:datetime Database EntityName UpdatedEntityName EntityVersion "
    "EntityContainerName OriginalEntityState UpdatedEntityState ChangeCommand Principal "
    "RootActivityId:guid ClientRequestId User OriginalEntityVersion"
)
RESULTS = {
    "show databases": DATABASE_ROW,
    "show databases details": DETAILS,
    "show databases identity": IDENTITY,
    "show databases policies": DATABASE_POLICIES,
    "show databases datastats": f"{DATABASE_START} DatabaseId:guid {STATISTICS}",
    "show databases metadata": METADATA,
    "show database": DATABASE_ROW,
    "show database details": DETAILS,
    "show database identity": IDENTITY,
    "show database policies": DATABASE_POLICIES,
    "show database datastats": (
        f"{DATABASE_START} CurrentUseIsUnrestrictedViewer:bool DatabaseId:guid {STATISTICS}"
    ),
    "show database metadata": METADATA,
    "create database": "DatabaseName PersistentPath Created StoresMetadata:bool StoresData:bool",
    "drop database": "Table NumberOfRemovedExtents",
    "alter database prettyname": "DatabaseName PrettyName",
    "drop database prettyname": "DatabaseName PrettyName",
    "show database schema": FLAT_ROW,
    "show databases schema": FLAT_ROW,
    "show cluster schema": FLAT_ROW,
    "show database schema as json": "DatabaseSchema",
    "show databases schema as json": "DatabaseSchema",
    "show cluster schema as json": "DatabaseSchema",
    "show database schema as csl": "DatabaseSchemaScript",
    "show database cslschema": SCHEMA_ROW,
    "show databases entities": ENTITY_ROW,
    "show database entity": ENTITY_ROW,
    "show database schema violations": "EntityKind EntityName Property Reason",
    "create table": SCHEMA_ROW,
    "create tables": TABLE_ROW,
    "define table": SCHEMA_ROW,
    "define tables": TABLE_ROW,
    "create-merge table": SCHEMA_ROW,
    "create-merge tables": TABLE_ROW,
    "create table based-on": SCHEMA_ROW,
    "alter table": SCHEMA_ROW,
    "alter-merge table": SCHEMA_ROW,
    "alter table docstring": SCHEMA_ROW,
    "alter table folder": SCHEMA_ROW,
    "rename table": TABLE_ROW,
    "rename tables": TABLE_ROW,
    "drop table": REMAINING,
    "drop tables": REMAINING,
    "undo drop table": "ExtentId:guid NumberOfRecords:long Status FailureReason",
    "show tables": TABLE_ROW,
    "show tables details": TABLE_DETAILS,
    "show table": (
        "AttributeName AttributeType ExtentSize:long CompressionRatio:real IndexSize:long "
        "IndexSizePercent:real OriginalSize:long AttributeId:guid SharedIndexSize:long "
        "StorageEngineVersion"
    ),
    "show table details": TABLE_DETAILS,
    "show table cslschema": SCHEMA_ROW,
    "show table schema as json": SCHEMA_ROW,
    "alter column type": COLUMN_ROW,
    "rename column": COLUMN_ROW,
    "rename columns": COLUMN_ROW,
    "drop column": SCHEMA_ROW,
    "drop table columns": SCHEMA_ROW,
    "alter table column-docstrings": SCHEMA_ROW,
    "alter-merge table column-docstrings": SCHEMA_ROW,
    "show functions": FUNCTION_ROW,
    "show function": FUNCTION_ROW,
    "show function schema as json": SCHEMA_ROW.replace("TableName", "FunctionName"),
    "create function": FUNCTION_ROW,
    "create-or-alter function": FUNCTION_ROW,
    "alter function": FUNCTION_ROW,
    "alter function docstring": FUNCTION_ROW,
    "alter function folder": FUNCTION_ROW,
    "drop function": "Name",
    "drop functions": FUNCTION_ROW,
    "show mappings": f"{MAPPING_ROW} Table",
    "clear table cache": "NodeId Status",
    "clear database cache": "NodeId Status",
    "show cluster": (
        "NodeId Address Name StartTime:datetime IsAdmin:bool MachineTotalMemory:long "
        "MachineAvailableMemory:long ProcessorCount:int EnvironmentDescription"
    ),
    "show version": "BuildVersion BuildTime:datetime ServiceType ProductVersion",
    "show journal": JOURNAL_ROW,
    "show database journal": JOURNAL_ROW,
    "show cluster journal": JOURNAL_ROW,
    **DATA_RESULTS,
    **FOLLOWER_RESULTS,
    **INGESTION_RESULTS,
    **CLIENT_RESULTS,
}


def documented(name):
    if name in RESULTS:
        return RESULTS[name]
    if " policy " in name:
        return POLICY_ROW
    if " mapping" in name:
        return f"{MAPPING_ROW} Table" if " table " in name else MAPPING_ROW
    return RESULTS[name]
