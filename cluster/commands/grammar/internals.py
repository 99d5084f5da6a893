"""Forms about the inside of Microsoft's service: known, and refused with a reason. Pure data.

The published grammar declares them; most have no page. What they would show or change is not there
in this service: processes of the fabric, storage containers, shards of other engines.
"""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import WITH, CommandSpec, refused

_INSIDE: Final = "the inside of the process is not part of the interface."
_MIRRORING: Final = "tables are not mirrored to other formats."
_CONTAINERS: Final = "a database has one storage root, which the node keeps clean itself."
_SHARDS: Final = "extents are not grouped; .show table T extents shows each."
_RECORDS: Final = "statistics of single columns are not kept."
_KEYS: Final = "the node keeps no keys and secrets of storage."

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    refused("cluster information",
            "show (memory | callstacks | filesystem | clockdiagnostics | cloudsettings | plugins "
            "| certificates | commconcurrency | commpools | fabric | fabriccache | fabricclocks "
            "| fabriclocks | featureflags | mempools | servicepoints | tcpconnections | tcpports "
            "| threadpools | whatsgoingon) <rest:rest>", _INSIDE),
    refused("cluster internals",
            "show cluster (admin | monitoring | network | sandboxes | scalein) <rest:rest>",
            _INSIDE),
    refused("fabric service", "(alter | drop) fabric <rest:rest>", _INSIDE),
    refused("plugins", "(enable | disable) plugin <plugin:label> <rest:rest>",
            "plugins of KQL are not supported."),
    refused("request_support",
            "(create | show) (request_support | request_memoryprofile) <rest:rest>", _INSIDE),
    refused("queryexecution", "show (queryexecution | query) <rest:rest>",
            "plans of queries are not part of the interface."),
    refused("blockedprincipals", "(show | add | drop) cluster blockedprincipals <rest:rest>",
            "nobody is blocked for a while: take the role away."),
    refused("storage keys",
            "alter [async] (cluster | database <database:name>) storage keys <rest:rest>", _KEYS),
    refused("show storage keys", "show cluster storage keys <rest:rest>", _KEYS),
    refused("keyvault secrets", "show database keyvault secrets", _KEYS),
    refused("replace keyvaultsecrets", "replace database keyvaultsecrets <rest:rest>", _KEYS),
    refused("clear cluster cache", "clear cluster cache <rest:rest>",
            "the node keeps no caches of identities and external files."),
    refused("clear remote schema", "clear cache remote-schema <rest:rest>",
            "schemas of other clusters are not cached."),
    refused("clear query_weak_consistency", "clear database cache query_weak_consistency",
            "queries read the newest metadata."),
    refused("management groups", "show databases management groups",
            "databases are not grouped."),
    refused("storage artifacts",
            "(show database | drop cluster) (data | metadata | all) storage artifacts <rest:rest>",
            _CONTAINERS),
    refused("clean databases", "clean databases <rest:rest>", _CONTAINERS),
    refused("extentcontainers of a database",
            "(show | alter | drop | recycle | add | clean) database [<database:name>] "
            "(extentcontainers | extentcontainer) <rest:rest>", _CONTAINERS),
    refused("storedqueryresultcontainers",
            "drop [unused] storedqueryresultcontainers <rest:rest>",
            "stored query results are not supported: .set a table instead."),
    refused("drop tempstorage", "drop tempstorage <rest:rest>",
            "what is uploaded goes away by its own rules."),
    refused("mirroring-template",
            "(create | create-or-alter | alter | alter-merge | delete | show | apply) "
            "(mirroring-template | mirroring-templates) <rest:rest>", _MIRRORING),
    refused("mirroring operations", "show table (<table:name> | '*') operations <rest:rest>",
            _MIRRORING),
    refused("shard-groups of a table", "show table <table:name> (shards-group | shard-groups) "
            "<rest:rest>", _SHARDS),
    refused("shard-groups",
            "(show | merge) (database [<database:name>] | tables [<tables:names>]) shard-groups "
            "<rest:rest>", _SHARDS),
    refused("show extent",
            "show <table:name> extent [details] [<extent:guid>] "
            f"[column <column:name> storage stats] {WITH}", _SHARDS),
    refused("corrupted datetime",
            "(show | patch) [table <table:name>] extents corrupted <rest:rest>",
            "extents are checked whenever they are read."),
    refused("column statistics",
            "(show | alter) (table <table:name> | tables) column statistics <rest:rest>",
            _RECORDS),
    refused("columns classification", "show table <table:name> (columns | dimensions) <rest:rest>",
            _RECORDS),
    refused("freshness", "show freshness <table:name> <rest:rest>",
            ".show database datastats and max(ingestion_time()) tell how new rows are."),
    refused("retention violations",
            "show database <database:name> policy (hardretention | softretention) violations",
            "retention has no violations to show: extents go when it says so."),
    refused("policy encoding of a database",
            "(show | alter | alter-merge | delete) database [<database:name>] policy encoding "
            "<rest:rest>", "set the encoding of a column."),
    refused("alter-merge policy encoding",
            "alter-merge (table <table:entity> | column <column:column>) policy encoding "
            "<rest:rest>", "set the encoding of a column."),
    refused("update table", "update [async] table <table:name> delete <rest:rest>",
            "single records are not updated: .set-or-replace writes a table anew."),
    refused("purge of a database", "show database <database:name> purge <rest:rest>",
            "purging is not supported: .drop extents or retention remove data."),
)  # fmt: skip
