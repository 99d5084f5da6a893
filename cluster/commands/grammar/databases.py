"""Forms about databases (``adx-behaviour.md`` 7.1). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_ADMIN,
    DATABASE_ADMIN,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_START: Final = (
    "DatabaseName, PersistentStorage, Version, IsCurrent:bool, DatabaseAccessMode, PrettyName, "
)
_STATISTICS: Final = (
    "OriginalSize:real, ExtentSize:real, CompressedSize:real, IndexSize:real, RowCount:long, "
    "HotOriginalSize:real, HotExtentSize:real, HotCompressedSize:real, HotIndexSize:real, "
    "HotRowCount:long"
)

_RESULTS: Final = {
    "": f"{_START}ReservedSlot1:bool, DatabaseId:guid, InTransitionTo",
    " details": (
        f"{_START}AuthorizedPrincipals, RetentionPolicy, MergePolicy, ReservedSlot1, "
        "CachingPolicy, ShardingPolicy, StreamingIngestionPolicy, IngestionBatchingPolicy, "
        "TotalSize:real, DatabaseId:guid, InTransitionTo"
    ),
    " identity": f"{_START}CurrentUserIsUnrestrictedViewer:bool, DatabaseId:guid, InTransitionTo",
    " policies": (
        f"{_START}DatabaseId:guid, AuthorizedPrincipals, RetentionPolicy, MergePolicy, "
        "CachingPolicy, ShardingPolicy, StreamingIngestionPolicy, IngestionBatchingPolicy"
    ),
    " datastats": f"{_START}DatabaseId:guid, {_STATISTICS}",
    " metadata": (
        "DatabaseName, Version, PersistentStorage, MetadataPersistentStorage, DatabaseAccessMode"
    ),
}
"""Result of each flavor of ``.show databases``."""

_SINGLE_RESULTS: Final = {
    **_RESULTS,
    # The grammar alone has this column in the form of one database, and spells it so.
    " datastats": f"{_START}CurrentUseIsUnrestrictedViewer:bool, DatabaseId:guid, {_STATISTICS}",
}

_WORDS: Final = {" details": " (details | verbose)"}

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *(
        CommandSpec(f"show databases{flavor}",
                    f"show [cluster] databases [<databases:patterns>]{_WORDS.get(flavor, flavor)} "
                    f"{WITH}", result, Kind.SHOW, VIEWER)
        for flavor, result in _RESULTS.items()
    ),
    *(
        CommandSpec(f"show database{flavor}",
                    f"show database{_WORDS.get(flavor, flavor)} {WITH}",
                    result, Kind.SHOW, VIEWER)
        for flavor, result in _SINGLE_RESULTS.items()
    ),
    CommandSpec("create database",
                f"create database <database:name> [volatile] [ifnotexists] {WITH}",
                "DatabaseName, PersistentPath, Created, StoresMetadata:bool, StoresData:bool",
                Kind.MUTATE, CLUSTER_ADMIN),
    refused("create database persist",
            f"create database <database:name> persist <paths:strings> [ifnotexists] {WITH}",
            "databases are kept in the node's data folder; leave out persist (...)."),
    CommandSpec("drop database", "drop database <database:name> [ifexists] [skip-seal]",
                "Table, NumberOfRemovedExtents", Kind.MUTATE, CLUSTER_ADMIN),
    CommandSpec("alter database prettyname",
                "(alter | set) database [<database:name>] prettyname <text:string>",
                "DatabaseName, PrettyName", Kind.MUTATE, DATABASE_ADMIN),
    CommandSpec("drop database prettyname", "drop database <database:name> prettyname",
                "DatabaseName, PrettyName", Kind.MUTATE, DATABASE_ADMIN),
    refused("attach database",
            "(attach | load) [database [all | metadata] <database:name>] from <path:string> "
            f"[readonly [version '=' <version:string>]] {WITH}",
            "a cluster follows a database by remora attach LEADER/DB FOLLOWER."),
    refused("detach database", "detach database <database:name> [ifexists] [skip-seal]",
            "databases stay on their node; remora detach ends that a cluster follows one."),
    refused("alter database persist metadata",
            "alter database <database:name> persist metadata "
            "[<path:string> [allow-non-empty-container]]",
            "metadata is kept in the node's data folder."),
    refused("set access", "set access <database:name> to (readonly | readwrite)",
            "a database is read-only when it follows a leader, else it can be written."),
)  # fmt: skip
