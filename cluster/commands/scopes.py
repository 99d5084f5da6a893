"""What a command is about, and so which roles of whom it needs. Pure.

The permission of a command's row counts in every database and table that the command names; where
it names none, in the database in context. A query behind ``<|`` or in a policy reads by the rights
of who sends it, so reading the database in context must be allowed too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.access.permissions import QUERY
from cluster.catalog.changes import CreateTable, SetPrincipals
from cluster.catalog.model import Role, RoleAssignment
from cluster.commands.grammar.spec import CLUSTER_MONITOR, VIEWER
from cluster.commands.names import ColumnName, EntityName, Rename, Since, TableDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cluster.access.control import AccessControl
    from cluster.catalog.changes import Change
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Column, Database
    from cluster.commands.context import CatalogDoor
    from cluster.commands.interpreter import Command
    from cluster.commands.results import Row
    from cluster.request import Caller

ANY: Final = "any"
_WILDCARD: Final = "*"
_ENTITIES: Final = ("table", "tables", "source", "column", "renames", "function", "functions")
"""Values that name tables and functions."""
_PATHS: Final = ("ingest",)
"""Commands whose ``source`` is no table."""
_OF_DATABASE: Final = ("Database", "DatabaseName")
"""Columns that say which database a row is of."""
_SUBQUERY: Final = "<|"
_OF_PRINCIPALS: Final = ("show principal roles", "show principal access")
"""Everybody may know of their own roles; of those of others, the executors decide."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A database, and a table or function of it where one is named."""

    database: str
    table: str = ""


def check_access(access: AccessControl, caller: Caller, command: Command, database: str) -> None:
    """Raises AccessDeniedError unless the caller may run the command in ``database``."""
    if not access.is_enforced(caller):
        return
    permission = command.spec.permission
    for scope in scopes(command, database):
        access.require(caller, permission, scope.database, scope.table)
    if command.spec.name in _OF_PRINCIPALS:
        return
    if permission == ANY and "database" in command.values:
        # Everybody may run it, and sees what is shown of databases that may be seen.
        access.require(caller, VIEWER, command.values["database"])
    if _SUBQUERY in command.words and "query" in command.values:
        text: str = command.values["query"]
        if not text.strip().startswith("."):
            access.require(caller, QUERY, database)


def scopes(command: Command, database: str) -> tuple[Scope, ...]:
    """What the command names, each once; the database in context where it names nothing."""
    values = command.values
    named = _folded(values.get("database"))
    context = named[0] if named else database
    found = dict.fromkeys(
        scope
        for key in _ENTITIES
        if not (key == "source" and command.spec.name.startswith(_PATHS))
        for item in _items(values.get(key))
        for scope in _of(item, context)
    )
    if found:
        return tuple(found)
    databases = [name for name in _folded(values.get("databases")) if _WILDCARD not in name]
    if databases or _lists_databases(command):
        return tuple(Scope(name) for name in dict.fromkeys(databases))
    return (Scope(context),)


def _lists_databases(command: Command) -> bool:
    """Forms over all databases: they show those that may be seen (see :class:`CallersCatalog`).

    So do patterns of names; a database that is named must be one that may be seen.
    """
    return command.spec.permission == VIEWER and bool(command.words & {"databases", "cluster"})


def _items(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _of(item: Any, context: str) -> Iterator[Scope]:
    match item:
        case EntityName(database, name) | ColumnName(database, name, _):
            # ".show table * policy X" shows those of all tables: a right on the database counts.
            yield Scope(database or context, "" if name == _WILDCARD else name)
        case TableDefinition(name, _):
            yield Scope(context, name)
        case Rename(_, old, _):
            yield from _of(old, context)
        case str():
            yield Scope(context, "" if item == _WILDCARD else item)


def _folded(value: Any) -> list[str]:
    """Names of databases, however the kind of value holds them."""
    return [item.database if isinstance(item, Since) else str(item) for item in _items(value)]


class CallersCatalog:
    """A catalog as a caller with roles has it.

    It lists only databases whose metadata the caller may see, and who makes a table becomes its
    administrator, in the same transaction (``role-based-access-control.md``).
    """

    def __init__(self, catalog: CatalogDoor, access: AccessControl, caller: Caller) -> None:
        self._access = access
        self._caller = caller
        self._catalog = catalog
        self.get = catalog.get
        self.is_following = catalog.is_following
        self.following_source = catalog.following_source
        self.following_settings = catalog.following_settings
        self.set_following = catalog.set_following
        self.history = catalog.history
        self.new_key = catalog.new_key
        self.new_id = catalog.new_id
        self.create_database = catalog.create_database
        self.drop_database = catalog.drop_database

    def databases(self) -> tuple[Database, ...]:
        """Those that may be seen, in the catalog's order."""
        return tuple(item for item in self._catalog.databases() if self.is_seen(item.name))

    def is_seen(self, database: str) -> bool:
        """Whether the caller may see the metadata of a database; empty: of the cluster."""
        permission = VIEWER if database else CLUSTER_MONITOR
        return self._access.allowed(self._caller, permission, database)

    async def transact(
        self, name: str, plan: Callable[[Database], Sequence[Change]], *, text: str, user: str = ""
    ) -> tuple[Database, Delta | None]:
        """As the catalog does."""

        def planned(database: Database) -> Sequence[Change]:
            changes = plan(database)
            told = {item.table for item in changes if isinstance(item, SetPrincipals)}
            made = [
                item.table
                for item in changes
                if isinstance(item, CreateTable) and item.table not in told
            ]
            return [*changes, *(SetPrincipals(table, self._administrator()) for table in made)]

        return await self._catalog.transact(name, planned, text=text, user=user)

    def _administrator(self) -> tuple[RoleAssignment, ...]:
        if not self._caller.principal:
            return ()
        return (RoleAssignment(Role.ADMINS, self._caller.principal, "", self._catalog.new_id()),)


def seen_rows(
    catalog: CallersCatalog, command: Command, columns: Sequence[Column], rows: Sequence[Row]
) -> Sequence[Row]:
    """The rows that tell of databases the caller may see; all of them if none tells of one."""
    names = [column.name for column in columns]
    place = next((names.index(name) for name in _OF_DATABASE if name in names), None)
    if place is None or command.spec.name in _OF_PRINCIPALS:
        return rows
    seen: dict[str, bool] = {}
    for name in {str(row[place] or "") for row in rows}:
        seen[name] = catalog.is_seen(name)
    return [row for row in rows if seen[str(row[place] or "")]]
