"""Executors of commands about principals, and principals as they are shown.

Roles over all databases of the cluster are kept with the principals of ``NetDefaultDB``.

Declared choices where no page says: what is known of a principal is its fully qualified name, so
its display name is that without its kind, and its object id is empty unless the name is one; a
principal that is added again keeps its assignment and takes the new notes; one that is dropped and
was not there changes nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cluster.access.rights import CLUSTER_ROLES
from cluster.catalog.changes import SetPrincipals, find_table
from cluster.catalog.model import DEFAULT_DATABASE, Role, RoleAssignment
from cluster.commands.schema_text import compact
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    Assignments = tuple[RoleAssignment, ...]

ROLE_NAMES: Final[Mapping[Role, str]] = {
    Role.ADMINS: "Admin",
    Role.INGESTORS: "Ingestor",
    Role.USERS: "User",
    Role.VIEWERS: "Viewer",
    Role.UNRESTRICTED_VIEWERS: "UnrestrictedViewer",
    Role.MONITORS: "Monitor",
    Role.ALL_DATABASES_ADMINS: "AllDatabasesAdmin",
    Role.ALL_DATABASES_VIEWERS: "AllDatabasesViewer",
    Role.ALL_DATABASES_MONITORS: "AllDatabasesMonitor",
}
_OVER_CLUSTER: Final[Mapping[str, Role]] = {
    "admins": Role.ALL_DATABASES_ADMINS,
    "viewers": Role.ALL_DATABASES_VIEWERS,
    "monitors": Role.ALL_DATABASES_MONITORS,
}
"""Short names of roles over all databases."""
_TYPES: Final[Mapping[str, str]] = {
    "aaduser": "Microsoft Entra user",
    "aadgroup": "Microsoft Entra group",
    "aadapp": "Microsoft Entra app",
    "msauser": "Microsoft account",
    "dstsgrp": "dSTS group",
    "dstsapp": "dSTS app",
}
"""Kinds of principals, by what their names begin with."""


def role_of(context: Context) -> Role:
    """The role that a command names."""
    if _is_of_cluster(context):
        for word, role in _OVER_CLUSTER.items():
            if word in context.words:
                return role
    (role,) = (role for role in Role if role.value in context.words)
    return role


def _is_of_cluster(context: Context) -> bool:
    return "cluster" in context.words


def check_principal(name: str) -> str:
    """The name, if it is fully qualified. Raises InvalidRequestError."""
    kind, _, value = name.partition("=")
    if kind.lower() in _TYPES and value.strip():
        return name
    kinds = ", ".join(f"{kind}=..." for kind in _TYPES)
    raise InvalidRequestError(
        f"'{name}' is not the fully qualified name of a principal: it is one of {kinds}.",
        metadata={"principal": name},
    )


def added(
    present: Assignments, role: Role, names: Sequence[str], notes: str, new_id: Callable[[], str]
) -> Assignments:
    """The assignments after ``.add``: each name once in the role."""
    found = {(item.role, item.principal.lower()): item for item in present}
    for name in names:
        key = (role, check_principal(name).lower())
        if key in found:
            found[key] = replace(found[key], notes=notes)
        else:
            found[key] = RoleAssignment(role, name, notes, new_id())
    return tuple(found.values())


def dropped(present: Assignments, role: Role, names: Sequence[str]) -> Assignments:
    """The assignments after ``.drop``."""
    gone = {check_principal(name).lower() for name in names}
    return tuple(
        item for item in present if item.role is not role or item.principal.lower() not in gone
    )


def principals_text(principals: Iterable[RoleAssignment]) -> str:
    """``AuthorizedPrincipals`` of the details of databases and tables."""
    return compact(
        [
            {
                "Type": type_of(item.principal),
                "DisplayName": display_name(item.principal),
                "ObjectId": object_id(item.principal),
                "FQN": item.principal,
                "Notes": item.notes,
                "RoleAssignmentIdentifier": item.assignment_id,
            }
            for item in principals
        ]
    )


def override_text(principals: Iterable[RoleAssignment]) -> str:
    """``AuthorizedPrincipalsOverride`` of ``.show follower database``."""
    return compact([_override(item) for item in principals])


def _override(item: RoleAssignment) -> dict[str, Any]:
    principal = {
        "FullyQualifiedName": item.principal,
        "Type": type_of(item.principal),
        "DisplayName": display_name(item.principal),
        "ObjectId": object_id(item.principal),
    }
    return {
        "Principal": principal,
        "Role": ROLE_NAMES[item.role],
        "Notes": item.notes,
        "RoleAssignmentIdentifier": item.assignment_id,
    }


def type_of(principal: str) -> str:
    """``PrincipalType``."""
    return _TYPES[principal.partition("=")[0].lower()]


def display_name(principal: str) -> str:
    """The name without its kind and tenant."""
    return principal.partition("=")[2].partition(";")[0].strip()


def object_id(principal: str) -> str:
    """The name without its kind and tenant, if it is an id."""
    name = display_name(principal)
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return ""


def principal_rows(kind: str, name: str, principals: Iterable[RoleAssignment]) -> list[Row]:
    """Rows of ``.show database D principals``, in the order of roles, then of assignment."""
    return [
        (
            f"{kind} {name} {ROLE_NAMES[item.role]}",
            type_of(item.principal),
            display_name(item.principal),
            object_id(item.principal),
            item.principal,
            item.notes,
            item.assignment_id,
        )
        for item in sorted(principals, key=_place)
    ]


def _place(item: RoleAssignment) -> int:
    return list(ROLE_NAMES).index(item.role)


async def show_database(context: Context) -> list[Row]:
    """``.show database [D] principals``."""
    database = context.catalog.get(context.database_named)
    return principal_rows("Database", database.name, _own(database.principals))


async def show_cluster(context: Context) -> list[Row]:
    """``.show cluster principals``: those of commands, then those of the configuration."""
    configured = (
        RoleAssignment(role, name, "configuration") for role, name in context.access.configured()
    )
    return [
        *_cluster_rows(context.catalog.get(DEFAULT_DATABASE).principals),
        *_cluster_rows(configured),
    ]


def _cluster_rows(principals: Iterable[RoleAssignment]) -> list[Row]:
    over_all = sorted((item for item in principals if item.role in CLUSTER_ROLES), key=_place)
    rows = principal_rows("Cluster", "", over_all)
    return [(ROLE_NAMES[item.role], *row[1:]) for item, row in zip(over_all, rows, strict=True)]


async def show_table(context: Context) -> list[Row]:
    """``.show table T principals``."""
    table = find_table(context.catalog.get(context.database), context.values["table"])
    return principal_rows("Table", table.name, table.principals)


async def change(
    edit: Callable[[Context, Assignments], Assignments], context: Context
) -> list[Row]:
    """``.add | .drop | .set (cluster | database D | table T) ROLE (...)``."""
    table: str = context.values.get("table", "")
    name = DEFAULT_DATABASE if _is_of_cluster(context) else context.database_named

    def plan(database: Database) -> Sequence[Change]:
        present = find_table(database, table).principals if table else database.principals
        after = edit(context, present)
        return [] if after == present else [SetPrincipals(table, after)]

    database = await context.transact(name, plan)
    if "skip-results" in context.words:
        return []
    if table:
        found = database.tables[table]
        return principal_rows("Table", found.name, found.principals)
    if _is_of_cluster(context):
        return _cluster_rows(database.principals)
    return principal_rows("Database", database.name, _own(database.principals))


def _own(principals: Iterable[RoleAssignment]) -> list[RoleAssignment]:
    """Those of the database itself."""
    return [item for item in principals if item.role not in CLUSTER_ROLES]


def _add(context: Context, present: Assignments) -> Assignments:
    values = context.values
    notes = values.get("notes", "")
    return added(present, role_of(context), values["principals"], notes, context.catalog.new_id)


def _drop(context: Context, present: Assignments) -> Assignments:
    return dropped(present, role_of(context), context.values["principals"])


def _set(context: Context, present: Assignments) -> Assignments:
    """Those named are in the role, nobody else; those who were keep their assignment."""
    role, names = role_of(context), context.values.get("principals", ())
    wanted = {check_principal(name).lower() for name in names}
    kept = tuple(
        item for item in present if item.role is not role or item.principal.lower() in wanted
    )
    return added(kept, role, names, context.values.get("notes", ""), context.catalog.new_id)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show database principals": show_database,
    "show table principals": show_table,
    "show cluster principals": show_cluster,
    **{
        f"{verb} {subject} principals": partial(change, edit)
        for verb, edit in (("add", _add), ("drop", _drop), ("set", _set))
        for subject in ("cluster", "database", "table")
    },
}
