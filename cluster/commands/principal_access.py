"""``.show principal roles`` and ``.show principal access``: what a principal may do. Pure.

Without a name both tell of the caller. Of somebody else they tell who may see the principals they
tell of. Declared choices, as no page gives samples: ``Scope`` is ``Cluster``, ``Database D`` or
``Table D.T``; of access types there are ``ingest``, ``query`` and ``admin``; the columns of
``access`` are those that connectors read by place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.access.permissions import INGEST, QUERY
from cluster.access.principals import folded, names_of
from cluster.access.rights import CLUSTER_ROLES
from cluster.catalog.changes import find_table
from cluster.catalog.model import DEFAULT_DATABASE, Role
from cluster.commands.grammar.spec import CLUSTER_MONITOR, DATABASE_ADMIN, TABLE_ADMIN, VIEWER
from cluster.commands.principals import ROLE_NAMES, check_principal, display_name, object_id
from cluster.commands.properties import read_properties
from cluster.errors import InvalidRequestError
from cluster.request import Caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.catalog.model import Database, RoleAssignment
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

_INGEST: Final = "ingest"
_QUERY: Final = "query"
_ADMIN: Final = "admin"
_TYPES: Final = {_INGEST: _INGEST, _QUERY: _QUERY, "read": _QUERY, "view": _QUERY, _ADMIN: _ADMIN}


async def show_roles(context: Context) -> list[Row]:
    """``.show [cluster | database D | table T] principal ['p'] roles``; all scopes without one."""
    read_properties(context, {})
    caller = _asked(context, context.values.get("principal", ""))
    rows: list[Row] = []
    is_all = not ({"cluster", "database", "table"} & context.words)
    if is_all or "cluster" in context.words:
        if _is_another(context, caller):
            context.access.require(context.request.caller, CLUSTER_MONITOR)
        rows += _rows("Cluster", caller, _cluster_roles(context, caller))
    if is_all:
        for database in context.catalog.databases():
            if not _is_another(context, caller) or _may_see(context, database.name):
                rows += _of_database(database, caller)
                for table in database.tables.values():
                    rows += _of_table(database, table.name, table.principals, caller)
    elif "cluster" not in context.words:
        database = context.catalog.get(context.database_named)
        if _is_another(context, caller):
            context.access.require(context.request.caller, VIEWER, database.name)
        if "table" in context.words:
            table = find_table(database, context.values["table"])
            rows += _of_table(database, table.name, table.principals, caller)
        else:
            rows += _of_database(database, caller)
    return rows


async def show_access(context: Context) -> list[Row]:
    """``.show principal access with (accesstype='ingest', database='D', table='T')``."""
    given = read_properties(
        context,
        {"principal": str, "accesstype": str, "accesslevel": str, "database": str, "table": str,
         "useCurrentPrincipal": bool},
    )  # fmt: skip
    word = str(given.get("accesstype", given.get("accesslevel", _INGEST))).lower()
    kind = _TYPES.get(word)
    if kind is None:
        raise InvalidRequestError(
            f"'{word[:80]}' is not a type of access; it is one of {', '.join(sorted(_TYPES))}."
        )
    name = "" if given.get("useCurrentPrincipal", False) else given.get("principal", "")
    caller = _asked(context, name)
    database, table = given.get("database", context.database), given.get("table", "")
    if _is_another(context, caller):
        context.access.require(context.request.caller, VIEWER, database)
    permission = {
        _INGEST: INGEST,
        _QUERY: QUERY,
        _ADMIN: TABLE_ADMIN if table else DATABASE_ADMIN,
    }[kind]
    return [(database, table, kind, context.access.allowed(caller, permission, database, table))]


def _asked(context: Context, name: str) -> Caller:
    return Caller(check_principal(name)) if name else context.request.caller


def _is_another(context: Context, caller: Caller) -> bool:
    return folded(caller.principal) != folded(context.request.caller.principal)


def _may_see(context: Context, database: str) -> bool:
    return context.access.allowed(context.request.caller, VIEWER, database)


def _cluster_roles(context: Context, caller: Caller) -> Iterator[str]:
    if not context.access.is_enforced(caller):
        yield ROLE_NAMES[Role.ALL_DATABASES_ADMINS]
        return
    principals = context.catalog.get(DEFAULT_DATABASE).principals
    held = {
        *_held(caller, [item for item in principals if item.role in CLUSTER_ROLES]),
        *context.access.configured_roles(caller),
    }
    yield from (name for role, name in ROLE_NAMES.items() if role in held)


def _of_database(database: Database, caller: Caller) -> list[Row]:
    own = [item for item in database.principals if item.role not in CLUSTER_ROLES]
    roles = (ROLE_NAMES[role] for role in _held(caller, own))
    return _rows(f"Database {database.name}", caller, roles)


def _of_table(
    database: Database, table: str, principals: Iterable[RoleAssignment], caller: Caller
) -> list[Row]:
    roles = (ROLE_NAMES[role] for role in _held(caller, principals))
    return _rows(f"Table {database.name}.{table}", caller, roles)


def _held(caller: Caller, principals: Iterable[RoleAssignment]) -> list[Role]:
    """Roles that a caller has by its own name or a group, each once, in order."""
    names = names_of(caller)
    found = {item.role for item in principals if folded(item.principal) in names}
    return [role for role in ROLE_NAMES if role in found]


def _rows(scope: str, caller: Caller, roles: Iterable[str]) -> list[Row]:
    name = caller.principal
    shown = display_name(name) if name else "the node" if caller.is_node else "anonymous"
    return [(scope, shown, object_id(name), role) for role in roles]


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show principal roles": show_roles,
    "show principal access": show_access,
}
