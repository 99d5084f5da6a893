"""Operators of ``grammar.py`` resolved: into nodes of the library, or one SELECT. Pure."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import more_operators
from cluster.query import nodes as own
from cluster.query.calls import MOST_ELEMENTS, Fragment
from cluster.query.filters import constant_of
from cluster.query.translation import HIDDEN, TOO_LONG

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver

Produced = tuple[list[Any], "Columns"]

_NUMBERS: Final = frozenset(["int", "long", "real"])
_MOST_SAMPLED: Final = 1_000_000
"""What USING SAMPLE is asked for: it makes room for all of them first, and takes up to 10^9."""

_ORDERS: Final = frozenset(["", "asc", "desc", "granny-asc", "granny-desc"])


def choose(step: OperatorResolver, op: own.Choose) -> Produced:
    """Columns by name or pattern, in the order of ``project-keep`` or ``project-reorder``."""
    chosen: list[str] = []
    for target, is_pattern, order in op.targets:
        if not is_pattern:
            step.require([target])
            matched = [target]
        elif order not in _ORDERS or order.startswith("granny"):
            raise NotSupportedError(f"project-reorder ... {order} is not supported by Remora.")
        else:
            matched = [
                name
                for name in step.columns
                if name not in HIDDEN and fnmatch.fnmatchcase(name, target)
            ]
            if order:
                matched.sort(reverse=order == "desc")
        chosen.extend(name for name in matched if name not in chosen)
    if op.kind == "away":
        kept = {n: t for n, t in step.columns.items() if n not in chosen}
        return ([ir.ProjectAway(tuple(chosen))] if chosen else []), kept
    if op.kind == "keep":
        names = [name for name in step.columns if name in chosen]
    else:
        names = [*chosen, *(name for name in step.columns if name not in chosen)]
    kept = {name: step.columns[name] for name in names}
    return [ir.Project(tuple(ir.NamedExpr(ir.ColumnRef(n), n) for n in names))], kept


def serialize(step: OperatorResolver, op: own.Serialize) -> Produced:
    """``serialize`` orders rows as they come; what it computes is an ``extend``."""
    if not op.expressions:
        return [], step.columns
    return step.resolve(ir.Extend(op.expressions))


def sample(step: OperatorResolver, op: own.Sample) -> Produced:
    """Rows, or values that differ, drawn at random."""
    if op.of is not None:
        produced, columns = step.resolve(ir.Distinct((op.of,)))
        return [*produced, ir.Take(op.count)], columns
    drawn = f" USING SAMPLE {op.count} ROWS"
    if op.count > _MOST_SAMPLED:
        drawn = f" ORDER BY random() LIMIT {op.count}"
    parts = ("SELECT * FROM ", own.PREVIOUS, drawn)
    return [own.Rows(parts, tuple(step.columns))], step.columns


def search_within(step: OperatorResolver, _: own.SearchWithin) -> Produced:
    """The column ``$table`` in front, as ``search`` gives it."""
    label = ir.NamedExpr(ir.Literal(step.table_name(), "string"), own.TABLE_COLUMN)
    names = [n for n in step.columns if n != own.TABLE_COLUMN]
    rest = tuple(ir.NamedExpr(ir.ColumnRef(n), n) for n in names)
    columns = {own.TABLE_COLUMN: "string", **{n: step.columns[n] for n in names}}
    return [ir.Project((label, *rest))], columns


def distinct_all(step: OperatorResolver, _: own.DistinctAll) -> Produced:
    """``distinct *``. Raises SemanticError if there is a dynamic column, as Kusto does."""
    for name, kind in step.columns.items():
        if kind == "dynamic" and name not in HIDDEN:
            raise SemanticError(
                f"Semantic error: 'distinct' operator: column '{name}' of type dynamic is not "
                "allowed in this context.",
                remedy="Name the columns, and convert this one with tostring().",
            )
    names = [name for name in step.columns if name not in HIDDEN]
    return step.resolve(ir.Distinct(tuple(ir.NamedExpr(ir.ColumnRef(n)) for n in names)))


def apply(step: OperatorResolver, op: own.Apply) -> Produced:
    """``mv-apply``: a query for each row, over what the row expands to.

    Its columns replace those of the row that have their names; the row's others stay. A row whose
    arrays are empty has no rows of its own and leaves none, whatever the query.
    """
    number = step.resolver.next_number()
    row, rows = f"$row{number}", f"$rows{number}"
    before, columns, targets = _named_first(step, op, number)
    mine = {name: kind for name, kind in columns.items() if name not in HIDDEN}
    listed = ", ".join(f"{quote_ident(row)}.{quote_ident(n)} AS {quote_ident(n)}" for n in mine)
    source = ir.CommandSource(f"SELECT {listed}", tuple(mine), "mv-apply")
    scope = dataclasses.replace(step.scope, of_a_row=True)
    steps = [ir.MvExpand(targets), *op.body.operators]
    query, made = step.resolver.query(ir.Query(source, steps), scope, columns=mine)
    in_place = {target.column for target in targets if target.name is None}
    names = [name for name in step.columns if name in made or name not in in_place]
    names += [name for name in made if name not in columns]
    values = ", ".join(
        f"{quote_ident(rows if name in made else row)}.{quote_ident(name)}" for name in names
    )
    full = " OR ".join(
        f"coalesce(CAST({quote_ident(row)}.{quote_ident(target.column)} AS VARCHAR), 'null') "
        "NOT IN ('[]', '{}')"
        for target in targets
    )
    parts: list[Any] = [f"SELECT {values} FROM ", own.PREVIOUS]  # noqa: S608 - quoted
    parts += [f" AS {quote_ident(row)}, LATERAL (", query, f") AS {quote_ident(rows)}"]
    parts.append(f" WHERE {full}")
    result = {name: made.get(name, step.columns.get(name)) for name in names}
    return [*before, own.Rows(tuple(parts), tuple(names))], result


def _named_first(
    step: OperatorResolver, op: own.Apply, number: int
) -> tuple[list[Any], Columns, tuple[Any, ...]]:
    """What computes values to expand for the rows, the columns then, and what to expand."""
    computed = {e.name: e.expr for o in op.expand[:-1] for e in o.expressions}
    columns = dict(step.columns)
    targets, named = [], []
    for index, target in enumerate(op.expand[-1].targets):
        if target.column not in computed:
            step.require([target.column])
            targets.append(target)
            continue
        name = f"$apply{number}_{index}"
        named.append(ir.NamedExpr(step.expression(computed[target.column]).expr, name))
        columns[name] = "dynamic"
        targets.append(dataclasses.replace(target, column=name, name=target.column))
    return ([ir.Extend(tuple(named))] if named else []), columns, tuple(targets)


def make_series(step: OperatorResolver, op: own.MakeSeries) -> Produced:
    """``make-series``: for each group an array of every aggregate, one element a bin.

    Rows outside of ``from .. to`` count nowhere; a group without rows inside is left out.
    """
    axis, start, stop, size = (step.expression(e) for e in (op.on.expr, op.start, op.stop, op.step))
    width = constant_of(size.expr)
    moments = axis.type == start.type == stop.type == "datetime" and size.type == "timespan"
    whole = {axis.type, start.type, stop.type, size.type} <= {"int", "long"}
    if width is None or width.relative or float(width.value) <= 0 or not (moments or whole):
        raise NotSupportedError(
            "make-series is supported by Remora over datetimes with a constant timespan as step, "
            "and over whole numbers.",
        )
    if any(step.reads_columns(bound.expr) for bound in (start, stop)):
        raise SemanticError("Semantic error: 'make-series' operator: bounds must be constants.")
    function = "epoch_us({})" if moments else "CAST({} AS BIGINT)"
    before, after = function.split("{}")
    low = Fragment((before, start.expr, after))
    high = Fragment((before, stop.expr, after))
    index = Fragment((f"({before}", axis.expr, f"{after} - ", low, f") // {int(width.value)}"))
    inside = ir.Where(
        ir.BinaryOp(
            "and", ir.BinaryOp(">=", axis.expr, start.expr), ir.BinaryOp("<", axis.expr, stop.expr)
        )
    )
    grouped = ir.Summarize(op.aggregates, (*op.by, ir.NamedExpr(op.on.expr, "$bin")))
    produced, columns = step.resolve(grouped)
    summarize = produced[-1]
    by = (*summarize.by[:-1], ir.NamedExpr(index, "$bin"))
    produced[-1] = dataclasses.replace(summarize, by=by)
    on = op.on.name or (axis.expr.name if isinstance(axis.expr, ir.ColumnRef) else "Column1")
    names = list(columns)
    keys, values = names[: len(op.by)], names[len(op.by) + 1 :]
    for name in values:
        if columns[name] not in _NUMBERS:
            raise NotSupportedError(f"make-series: '{name}' is not a number: not supported here.")
    defaults = [step.expression(default).expr for default in op.defaults]
    count = ("ceil((", high, " - ", low, f") / {int(width.value)}.0)")
    fits = f" > {MOST_ELEMENTS} THEN error('{TOO_LONG}') ELSE CAST("
    bins = ("CASE WHEN ", *count, fits, *count, " AS BIGINT) END")
    moment = f"_i * {int(width.value)} + "
    element: tuple[Any, ...] = (moment, low)
    if moments:
        element = ("strftime(make_timestamp(", *element, "), '%Y-%m-%dT%H:%M:%S.%f') || '0Z'")
    parts: list[Any] = ["SELECT "]
    parts += [f"_k.{quote_ident(key)}, " for key in keys]
    for name, default in zip(values, defaults, strict=True):
        parts += [f"to_json(list(coalesce(_g.{quote_ident(name)}, ", default]
        parts += [f") ORDER BY _b._i)) AS {quote_ident(name)}, "]
    parts += ["to_json(list_transform(range(0, ", *bins, "), lambda _i: ", *element]
    parts += [f")) AS {quote_ident(on)} FROM (SELECT DISTINCT "]
    parts += [", ".join(map(quote_ident, keys)) or "1 AS _one", " FROM ", own.PREVIOUS]
    parts += [") AS _k CROSS JOIN (SELECT unnest(range(0, ", *bins, ")) AS _i) AS _b LEFT JOIN "]
    same = [f" AND _g.{quote_ident(k)} IS NOT DISTINCT FROM _k.{quote_ident(k)}" for k in keys]
    parts += [own.PREVIOUS, ' AS _g ON _g."$bin" = _b._i', *same]
    parts += [
        " GROUP BY " + ", ".join(f"_k.{quote_ident(k)}" for k in keys)
        if keys
        else " HAVING count(*) > 0"
    ]
    result = {**{k: columns[k] for k in keys}, **dict.fromkeys(values, "dynamic"), on: "dynamic"}
    series = own.Rows(tuple(parts), tuple(result))
    return [inside, *produced, series], result


HANDLERS: Final[dict[type, Any]] = {
    own.Choose: choose,
    own.Serialize: serialize,
    own.As: lambda step, _: ([], step.columns),
    own.Sample: sample,
    own.DistinctAll: distinct_all,
    own.SearchWithin: search_within,
    own.Apply: apply,
    own.MakeSeries: make_series,
    **more_operators.HANDLERS,
}

NAMES: Final[dict[type, str]] = {
    own.Choose: "project", own.Serialize: "serialize", own.As: "as",
    own.SearchWithin: "search", own.Sample: "sample", own.DistinctAll: "distinct",
    own.Apply: "mv-apply",
    own.MakeSeries: "make-series",
    **more_operators.NAMES,
}  # fmt: skip
