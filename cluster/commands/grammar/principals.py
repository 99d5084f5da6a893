"""Forms about principals and their roles (``adx-behaviour.md`` 7.10). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    DATABASE_ADMIN,
    TABLE_ADMIN,
    VIEWER,
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
_OTHER_ROLES: Final = (
    "admins | alldatabasesadmins | alldatabasesmonitors | alldatabasesviewers | databasecreators | "
    "ingestors | monitors | ops | unrestrictedviewers | users | viewers | none"
)

_GIVEN: Final = "<principals:strings> [skip-results] [<notes:string>]"
_SUBJECTS: Final = (
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
    refused("principals",
            f"(add | drop | set) (cluster | function <function:name>) ({_OTHER_ROLES}) "
            "<rest:rest>",
            "principals are kept of databases and tables; whoever reaches this service may do "
            "everything."),
    refused("show principals",
            "show (cluster | function <function:name>) (principals | principal) <rest:rest>",
            "principals are kept of databases and tables."),
    refused("show principal roles",
            "show (database [<database:name>] | table <table:name>) principal <rest:rest>",
            "callers are not known here; .show database principals shows who has which role."),
)  # fmt: skip
