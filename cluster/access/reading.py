"""What of a snapshot a caller may read. Pure.

To a caller with roles there are no other databases than those it may read, and no tables whose
restricted view access policy is on unless it is an unrestricted viewer
(``restricted-view-access-policy.md``): naming one is an error like that of a name that does not
exist, so nothing is told by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cluster.access.permissions import QUERY, RESTRICTED
from cluster.catalog.policies import restricted_view_access_of

if TYPE_CHECKING:
    from cluster.query.binding import BoundTable, QuerySnapshot
    from cluster.request import Caller

    Tables = Mapping[str, BoundTable]


class Roles(Protocol):
    """Who may do what: :class:`cluster.access.control.AccessControl`."""

    def is_enforced(self, caller: Caller) -> bool:
        """Whether the roles of this caller count; without, everything is allowed."""

    def allowed(self, caller: Caller, permission: str, database: str = "") -> bool:
        """Whether it has the permission."""


class _Unrestricted(Mapping[str, "BoundTable"]):
    """Tables but those of restricted view; they are looked at when a query looks at them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __getitem__(self, name: str) -> BoundTable:
        found = self._tables[name]
        if restricted_view_access_of(found.table):
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (
            name
            for name, found in self._tables.items()
            if not restricted_view_access_of(found.table)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


def readable(snapshot: QuerySnapshot, roles: Roles, caller: Caller) -> QuerySnapshot:
    """The snapshot as the caller has it; the same one to those to whom everything is allowed."""
    if not roles.is_enforced(caller):
        return snapshot

    def of(name: str, tables: Tables) -> Tables:
        return tables if roles.allowed(caller, RESTRICTED, name) else _Unrestricted(tables)

    return replace(
        snapshot,
        tables=of(snapshot.database, snapshot.tables),
        others={
            name: of(name, tables)
            for name, tables in snapshot.others.items()
            if roles.allowed(caller, QUERY, name)
        },
    )
