"""Aggregates the library lacks: rows of its registry, and calls that stand for several. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate.functions import (
    AGGREGATE_FUNCTIONS,
    SCALAR_FUNCTIONS,
    AggregateSpec,
    FunctionSpec,
)
from duckdb_kql.translate.naming import expression_name

from cluster.errors import NotSupportedError
from cluster.query.translation import REFUSED_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BAG: Final = (
    "coalesce(list_transform([list_sort(flatten(list(list_transform(json_keys({0}), lambda _k: "
    "{{'k': _k, 'v': CAST(json_extract({0}, '/' || replace(replace(_k, '~', '~0'), '/', '~1')) "
    "AS VARCHAR)}})) FILTER (WHERE json_type({0}) = 'OBJECT')))], lambda _s: CAST('{{' || "
    "array_to_string(list_transform(list_filter(_s, lambda _x, _i: _i = 1 OR _s[_i - 1].k <> _x.k),"
    " lambda _x: CAST(to_json(_x.k) AS VARCHAR) || ':' || _x.v), ',') || '}}' AS JSON))[1], "
    "CAST('{{}}' AS JSON))"
)

CONDITIONAL: Final = {
    "maxif": "max", "minif": "min", "take_anyif": "take_any", "make_list_if": "make_list",
    "make_set_if": "make_set", "make_bag_if": "make_bag", "count_distinctif": "count_distinct",
    "variancepif": "variancep", "hll_if": "hll",
}  # fmt: skip
"""Aggregates of the rows that fulfil their second argument, and those of all rows."""


_TOO_FEW: Final = f"error('{REFUSED_VALUE}a covariance of too few rows')"
_COVARIANCES: Final = {
    "covariance": "covar_samp({0}, {1})",
    "covariancep": "covar_pop({0}, {1})",
    "covarianceif": "covar_samp(CASE WHEN {2} THEN {0} END, {1})",
    "covariancepif": "covar_pop(CASE WHEN {2} THEN {0} END, {1})",
}
_HLL: Final = (
    "json_object('hll', list_sort(coalesce(list(DISTINCT substr(md5(CAST({0} AS VARCHAR)), 1, 16))"
    " FILTER (WHERE {0} IS NOT NULL), [])))"
)
"""Distinct values as 64 bits of a hash each: exact, and no other program's."""

_HLL_MERGE: Final = (
    "json_object('hll', list_sort(list_distinct(coalesce(flatten(list(CASE "
    "WHEN json_type(json_extract({0}, '/hll')) IS DISTINCT FROM 'ARRAY' "
    f"THEN error('{REFUSED_VALUE}hll_merge() of what hll() has not made') "
    "ELSE CAST(json_extract({0}, '/hll') AS VARCHAR[]) END) FILTER (WHERE {0} IS NOT NULL)), "
    "[]))))"
)


def _bits(operation: str) -> AggregateSpec:
    sql = f"CAST(bit_{operation}(CAST({{0}} AS BIGINT)) AS BIGINT)"
    return AggregateSpec(f"binary_all_{operation}", sql, (1,), name_is_argument=True)


_ROWS: Final = (
    AggregateSpec("maxif", "", (2,)),
    AggregateSpec("minif", "", (2,)),
    AggregateSpec("take_anyif", "", (2,), name_is_argument=True),
    AggregateSpec("make_list_if", "", (2, 3), name_prefix="list"),
    AggregateSpec("make_set_if", "", (2, 3), name_prefix="set"),
    AggregateSpec("make_bag_if", "", (2,), name_prefix="bag"),
    AggregateSpec("make_bag", _BAG, (1,), name_prefix="bag"),
    AggregateSpec("count_distinct", "count(DISTINCT {0})", (1,)),
    AggregateSpec("count_distinctif", "", (2,)),
    *(
        AggregateSpec(name, f"coalesce({sql}, {_TOO_FEW})", (3 if "{2}" in sql else 2,))
        for name, sql in _COVARIANCES.items()
    ),
    AggregateSpec("hll", _HLL, (1, 2)),
    AggregateSpec("hll_if", "", (2, 3)),
    AggregateSpec("hll_merge", _HLL_MERGE, (1,)),
    AggregateSpec("make_list_with_nulls", "coalesce(list({0}), [])", (1,), name_prefix="list"),
    AggregateSpec("stdevp", "coalesce(stddev_pop({0}), 0.0)", (1,)),
    AggregateSpec("variancep", "coalesce(var_pop({0}), 0.0)", (1,)),
    AggregateSpec("variancepif", "", (2,)),
    AggregateSpec(
        "binary_all_and",
        "CAST(bit_and(CAST({0} AS BIGINT)) AS BIGINT)",
        (1,),
        name_is_argument=True,
    ),
    AggregateSpec(
        "binary_all_or", "CAST(bit_or(CAST({0} AS BIGINT)) AS BIGINT)", (1,), name_is_argument=True
    ),
    AggregateSpec(
        "binary_all_xor",
        "CAST(bit_xor(CAST({0} AS BIGINT)) AS BIGINT)",
        (1,),
        name_is_argument=True,
    ),
    AggregateSpec(
        "$sum_span", "to_microseconds(CAST(coalesce(sum(epoch_us({0})), 0) AS BIGINT))", (1,)
    ),
    AggregateSpec("$avg_span", "to_microseconds(CAST(avg(epoch_us({0})) AS BIGINT))", (1,)),
    AggregateSpec(
        "$ordered_list",
        "coalesce(list({0} ORDER BY {1}) FILTER (WHERE {0} IS NOT NULL), [])",
        (2,),
        name_prefix="list",
    ),
)
RETURN_TYPES: Final = {
    "make_list_if": "dynamic", "make_set_if": "dynamic", "make_bag": "dynamic",
    "make_bag_if": "dynamic", "count_distinct": "long", "count_distinctif": "long",
    "stdevp": "real", "variancep": "real", "variancepif": "real",
    "covariance": "real", "covariancep": "real", "covarianceif": "real", "covariancepif": "real",
    "hll": "dynamic", "hll_if": "dynamic", "hll_merge": "dynamic",
    "make_list_with_nulls": "dynamic",
    "binary_all_and": "long", "binary_all_or": "long", "binary_all_xor": "long",
}  # fmt: skip
"""Types of the aggregates here; the others have that of their first argument."""

_LISTED: Final = frozenset(["bool", "int", "long", "real", "string", "guid", "dynamic"])

_JSON_OR_NULL: Final = FunctionSpec(
    "$json_or_null", "template", "coalesce(to_json({0}), CAST('null' AS JSON))", (1,)
)
_WHEN: Final = FunctionSpec("$when", "template", "CASE WHEN {0} THEN {1} END", (2,))


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    AGGREGATE_FUNCTIONS.update({row.name: row for row in _ROWS})
    SCALAR_FUNCTIONS.update({row.name: row for row in (_WHEN, _JSON_OR_NULL)})


def one_by_one(
    aggregates: tuple[Any, ...], columns: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[Any]:
    """The aggregates with those of several results written out: ``percentiles``, ``take_any``."""
    for named in aggregates:
        expr, names = named.expr, ()
        if isinstance(expr, ir.FunctionCall) and expr.name == "$named":
            expr, *given = expr.args
            names = tuple(column.name for column in given)
        if (
            isinstance(expr, ir.FunctionCall)
            and expr.args
            and (expr.name == "percentiles" or (expr.name == "percentile" and named.name is None))
        ):
            yield from _percentiles(expr, names, named.name)
        elif (
            isinstance(expr, ir.FunctionCall)
            and expr.name == "take_any"
            and (len(expr.args) > 1 or expr.args == (ir.Wildcard(),))
        ):
            chosen = expr.args
            if expr.args == (ir.Wildcard(),):
                chosen = tuple(ir.ColumnRef(n) for n in columns if n not in keys and n[0] != "$")
            for column in chosen:
                yield ir.NamedExpr(ir.FunctionCall("take_any", (column,)))
        elif isinstance(expr, ir.FunctionCall) and expr.name in _COVARIANCES and named.name is None:
            of = "_".join(expression_name(value) or "" for value in expr.args[:2])
            yield ir.NamedExpr(expr, f"{expr.name}_{of}")
        else:
            yield named


def with_nulls(value: Any, kind: str | None) -> Any:
    """What ``make_list`` must be given so that nulls stay: they are values of dynamics then.

    Raises NotSupportedError for a type whose values a list spells in another way.
    """
    if kind not in _LISTED:
        raise NotSupportedError(
            f"make_list_with_nulls() of {kind or 'an unknown type'} is not supported by Remora.",
            remedy="Convert with tostring().",
        )
    return ir.FunctionCall("$json_or_null", (value,))


def _percentiles(call: Any, names: tuple[str, ...], name: str | None) -> Iterator[Any]:
    value, *points = call.args
    if names and len(names) != len(points):
        raise NotSupportedError("percentiles(): as many names as percentiles are needed.")
    for index, point in enumerate(points):
        known = names[index] if names else None
        if index == 0 and name is not None:
            known = name
        if known is None and isinstance(point, ir.Literal):
            known = f"percentile_{expression_name(value) or ''}_{point.value}".replace(".", "_")
        yield ir.NamedExpr(ir.FunctionCall("percentile", (value, point)), known)
