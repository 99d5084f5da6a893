"""Columns that depend on rows: asked of the rows first, in the order the query names them. Pure.

Resolving a query ends at the first such place that is not known yet with :class:`Undiscovered`,
whose query gives the names and types of the columns there. The engine runs it over the same
snapshot and within the same bounds, and has the query translated again with what it found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb_kql import ir

from cluster.errors import NotSupportedError

if TYPE_CHECKING:
    from cluster.query.nodes import Rows
    from cluster.query.operators import OperatorResolver

Found = tuple[tuple[str, str], ...]
"""Names and kinds, each what whoever asked for them gave."""


class UndiscoveredError(Exception):
    """Resolving cannot go on before ``query`` has been answered."""

    def __init__(self, plugin: str, query: Any) -> None:
        super().__init__(plugin)
        self.plugin = plugin
        self.query = query


class Discovery:
    """What is known of the places of one query, taken one after the other."""

    def __init__(self, found: tuple[Found, ...] = ()) -> None:
        self._found = list(reversed(found))

    def of(self, step: OperatorResolver, plugin: str, asking: Rows) -> Found:
        """What ``asking`` gives over the rows before ``step``; its columns are two texts.

        Raises UndiscoveredError if that is not known yet, NotSupportedError where it cannot be.
        """
        if step.scope.of_a_row or any(
            use.database.startswith("$cluster ") for use in step.resolver.found.tables.values()
        ):
            raise NotSupportedError(
                f"{plugin}() without an output schema is not supported by Remora within mv-apply "
                "and partition, and behind tables of other clusters.",
                remedy=f"Give it one: evaluate {plugin}(...) : (a:long, b:string).",
            )
        if self._found:
            return self._found.pop()
        so_far = step.so_far()
        raise UndiscoveredError(
            plugin, ir.Query(so_far.source, [*so_far.operators, asking], so_far.lets)
        )
