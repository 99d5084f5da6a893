"""``evaluate pivot``: the values of a column as columns. Pure.

Without an output schema a first pass finds the values, in the order of their texts, because the
order Kusto has is not documented; the second pass refuses rows that have others. A cell without
rows has what the aggregate gives of no rows: 0, an empty array, or null (summarize-operator.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident, quote_string

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own
from cluster.query.run_errors import raising
from cluster.query.translation import HIDDEN

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver
    from cluster.query.rewrites import Typed

_CONDITIONAL: Final = {
    "any": "take_anyif", "avg": "avgif", "count": "countif", "dcount": "dcountif",
    "make_list": "make_list_if", "make_set": "make_set_if", "max": "maxif", "min": "minif",
    "stdev": "stdevif", "sum": "sumif", "take_any": "take_anyif", "variance": "varianceif",
}  # fmt: skip
"""Aggregates of pivot, and what each is for the rows of one value."""

_ZERO: Final = frozenset(["stdev", "variance"])
"""Of these, those that are 0 of no rows and null in SQL."""

_PIVOTED: Final = frozenset(["bool", "guid", "int", "long", "string"])


def pivot(step: OperatorResolver, op: own.Evaluate) -> tuple[list[Any], Columns]:
    """``evaluate pivot(column [, aggregate] [, column ...])``."""
    column, aggregate, keys = _arguments(step, op)
    text = step.expression(ir.FunctionCall("tostring", (ir.ColumnRef(column),))).expr
    columns: Columns = {key: step.columns[key] for key in keys}
    check: list[Any] = []
    if op.schema is None:
        asking = ("SELECT DISTINCT ", text, " AS name, '' AS kind FROM ", own.PREVIOUS)
        rows = own.Rows((*asking, " ORDER BY name"), ("name", "kind"))
        values = [name for name, _ in step.resolver.discovery.of(step, "pivot", rows)]
        for value in values:
            _require_free(value, columns)
        known = ", ".join(map(quote_string, values))
        check = [f" WHERE CASE WHEN list_contains(CAST([{known}] AS VARCHAR[]), ", text]
        check.append(f") THEN true ELSE {raising('changed', 'pivot')} END")
        columns.update(dict.fromkeys(values))
    else:
        stays = {} if not op.with_source else columns
        told = {**stays, **dict(op.schema)}
        missing = [key for key in keys if key not in told]
        if missing:
            raise SemanticError(
                f"Semantic error: evaluate pivot(): the output schema has no column '{missing[0]}'."
            )
        columns = told
    parts: list[Any] = ["SELECT "]
    for index, name in enumerate(columns):
        cell = _key(step, name) if name in keys else _cell(step, aggregate, column, name)
        declared = columns[name] if op.schema is not None else None
        if declared not in (None, cell[1].type):
            raise SemanticError(
                f"Semantic error: evaluate pivot(): the column '{name}' is {cell[1].type}, and "
                f"{declared} in the output schema."
            )
        columns[name] = cell[1].type
        parts += [", " if index else "", *cell[0], f" AS {quote_ident(name)}"]
    if not columns:
        raise SemanticError("Semantic error: evaluate pivot(): the result has no columns.")
    parts += [" FROM ", own.PREVIOUS, *check]
    if keys:
        parts.append(f" GROUP BY {', '.join(map(quote_ident, keys))}")
    return [own.Rows(tuple(parts), tuple(columns))], columns


def _arguments(step: OperatorResolver, op: own.Evaluate) -> tuple[str, Any, list[str]]:
    """The column, the aggregate, and the columns that stay."""
    names = [name for name, _ in op.arguments if name]
    values = [value for _, value in op.arguments]
    if names or not values:
        raise SemanticError("Semantic error: evaluate pivot(): a column is expected.")
    column = _column(step, values[0])
    if step.columns[column] not in _PIVOTED:
        raise NotSupportedError(
            f"evaluate pivot(): a column of type {step.columns[column] or 'dynamic'} is not "
            "supported by Remora.",
            remedy="Convert it with tostring() before.",
        )
    aggregate = values[1] if len(values) > 1 else ir.FunctionCall("count", ())
    if not (isinstance(aggregate, ir.FunctionCall) and aggregate.name in _CONDITIONAL):
        raise NotSupportedError(
            "evaluate pivot(): the aggregate is supported by Remora if it is one of "
            f"{', '.join(sorted(_CONDITIONAL))}."
        )
    if len(values) > 2:
        keys = [_column(step, value) for value in values[2:]]
    else:
        taken = {column, *(a.name for a in aggregate.args if isinstance(a, ir.ColumnRef))}
        keys = [name for name in step.columns if name not in taken and name not in HIDDEN]
    if column in keys or len(set(keys)) < len(keys):
        raise SemanticError("Semantic error: evaluate pivot(): a column is named twice.")
    for key in keys:
        if step.columns[key] == "dynamic":
            raise SemanticError(
                f"Semantic error: evaluate pivot(): the column '{key}' is dynamic.",
                remedy="Name the columns that stay, or convert it with tostring().",
            )
    return column, aggregate, keys


def _column(step: OperatorResolver, value: Any) -> str:
    if not isinstance(value, ir.ColumnRef | ir.LetRef):
        raise SemanticError("Semantic error: evaluate pivot(): a name of a column is expected.")
    step.require([value.name])
    return str(value.name)


def _key(step: OperatorResolver, name: str) -> tuple[list[Any], Typed]:
    value = step.expression(ir.ColumnRef(name))
    return [value.expr], value


def _cell(
    step: OperatorResolver, aggregate: Any, column: str, value: str
) -> tuple[list[Any], Typed]:
    """The aggregate of the rows with a value."""
    text = ir.FunctionCall("tostring", (ir.ColumnRef(column),))
    only = ir.BinaryOp("==", text, ir.Literal(value, "string"))
    arguments = list(aggregate.args)
    arguments.insert(min(len(arguments), 1), only)
    total = step.aggregate(ir.FunctionCall(_CONDITIONAL[aggregate.name], tuple(arguments)))
    named = ir.NamedExpr(total.expr)
    if aggregate.name in _ZERO:
        return ["coalesce(", named, ", 0)"], total
    return [named], total


def _require_free(value: str, columns: Columns) -> None:
    if not value or value in columns or value.startswith("$"):
        raise SemanticError(
            f"Semantic error: evaluate pivot(): '{value}' cannot be the name of a column besides "
            "the others.",
            remedy="Leave such values out with where, or rename them with extend.",
        )
