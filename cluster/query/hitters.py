"""``top-hitters`` and ``top-nested``. Pure.

``top-hitters`` counts exactly, though its columns are called approximate. Of values that tie at
the end of a list, those that come first in their own order are taken.

``top-nested`` is a list of common table expressions, three a level: the groups of the level, their
places among those of one parent, and the rows again with the group each is in. Rows of groups that
did not make it are dropped, unless ``with others`` of this level or of a deeper one collects them;
a level that does not collect them itself has neither value nor aggregate in their record. That is
the example of "with others" in earlier editions of top-nested-operator.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql import lower as lowering
from duckdb_kql.translate import naming, quote_ident

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own
from cluster.query.calls import Fragment
from cluster.query.translation import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver
    from cluster.query.rewrites import Typed

_AGGREGATES: Final = frozenset(["sum", "count", "max", "min", "dcount", "avg", "percentile"])
_NUMBERS: Final = frozenset(["int", "long", "real", "decimal"])
_MOST_LEVELS: Final = 16
_COUNTED: Final[str | None] = "long"
_WIDENED: Final[dict[tuple[str | None, str | None], str]] = {
    ("long", "int"): "INTEGER", ("long", "real"): "DOUBLE", ("int", "long"): "BIGINT",
}  # fmt: skip
"""Types of a constant and of a column it may stand in, and the latter's in DuckDB."""


def lower_top_hitters(node: Any) -> own.TopHitters:
    """The count, the column and what is summed."""
    count, of, *rest = lowering._rule_children(node)
    column = lowering._lower_named(of)
    if column.name is not None or not isinstance(column.expr, ir.ColumnRef):
        raise SemanticError(
            "Semantic error: 'top-hitters' operator: a name of a column is expected.",
            remedy="Put extend before it.",
        )
    weight = None
    if rest:
        ordered = lowering._rule_children(rest[0])[0]
        weight = lowering._lower_named(_unordered(ordered, "top-hitters")[0])
    return own.TopHitters(lowering._lower_expr(count), column.expr.name, weight)


def _unordered(node: Any, operator: str) -> tuple[Any, str]:
    """What is ordered, and ``asc``, ``desc`` or nothing."""
    found = lowering._collapse(node)
    if lowering._cls(found) != "OrderedExpression":
        return node, ""
    expression = lowering._rule_children(found)[0]
    ordering = found.getText()[len(expression.getText()) :].lower()
    if ordering not in ("", "asc", "desc") or (ordering and operator == "top-hitters"):
        raise NotSupportedError(f"'{operator}' operator: '{ordering}' is not supported by Remora.")
    return expression, ordering


def top_hitters(step: OperatorResolver, op: own.TopHitters) -> tuple[list[Any], Columns]:
    """The values that come most often, or with the largest sums, the largest first."""
    count = _count(step, op.count, "top-hitters")
    step.require([op.column])
    if step.columns[op.column] == "dynamic":
        raise SemanticError("Semantic error: 'top-hitters' operator: the column is dynamic.")
    if op.weight is None:
        name, kind = f"approximate_count_{op.column}", _COUNTED
        total: Any = ir.FunctionCall("count", ())
    else:
        weight = step.expression(op.weight.expr)
        if weight.type not in (None, *_NUMBERS):
            raise SemanticError("Semantic error: 'top-hitters' operator: the sum needs a number.")
        plain = op.weight.expr.name if isinstance(op.weight.expr, ir.ColumnRef) else ""
        name, kind = f"approximate_sum_{op.weight.name or plain}", weight.type
        total = ir.FunctionCall("sum", (op.weight.expr,))
    key = ir.ColumnRef(op.column)
    produced, columns = step.resolve(
        ir.Summarize((ir.NamedExpr(total, name),), (ir.NamedExpr(key, None),))
    )
    produced.append(ir.Top(count, (ir.SortKey(ir.ColumnRef(name), ascending=False),)))
    if kind == "int":  # the type is that of what is summed; a sum that does not fit is an error
        whole = Fragment((f"CAST({quote_ident(name)} AS INTEGER)",))
        produced.append(ir.Extend((ir.NamedExpr(whole, name),)))
    return produced, {**columns, name: kind}


def _count(step: OperatorResolver, value: Any, operator: str) -> int:
    """A constant number of rows."""
    expr = step.expression(value).expr
    if not (isinstance(expr, ir.Literal) and type(expr.value) is int and expr.value >= 0):
        raise NotSupportedError(
            f"'{operator}' operator: the number of values must be a constant whole number."
        )
    return expr.value


# -- top-nested ----------------------------------------------------------------------------------


def lower_top_nested(node: Any) -> own.TopNested:
    """The levels, from the outermost on."""
    levels = []
    is_one = lowering._cls(node) == "TopNestedOperatorPart"
    for part in [node] if is_one else lowering._find_all(node, "TopNestedOperatorPart"):
        count = of = others = by = None
        ordering = ""
        for child in lowering._rule_children(part):
            kind = lowering._cls(child)
            if kind == "TopNestedOperatorWithOthersClause":
                others = lowering._lower_expr(lowering._rule_children(child)[0])
            elif kind == "OrderedExpression" or "OrderedExpression" in _chain(child):
                by, ordering = _unordered(child, "top-nested")
            elif of is None:
                of = child
            else:
                count, of = of, child
        levels.append(
            own.Level(
                None if count is None else lowering._lower_expr(count),
                lowering._lower_named(of),
                others,
                lowering._lower_named(by),
                ordering == "asc",
            )
        )
    if len(levels) > _MOST_LEVELS:
        raise NotSupportedError(f"'top-nested' has at most {_MOST_LEVELS} levels in Remora.")
    return own.TopNested(tuple(levels))


def _chain(node: Any) -> list[str]:
    return [lowering._cls(lowering._collapse(node))]


def top_nested(step: OperatorResolver, op: own.TopNested) -> tuple[list[Any], Columns]:
    """For each level its value and its aggregate, one record a group of the deepest level."""
    levels = [own.Level(*level) for level in op.levels]
    columns: Columns = {}
    names: list[tuple[str, str]] = []
    keys: list[Typed] = []
    sums: list[Typed] = []
    others: list[Any] = []
    for level in levels:
        key, total = step.expression(level.of.expr), _aggregate(step, level.by.expr)
        name = _free(_name(level.of), columns)
        columns[name] = key.type
        summed = _free(level.by.name or f"aggregated_{name}", columns)
        columns[summed] = total.type
        names.append((name, summed))
        keys.append(key)
        sums.append(total)
        others.append(_others(step, level, key))
    deepest = max((i for i, other in enumerate(others) if other is not None), default=-1)
    own_names = [name for name in step.columns if name not in HIDDEN]
    parts: list[Any] = ["WITH _r0 AS (SELECT ", ", ".join(map(quote_ident, own_names))]
    for index, key in enumerate(keys, 1):
        parts += [", ", key.expr, f' AS "$x{index}"']
    parts += [', false AS "$o0", NULL AS "$p0" FROM ', own.PREVIOUS, ")"]
    for index, level in enumerate(levels, 1):
        count = None if level.count is None else _count(step, level.count, "top-nested")
        total = ir.NamedExpr(sums[index - 1].expr)
        parts += _level(index, total, count, ascending=level.ascending, keeps=index - 1 <= deepest)
    parts += _joined(names, others)
    return [own.Rows(tuple(parts), tuple(columns))], columns


def _level(index: int, total: Any, count: int | None, *, ascending: bool, keeps: bool) -> list[Any]:
    """The tables of a level: ``_t`` groups, ``_k`` their places, ``_r`` rows, ``_g`` aggregates."""
    before = index - 1
    path = ", ".join(f'"$p{i}", "$o{i}"' for i in range(index))
    mine = ", ".join(f'"$p{i}", "$o{i}"' for i in range(index + 1))
    order = "ASC NULLS FIRST" if ascending else "DESC NULLS LAST"
    place = f'row_number() OVER (PARTITION BY {path} ORDER BY "$a" {order}, "$x{index}")'
    taken = "true" if count is None else f"{place} <= {count}"
    same = " AND ".join(
        f'_a."{column}" IS NOT DISTINCT FROM _b."{column}"'
        for column in (*(f"${kind}{i}" for i in range(index) for kind in "po"), f"$x{index}")
    )
    chosen = "coalesce(_b._taken, false)"
    return [
        f', _t{index} AS (SELECT {path}, "$x{index}", ', total, f' AS "$a" FROM _r{before} ',
        f'WHERE NOT "$o{before}" GROUP BY {path}, "$x{index}")',
        f", _k{index} AS (SELECT *, {taken} AS _taken FROM _t{index})",  # noqa: S608 - numbers
        f', _r{index} AS (SELECT _a.*, CASE WHEN {chosen} THEN _a."$x{index}" END AS "$p{index}", ',
        f'NOT {chosen} AS "$o{index}" FROM _r{before} AS _a LEFT JOIN _k{index} AS _b ON {same} ',
        f'AND NOT _a."$o{before}"', "" if keeps else f" WHERE {chosen}", ")",
        f", _g{index} AS (SELECT {mine}, ", total, f' AS "$a" FROM _r{index} GROUP BY {mine})',
    ]  # fmt: skip


def _joined(names: Sequence[tuple[str, str]], others: Sequence[Any]) -> list[Any]:
    """The groups of the deepest level, each with the aggregates of those it is in."""
    last = len(names)
    parts: list[Any] = [" SELECT "]
    for index, (name, summed) in enumerate(names, 1):
        other = others[index - 1]
        rest, total = f'_g{last}."$o{index}"', f'_g{index}."$a"'
        parts.append(", " if index > 1 else "")
        if other is None:
            parts.append(f'_g{last}."$p{index}" AS {quote_ident(name)}, ')
            parts.append(f"CASE WHEN NOT {rest} THEN {total} END AS {quote_ident(summed)}")
        else:
            parts += [f"CASE WHEN {rest} THEN ", other, f' ELSE _g{last}."$p{index}" END AS ']
            parts.append(f"{quote_ident(name)}, {total} AS {quote_ident(summed)}")
    parts.append(f" FROM _g{last}")
    for index in range(1, last):
        same = " AND ".join(
            f'_g{last}."${kind}{i}" IS NOT DISTINCT FROM _g{index}."${kind}{i}"'
            for i in range(index + 1)
            for kind in "po"
        )
        parts.append(f" JOIN _g{index} ON {same}")
    return parts


def _aggregate(step: OperatorResolver, expr: Any) -> Typed:
    if not (isinstance(expr, ir.FunctionCall) and expr.name in _AGGREGATES):
        raise NotSupportedError(
            "'top-nested' operator: what follows 'by' is supported by Remora if it is one of "
            f"{', '.join(sorted(_AGGREGATES))}."
        )
    return step.aggregate(expr)


def _others(step: OperatorResolver, level: own.Level, key: Typed) -> Any:
    if level.others is None:
        return None
    value = step.expression(level.others)
    stored = _WIDENED.get((value.type, key.type))
    if step.reads_columns(value.expr) or (value.type != key.type and stored is None):
        raise SemanticError(
            "Semantic error: 'top-nested' operator: others must be a constant of the type "
            f"{key.type}.",
            remedy="Convert the expression to the type of the constant.",
        )
    return value.expr if stored is None else Fragment(("CAST(", value.expr, f" AS {stored})"))


def _name(named: Any) -> str:
    """The name of a level's column; an expression that has none is refused."""
    if named.name is None and not isinstance(named.expr, ir.ColumnRef):
        derived = str(naming.project_names((named,))[0])
        if derived.startswith("Column"):
            raise NotSupportedError(
                "'top-nested' operator: an expression without a name is not supported by Remora.",
                remedy="Give it one: top-nested 2 of name = expression.",
            )
        return derived
    return str(named.name or named.expr.name)


def _free(name: str, taken: Columns) -> str:
    """``name``, with a number behind it if it is taken."""
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free
