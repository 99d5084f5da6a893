"""The representation of a query resolved against our own catalog. Pure.

Every table becomes the alias of a table this query may read, so DuckDB never resolves a name by
itself: not a file, not a Python variable, not a view of its own catalog. Wildcards and fuzzy unions
are expanded here, in the catalog's order.

Wrong answers stopped here (numbers of ``reference/kql.md`` 4.2): 5 a ``range`` that is not over
whole numbers or points in time refused, 7 a ``union`` of one name with two types refused, 8 strings
unmatched in an outer join are empty, not null.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import TYPE_CHECKING, Any

from duckdb_kql import ir
from duckdb_kql.schema import resolve_let_refs, resolve_source_let_refs
from duckdb_kql.translate import print_column_name, quote_ident, summarize_names

from cluster.errors import NotSupportedError, SemanticError
from cluster.limits import LIMITS
from cluster.query import hidden, windows
from cluster.query import nodes as own
from cluster.query.discovery import Discovery
from cluster.query.expressions import Columns, Expressions, require_usable, unresolved
from cluster.query.filters import filters_of
from cluster.query.needs import needed
from cluster.query.operators import OperatorResolver, operator_name
from cluster.query.predicates import plain
from cluster.query.ranges import literal_rows, range_rows
from cluster.query.remote import remote_name
from cluster.query.resolution import Catalog, Resolution, Schema, Scope, require_within
from cluster.query.row_level_views import RowLevelViews
from cluster.query.shapes import nodes
from cluster.query.translation import HIDDEN, ROW_COUNT, TableUse
from cluster.query.visualization import visualization
from cluster.query.within import Within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.messages import PolicyText
    from cluster.query.second_look import Direction
    from cluster.query.translation import Filter


class Resolver:
    """Resolves the queries of one request. Raises SemanticError and NotSupportedError."""

    def __init__(
        self,
        database: str,
        catalog: Catalog,
        directions: Mapping[Any, set[Direction]] | None = None,
        string_bytes: int = LIMITS.string_value_bytes,
        facts: Mapping[str, str] | None = None,
        row_level: RowLevelViews | None = None,
    ) -> None:
        self.database = database
        self._home = database.casefold()
        self.row_level = row_level or RowLevelViews((), _no_policy)
        self.facts = facts or {}
        self.string_bytes = string_bytes
        self.catalog = catalog
        self.directions = directions or {}
        self.found = Resolution()
        self.discovery = Discovery()
        self.limits = LIMITS
        self._folded: dict[str, str] = {}
        self._numbers = 0

    def whole(self, query: ir.Query) -> ir.Query:
        """Resolves the query of a request."""
        operators = list(query.operators)
        if operators and isinstance(operators[-1], own.Render):
            render = operators.pop()
            last = operators[-1] if operators else None
            self.found.visualization = visualization(
                render.kind, render.properties, is_sorted=isinstance(last, ir.Sort | ir.Top)
            )
        return self.query(dataclasses.replace(query, operators=operators), Scope())[0]

    def next_number(self) -> int:
        """A number no other part of the query has."""
        self._numbers += 1
        return self._numbers

    def query(
        self,
        query: ir.Query,
        scope: Scope,
        keep: frozenset[str] = frozenset(),
        columns: Columns | None = None,
    ) -> tuple[ir.Query, Columns]:
        """Resolves ``query`` and everything in it; returns it with its output columns.

        ``keep``: hidden columns that its rows must still have at its end. ``columns``: those of
        its source, if that is SQL already.
        """
        lets: list[tuple[str, ir.Query]] = []
        for name, bound in query.lets:
            if isinstance(bound, ir.Query):
                resolved, bound_columns = self.query(bound, scope)
                lets.append((name, resolved))
                scope = scope.with_let(name, resolved, bound_columns)
        query = self._expand_first(query, scope)
        operators = list(query.operators)
        require_within("operators", len(operators), self.limits)
        following = operator_name(operators[0]) if operators else ""
        uses = [hidden.columns_used(_functions(operator)) for operator in operators]
        wanted = keep.union(*uses)
        last = len(uses) if keep else max((i for i, used in enumerate(uses) if used), default=-1)
        source = query.source
        if columns is None:
            source, columns = self.source(query.source, scope, following, wanted)
        if (
            source is not query.source
            and isinstance(source, ir.TableRef)
            and source.name not in self.row_level.views
        ):
            source, operators = self._narrowed(source, operators, columns)
            columns = self._reduced(source, query.operators, columns)
        result: list[Any] = []
        in_order = isinstance(query.source, ir.RangeSource)
        for index, operator in enumerate(operators):
            if index > last or _shows_all(operator):
                columns = _without_hidden(result, columns)
            if isinstance(operator, windows.ORDERING):
                in_order = True
            elif not isinstance(operator, (*windows.ORDERED, ir.Summarize)):
                in_order = False
            step = OperatorResolver(
                self, scope, (source, tuple(result)), columns, in_order=in_order
            )
            produced, columns = step.resolve(operator)
            result.extend(produced)
            in_order &= not isinstance(operator, ir.Summarize)
            if isinstance(operator, own.As):
                so_far = ir.Query(source, list(result))
                scope, lets = self._named(operator.name, so_far, columns, scope, lets)
        if not keep:
            columns = _without_hidden(result, columns)
        elif not keep <= columns.keys():
            raise NotSupportedError(
                "Functions of extents and cursors behind a union are supported if every branch "
                "is a table or keeps the rows of one."
            )
        return ir.Query(source, result, list(lets)), columns

    def _narrowed(
        self, source: ir.TableRef, operators: list[Any], columns: Columns
    ) -> tuple[Any, list[Any]]:
        """What the operators behind a table say about the rows that are needed of it."""
        name = _count_name(operators[0]) if operators else None
        if name is not None:
            alias = self._counting(source.name)
            sql = (
                f"SELECT {quote_ident(ROW_COUNT)} AS {quote_ident(name)} FROM {quote_ident(alias)}"  # noqa: S608 - quoted
            )
            rest = operators[1:]
            # The count is a table of its own from here on, in the place of a `print`.
            columns.clear()
            columns[name] = "long"
            return ir.CommandSource(sql, (name,), "count"), rest
        filters: list[Filter] = []
        operators = list(operators)
        for index, operator in enumerate(operators):
            if not isinstance(operator, ir.Where):
                break
            predicate = resolve_let_refs(operator, list(columns)).predicate
            filters.extend(filters_of(predicate, columns))
            operators[index] = ir.Where(plain(predicate, columns))
        self.found.places.setdefault(source.name, []).append(tuple(filters))
        return source, operators

    def _reduced(self, source: Any, operators: list[Any], columns: Columns) -> Columns:
        """Only the columns that are needed; a table read at several places has those of each."""
        if not isinstance(source, ir.TableRef):
            return columns
        own = [name for name in columns if name not in HIDDEN]
        read = needed(operators, own)
        if read is not None and not read and any(name in HIDDEN for name in columns):
            read = frozenset(own[:1])  # SQL has no table of hidden columns alone
        self.found.needs.setdefault(source.name, set()).update(own if read is None else read)
        if read is None:
            return columns
        return {name: kind for name, kind in columns.items() if name in read or name in HIDDEN}

    def _named(
        self,
        name: str,
        query: ir.Query,
        columns: Columns,
        scope: Scope,
        lets: list[tuple[str, ir.Query]],
    ) -> tuple[Scope, list[tuple[str, ir.Query]]]:
        """``as name``: from here on the rows so far can be read by the name."""
        if name in scope.columns or any(name == known for known, _ in lets):
            raise SemanticError(f"Semantic error: SEM0079: the name '{name}' is used already.")
        plain_columns = {n: kind for n, kind in columns.items() if n not in HIDDEN}
        return scope.with_let(name, query, plain_columns), [*lets, (name, query)]

    # -- sources ---------------------------------------------------------------------------------

    def source(
        self, source: Any, scope: Scope, following: str, wanted: frozenset[str] = frozenset()
    ) -> tuple[Any, Columns]:
        """Resolves what a pipeline starts from.

        ``following``: its first operator, for messages; ``wanted``: hidden columns it uses.
        """
        if isinstance(source, ir.TableRef):
            return self._table(source, scope, following, wanted)
        source = resolve_source_let_refs(source)
        nothing = Expressions({}, following, Within(self, scope, without_rows=True))
        if isinstance(source, ir.PrintSource):
            typed = [nothing.resolve(named.expr) for named in source.expressions]
            names = [print_column_name(e, i) for i, e in enumerate(source.expressions)]
            expressions = tuple(
                dataclasses.replace(named, expr=t.expr, name=name)
                for named, t, name in zip(source.expressions, typed, names, strict=True)
            )
            columns = {name: t.type for name, t in zip(names, typed, strict=True)}
            return ir.PrintSource(expressions), columns
        if isinstance(source, ir.RangeSource):
            return range_rows(source, nothing)
        if isinstance(source, ir.DataTable):
            return literal_rows(source, nothing)
        raise NotSupportedError(f"{type(source).__name__}: not supported as a source.")

    def _table(
        self, ref: ir.TableRef, scope: Scope, following: str, wanted: frozenset[str]
    ) -> tuple[Any, Columns]:
        if ref.cluster is not None:
            ref = ir.TableRef(ref.name, remote_name(ref.cluster, ref.database or ""))
            if (ref.database or "").casefold() not in self.catalog:
                raise NotSupportedError(
                    "A table of another cluster is written cluster('c').database('d').Table, with "
                    "constant names, in queries across clusters."
                )
        if ref.database is None and ref.name in scope.columns:
            return ref, dict(scope.columns[ref.name])
        folded = self._database(ref.database)
        schema = self.catalog[folded].get(ref.name)
        if schema is None:
            raise unresolved(ref.name, following, "table or column")
        columns = tuple(name for name in HIDDEN if name in wanted)
        name = self._name(folded, ref.name)
        secured = self.row_level.of(self, name, (folded, ref.name, schema), columns)
        if secured is not None:
            return secured
        alias = self._bind(folded, ref.name, schema, columns)
        return ir.TableRef(alias), {
            **dict(schema),
            **{name: hidden.type_of(name) for name in columns},
        }

    def _database(self, name: str | None) -> str:
        folded = (name or self.database).casefold()
        if folded not in self.catalog:
            raise SemanticError(
                f"Semantic error: SEM0100: Failed to resolve entity 'database(\"{name}\")'",
                metadata={"name": name or ""},
            )
        return folded

    def _name(self, database: str, table: str) -> str:
        """What a table is called in results and, where nothing else counts, in SQL."""
        alias = table if database == self._home else f'database("{database}").{table}'
        if alias.startswith("$"):
            raise NotSupportedError(f"Table name '{table}' is not supported in a query.")
        other = self._folded.setdefault(alias.casefold(), alias)
        if other != alias:
            raise NotSupportedError(
                f"Tables '{other}' and '{alias}' differ only in case: not supported in a query."
            )
        return alias

    def _bind(self, database: str, table: str, schema: Schema, columns: tuple[str, ...]) -> str:
        """The alias of a table with these hidden columns."""
        require_usable([name for name, _ in schema], f"table '{table}'")
        alias = self._name(database, table)
        if columns:
            alias = f"$with {' '.join(columns)} {alias}"
        alias = self.row_level.alias_of(alias)
        if alias not in self.found.tables:
            self.found.tables[alias] = TableUse(alias, database, table, columns)
            self.found.schema[alias] = [*(name for name, _ in schema), *columns]
        return alias

    def _counting(self, alias: str) -> str:
        """The alias of the number of rows of a table that is bound."""
        use = self.found.tables[alias]
        counting = f"$count {alias}"
        self.found.tables[counting] = TableUse(counting, use.database, use.table, counted=True)
        self.found.schema[counting] = [ROW_COUNT]
        return counting

    # -- unions ----------------------------------------------------------------------------------

    def is_table(self, name: str, scope: Scope) -> bool:
        """True if ``name`` alone can stand as a table here."""
        return name in scope.columns or name in self.catalog[self.database.casefold()]

    def expand(
        self, branches: Sequence[ir.Query], scope: Scope, *, fuzzy: bool, besides: int = 0
    ) -> list[ir.Query]:
        """Branches of a union with wildcards expanded, and missing tables dropped if ``fuzzy``.

        ``besides``: tables of the union that are not among these branches.
        """
        kept: list[ir.Query] = []
        for branch in branches:
            if isinstance(branch.source, ir.WildcardTableRef):
                kept.extend(self._matching(branch.source))
            elif not fuzzy or not self._is_missing(branch.source, scope):
                kept.append(branch)
        require_within("tables", len(kept) + besides, self.limits)
        return kept

    def _matching(self, source: ir.WildcardTableRef) -> list[ir.Query]:
        folded = self._database(source.database)
        found = [n for n in self.catalog[folded] if fnmatch.fnmatchcase(n, source.pattern)]
        if not found:
            raise unresolved(source.pattern, "union", "table")
        return [ir.Query(ir.TableRef(name, database=source.database)) for name in found]

    def _is_missing(self, source: Any, scope: Scope) -> bool:
        if not isinstance(source, ir.TableRef) or source.cluster is not None:
            return False
        if source.database is None and source.name in scope.columns:
            return False
        tables = self.catalog.get((source.database or self.database).casefold())
        return tables is None or source.name not in tables

    def _expand_first(self, query: ir.Query, scope: Scope) -> ir.Query:
        """A leading union has its first branch as the query's source: expand it there."""
        first = query.operators[0] if query.operators else None
        if not isinstance(first, ir.Union):
            if isinstance(query.source, ir.WildcardTableRef):
                raise NotSupportedError("A wildcard is supported in union only.")
            return query
        leading = ir.Query(query.source)
        if not isinstance(query.source, ir.WildcardTableRef) and not (
            first.isfuzzy and self._is_missing(query.source, scope)
        ):
            return query
        head, *rest = self.expand([leading, *first.branches], scope, fuzzy=first.isfuzzy) or [
            leading
        ]
        union = dataclasses.replace(first, branches=tuple(rest))
        return ir.Query(head.source, [*head.operators, union, *query.operators[1:]], query.lets)


def _no_policy(policy: PolicyText) -> Any:
    raise AssertionError(policy)


def _functions(operator: Any) -> frozenset[str]:
    """Names of the functions an operator calls itself, not in the queries inside it."""
    return frozenset(node.name for node in nodes(operator) if isinstance(node, ir.FunctionCall))


def _shows_all(operator: Any) -> bool:
    """True for operators whose result depends on every column there is."""
    return isinstance(operator, ir.GetSchema) or (
        isinstance(operator, ir.Distinct)
        and any(isinstance(node, ir.Wildcard) for node in nodes(operator))
    )


def _without_hidden(result: list[Any], columns: Columns) -> Columns:
    """Ends the life of hidden columns: appends to ``result`` what takes them away."""
    gone = tuple(name for name in columns if name in HIDDEN)
    if not gone:
        return columns
    result.append(ir.ProjectAway(gone))
    return {name: kind for name, kind in columns.items() if name not in HIDDEN}


def _count_name(operator: Any) -> str | None:
    """Name of the result if the operator does nothing but count rows, else None."""
    if isinstance(operator, ir.Count):
        return str(operator.name)
    if isinstance(operator, ir.Summarize) and not operator.by and len(operator.aggregates) == 1:
        expr = operator.aggregates[0].expr
        if isinstance(expr, ir.FunctionCall) and expr.name == "count" and not expr.args:
            return str(summarize_names(operator, [])[1][0][0])
    return None
