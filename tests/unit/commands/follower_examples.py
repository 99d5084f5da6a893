"""Texts and documented columns of commands about principals and following databases."""

from __future__ import annotations

FOLLOWER_EXAMPLES = {
    "show principal roles": ".show database Sales principal roles",
    "show principal access": ".show principal access with (accesstype='ingest', database='Sales')",
    "show cluster principals": ".show cluster principals",
    "show database principals": ".show database Sales principals",
    "show table principals": ".show table T principals",
    **{
        f"{verb} {subject} principals": f".{verb} {subject} {name} admins ('aaduser=x') 'n'"
        for verb in ("add", "drop", "set")
        for subject, name in (("cluster", ""), ("database", "Sales"), ("table", "T"))
    },
    "show follower database": ".show follower database Sales",
    "show follower databases": ".show follower databases (Sales)",
    "show follower database details": ".show follower database Sales details",
    "show follower databases details": ".show follower databases details",
    "alter follower database policy caching": (
        ".alter follower database Sales from 'leader' policy caching hot = 7d"
    ),
    "delete follower database policy caching": ".delete follower database Sales policy caching",
    "alter follower database table policy caching": (
        ".alter follower database Sales tables (T) policy caching hotdata = 1d hotindex = 2d"
    ),
    "delete follower database table policy caching": (
        ".delete follower database Sales table T policy caching"
    ),
    "add follower database principals": (
        ".add follower database Sales viewers ('aadgroup=g@contoso.com') 'My Group'"
    ),
    "drop follower database principals": (
        ".drop follower database Sales viewers from 'leader' ('aadgroup=g@contoso.com')"
    ),
    "alter follower database principals-modification-kind": (
        ".alter follower database Sales principals-modification-kind = replace"
    ),
    "alter follower database caching-policies-modification-kind": (
        ".alter follower database Sales caching-policies-modification-kind = none"
    ),
    "alter follower database prefetch-extents": (
        ".alter follower database Sales prefetch-extents = true"
    ),
    "alter follower database sharing": (
        ".alter follower database Sales tables exclude add (U, Logs*)"
    ),
    "alter follower database materialized-view policy caching": (
        ".alter follower database Sales materialized-view V policy caching hot = 1d"
    ),
    "delete follower database materialized-view policy caching": (
        ".delete follower database Sales materialized-views (V, W) policy caching"
    ),
    "alter follower database database-name-override": (
        ".alter follower database Sales database-name-override = N"
    ),
    "alter follower database metadata": ".alter follower database Sales metadata '{}'",
    "alter follower cluster configuration": (
        ".alter follower cluster configuration from 'leader' database-name-prefix = N"
    ),
    "drop follower database": ".drop follower database Sales from 'leader'",
}

_PRINCIPAL_ROW = (
    "Role PrincipalType PrincipalDisplayName PrincipalObjectId PrincipalFQN Notes "
    "RoleAssignmentIdentifier"
)
_FOLLOWER_ROW = (
    "DatabaseName LeaderClusterMetadataPath CachingPolicyOverride AuthorizedPrincipalsOverride "
    "AuthorizedPrincipalsModificationKind IsAutoPrefetchEnabled:bool TableMetadataOverrides "
    "CachingPoliciesModificationKind"
)
_STATE_ROW = (
    "DatabaseName LeaderCluster LeaderDatabase AttachedDatabaseConfigurationName "
    "DatabaseShareOrigin TableLevelSharingProperties:dynamic TableLevelSharingOverride:dynamic "
    "Epoch:long Gate Reason IsConnected:bool Version Position:dynamic RowsVisible:long "
    "Lag:timespan ApplyLagP50:timespan ApplyLagP99:timespan Trouble"
)

FOLLOWER_RESULTS = {
    name: "DatabaseName LeaderClusterMetadataPath"
    if name == "drop follower database"
    else _STATE_ROW
    if name.endswith(" details")
    else _FOLLOWER_ROW
    if " follower " in name
    else _PRINCIPAL_ROW
    for name in FOLLOWER_EXAMPLES
} | {
    "show principal roles": "Scope DisplayName AADObjectID Role",
    "show principal access": "Database Table AccessType IsAllowed:bool",
}
