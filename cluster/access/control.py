"""Decides whether a caller may do something, from the roles it has. Pure.

Roles of a database and its tables are read from the tree in force, which on a follower is the
leader's with the attachment's principals modification kind applied
(:mod:`cluster.catalog.following`); roles over all databases from the tree of ``NetDefaultDB`` and
from the configuration. So a change of roles counts from the next request on.

Roles are enforced where authentication is required. Where it is not, everybody is an administrator
but the principals that the configuration names: those have the roles they were given, so that roles
can be tried out beside clients that say nothing of themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cluster.access.permissions import INGEST, PERMISSIONS, QUERY
from cluster.access.principals import folded, is_among, names_of
from cluster.access.rights import (
    CLUSTER_ROLES,
    DATABASE_ROLES,
    EVERYTHING,
    TABLE_ROLES,
    Right,
    closure,
)
from cluster.access.settings import AuthSettings
from cluster.catalog.model import DEFAULT_DATABASE, Role
from cluster.errors import AccessDeniedError, DatabaseNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.catalog.model import Database, RoleAssignment
    from cluster.request import Caller

_ROLE_WORDS: Final[Mapping[Right, str]] = {
    right: role.value
    for roles in (TABLE_ROLES, DATABASE_ROLES, CLUSTER_ROLES)
    for role, right in roles.items()
}


class Trees(Protocol):
    """Where metadata trees come from: the catalog."""

    def get(self, name: str) -> Database:
        """The tree in force. Raises DatabaseNotFoundError."""


class AccessControl:
    """Roles of callers, and what they allow. ``cluster`` is what remedies call this cluster."""

    def __init__(
        self, trees: Trees, settings: AuthSettings | None = None, *, cluster: str = "CLUSTER"
    ) -> None:
        self._trees = trees
        self._settings = settings or AuthSettings()
        self._cluster = cluster
        self._configured = frozenset(
            folded(name)
            for name in (
                *self._settings.admins,
                *self._settings.viewers,
                *self._settings.monitors,
                *(item.principal for item in self._settings.applications),
                *(item.principal for item in self._settings.tokens),
            )
        )

    def is_enforced(self, caller: Caller) -> bool:
        """Whether the roles of this caller count; without, everything is allowed."""
        if caller.is_node:
            return False
        return self._settings.is_required or folded(caller.principal) in self._configured

    def rights(self, caller: Caller, database: str = "", table: str = "") -> frozenset[Right]:
        """All rights of a caller in a database and a table of it, where these exist."""
        if not self.is_enforced(caller):
            return EVERYTHING
        names = names_of(caller)
        return closure(self._held(names, self._tree(database), table))

    def allowed(self, caller: Caller, permission: str, database: str = "", table: str = "") -> bool:
        """Whether :meth:`require` would return."""
        return self._missing(caller, permission, database, table) is None

    def require(self, caller: Caller, permission: str, database: str = "", table: str = "") -> None:
        """Returns if the caller has the permission, a key of ``PERMISSIONS``.

        ``database`` and ``table`` (or function) are what it is about; they need not exist. Raises
        AccessDeniedError, which does not tell whether they do.
        """
        missing = self._missing(caller, permission, database, table)
        if missing is not None:
            raise self._denied(caller, permission, missing, database, table)

    def _missing(
        self, caller: Caller, permission: str, database: str, table: str
    ) -> frozenset[Right] | None:
        """What the caller would need one right of; None: it has all that is demanded."""
        demanded = PERMISSIONS[permission]
        if not self.is_enforced(caller):
            return None
        tree = self._tree(database)
        exists = tree is not None and (
            table in tree.functions if demanded.is_of_functions else table in tree.tables
        )
        held = closure(self._held(names_of(caller), tree, table))
        for any_of in demanded.demands(table=bool(table), exists=exists):
            if any_of and not any_of & held:
                return any_of
        return None

    def _tree(self, database: str) -> Database | None:
        try:
            return self._trees.get(database) if database else None
        except DatabaseNotFoundError:
            return None

    def configured_roles(self, caller: Caller) -> frozenset[Role]:
        """Roles over all databases that a caller has by the configuration, not by a command."""
        names = names_of(caller)
        return frozenset(
            role for role, principals in self._by_configuration() if is_among(names, principals)
        )

    def configured(self) -> tuple[tuple[Role, str], ...]:
        """Everybody who has a role over all databases by the configuration."""
        return tuple((role, name) for role, names in self._by_configuration() for name in names)

    def _by_configuration(self) -> tuple[tuple[Role, tuple[str, ...]], ...]:
        settings = self._settings
        return (
            (Role.ALL_DATABASES_ADMINS, settings.admins),
            (Role.ALL_DATABASES_VIEWERS, settings.viewers),
            (Role.ALL_DATABASES_MONITORS, settings.monitors),
        )

    def _held(self, names: frozenset[str], tree: Database | None, table: str) -> Iterator[Right]:
        for role, principals in self._by_configuration():
            if is_among(names, principals):
                yield CLUSTER_ROLES[role]
        cluster = self._tree(DEFAULT_DATABASE)
        if cluster is not None:
            yield from _rights(names, cluster.principals, CLUSTER_ROLES)
        if tree is None:
            return
        yield from _rights(names, tree.principals, DATABASE_ROLES)
        found = tree.tables.get(table)
        if found is not None:
            yield from _rights(names, found.principals, TABLE_ROLES)

    def _denied(
        self,
        caller: Caller,
        permission: str,
        missing: frozenset[Right],
        database: str,
        table: str,
    ) -> AccessDeniedError:
        who = f"Principal '{caller.principal}'" if caller.principal else "An anonymous caller"
        what = f"database '{database}'" if database else "this cluster"
        if database and table:
            what = f"table '{table}' of database '{database}'"
        words = _ACTIONS.get(permission)
        if words is None:
            message = f"{who} is not authorized in {what}: it needs the permission '{permission}'."
        else:
            message = f"{who} is not authorized to {words} {what}."
        command = self._command(min(missing, key=_least), caller, database, table)
        return AccessDeniedError(
            message,
            remedy=(
                f"Have an administrator run: {command} (from the command line of the setup: "
                f'remora command {self._cluster} {database or DEFAULT_DATABASE} "...").'
            ),
            metadata={
                "principal": caller.principal,
                "permission": permission,
                "database": database,
                "table": table,
            },
        )

    @staticmethod
    def _command(right: Right, caller: Caller, database: str, table: str) -> str:
        role = _ROLE_WORDS[right]
        principal = caller.principal or "aadapp=ID;TENANT"
        scope = f"database {_quoted(database)}"
        if right in CLUSTER_ROLES.values():
            scope = "cluster"
        elif right in TABLE_ROLES.values() and table:
            scope = f"table {_quoted(table)}"
        return f".add {scope} {role} ('{principal}')"


_ACTIONS: Final[Mapping[str, str]] = {QUERY: "read", INGEST: "ingest into"}
_ORDER: Final = tuple(Right)


def _least(right: Right) -> int:
    """The narrowest role first: nobody is told to make an administrator of a reader."""
    return -_ORDER.index(right)


def _rights(
    names: frozenset[str], principals: Iterable[RoleAssignment], roles: Mapping[Role, Right]
) -> Iterator[Right]:
    for item in principals:
        right = roles.get(item.role)
        if right is not None and folded(item.principal) in names:
            yield right


def _quoted(name: str) -> str:
    if name.isidentifier():
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"
