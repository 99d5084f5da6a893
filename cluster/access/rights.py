"""What roles give, as a table (``role-based-access-control.md``). Pure data.

A *right* is a role with its scope. Each gives other rights; those given are given on. Declared
choices where no page says: an administrator of a table may ingest into it, and reads nothing of it
by that alone, as queries need a role of the database; whoever views all databases views restricted
tables too.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Right(enum.Enum):
    """A role in its scope. The value is how ``.show principal roles`` and the pages name it."""

    CLUSTER_ADMIN = "AllDatabasesAdmin"
    CLUSTER_VIEWER = "AllDatabasesViewer"
    CLUSTER_MONITOR = "AllDatabasesMonitor"
    DATABASE_ADMIN = "Database Admin"
    DATABASE_USER = "Database User"
    DATABASE_VIEWER = "Database Viewer"
    DATABASE_UNRESTRICTED_VIEWER = "Database UnrestrictedViewer"
    DATABASE_INGESTOR = "Database Ingestor"
    DATABASE_MONITOR = "Database Monitor"
    TABLE_ADMIN = "Table Admin"
    TABLE_INGESTOR = "Table Ingestor"


GIVES: Final[Mapping[Right, tuple[Right, ...]]] = {
    Right.CLUSTER_ADMIN: (
        Right.CLUSTER_VIEWER,
        Right.CLUSTER_MONITOR,
        Right.DATABASE_ADMIN,
    ),
    Right.CLUSTER_VIEWER: (Right.DATABASE_VIEWER, Right.DATABASE_UNRESTRICTED_VIEWER),
    Right.CLUSTER_MONITOR: (Right.DATABASE_MONITOR,),
    Right.DATABASE_ADMIN: (
        Right.DATABASE_USER,
        Right.DATABASE_INGESTOR,
        Right.DATABASE_MONITOR,
        Right.TABLE_ADMIN,
    ),
    Right.DATABASE_USER: (Right.DATABASE_VIEWER,),
    Right.DATABASE_INGESTOR: (Right.TABLE_INGESTOR,),
    Right.TABLE_ADMIN: (Right.TABLE_INGESTOR,),
}
"""What each right gives besides itself, one step."""

CLUSTER_ROLES: Final[Mapping[Role, Right]] = {
    Role.ALL_DATABASES_ADMINS: Right.CLUSTER_ADMIN,
    Role.ALL_DATABASES_VIEWERS: Right.CLUSTER_VIEWER,
    Role.ALL_DATABASES_MONITORS: Right.CLUSTER_MONITOR,
}
"""Roles over every database of a cluster; they are kept with the principals of NetDefaultDB."""

DATABASE_ROLES: Final[Mapping[Role, Right]] = {
    Role.ADMINS: Right.DATABASE_ADMIN,
    Role.USERS: Right.DATABASE_USER,
    Role.VIEWERS: Right.DATABASE_VIEWER,
    Role.UNRESTRICTED_VIEWERS: Right.DATABASE_UNRESTRICTED_VIEWER,
    Role.INGESTORS: Right.DATABASE_INGESTOR,
    Role.MONITORS: Right.DATABASE_MONITOR,
}
TABLE_ROLES: Final[Mapping[Role, Right]] = {
    Role.ADMINS: Right.TABLE_ADMIN,
    Role.INGESTORS: Right.TABLE_INGESTOR,
}

EVERYTHING: Final = frozenset(Right)
"""The rights of those to whom everything is allowed."""


def closure(rights: Iterable[Right]) -> frozenset[Right]:
    """The rights with all that they give."""
    found: set[Right] = set()
    waiting = list(rights)
    while waiting:
        right = waiting.pop()
        if right not in found:
            found.add(right)
            waiting += GIVES.get(right, ())
    return frozenset(found)
