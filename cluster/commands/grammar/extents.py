"""Forms about extents (``adx-behaviour.md`` 3.2 to 3.7, 7.3). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.asynchronous import with_async
from cluster.commands.grammar.spec import (
    CLUSTER_MONITOR,
    DATABASE_ADMIN,
    TABLE_ADMIN,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_EXTENT_ROW: Final = (
    "ExtentId:guid, DatabaseName, TableName, MaxCreatedOn:datetime, OriginalSize:real, "
    "ExtentSize:real, CompressedSize:real, IndexSize:real, Blocks:long, Segments:long, "
    "ExtentContainerId, RowCount:long, MinCreatedOn:datetime, Tags, Kind, DeletedRowCount:long"
)
_METADATA_ROW: Final = "ExtentId:guid, DatabaseName, TableName, ExtentMetadata"
_TAG_STATISTICS_ROW: Final = (
    "TableName, TotalExtentsCount:long, TaggedExtentsCount:long, TotalTagsCount:long, "
    "TotalTagsLength:long, DropByTagsCount:long, DropByTagsLength:long, IngestByTagsCount:long, "
    "IngestByTagsLength:long"
)
_DATA_STATISTICS_ROW: Final = (
    "ColumnName, ColumnType, ColumnId:guid, OriginalSize:long, ExtentSize:long, "
    "CompressionRatio:real, DataCompressionSize:long, SharedIndexSize:long, IndexSize:long, "
    "IndexSizePercent:real, StorageEngineVersion, PresentRowCount:long, DeletedRowCount:long, "
    "SamplePercent:real, IncludeColdData:bool"
)
_DROPPED_ROW: Final = "ExtentId:guid, TableName, CreatedOn:datetime"
_MOVED_ROW: Final = "OriginalExtentId, ResultExtentId, Details"
_TAGGED_ROW: Final = "OriginalExtentId, ResultExtentId, ResultExtentTags, Details"
_MERGED_ROW: Final = "OriginalExtentId, ResultExtentId, Duration:timespan"
SEALED_ROW: Final = "TableName, ExtentId:guid, RowCount:long, OriginalSize:long, ExtentSize:long"
"""Of ``.seal``, which is Remora's own."""

_SCOPES: Final = {
    "table": ("table <table:name>", VIEWER),
    "tables": ("tables <tables:names>", VIEWER),
    "database": ("database [<database:name>]", VIEWER),
    "databases": ("databases <databases:names>", VIEWER),
    "cluster": ("cluster", CLUSTER_MONITOR),
}
_FILTERS: Final = f"[where <tags:tag_terms>] {WITH}"
_DROPPED: Final = (
    "[older <age:number> (days | hours)] from (all tables | <table:name>) "
    "[trim by (extentsize | datasize) <size:number> (MB | GB | bytes)] [limit <limit:number>]"
)
_DROPPER: Final = f"{TABLE_ADMIN} if a table is given, else {DATABASE_ADMIN}"
_QUERY: Final = "'<|' <query:rest>"

_SHOW: Final[tuple[CommandSpec, ...]] = (
    *(
        form
        for scope, (words, permission) in _SCOPES.items()
        for form in (
            CommandSpec(f"show {scope} extents",
                        f"show {words} extents [<extents:guids>] [hot] {_FILTERS}",
                        _EXTENT_ROW, Kind.SHOW, permission),
            CommandSpec(f"show {scope} extents metadata",
                        f"show {words} extents [<extents:guids>] [hot] metadata {_FILTERS}",
                        _METADATA_ROW, Kind.SHOW, permission),
        )
    ),
    CommandSpec("show database extent tags statistics",
                f"show database extent tags statistics {WITH}",
                _TAG_STATISTICS_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table data statistics", f"show table <table:name> data statistics {WITH}",
                _DATA_STATISTICS_ROW, Kind.SHOW, VIEWER),
    refused("show database extents partitioning statistics",
            "show database [<database:name>] extents partitioning statistics",
            "data is not partitioned by a policy here."),
)  # fmt: skip

_DROP: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("drop extent", "drop extent <extent:guid> [from <table:name>]",
                _DROPPED_ROW, Kind.MUTATE, _DROPPER),
    CommandSpec("drop extents", "drop extents <extents:guids> [from <table:name>]",
                _DROPPED_ROW, Kind.MUTATE, _DROPPER),
    CommandSpec("drop extents query", f"drop extents {_QUERY}",
                _DROPPED_ROW, Kind.MUTATE, _DROPPER),
    CommandSpec("drop extents whatif", f"drop extents whatif {_QUERY}",
                _DROPPED_ROW, Kind.SHOW, _DROPPER),
    CommandSpec("drop extents from", f"drop extents {_DROPPED}",
                _DROPPED_ROW, Kind.MUTATE, _DROPPER),
    CommandSpec("drop-pretend extents", f"drop-pretend extents {_DROPPED}",
                _DROPPED_ROW, Kind.SHOW, _DROPPER),
    refused("drop extents partition metadata",
            "drop extents partition metadata <rest:rest>",
            "data is not partitioned by a policy here."),
)  # fmt: skip

_CHANGE: Final[tuple[CommandSpec, ...]] = (
    *with_async("move extents all",
                f"move [async] extents all from table <source:name> to table <table:name> {WITH}",
                _MOVED_ROW, TABLE_ADMIN),
    *with_async("move extents from",
                f"move [async] extents from table <source:name> to table <table:name> {WITH} "
                "<extents:guids>", _MOVED_ROW, TABLE_ADMIN),
    *with_async("move extents query",
                f"move [async] extents to table <table:name> {WITH} {_QUERY}",
                _MOVED_ROW, TABLE_ADMIN),
    *with_async("replace extents",
                f"replace [async] extents in table <table:name> {WITH} '<|' <drop:body> ',' "
                "<move:body>", _MOVED_ROW, TABLE_ADMIN),
    *with_async("merge extents", f"merge [async] <table:name> <extents:guids> {WITH}",
                _MERGED_ROW, TABLE_ADMIN),
    CommandSpec("merge dryrun", "merge dryrun <table:name> <extents:guids>",
                _MERGED_ROW, Kind.SHOW, TABLE_ADMIN),
    *with_async("alter table extent tags",
                f"alter [async] table <table:name> extent tags <tags:strings> {WITH} {_QUERY}",
                _TAGGED_ROW, TABLE_ADMIN),
    *with_async("alter-merge table extent tags",
                f"alter-merge [async] table <table:name> extent tags <tags:strings> {WITH} "
                f"{_QUERY}", _TAGGED_ROW, TABLE_ADMIN),
    *with_async("drop table extent tags",
                f"drop [async] table <table:name> extent tags <tags:strings> {WITH}",
                _TAGGED_ROW, TABLE_ADMIN),
    *with_async("drop table extent tags query",
                f"drop [async] table <table:name> extent tags {WITH} {_QUERY}",
                _TAGGED_ROW, TABLE_ADMIN),
    *with_async("clear table data", "clear [async] table <table:name> data",
                "Status", TABLE_ADMIN),
    CommandSpec("seal table", "seal table <table:name>", SEALED_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("seal database", "seal database [<database:name>]",
                SEALED_ROW, Kind.MUTATE, DATABASE_ADMIN),
    refused("shuffle table extents", "shuffle [async] table <table:name> extents <rest:rest>",
            "data is not partitioned by a policy here."),
    refused("attach extents", "attach [async] extents <rest:rest>",
            "files of other databases are not taken over; .ingest them."),
    refused("undo drop extentcontainer", "undo drop extentcontainer <container:guid>",
            "storage roots are not dropped; .undo drop table brings a table back."),
    refused("extentcontainers",
            "(show | alter | clean | drop) [async] [empty] extentcontainers <rest:rest>",
            "a database has one storage root; .show database T extents metadata names it."),
    refused("drop extent tags retention", "drop extent tags retention",
            "tags are dropped by the policy extent_tags_retention."),
)  # fmt: skip

COMMANDS: Final[tuple[CommandSpec, ...]] = (*_SHOW, *_DROP, *_CHANGE)
