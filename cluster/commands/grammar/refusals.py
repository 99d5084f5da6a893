"""Forms of entities this service does not have: known, and refused with a reason. Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import CommandSpec, refused

_VIEWS: Final = "materialized views are not supported."
_EXTERNAL: Final = "external tables and what is exported to them are not supported."

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    refused("materialized-view",
            "(create | create-or-alter | alter | alter-merge | drop | delete | show | rename | "
            "enable | disable | clear | undo | add | set) [async] [ifnotexists] [drop] "
            "materialized-view <rest:rest>", _VIEWS),
    refused("show materialized-views", "show materialized-views <rest:rest>", _VIEWS),
    refused("external table",
            "(create | create-or-alter | create-merge | alter | alter-merge | drop | delete | show "
            "| add | set) external (table | tables) <rest:rest>", _EXTERNAL),
    refused("export", "export <rest:rest>", _EXTERNAL),
    refused("continuous-export",
            "(create | create-or-alter | alter | drop | show | enable | disable | set) "
            "[cluster pending] (continuous-export | continuous-exports) <rest:rest>", _EXTERNAL),
    refused("entity_group",
            "(create | create-or-alter | alter | alter-merge | drop | show) "
            "(entity_group | entity_groups) <rest:rest>",
            "entity groups are not supported: name each database in the query."),
    refused("workload_group",
            "(create | create-or-alter | alter | alter-merge | drop | show) "
            "(workload_group | workload_groups) <rest:rest>",
            "requests are not classified; the limits of the node hold for all."),
    refused("graph_model",
            "(create | create-or-alter | alter | drop | delete | show | make | add | set) [async] "
            "(graph_model | graph_models | graph_snapshot | graph_snapshots | graph_shards) "
            "<rest:rest>",
            "graphs are not supported."),
    refused("stored_query_result",
            "(set | set-or-replace | drop | show) [async] [ifnotexists] "
            "(stored_query_result | stored_query_results) <rest:rest>",
            "stored query results are not supported: .set a table instead."),
    refused("purge", "purge <rest:rest>",
            "purging is not supported: .drop extents or retention remove data."),
    refused("delete table records", "delete [async] table <table:name> records <rest:rest>",
            "single records are not deleted: .drop extents removes whole extents."),
)  # fmt: skip
