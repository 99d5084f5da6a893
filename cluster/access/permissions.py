"""What the permissions that commands and doors name mean, as a table. Pure data.

The names are those of the pages of commands (``cluster/commands/grammar/spec.py``). Declared
choices: functions have no principals of their own here, so whoever administers the database
administers its functions; where no page names a permission, monitoring the cluster is enough to
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.access.rights import Right

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY: Final = "Database Viewer"
"""To read the rows of a database."""
INGEST: Final = "Table Ingestor"
"""To ingest into a table that exists."""
RESTRICTED: Final = "Database UnrestrictedViewer"
"""To read a table whose restricted view access policy is on, besides QUERY."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One of ``any_of`` is enough; empty: every caller may.

    ``of_existing`` counts for a table that exists: in place of ``any_of``, or, with ``is_both``,
    besides it. ``of_none`` counts in place of ``any_of`` where no table is named. None: no
    difference. ``is_of_functions``: the entity that is named is a function, not a table.
    """

    any_of: frozenset[Right]
    of_existing: frozenset[Right] | None = None
    is_both: bool = False
    of_none: frozenset[Right] | None = None
    is_of_functions: bool = False

    def demands(self, *, table: bool, exists: bool) -> tuple[frozenset[Right], ...]:
        """What must be held, one of each set: for a ``table`` that is named, and ``exists``."""
        if not table:
            return (self.any_of if self.of_none is None else self.of_none,)
        if not exists or self.of_existing is None:
            return (self.any_of,)
        return (self.any_of, self.of_existing) if self.is_both else (self.of_existing,)


def _one(*rights: Right) -> frozenset[Right]:
    return frozenset(rights)


_USER: Final = _one(Right.DATABASE_USER)
_DATABASE_ADMIN: Final = _one(Right.DATABASE_ADMIN)
_TABLE_ADMIN: Final = _one(Right.TABLE_ADMIN)
_TABLE_INGESTOR: Final = _one(Right.TABLE_INGESTOR)
_MONITOR: Final = _one(Right.CLUSTER_MONITOR)

PERMISSIONS: Final[Mapping[str, Permission]] = {
    "any": Permission(frozenset()),
    "not documented": Permission(_MONITOR),
    "AllDatabasesAdmin": Permission(_one(Right.CLUSTER_ADMIN)),
    "AllDatabasesMonitor": Permission(_MONITOR),
    "Database Admin": Permission(_DATABASE_ADMIN),
    "Database User": Permission(_USER),
    "Database Viewer": Permission(_one(Right.DATABASE_VIEWER)),
    "Database UnrestrictedViewer": Permission(_one(Right.DATABASE_UNRESTRICTED_VIEWER)),
    "Database Ingestor": Permission(_one(Right.DATABASE_INGESTOR)),
    "Database User, Database Viewer or Database Monitor": Permission(
        _one(Right.DATABASE_VIEWER, Right.DATABASE_MONITOR)
    ),
    "Table Admin": Permission(_TABLE_ADMIN),
    "Table Ingestor": Permission(_TABLE_INGESTOR),
    "Function Admin": Permission(_DATABASE_ADMIN),
    "Table Admin if a table is given, else Database Admin": Permission(
        _TABLE_ADMIN, of_none=_DATABASE_ADMIN
    ),
    "Database User, and Table Admin if the table exists": Permission(
        _USER, of_existing=_TABLE_ADMIN, is_both=True
    ),
    # The page of functions asks for User alone to make one; who changes one must administer it.
    "Database User, and Function Admin if the function exists": Permission(
        _USER, of_existing=_DATABASE_ADMIN, is_both=True, is_of_functions=True
    ),
    "Database User to create the table, Table Ingestor to append to it": Permission(
        _USER, of_existing=_TABLE_INGESTOR
    ),
    "Database User to create the table, Table Admin to replace its data": Permission(
        _USER, of_existing=_TABLE_ADMIN
    ),
}
"""Each name a command's row or a door may use."""
