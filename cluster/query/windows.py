"""Functions of the order of rows: ``row_number``, ``row_rank_*``, ``prev``, ``row_cumsum``. Pure.

They are computed over rows as they come, which DuckDB keeps from a sort on through every operator
that preserves order here (``ORDERED``), whatever number of threads; Kusto refuses them elsewhere,
and so does :func:`call`. A sum that restarts needs groups of rows first: see :class:`Restarts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from duckdb_kql import ir
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own

_RANKS: Final = frozenset(["row_rank_dense", "row_rank_min"])
NAMES: Final = _RANKS | {"row_number", "prev", "next", "row_cumsum"}

_RUNNING: Final = "ROWS UNBOUNDED PRECEDING"
_ROWS: Final = (
    FunctionSpec("$row", "template", "row_number() OVER ()", (0,)),
    FunctionSpec("$prev", "template", "lag({0}, {1}) OVER ()", (2,)),
    FunctionSpec("$prev_or", "template", "lag({0}, {1}, {2}) OVER ()", (3,)),
    FunctionSpec("$next", "template", "lead({0}, {1}) OVER ()", (2,)),
    FunctionSpec("$next_or", "template", "lead({0}, {1}, {2}) OVER ()", (3,)),
    FunctionSpec("$sum", "template", f"CAST(sum({{0}}) OVER ({_RUNNING}) AS BIGINT)", (1,)),
    FunctionSpec("$sum_real", "template", f"sum({{0}}) OVER ({_RUNNING})", (1,)),
    FunctionSpec("$restarts", "template", f"count(*) FILTER (WHERE {{0}}) OVER ({_RUNNING})", (1,)),
    FunctionSpec(
        "$sum_within",
        "template",
        f"sum({{0}}) OVER (PARTITION BY {{1}} ORDER BY {{2}} {_RUNNING})",
        (3,),
    ),
    FunctionSpec(
        "$whole_sum_within",
        "template",
        f"CAST(sum({{0}}) OVER (PARTITION BY {{1}} ORDER BY {{2}} {_RUNNING}) AS BIGINT)",
        (3,),
    ),
    FunctionSpec("$changed", "template",
                 "(row_number() OVER () = 1 OR {0} IS DISTINCT FROM lag({0}) OVER ())", (1,)),
    FunctionSpec("$least_within", "template", "min({0}) OVER (PARTITION BY {1})", (2,)),
    FunctionSpec("$row_within", "template",
                 "row_number() OVER (PARTITION BY {0} ORDER BY {1})", (2,)),
)  # fmt: skip
_WINDOWS: Final = frozenset(row.name for row in _ROWS)

ORDERED: Final = (
    ir.Where, ir.Extend, ir.Project, ir.ProjectAway, ir.ProjectRename, ir.Take, ir.MvExpand,
    ir.Parse, own.Choose, own.As, own.ParseKv,
)  # fmt: skip
"""Operators behind which rows stay in order (serialize-operator.md)."""

ORDERING: Final = (ir.Sort, ir.Top, own.Serialize)
"""Operators that put rows in order."""

ROW: Final = "$row"


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    SCALAR_FUNCTIONS.update({row.name: row for row in _ROWS})


def is_window(node: Any) -> bool:
    """Whether ``node`` is a resolved call of a function here."""
    return isinstance(node, ir.FunctionCall) and node.name in _WINDOWS


@dataclass(slots=True)
class Restarts:
    """Conditions at which sums start anew, to be computed before the operator that uses them."""

    conditions: list[Any] = field(default_factory=list)

    def group(self, condition: Any) -> Any:
        """The number of the group of rows that ``condition`` makes of each row."""
        self.conditions.append(condition)
        return ir.ColumnRef(f"$group{len(self.conditions) - 1}")

    def around(self, operators: list[Any]) -> list[Any]:
        """``operators`` with the groups computed before and taken away behind them."""
        if not self.conditions:
            return operators
        numbers = range(len(self.conditions))
        flags = tuple(
            ir.NamedExpr(c, f"$flag{i}") for i, c in zip(numbers, self.conditions, strict=True)
        )
        groups = tuple(
            ir.NamedExpr(ir.FunctionCall("$restarts", (ir.ColumnRef(f"$flag{i}"),)), f"$group{i}")
            for i in numbers
        )
        row = ir.NamedExpr(ir.FunctionCall("$row"), ROW)
        away = (ROW, *(f"${kind}{i}" for i in numbers for kind in ("flag", "group")))
        back = ir.Sort((ir.SortKey(ir.ColumnRef(ROW), ascending=True),))
        return [ir.Extend(flags), ir.Extend((*groups, row)), *operators, back, ir.ProjectAway(away)]


def call(
    name: str, arguments: list[tuple[Any, str | None]], restarts: Restarts
) -> tuple[Any, str | None]:
    """A call over rows in order: its expression and type."""
    values = [value for value, _ in arguments]
    if name == "row_number":
        start = values[0] if values else ir.Literal(1, "long")
        row: Any = ir.FunctionCall("$row")
        if len(values) > 1:
            group = restarts.group(values[1])
            row = ir.FunctionCall("$row_within", (group, ir.ColumnRef(ROW)))
        less = ir.BinaryOp("-", start, ir.Literal(1, "long"))
        return ir.BinaryOp("+", row, less), "long"
    if not values:
        raise SemanticError(f"Semantic error: SEM0219: {name}(): an argument is missing.")
    kind = arguments[0][1]
    if name in _RANKS:
        return _rank(name, values, restarts), "long"
    if name == "row_cumsum":
        return _cumulative(values, kind, restarts)
    offset = values[1] if len(values) > 1 else ir.Literal(1, "long")
    if not (isinstance(offset, ir.Literal) and isinstance(offset.value, int)):
        raise NotSupportedError(f"{name}() is supported by Remora with a constant offset.")
    if len(values) > 2:
        return ir.FunctionCall(f"${name}_or", (values[0], offset, values[2])), kind
    if kind == "string":  # a Kusto string is never null
        empty = ir.Literal("", "string")
        return ir.FunctionCall(f"${name}_or", (values[0], offset, empty)), kind
    return ir.FunctionCall(f"${name}", (values[0], offset)), kind


def _cumulative(values: list[Any], kind: str | None, restarts: Restarts) -> tuple[Any, str | None]:
    if kind not in ("int", "long", "real", "decimal"):
        raise NotSupportedError("row_cumsum() is supported by Remora over numbers.")
    if len(values) > 1:
        group = restarts.group(values[1])
        summed = "$whole_sum_within" if kind in ("int", "long") else "$sum_within"
        total: Any = ir.FunctionCall(summed, (values[0], group, ir.ColumnRef(ROW)))
    else:
        total = ir.FunctionCall("$sum" if kind in ("int", "long") else "$sum_real", (values[0],))
    return total, "long" if kind == "int" else kind


def _rank(name: str, values: list[Any], restarts: Restarts) -> Any:
    """The rank of a row among those since the last restart, whose terms are in order.

    Rows of equal terms are a group: the dense rank counts groups, the other rows before one.
    """
    if len(values) > 2:
        raise SemanticError(
            f"Semantic error: SEM0219: {name}(): function expects [1, 2] arguments."
        )
    changed: Any = ir.FunctionCall("$changed", (values[0],))
    if len(values) == 1:
        group = restarts.group(changed)
        if name == "row_rank_dense":
            return group
        return ir.FunctionCall("$least_within", (ir.ColumnRef(ROW), group))
    group = restarts.group(ir.BinaryOp("or", changed, values[1]))
    part = restarts.group(values[1])
    counted = group if name == "row_rank_dense" else ir.ColumnRef(ROW)
    own_first = group
    if name == "row_rank_min":
        own_first = ir.FunctionCall("$least_within", (counted, group))
    first = ir.FunctionCall("$least_within", (counted, part))
    return ir.BinaryOp("+", ir.BinaryOp("-", own_first, first), ir.Literal(1, "long"))
