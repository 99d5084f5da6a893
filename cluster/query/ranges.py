"""``range`` and ``datatable``: rows of no table. Pure."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident, render_expr

from cluster.errors import NotSupportedError
from cluster.query.expressions import Columns, Expressions, require_usable
from cluster.query.shapes import nodes

_INTEGERS: Final = frozenset(["int", "long"])
_POINTS: Final = ["datetime", "datetime", "timespan"]
_SPANS: Final = ["timespan"] * 3
_SERIES: Final = "generate_series({}) AS _range(_value)"


def range_rows(source: ir.RangeSource, nothing: Expressions) -> tuple[Any, Columns]:
    """``range`` as DuckDB's table function, which streams.

    The library unnests a list of all values: 70 bytes each, all in memory at once.
    """
    require_usable([source.name], "range")
    bounds = [nothing.resolve(e) for e in (source.start, source.stop, source.step)]
    kinds = [bound.type for bound in bounds]
    numbers = (_INTEGERS | {"real"}).issuperset(kinds)
    if not (numbers or kinds in (_POINTS, _SPANS)) or any(
        isinstance(node, ir.Query) for bound in bounds for node in nodes(bound.expr)
    ):
        raise NotSupportedError(
            "range is supported over constants: numbers, timespans, or datetimes with a "
            "timespan step.",
            remedy="Convert each bound with tolong(), or scale the result with extend.",
        )
    rendered = [render_expr(bound.expr) for bound in bounds]
    kind, value = kinds[0] or "", "_value"
    series = _SERIES.format(", ".join(rendered))
    if _INTEGERS.issuperset(kinds):
        kind = "long"
        series = _SERIES.format(", ".join(f"CAST({bound} AS BIGINT)" for bound in rendered))
    elif kinds == _SPANS:
        value = "to_microseconds(_value)"
        series = _SERIES.format(", ".join(f"epoch_us({bound})" for bound in rendered))
    elif numbers:
        kind = "real"
        start, stop, step = (f"CAST({bound} AS DOUBLE)" for bound in rendered)
        value = f"{start} + _value * {step}"
        series = _SERIES.format(f"0, CAST(floor(({stop} - {start}) / {step}) AS BIGINT)")
    sql = f"SELECT {value} AS {quote_ident(source.name)} FROM {series}"  # noqa: S608 - quoted
    return ir.CommandSource(sql, (source.name,), "range"), {source.name: kind}


def literal_rows(source: ir.DataTable, nothing: Expressions) -> tuple[Any, Columns]:
    """``datatable``, whose decimals the library would compute as real."""
    names = [name for name, _ in source.columns]
    kinds = [kind for _, kind in source.columns]
    require_usable(names, "datatable")
    values = [nothing.resolve(value).expr for value in source.values]
    if "decimal" in kinds and len(values) % len(kinds) == 0:
        values = [
            ir.FunctionCall("todecimal", (value,)) if kind == "decimal" else value
            for kind, value in zip(itertools.cycle(kinds), values, strict=False)
        ]
    return dataclasses.replace(source, values=tuple(values)), dict(source.columns)
