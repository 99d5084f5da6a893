"""Forms about tables (``adx-behaviour.md`` 7.3). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    DATABASE_ADMIN,
    DATABASE_USER,
    SCHEMA_ROW,
    TABLE_ADMIN,
    TABLE_ROW,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
)

_DETAILS_ROW: Final = (
    f"{TABLE_ROW}, TotalExtents:long, TotalExtentSize:real, TotalOriginalSize:real, "
    "TotalRowCount:long, HotExtents:long, HotExtentSize:real, HotOriginalSize:real, "
    "HotRowCount:long, AuthorizedPrincipals, RetentionPolicy, CachingPolicy, ShardingPolicy, "
    "MergePolicy, StreamingIngestionPolicy, IngestionBatchingPolicy, "
    "MinExtentsCreationTime:datetime, MaxExtentsCreationTime:datetime, RowOrderPolicy, "
    "TableId:guid"
)
_ATTRIBUTE_ROW: Final = (
    "AttributeName, AttributeType, ExtentSize:long, CompressionRatio:real, IndexSize:long, "
    "IndexSizePercent:real, OriginalSize:long, AttributeId:guid, SharedIndexSize:long, "
    "StorageEngineVersion"
)
_REMAINING_ROW: Final = "TableName, DatabaseName"
_MERGER: Final = "Database User, and Table Admin if the table exists"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *(
        form
        for verb in ("create", "define")  # of one meaning
        for form in (
            CommandSpec(f"{verb} table", f"{verb} table <table:name> <columns:columns> {WITH}",
                        SCHEMA_ROW, Kind.MUTATE, DATABASE_USER),
            CommandSpec(f"{verb} tables", f"{verb} tables <tables:definitions> {WITH}",
                        TABLE_ROW, Kind.MUTATE, DATABASE_USER),
        )
    ),
    CommandSpec("create-merge table", f"create-merge table <table:name> <columns:columns> {WITH}",
                SCHEMA_ROW, Kind.MUTATE, _MERGER),
    CommandSpec("create-merge tables", f"create-merge tables <tables:definitions> {WITH}",
                TABLE_ROW, Kind.MUTATE, _MERGER),
    CommandSpec("create table based-on",
                f"create table <table:name> based-on <source:name> [ifnotexists] {WITH}",
                SCHEMA_ROW, Kind.MUTATE, DATABASE_ADMIN),
    CommandSpec("alter table", f"alter table <table:name> <columns:columns> {WITH}",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("alter-merge table", f"alter-merge table <table:name> <columns:columns> {WITH}",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("alter table docstring", "alter table <table:name> docstring <text:string>",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("alter table folder", "alter table <table:name> folder <text:string>",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("rename table", f"rename table <table:name> to <name:name> {WITH}",
                TABLE_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("rename tables", f"rename tables <renames:renames> {WITH}",
                TABLE_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("drop table", "drop table <table:name> [ifexists]",
                _REMAINING_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("drop tables", "drop tables <tables:names> [ifexists]",
                _REMAINING_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("undo drop table",
                "undo drop table <table:name> [as <name:name>] version '=' <version:string> "
                "[internal]",
                "ExtentId:guid, NumberOfRecords:long, Status, FailureReason",
                Kind.MUTATE, DATABASE_ADMIN),
    CommandSpec("show tables", "show tables [<tables:names>]", TABLE_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show tables details", "show tables [<tables:names>] details",
                _DETAILS_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table", "show table <table:name>", _ATTRIBUTE_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table details", "show table <table:name> details",
                _DETAILS_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table cslschema", "show table <table:name> (cslschema | kqlschema)",
                SCHEMA_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table schema as json", "show table <table:name> schema as json",
                SCHEMA_ROW, Kind.SHOW, VIEWER),
)  # fmt: skip
