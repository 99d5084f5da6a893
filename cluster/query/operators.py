"""Tabular operators resolved one by one: expressions, output names, output types."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.schema import (
    join_output_columns,
    lookup_output_columns,
    mv_expand_output_columns,
    parse_output_columns,
    resolve_let_refs,
)
from duckdb_kql.translate import arg_max_names, naming, quote_ident, summarize_names
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import grammar
from cluster.query.expressions import (
    Columns,
    Expressions,
    Typed,
    refuse_case_collision,
    unresolved,
)
from cluster.query.second_look import is_ambiguous
from cluster.query.translation import HIDDEN, two_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.query.resolution import Scope
    from cluster.query.resolve import Resolver

NAMES: Final = {
    ir.Where: "where", ir.Project: "project", ir.Extend: "extend", ir.Take: "take",
    ir.Sort: "sort", ir.Top: "top", ir.Count: "count", ir.Distinct: "distinct",
    ir.Summarize: "summarize", ir.Join: "join", ir.Lookup: "lookup", ir.Union: "union",
    ir.MvExpand: "mv-expand", ir.Parse: "parse", ir.ProjectAway: "project-away",
    ir.ProjectRename: "project-rename", ir.GetSchema: "getschema", grammar.Render: "render",
}  # fmt: skip
"""Every operator that is answered, with its Kusto name."""

ROWLESS: Final = (ir.PrintSource, ir.DataTable, ir.CommandSource)
"""Sources that are no table."""

_GETSCHEMA: Final[Columns] = {
    "ColumnName": "string", "ColumnOrdinal": "int", "DataType": "string", "ColumnType": "string",
}  # fmt: skip
_LEFT_OPTIONAL: Final = frozenset(["rightouter", "fullouter"])
_RIGHT_OPTIONAL: Final = frozenset(["leftouter", "fullouter"])
_LEFT_ONLY: Final = frozenset(["leftsemi", "leftanti"])
_RIGHT_ONLY: Final = frozenset(["rightsemi", "rightanti"])


def operator_name(operator: Any) -> str:
    """The operator's Kusto name."""
    return NAMES.get(type(operator), type(operator).__name__)


class Within:
    """A resolver in one scope, as expressions see it."""

    def __init__(self, resolver: Resolver, scope: Scope, *, without_rows: bool = False) -> None:
        self._resolver = resolver
        self._scope = scope
        self.without_rows = without_rows

    def use_cursor(self) -> None:
        """Notes that the query depends on the database cursor."""
        self._resolver.found.uses_cursor = True

    @property
    def database(self) -> str:
        """The database in context."""
        return self._resolver.database

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


class OperatorResolver:
    """Resolves one operator over its input columns."""

    def __init__(
        self,
        resolver: Resolver,
        scope: Scope,
        before: tuple[Any, tuple[Any, ...]],
        columns: Columns,
    ) -> None:
        self._resolver = resolver
        self._scope = scope
        self._before = before
        self._columns = columns
        self._within = Within(resolver, scope, without_rows=isinstance(before[0], ROWLESS))

    def resolve(self, operator: Any) -> tuple[list[Any], Columns]:
        """Returns the operators that stand for ``operator`` and their output columns."""
        handler = _HANDLERS.get(type(operator))
        if handler is None:
            raise NotSupportedError(f"Operator '{type(operator).__name__}' is not supported.")
        operator = self._direct(operator)
        operator = resolve_let_refs(operator, list(self._columns))
        self._expressions = Expressions(self._columns, operator_name(operator), self._within)
        produced, columns = handler(self, operator)
        refuse_case_collision(list(columns), f"the result of '{operator_name(operator)}'")
        return produced, columns

    def _direct(self, operator: Any) -> Any:
        """Puts right the directions of sort keys whose text the library misreads."""
        if not isinstance(operator, ir.Sort | ir.Top):
            return operator
        keys = []
        for key in operator.keys:
            if any(map(is_ambiguous, _texts(key.expr))):
                written = self._resolver.directions.get(_as_written(key.expr), set())
                if len(written) != 1:
                    raise NotSupportedError(
                        "The direction of a sort key cannot be told from its text.",
                        remedy="Give the key a name without 'asc' or 'desc' in it with extend.",
                    )
                ((ascending, nulls_first),) = written
                key = dataclasses.replace(key, ascending=ascending, nulls_first=nulls_first)
            keys.append(key)
        return dataclasses.replace(operator, keys=tuple(keys))

    # -- one input -------------------------------------------------------------------------------

    def _expr(self, node: Any) -> Typed:
        return self._expressions.resolve(node)

    def _named(self, named: Sequence[ir.NamedExpr]) -> tuple[tuple[ir.NamedExpr, ...], list[Typed]]:
        typed = [self._expr(one.expr) for one in named]
        resolved = tuple(
            dataclasses.replace(one, expr=t.expr) for one, t in zip(named, typed, strict=True)
        )
        return resolved, typed

    def _where(self, op: ir.Where) -> tuple[list[Any], Columns]:
        return [ir.Where(self._expr(op.predicate).expr)], self._columns

    def _take(self, op: ir.Take) -> tuple[list[Any], Columns]:
        return [op], self._columns

    def _sort(self, op: Any) -> tuple[list[Any], Columns]:
        keys = tuple(dataclasses.replace(k, expr=self._expr(k.expr).expr) for k in op.keys)
        return [dataclasses.replace(op, keys=keys)], self._columns

    def _count(self, op: ir.Count) -> tuple[list[Any], Columns]:
        return [op], {op.name: "long"}

    def _getschema(self, op: ir.GetSchema) -> tuple[list[Any], Columns]:
        return [op], dict(_GETSCHEMA)

    def _project(self, op: ir.Project) -> tuple[list[Any], Columns]:
        names = naming.project_names(op.expressions)
        resolved, typed = self._named(op.expressions)
        columns = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Project(_spelled(resolved, names))], columns

    def _extend(self, op: ir.Extend) -> tuple[list[Any], Columns]:
        names = naming.extend_names(op.expressions, list(self._columns))
        resolved, typed = self._named(op.expressions)
        added = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Extend(_spelled(resolved, names))], {**self._columns, **added}

    def _distinct(self, op: ir.Distinct) -> tuple[list[Any], Columns]:
        names = naming.distinct_names(op.expressions)
        resolved, typed = self._named(op.expressions)
        columns = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Distinct(_spelled(resolved, names))], columns

    def _project_away(self, op: ir.ProjectAway) -> tuple[list[Any], Columns]:
        self._require(op.columns)
        return [op], {n: t for n, t in self._columns.items() if n not in op.columns}

    def _project_rename(self, op: ir.ProjectRename) -> tuple[list[Any], Columns]:
        self._require([old for old, _ in op.renames])
        new = dict(op.renames)
        columns = {new.get(n, n): t for n, t in self._columns.items()}
        if len(columns) != len(self._columns):
            raise SemanticError("Semantic error: 'project-rename' operator: duplicate column name.")
        return [op], columns

    def _require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._columns:
                raise unresolved(name, self._expressions._operator)

    def _mv_expand(self, op: ir.MvExpand) -> tuple[list[Any], Columns]:
        self._require([target.column for target in op.targets])
        columns = {n: self._columns.get(n) for n in mv_expand_output_columns(op, [*self._columns])}
        columns.update({t.name or t.column: t.to_type for t in op.targets})
        return [op], columns

    def _parse(self, op: ir.Parse) -> tuple[list[Any], Columns]:
        columns = {n: self._columns.get(n) for n in parse_output_columns(op, [*self._columns])}
        columns.update({s.name: s.type or "string" for s in op.segments if s.name is not None})
        return [dataclasses.replace(op, expression=self._expr(op.expression).expr)], columns

    def _summarize(self, op: ir.Summarize) -> tuple[list[Any], Columns]:
        keys, aggregates = summarize_names(op, list(self._columns))
        by, by_types = self._named(op.by)
        columns: Columns = {n: t.type for n, t in zip(keys, by_types, strict=True)}
        resolved: list[ir.NamedExpr] = []
        for named, names in zip(op.aggregates, aggregates, strict=True):
            typed = self._expressions.resolve(named.expr, aggregates=True)
            if arg_max_names(named, keys, list(self._columns)) is not None:
                resolved.append(dataclasses.replace(named, expr=typed.expr))
                columns.update({name: self._columns.get(name) for name in names})
                columns[names[0]] = typed.type
                continue
            _require_aggregate(named.expr)
            resolved.append(ir.NamedExpr(typed.expr, names[0]))
            columns[names[0]] = typed.type
        return [ir.Summarize(tuple(resolved), _spelled(by, keys))], columns

    # -- two inputs and more ---------------------------------------------------------------------

    def _join(self, op: ir.Join) -> tuple[list[Any], Columns]:
        right, right_columns = self._resolver.query(op.right, self._scope)
        keys = self._keys(op.keys, right_columns)
        joined = ir.Join(right, keys, op.kind)
        left = self._columns
        names = join_output_columns([*left], [*right_columns], op.kind)
        if op.kind in _LEFT_ONLY:
            return [joined], left
        if op.kind in _RIGHT_ONLY:
            return [joined], right_columns
        columns = dict(zip(names, [*left.values(), *right_columns.values()], strict=True))
        optional = names[: len(left)] if op.kind in _LEFT_OPTIONAL else []
        if op.kind in _RIGHT_OPTIONAL:
            optional = optional + names[len(left) :]
        return [joined, *_filled(columns, optional)], columns

    def _lookup(self, op: ir.Lookup) -> tuple[list[Any], Columns]:
        right, right_columns = self._resolver.query(op.right, self._scope)
        keys = self._keys(op.keys, right_columns)
        dropped = [key.right for key in keys]
        names = lookup_output_columns([*self._columns], [*right_columns], dropped)
        kept = [kind for name, kind in right_columns.items() if name not in dropped]
        columns = dict(zip(names, [*self._columns.values(), *kept], strict=True))
        optional = names[len(self._columns) :] if op.kind == "leftouter" else []
        return [ir.Lookup(right, keys, op.kind), *_filled(columns, optional)], columns

    def _keys(self, keys: Sequence[ir.JoinKey], right: Columns) -> tuple[ir.JoinKey, ...]:
        result = []
        for key in keys:
            if key.left.startswith("$right.") and key.right.startswith("$left."):
                key = ir.JoinKey(key.right[len("$left.") :], key.left[len("$right.") :])
            self._require([key.left])
            if key.right not in right:
                raise unresolved(key.right, self._expressions._operator)
            pair = (self._columns[key.left], right[key.right])
            if None not in pair and _class_of(pair[0]) != _class_of(pair[1]):
                raise SemanticError(
                    f"Semantic error: 'join' operator: keys '{key.left}' and '{key.right}' have "
                    f"types {pair[0]} and {pair[1]}, which cannot be compared."
                )
            result.append(key)
        return tuple(result)

    def _union(self, op: ir.Union) -> tuple[list[Any], Columns]:
        if op.with_source is not None and not op.with_source.isidentifier():
            raise NotSupportedError("withsource= takes a plain name.")
        branches = self._resolver.expand(op.branches, self._scope, fuzzy=op.isfuzzy)
        keep = frozenset(name for name in self._columns if name in HIDDEN)
        if keep and op.with_source is not None:
            raise NotSupportedError("withsource= with functions of extents is not supported.")
        resolved = [self._resolver.query(branch, self._scope, keep) for branch in branches]
        tables = [self._columns, *(columns for _, columns in resolved)]
        columns = _union_columns(op, tables)
        shared = {n for n in columns if sum(n in t for t in tables) > 1}
        if any(t.get(name, "") is None for name in shared for t in tables):
            lets = list(self._scope.lets)
            source, operators = self._before
            arms = [ir.Query(source, list(operators), lets)]
            arms += [ir.Query(q.source, q.operators, [*lets, *q.lets]) for q, _ in resolved]
            self._resolver.found.same_types.append(tuple(arms))
        union = dataclasses.replace(
            op, branches=tuple(query for query, _ in resolved), isfuzzy=False
        )
        optional = [n for n in columns if n != op.with_source and any(n not in t for t in tables)]
        return [union, *_filled(columns, optional)], columns


def _render_within(_: OperatorResolver, op: grammar.Render) -> Any:
    raise SemanticError(
        f"Semantic error: 'render {op.kind}' must be the last operator of the query."
    )


_HANDLERS: Final[dict[type, Any]] = {
    grammar.Render: _render_within,
    ir.Where: OperatorResolver._where,
    ir.Take: OperatorResolver._take,
    ir.Sort: OperatorResolver._sort,
    ir.Top: OperatorResolver._sort,
    ir.Count: OperatorResolver._count,
    ir.GetSchema: OperatorResolver._getschema,
    ir.Project: OperatorResolver._project,
    ir.Extend: OperatorResolver._extend,
    ir.Distinct: OperatorResolver._distinct,
    ir.ProjectAway: OperatorResolver._project_away,
    ir.ProjectRename: OperatorResolver._project_rename,
    ir.MvExpand: OperatorResolver._mv_expand,
    ir.Parse: OperatorResolver._parse,
    ir.Summarize: OperatorResolver._summarize,
    ir.Join: OperatorResolver._join,
    ir.Lookup: OperatorResolver._lookup,
    ir.Union: OperatorResolver._union,
}


def _union_columns(op: ir.Union, tables: Sequence[Columns]) -> Columns:
    """Names and types of a union; refuses one name with two types, which Kusto would split."""
    columns: Columns = {}
    for table in tables:
        for name, kind in table.items():
            if op.kind == "inner" and any(name not in other for other in tables):
                continue
            known = columns.setdefault(name, kind)
            if known is None:
                columns[name] = kind
            elif kind is not None and kind != known:
                raise two_types(name, known, kind)
    return ({op.with_source: "string"} if op.with_source else {}) | columns


def _filled(columns: Columns, optional: Sequence[str]) -> list[Any]:
    """Makes missing strings empty, as in Kusto, where a string is never null."""
    fills = []
    for name in optional:
        column = quote_ident(name)
        if columns[name] == "string":
            sql = f"coalesce({column}, '')"
        elif columns[name] is None:  # the literal takes the type of the other branch
            sql = f"CASE WHEN typeof({column}) = 'VARCHAR' AND {column} IS NULL THEN '' "
            sql += f"ELSE {column} END"
        else:
            continue
        fills.append(ir.NamedExpr(ir.RenderedAggregate(sql), name))
    return [ir.Extend(tuple(fills))] if fills else []


def _spelled(named: Sequence[ir.NamedExpr], names: Sequence[str]) -> tuple[ir.NamedExpr, ...]:
    """Output names written out: resolving may have changed what they are derived from."""
    return tuple(dataclasses.replace(n, name=name) for n, name in zip(named, names, strict=True))


def _as_written(expr: Any) -> Any:
    """A name bound by ``let`` was a plain name in the text."""
    return ir.ColumnRef(expr.name) if isinstance(expr, ir.LetRef) else expr


def _class_of(kind: str | None) -> str | None:
    return "number" if kind in ("int", "long", "real", "decimal") else kind


def nodes(expr: Any) -> Iterator[Any]:
    """Every value in an expression once; nested queries, but nothing inside them."""
    pending, seen = [expr], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if dataclasses.is_dataclass(node) and not isinstance(node, ir.Query):
            pending.extend(getattr(node, f.name) for f in dataclasses.fields(node))
        elif isinstance(node, tuple):
            pending.extend(node)


def _texts(expr: Any) -> Iterator[str]:
    return (node for node in nodes(expr) if isinstance(node, str))


def _require_aggregate(expr: Any) -> None:
    for node in nodes(expr):
        if isinstance(node, ir.FunctionCall) and node.name in AGGREGATE_FUNCTIONS:
            return
    raise SemanticError(
        "Semantic error: 'summarize' operator: an expression contains no aggregation."
    )
