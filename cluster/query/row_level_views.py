"""Row level security in the translator: a query of a policy in the place of its table. Pure.

The query is lowered by itself and resolved in its own database, with no ``let``, parameter or
function of the caller's text in sight, so nothing the caller writes can stand for a name in it. Its
tables have aliases no query can spell. Within it the table is the table; another table under a
policy is refused, as ``rowlevelsecuritypolicy.md`` has it.

Nor may a stored function stand for a name in it that meant something else: whoever may query a
database may create functions there, and one called ``current_principal`` would say who asks. So
built-in functions cannot be replaced in a policy, the table cannot either, and a name that both
another table and a function have is refused, whichever was there first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from duckdb_kql import ir

from cluster.errors import NotSupportedError, SemanticError
from cluster.query.known_functions import is_built_in
from cluster.query.resolution import Scope
from cluster.query.row_level import is_bare, is_unclear
from cluster.query.translation import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cluster.query.expressions import Columns
    from cluster.query.messages import PolicyText
    from cluster.query.resolution import Schema
    from cluster.query.resolve import Resolver
    from cluster.query.second_look import Direction

    Directions = Mapping[Any, set[Direction]] | None
    Lower = Callable[[PolicyText], tuple[ir.Query, Directions]]


@dataclass(frozen=True, slots=True)
class View:
    """What the query of a policy gives, under the alias that stands for the table."""

    query: ir.Query
    columns: Columns


class RowLevelViews:
    """The policies one query is under; ``lower`` makes a representation of a policy's query."""

    def __init__(self, policies: tuple[PolicyText, ...], lower: Lower) -> None:
        self._policies = {(policy[0].casefold(), policy[1]): policy for policy in policies}
        self._lower = lower
        self._reading: tuple[str, str] | None = None
        self.views: dict[str, View] = {}
        """By their aliases, in the order in which they were made."""

    def alias_of(self, alias: str) -> str:
        """The alias of a table here: another one within a policy than in the caller's text."""
        return alias if self._reading is None else f"$policy {alias}"

    def of(
        self,
        resolver: Resolver,
        name: str,
        table: tuple[str, str, Schema],
        wanted: tuple[str, ...],
    ) -> tuple[Any, Columns] | None:
        """What is read in the place of a table: folded database, name, schema. None: the table.

        ``name`` is what results call the table (``union withsource``). Raises SemanticError for a
        query that does not give the table's columns, NotSupportedError for one that reads another
        table under a policy, or that does not keep the hidden columns that are ``wanted``.
        """
        key = table[:2]
        policy = self._policies.get(key)
        if policy is None or self._reading == key:
            return None
        if self._reading is not None:
            raise NotSupportedError(
                f"The row level security policy of table '{self._reading[1]}' reads table "
                f"'{key[1]}', which is under such a policy itself: not supported, by Kusto either."
            )
        alias = f"$secured {' '.join(wanted)} {name}" if wanted else name
        if alias not in self.views:
            self.views[alias] = self._made(resolver, policy, table, wanted)
        columns = self.views[alias].columns
        resolver.found.schema[alias] = list(columns)
        return ir.TableRef(alias), dict(columns)

    def _made(
        self,
        resolver: Resolver,
        policy: PolicyText,
        table: tuple[str, str, Schema],
        wanted: tuple[str, ...],
    ) -> View:
        query, directions = self._lower(_as_meant(policy, resolver.catalog[table[0]]))
        before = resolver.database, resolver.directions
        resolver.database, resolver.directions = policy[0], directions or {}
        self._reading = table[:2]
        try:
            resolved, columns = resolver.query(query, Scope(), keep=frozenset(wanted))
        finally:
            self._reading = None
            resolver.database, resolver.directions = before
        given = {name: kind for name, kind in columns.items() if name not in HIDDEN}
        schema = dict(table[2])
        fits = list(given) == list(schema) and all(
            kind is None or kind == schema[name] for name, kind in given.items()
        )
        if not fits:
            said = ", ".join(f"{name}:{kind or 'unknown'}" for name, kind in given.items())
            raise SemanticError(
                f"Semantic error: the query of the row level security policy of table "
                f"'{table[1]}' gives ({said}), not the columns of the table in their order."
            )
        return View(resolved, {**schema, **{n: k for n, k in columns.items() if n in HIDDEN}})


def _as_meant(policy: PolicyText, tables: Collection[str]) -> PolicyText:
    """The policy without stored functions that stand for something else in it.

    ``tables`` of its database. Raises NotSupportedError for a name that may be another table or a
    function.
    """
    database, table, query, functions = policy
    text = " ".join([query, *(body for _, _, body in functions)])
    kept = []
    for function in functions:
        name = function[0]
        if is_built_in(name):
            continue
        if name in tables and is_bare(text, name):
            if is_unclear(name, table, text):
                raise NotSupportedError(
                    f"The row level security policy of table '{table}' names '{name}', which is a "
                    "table and a stored function: not supported by Remora.",
                    remedy="Rename one of them, or drop the function.",
                )
            continue
        kept.append(function)
    return database, table, query, tuple(kept)
