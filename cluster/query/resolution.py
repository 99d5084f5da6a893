"""What resolving a query works with and finds out: scopes, tables, conditions. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.errors import LimitExceededError
from cluster.query.translation import HIDDEN, TableUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckdb_kql import ir

    from cluster.limits import Limits
    from cluster.query.expressions import Columns
    from cluster.query.translation import Filter

Schema = tuple[tuple[str, str], ...]
"""Columns of a table in order: (name, Kusto type)."""

Catalog = dict[str, dict[str, Schema]]
"""Databases a query may read: case-folded name -> table name -> columns."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Tabular ``let`` bindings in force: their columns and their resolved queries, in order."""

    columns: Mapping[str, Columns] = field(default_factory=dict)
    lets: tuple[tuple[str, ir.Query], ...] = ()
    of_a_row: bool = False
    """Within ``mv-apply``, which DuckDB computes for all rows at once and in no order."""

    def with_let(self, name: str, query: ir.Query, columns: Columns) -> Scope:
        """One more binding."""
        lets = (*self.lets, (name, query))
        return Scope({**self.columns, name: columns}, lets, self.of_a_row)


@dataclass(slots=True)
class Resolution:
    """What resolving has found out."""

    tables: dict[str, TableUse] = field(default_factory=dict)
    schema: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, list[tuple[Filter, ...]]] = field(default_factory=dict)
    """For each alias, the conditions on its rows at each place that reads it."""
    needs: dict[str, set[str]] = field(default_factory=dict)
    """For each alias, the columns that some place reads."""
    same_types: list[tuple[ir.Query, ...]] = field(default_factory=list)
    """Queries whose columns of equal names must have equal types, where that was not known."""
    uses_cursor: bool = False
    visualization: dict[str, object] | None = None

    def uses(self) -> tuple[TableUse, ...]:
        """The tables in the order of their inputs, as a translation names them."""
        return tuple(
            dataclasses.replace(
                use,
                filters=tuple(dict.fromkeys(self.places.get(alias, [()]))),
                columns=tuple(n for n in self.schema[alias] if n not in HIDDEN),
            )
            for alias, use in self.tables.items()
        )

    def forget_unread(self) -> None:
        """Leaves out tables that are only counted, and columns that are not read.

        One column stays if there is nothing else to count rows by.
        """
        for alias in [a for a, use in self.tables.items() if not use.counted]:
            if alias not in self.places:
                del self.tables[alias]
                continue
            read, known = self.needs[alias], self.schema[alias]
            self.schema[alias] = [n for n in known if n in read or n in HIDDEN] or known[:1]


def require_within(what: str, count: int, limits: Limits) -> None:
    """Raises LimitExceededError for more ``operators`` or ``tables`` than a query may have."""
    most = limits.query_operators if what == "operators" else limits.query_tables
    if count > most:
        where = "one behind the other" if what == "operators" else "in one union"
        raise LimitExceededError(
            f"The query has {count} {what} {where}, the limit is {most}.",
            remedy="Take it apart into several queries.",
            metadata={"limit": f"query_{what}", "limit_value": str(most)},
        )
