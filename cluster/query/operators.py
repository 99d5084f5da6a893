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
from duckdb_kql.translate import arg_max_names, naming, summarize_names
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import aggregates, extensions, windows
from cluster.query import nodes as own
from cluster.query.calls import Fragment
from cluster.query.expressions import (
    Columns,
    Expressions,
    require_usable,
    unresolved,
)
from cluster.query.second_look import is_ambiguous
from cluster.query.shapes import (
    as_written,
    class_of,
    filled,
    nodes,
    spelled,
    texts,
    union_columns,
)
from cluster.query.translation import HIDDEN
from cluster.query.within import Within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.resolution import Scope
    from cluster.query.resolve import Resolver
    from cluster.query.rewrites import Typed

NAMES: Final = {
    ir.Where: "where", ir.Project: "project", ir.Extend: "extend", ir.Take: "take",
    ir.Sort: "sort", ir.Top: "top", ir.Count: "count", ir.Distinct: "distinct",
    ir.Summarize: "summarize", ir.Join: "join", ir.Lookup: "lookup", ir.Union: "union",
    ir.MvExpand: "mv-expand", ir.Parse: "parse", ir.ProjectAway: "project-away",
    ir.ProjectRename: "project-rename", ir.GetSchema: "getschema", own.Render: "render",
    **extensions.NAMES,
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
    if isinstance(operator, own.Choose):
        return f"project-{operator.kind}"
    return NAMES.get(type(operator), type(operator).__name__)


class OperatorResolver:
    """Resolves one operator over its input columns."""

    def __init__(
        self,
        resolver: Resolver,
        scope: Scope,
        before: tuple[Any, tuple[Any, ...]],
        columns: Columns,
        *,
        in_order: bool = False,
    ) -> None:
        self.resolver = resolver
        self.scope = scope
        self.columns = columns
        self._before = before
        self._in_order = in_order
        self._within = Within(
            resolver,
            scope,
            without_rows=isinstance(before[0], ROWLESS),
            in_order=in_order and not scope.of_a_row,
        )

    def resolve(self, operator: Any) -> tuple[list[Any], Columns]:
        """Returns the operators that stand for ``operator`` and their output columns."""
        handler = _HANDLERS.get(type(operator))
        if handler is None:
            raise NotSupportedError(f"Operator '{type(operator).__name__}' is not supported.")
        operator = self._direct(operator)
        operator = resolve_let_refs(operator, list(self.columns))
        self._expressions = Expressions(self.columns, operator_name(operator), self._within)
        produced, columns = handler(self, operator)
        if self._within.restarts.conditions:
            if not isinstance(operator, ir.Extend):
                raise NotSupportedError(
                    "A restart condition is supported by Remora in extend and serialize only."
                )
            produced = self._within.restarts.around(produced)
            self._within.restarts = windows.Restarts()
        require_usable(list(columns), f"the result of '{operator_name(operator)}'")
        return produced, columns

    def _direct(self, operator: Any) -> Any:
        """Puts right the directions of sort keys whose text the library misreads."""
        if not isinstance(operator, ir.Sort | ir.Top):
            return operator
        keys = []
        for key in operator.keys:
            if any(map(is_ambiguous, texts(key.expr))):
                written = self.resolver.directions.get(as_written(key.expr), set())
                if len(written) != 1:
                    raise NotSupportedError(
                        "The direction of a sort key cannot be told from its text.",
                        remedy="Give the key a name without 'asc' or 'desc' in it with extend.",
                    )
                ((ascending, nulls_first),) = written
                key = dataclasses.replace(key, ascending=ascending, nulls_first=nulls_first)
            keys.append(key)
        return dataclasses.replace(operator, keys=tuple(keys))

    def expression(self, node: Any) -> Typed:
        """A scalar expression over the rows here."""
        return self._expr(node)

    def aggregate(self, node: Any) -> Typed:
        """An expression of aggregates over groups of the rows here."""
        return self._expressions.resolve(node, aggregates=True)

    def require(self, names: Sequence[str]) -> None:
        """Raises SemanticError for a name that is no column here."""
        self._require(names)

    def so_far(self) -> ir.Query:
        """A query of the rows here."""
        source, operators = self._before
        return ir.Query(source, list(operators), list(self.scope.lets))

    def table_name(self) -> str:
        """The table whose rows these are, empty if it is not one table's."""
        source = self._before[0]
        return str(source.name) if isinstance(source, ir.TableRef) else ""

    def reads_columns(self, node: Any) -> bool:
        """Whether a resolved expression depends on the row."""
        return any(isinstance(part, ir.ColumnRef | ir.Query) for part in nodes(node))

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
        typed = self._expr(op.predicate)
        if typed.type not in (None, "bool"):
            raise SemanticError(
                "Semantic error: 'where' operator: the expression must have the type bool, not "
                f"{typed.type}."
            )
        predicate = typed.expr
        if not any(map(windows.is_window, nodes(predicate))):
            return [ir.Where(predicate)], self.columns
        name = "$condition"  # SQL computes windows after its WHERE
        steps = [ir.Extend((ir.NamedExpr(predicate, name),)), ir.Where(ir.ColumnRef(name))]
        return [*steps, ir.ProjectAway((name,))], self.columns

    def _take(self, op: ir.Take) -> tuple[list[Any], Columns]:
        return [op], self.columns

    def _sort(self, op: Any) -> tuple[list[Any], Columns]:
        keys = tuple(dataclasses.replace(k, expr=self._expr(k.expr).expr) for k in op.keys)
        return [dataclasses.replace(op, keys=keys)], self.columns

    def _count(self, op: ir.Count) -> tuple[list[Any], Columns]:
        return [op], {op.name: "long"}

    def _getschema(self, op: ir.GetSchema) -> tuple[list[Any], Columns]:
        return [op], dict(_GETSCHEMA)

    def _project(self, op: ir.Project) -> tuple[list[Any], Columns]:
        names = naming.project_names(op.expressions)
        resolved, typed = self._named(op.expressions)
        columns = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Project(spelled(resolved, names))], columns

    def _extend(self, op: ir.Extend) -> tuple[list[Any], Columns]:
        names = naming.extend_names(op.expressions, list(self.columns))
        resolved, typed = self._named(op.expressions)
        added = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Extend(spelled(resolved, names))], {**self.columns, **added}

    def _distinct(self, op: ir.Distinct) -> tuple[list[Any], Columns]:
        names = naming.distinct_names(op.expressions)
        resolved, typed = self._named(op.expressions)
        columns = {n: t.type for n, t in zip(names, typed, strict=True)}
        return [ir.Distinct(spelled(resolved, names))], columns

    def _project_away(self, op: ir.ProjectAway) -> tuple[list[Any], Columns]:
        self._require(op.columns)
        return [op], {n: t for n, t in self.columns.items() if n not in op.columns}

    def _project_rename(self, op: ir.ProjectRename) -> tuple[list[Any], Columns]:
        self._require([old for old, _ in op.renames])
        new = dict(op.renames)
        columns = {new.get(n, n): t for n, t in self.columns.items()}
        if len(columns) != len(self.columns):
            raise SemanticError("Semantic error: 'project-rename' operator: duplicate column name.")
        return [op], columns

    def _require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.columns:
                raise unresolved(name, self._expressions._operator)

    def _mv_expand(self, op: ir.MvExpand) -> tuple[list[Any], Columns]:
        self._require([target.column for target in op.targets])
        columns = {n: self.columns.get(n) for n in mv_expand_output_columns(op, [*self.columns])}
        columns.update({t.name or t.column: t.to_type for t in op.targets})
        return [op], columns

    def _parse(self, op: ir.Parse) -> tuple[list[Any], Columns]:
        columns = {n: self.columns.get(n) for n in parse_output_columns(op, [*self.columns])}
        columns.update({s.name: s.type or "string" for s in op.segments if s.name is not None})
        return [dataclasses.replace(op, expression=self._expr(op.expression).expr)], columns

    def _summarize(self, op: ir.Summarize) -> tuple[list[Any], Columns]:
        given = summarize_names(dataclasses.replace(op, aggregates=()), list(self.columns))[0]
        written = aggregates.one_by_one(op.aggregates, self.columns, tuple(given))
        op = dataclasses.replace(op, aggregates=tuple(written))
        keys, names_of = summarize_names(op, list(self.columns))
        by, by_types = self._named(op.by)
        columns: Columns = {n: t.type for n, t in zip(keys, by_types, strict=True)}
        resolved: list[ir.NamedExpr] = []
        for named, names in zip(op.aggregates, names_of, strict=True):
            typed = self._expressions.resolve(named.expr, aggregates=True)
            if arg_max_names(named, keys, list(self.columns)) is not None:
                resolved.append(dataclasses.replace(named, expr=typed.expr))
                columns.update({name: self.columns.get(name) for name in names})
                columns[names[0]] = typed.type
                continue
            _require_aggregate(named.expr)
            resolved.append(ir.NamedExpr(typed.expr, names[0]))
            columns[names[0]] = typed.type
        summarize = ir.Summarize(tuple(resolved), spelled(by, keys))
        return [*self._numbered(summarize), summarize], columns

    def _numbered(self, op: ir.Summarize) -> list[Any]:
        """Numbers the rows if a list is made of them in their order."""
        if not any(
            isinstance(node, ir.FunctionCall) and node.name == "$ordered_list" for node in nodes(op)
        ):
            return []
        last = self._before[1][-1] if self._before[1] else None
        number: Any = ir.FunctionCall("$row")
        if isinstance(last, ir.Sort):
            parts: list[Any] = ["row_number() OVER (ORDER BY "]
            for index, key in enumerate(last.keys):
                first = key.ascending if key.nulls_first is None else key.nulls_first
                parts += [", " if index else "", key.expr]
                parts.append(" ASC" if key.ascending else " DESC")
                parts.append(" NULLS FIRST" if first else " NULLS LAST")
            number = Fragment((*parts, ")"))
        elif self.scope.of_a_row:
            raise NotSupportedError("make_list() in mv-apply has an order right after sort only.")
        return [ir.Extend((ir.NamedExpr(number, windows.ROW),))]

    # -- two inputs and more ---------------------------------------------------------------------

    def _join(self, op: ir.Join) -> tuple[list[Any], Columns]:
        right, right_columns = self.resolver.query(op.right, self.scope)
        keys = self._keys(op.keys, right_columns)
        joined = ir.Join(right, keys, op.kind)
        left = self.columns
        names = join_output_columns([*left], [*right_columns], op.kind)
        if op.kind in _LEFT_ONLY:
            return [joined], left
        if op.kind in _RIGHT_ONLY:
            return [joined], right_columns
        columns = dict(zip(names, [*left.values(), *right_columns.values()], strict=True))
        optional = names[: len(left)] if op.kind in _LEFT_OPTIONAL else []
        if op.kind in _RIGHT_OPTIONAL:
            optional = optional + names[len(left) :]
        return [joined, *filled(columns, optional)], columns

    def _lookup(self, op: ir.Lookup) -> tuple[list[Any], Columns]:
        right, right_columns = self.resolver.query(op.right, self.scope)
        keys = self._keys(op.keys, right_columns)
        dropped = [key.right for key in keys]
        names = lookup_output_columns([*self.columns], [*right_columns], dropped)
        kept = [kind for name, kind in right_columns.items() if name not in dropped]
        columns = dict(zip(names, [*self.columns.values(), *kept], strict=True))
        optional = names[len(self.columns) :] if op.kind == "leftouter" else []
        return [ir.Lookup(right, keys, op.kind), *filled(columns, optional)], columns

    def _keys(self, keys: Sequence[ir.JoinKey], right: Columns) -> tuple[ir.JoinKey, ...]:
        result = []
        for key in keys:
            if key.left.startswith("$right.") and key.right.startswith("$left."):
                key = ir.JoinKey(key.right[len("$left.") :], key.left[len("$right.") :])
            self._require([key.left])
            if key.right not in right:
                raise unresolved(key.right, self._expressions._operator)
            pair = (self.columns[key.left], right[key.right])
            if None not in pair and class_of(pair[0]) != class_of(pair[1]):
                raise SemanticError(
                    f"Semantic error: 'join' operator: keys '{key.left}' and '{key.right}' have "
                    f"types {pair[0]} and {pair[1]}, which cannot be compared."
                )
            result.append(key)
        return tuple(result)

    def _union(self, op: ir.Union) -> tuple[list[Any], Columns]:
        source_name = op.with_source
        if source_name not in (None, own.TABLE_COLUMN) and not source_name.isidentifier():
            raise NotSupportedError("withsource= takes a plain name.")
        branches = self.resolver.expand(op.branches, self.scope, fuzzy=op.isfuzzy, besides=1)
        keep = frozenset(name for name in self.columns if name in HIDDEN)
        if keep and op.with_source is not None:
            raise NotSupportedError("withsource= with functions of extents is not supported.")
        resolved = [self.resolver.query(branch, self.scope, keep) for branch in branches]
        tables = [self.columns, *(columns for _, columns in resolved)]
        columns = union_columns(op, tables)
        shared = {n for n in columns if sum(n in t for t in tables) > 1}
        if any(t.get(name, "") is None for name in shared for t in tables):
            lets = list(self.scope.lets)
            arms = [self.so_far()]
            arms += [ir.Query(q.source, q.operators, [*lets, *q.lets]) for q, _ in resolved]
            self.resolver.found.same_types.append(tuple(arms))
        union = dataclasses.replace(
            op, branches=tuple(query for query, _ in resolved), isfuzzy=False
        )
        optional = [n for n in columns if n != op.with_source and any(n not in t for t in tables)]
        return [union, *filled(columns, optional)], columns


def _render_within(_: OperatorResolver, op: own.Render) -> Any:
    raise SemanticError(
        f"Semantic error: 'render {op.kind}' must be the last operator of the query."
    )


_HANDLERS: Final[dict[type, Any]] = {
    own.Render: _render_within,
    **extensions.HANDLERS,
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


def _require_aggregate(expr: Any) -> None:
    for node in nodes(expr):
        if isinstance(node, ir.FunctionCall) and node.name in AGGREGATE_FUNCTIONS:
            return
    raise SemanticError(
        "Semantic error: 'summarize' operator: an expression contains no aggregation."
    )
