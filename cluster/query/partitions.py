"""``partition``: a query for each value of a column. Pure.

A LATERAL join of the values with the query, which DuckDB computes for all of them at once: rows are
in no order within, so functions of row order are refused there, as in ``mv-apply``. The legacy
strategy, which is the default, takes at most ``query_partitions`` values; native and shuffle take
any number, and only operators that need no other table.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql import lower as lowering
from duckdb_kql.translate import quote_ident

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own
from cluster.query import windows
from cluster.query.run_errors import raising
from cluster.query.shapes import nodes
from cluster.query.translation import HIDDEN

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver

_KEY: Final = "$key"
_STRATEGIES: Final = frozenset(["legacy", "native", "shuffle"])
_HINTS: Final = frozenset(
    ["hint.strategy", "hint.shufflekey", "hint.materialized", "hint.concurrency", "hint.spread"]
)
_WITHOUT_TABLES: Final = (
    ir.Count, ir.Distinct, ir.Extend, ir.MvExpand, ir.Parse, ir.Project, ir.ProjectAway,
    ir.ProjectRename, ir.Sort, ir.Summarize, ir.Take, ir.Top, ir.Where, own.Apply, own.Choose,
    own.DistinctAll, own.MakeSeries, own.ParseKv, own.Sample, own.Serialize, own.TopHitters,
    own.TopNested,
)  # fmt: skip
"""Operators of the native and shuffle strategies (partition-operator.md)."""


def lower_partition(node: Any) -> own.Partition:
    """The key, the query and the strategy."""
    strategy, column, body, has_source = "legacy", "", None, False
    for child in lowering._rule_children(node):
        kind = lowering._cls(child)
        if "Parameter" in kind:
            name, _, value = child.getText().partition("=")
            if name not in _HINTS:
                raise NotSupportedError(f"partition {name} is not supported by Remora.")
            strategy = value if name == "hint.strategy" else strategy
        elif kind == "PartitionOperatorSubExpressionBody":
            inner = lowering._collapse(lowering._rule_children(child)[0])
            several = lowering._cls(inner) == "PipeSubExpression"
            steps = lowering._rule_children(inner) if several else [inner]
            body = ir.Query(ir.TableRef(""), lowering._lower_operators(steps))
        elif kind == "PartitionOperatorFullExpressionBody":
            has_source = True
            body = lowering._lower_query_node(lowering._collapse(lowering._rule_children(child)[0]))
        else:
            column = lowering._find_names(child)[0]
    if strategy not in _STRATEGIES:
        raise NotSupportedError(f"partition hint.strategy={strategy} is not supported by Remora.")
    if body is None:
        raise NotSupportedError("This form of partition is not supported by Remora.")
    return own.Partition(column, body, strategy, has_source)


def partition(step: OperatorResolver, op: own.Partition) -> tuple[list[Any], Columns]:
    """The rows that the query gives for each value, all together."""
    step.require([op.column])
    if step.columns[op.column] == "dynamic":
        raise SemanticError("Semantic error: 'partition' operator: the column is dynamic.")
    _require_possible(step, op)
    number = step.resolver.next_number()
    before, keys, rows = f"$before{number}", f"$keys{number}", f"$rows{number}"
    key = f"{quote_ident(keys)}.{quote_ident(_KEY)}"
    scope = dataclasses.replace(step.scope, of_a_row=True)
    if op.has_source:
        outer = own.OuterKey(key, step.columns[op.column])
        body = lowering._substitute_query(op.body, {op.column: ir.LetRef(op.column, outer)})
        _refuse_hoisted(body)
        query, made = step.resolver.query(body, scope)
    else:
        mine = {name: kind for name, kind in step.columns.items() if name not in HIDDEN}
        listed = ", ".join(map(quote_ident, mine))
        source = (
            f"SELECT {listed} FROM {quote_ident(before)} "  # noqa: S608 - quoted
            f"WHERE {quote_ident(op.column)} IS NOT DISTINCT FROM {key}"
        )
        body = ir.Query(ir.CommandSource(source, tuple(mine), "partition"), op.body.operators)
        query, made = step.resolver.query(body, scope, columns=mine)
    value = quote_ident(_KEY)
    if op.strategy == "legacy":
        most = step.resolver.limits.query_partitions
        value = (
            f"CASE WHEN count(*) OVER () > {most} THEN {raising('partitions', str(most))} "
            f"ELSE {value} END AS {value}"
        )
    parts: list[Any] = [f"WITH {quote_ident(before)} AS (SELECT * FROM ", own.PREVIOUS]  # noqa: S608
    parts.append(f") SELECT {', '.join(f'{quote_ident(rows)}.{quote_ident(n)}' for n in made)} ")
    distinct = f"SELECT DISTINCT {quote_ident(op.column)}"
    parts.append(f"FROM (SELECT {value} FROM ({distinct} AS ")  # noqa: S608
    parts.append(f"{quote_ident(_KEY)} FROM {quote_ident(before)})) AS {quote_ident(keys)}, ")
    parts += ["LATERAL (", query, f") AS {quote_ident(rows)}"]
    return [own.Rows(tuple(parts), tuple(made))], made


def _require_possible(step: OperatorResolver, op: own.Partition) -> None:
    if op.has_source and op.strategy != "legacy":
        raise SemanticError(
            f"Semantic error: 'partition' operator: hint.strategy={op.strategy} takes a query "
            "without a source of its own.",
            remedy="Write partition by column (...), or leave the hint out.",
        )
    for operator in op.body.operators:
        if isinstance(operator, own.As | own.Partition):
            raise NotSupportedError(
                "as and partition within partition are not supported by Remora."
            )
        called = (node.name for node in nodes(operator) if isinstance(node, ir.FunctionCall))
        for name in windows.NAMES.intersection(called):
            raise NotSupportedError(
                f"{name}() within partition is not supported by Remora.",
                remedy="Sort by the column first, and use row_number(1, column != prev(column)).",
            )
        if op.strategy != "legacy" and not isinstance(operator, _WITHOUT_TABLES):
            raise SemanticError(
                f"Semantic error: 'partition' operator: hint.strategy={op.strategy} does not "
                f"support '{type(operator).__name__.lower()}'.",
                remedy="Use hint.strategy=legacy.",
            )


def _refuse_hoisted(body: ir.Query) -> None:
    """A query within an expression is computed once, so it must not depend on the key."""
    pending: list[tuple[Any, bool]] = [(body.source, False), *((o, False) for o in body.operators)]
    while pending:
        found, inside = pending.pop()
        for node in nodes(found):
            if isinstance(node, ir.Query):
                deeper = inside or not isinstance(found, ir.Join | ir.Lookup | ir.Union)
                pending += [(node.source, deeper), *((o, deeper) for o in node.operators)]
            elif inside and isinstance(node, own.OuterKey):
                raise NotSupportedError(
                    "The key of a partition within toscalar() or in (...) is not supported by "
                    "Remora.",
                    remedy="Use join, or one query for each value.",
                )
