"""Forms about principals and their roles (``adx-behaviour.md`` 7.10). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    CLUSTER_ADMIN,
    CLUSTER_MONITOR,
    DATABASE_ADMIN,
    TABLE_ADMIN,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

PRINCIPAL_ROW: Final = (
    "Role, PrincipalType, PrincipalDisplayName, PrincipalObjectId, PrincipalFQN, Notes, "
    "RoleAssignmentIdentifier"
)
DATABASE_ROLES: Final = "admins | users | viewers | unrestrictedviewers | ingestors | monitors"
TABLE_ROLES: Final = "admins | ingestors"
CLUSTER_ROLES: Final = (
    "admins | viewers | monitors | alldatabasesadmins | alldatabasesviewers | alldatabasesmonitors"
)
_OTHER_CLUSTER_ROLES: Final = (
    "databasecreators | ingestors | ops | unrestrictedviewers | users | none"
)
_OTHER_ROLES: Final = "admins | none"
ROLES_ROW: Final = "Scope, DisplayName, AADObjectID, Role"
ACCESS_ROW: Final = "Database, Table, AccessType, IsAllowed:bool"
_GIVEN: Final = "<principals:strings> [skip-results] [<notes:string>]"
_SUBJECTS: Final = (
    ("cluster", "cluster", CLUSTER_ROLES, CLUSTER_ADMIN),
    ("database", "database [<database:name>]", DATABASE_ROLES, DATABASE_ADMIN),
    ("table", "table <table:name>", TABLE_ROLES, TABLE_ADMIN),
)


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *(
        CommandSpec(f"{verb} {subject} principals", f"{verb} {entity} ({roles}) {_GIVEN}",
                    PRINCIPAL_ROW, Kind.MUTATE, permission)
        for subject, entity, roles, permission in _SUBJECTS
        for verb in ("add", "drop")
    ),
    *(
        CommandSpec(f"set {subject} principals",
                    f"set {entity} ({roles}) (none [skip-results] | {_GIVEN})",
                    PRINCIPAL_ROW, Kind.MUTATE, permission)
        for subject, entity, roles, permission in _SUBJECTS
    ),
    CommandSpec("show database principals", "show database [<database:name>] principals",
                PRINCIPAL_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show table principals", "show table <table:name> principals",
                PRINCIPAL_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show cluster principals", "show cluster principals",
                PRINCIPAL_ROW, Kind.SHOW, CLUSTER_MONITOR),
    CommandSpec("show principal roles",
                "show [cluster | database [<database:name>] | table <table:name>] principal "
                f"[<principal:string>] roles {WITH}",
                ROLES_ROW, Kind.SHOW, "any"),
    CommandSpec("show principal access", "show principal access [with <properties:properties>]",
                ACCESS_ROW, Kind.SHOW, "any"),
    refused("principals",
            f"(add | drop | set) function <function:name> ({_OTHER_ROLES}) <rest:rest>",
            "functions have no principals of their own; administrators of the database "
            "administer them."),
    refused("cluster principals",
            f"(add | drop | set) cluster ({_OTHER_CLUSTER_ROLES}) <rest:rest>",
            "the roles over a cluster are admins, viewers and monitors of all its databases."),
    refused("show principals",
            "show function <function:name> (principals | principal <rest:rest>)",
            "functions have no principals of their own."),
)  # fmt: skip
