"""Forms about databases that follow a leader (``adx-behaviour.md`` 4.7). Pure data.

``from 'path'`` names the leader, as ``LeaderClusterMetadataPath`` shows it.
"""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.principals import DATABASE_ROLES
from cluster.commands.grammar.spec import DATABASE_ADMIN, VIEWER, CommandSpec, Kind, refused

FOLLOWER_ROW: Final = (
    "DatabaseName, LeaderClusterMetadataPath, CachingPolicyOverride, AuthorizedPrincipalsOverride, "
    "AuthorizedPrincipalsModificationKind, IsAutoPrefetchEnabled:bool, TableMetadataOverrides, "
    "CachingPoliciesModificationKind"
)
STATE_ROW: Final = (
    "DatabaseName, LeaderCluster, LeaderDatabase, AttachedDatabaseConfigurationName, "
    "DatabaseShareOrigin, TableLevelSharingProperties:dynamic, TableLevelSharingOverride:dynamic, "
    "Epoch:long, Gate, Reason, IsConnected:bool, Version, Position:dynamic, RowsVisible:long, "
    "Lag:timespan, ApplyLagP50:timespan, ApplyLagP99:timespan, Trouble"
)

_DATABASE: Final = "follower database <database:name>"
_LEADER: Final = "[from <path:string>]"
_ROLES: Final = DATABASE_ROLES.replace(" | ingestors", "")
_KINDS: Final = "(none | union | replace)"
_TABLES: Final = "(table <table:name> | tables <tables:names>)"
_VIEWS: Final = "(materialized-view <view:name> | materialized-views <views:names>)"
_CACHING: Final = (
    "policy caching (hot '=' <hot:timespan> | hotdata '=' <hotdata:timespan> hotindex '=' "
    "<hotindex:timespan>) [[','] <windows:hot_windows>]"
)
_NO_VIEWS: Final = "materialized views are not supported."
_ATTACHMENT: Final = (
    "names and leaders belong to the attachment: remora detach, then remora attach with others."
)


def _override(name: str, grammar: str) -> CommandSpec:
    return CommandSpec(name, grammar, FOLLOWER_ROW, Kind.OVERRIDE, DATABASE_ADMIN)


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show follower database", f"show {_DATABASE}", FOLLOWER_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show follower databases", "show follower databases [<databases:names>]",
                FOLLOWER_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show follower database details", f"show {_DATABASE} details", STATE_ROW,
                Kind.SHOW, VIEWER),
    CommandSpec("show follower databases details",
                "show follower databases [<databases:names>] details", STATE_ROW,
                Kind.SHOW, VIEWER),
    _override("alter follower database policy caching", f"alter {_DATABASE} {_LEADER} {_CACHING}"),
    _override("delete follower database policy caching", f"delete {_DATABASE} policy caching"),
    _override("alter follower database table policy caching",
              f"alter {_DATABASE} {_LEADER} {_TABLES} {_CACHING}"),
    _override("delete follower database table policy caching",
              f"delete {_DATABASE} {_TABLES} policy caching"),
    _override("add follower database principals",
              f"add {_DATABASE} {_LEADER} ({_ROLES}) <principals:strings> [<notes:string>]"),
    _override("drop follower database principals",
              f"drop {_DATABASE} ({_ROLES}) {_LEADER} <principals:strings>"),
    _override("alter follower database principals-modification-kind",
              f"alter {_DATABASE} {_LEADER} principals-modification-kind '=' {_KINDS}"),
    _override("alter follower database caching-policies-modification-kind",
              f"alter {_DATABASE} {_LEADER} caching-policies-modification-kind '=' {_KINDS}"),
    _override("alter follower database prefetch-extents",
              f"alter {_DATABASE} {_LEADER} prefetch-extents '=' (true | false)"),
    _override("alter follower database sharing",
              f"alter {_DATABASE} {_LEADER} (tables | external tables | materialized-views) "
              "(exclude | include) (add | drop) <patterns:patterns>"),
    CommandSpec("drop follower database",
                "drop follower (database <database:name> | databases <databases:names>) "
                "from <path:string>",
                "DatabaseName, LeaderClusterMetadataPath", Kind.OVERRIDE, DATABASE_ADMIN),
    refused("alter follower database materialized-view policy caching",
            f"alter {_DATABASE} {_LEADER} {_VIEWS} {_CACHING}", _NO_VIEWS),
    refused("delete follower database materialized-view policy caching",
            f"delete {_DATABASE} {_VIEWS} policy caching", _NO_VIEWS),
    refused("alter follower database database-name-override",
            f"alter {_DATABASE} {_LEADER} database-name-override '=' <name:name>", _ATTACHMENT),
    refused("alter follower database metadata",
            f"alter {_DATABASE} {_LEADER} metadata <json:string>",
            "Microsoft does not document the object; each override has a command of its own."),
    refused("alter follower cluster configuration",
            "alter follower cluster configuration from <path:string> <rest:rest>", _ATTACHMENT),
)  # fmt: skip
