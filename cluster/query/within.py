"""A resolver in one scope, as expressions see it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.query import windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckdb_kql import ir

    from cluster.query.expressions import Columns
    from cluster.query.resolution import Scope
    from cluster.query.resolve import Resolver


class Within:
    """A resolver in one scope, as expressions see it."""

    def __init__(
        self,
        resolver: Resolver,
        scope: Scope,
        *,
        without_rows: bool = False,
        in_order: bool = False,
    ) -> None:
        self._resolver = resolver
        self._scope = scope
        self.without_rows = without_rows
        self.in_order = in_order
        self.restarts = windows.Restarts()

    def use_cursor(self) -> None:
        """Notes that the query depends on the database cursor."""
        self._resolver.found.uses_cursor = True

    @property
    def database(self) -> str:
        """The database in context."""
        return self._resolver.database

    @property
    def facts(self) -> Mapping[str, str]:
        """Values of functions of the request."""
        return self._resolver.facts

    @property
    def string_bytes(self) -> int:
        """Most bytes of one string or dynamic value."""
        return self._resolver.string_bytes

    def nested(self, query: ir.Query) -> tuple[ir.Query, Columns]:
        """Resolves a query inside an expression."""
        return self._resolver.query(query, self._scope)

    def is_table(self, name: str) -> bool:
        """True if ``name`` alone can stand as a table here."""
        return self._resolver.is_table(name, self._scope)
