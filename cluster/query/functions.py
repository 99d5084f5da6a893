"""Scalar functions the library lacks, as rows of its registry, each with its type. Pure.

A template sees the SQL of its arguments; where it needs one twice it binds it in a lambda. Names
that begin with ``$`` are ours alone. What depends on types or constants is in ``expressions.py``.
"""

from __future__ import annotations

from typing import Final

from duckdb_kql.translate import naming
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from cluster.query import calls
from cluster.query.translation import TOO_LONG


def _row(name: str, template: str, *arities: int) -> FunctionSpec:
    return FunctionSpec(name, "template", template, arities)


_ENTRY: Final = (
    "CAST(to_json(_k) AS VARCHAR) || ':' || CAST(json_extract({bag}, "
    "'/' || replace(replace(_k, '~', '~0'), '/', '~1')) AS VARCHAR)"
)
"""A member of a bag as JSON text; a pointer can spell any key."""

_PRIVATE: Final = (
    "list_transform([{0}], lambda _v: _v BETWEEN 167772160 AND 184549375 OR "
    "_v BETWEEN 2886729728 AND 2887778303 OR _v BETWEEN 3232235520 AND 3232301055)[1]"
)


def _merged(low: str, high: str) -> str:
    """SQL of two bags in one; where both have a key ``low`` wins."""
    first = _ENTRY.replace("{bag}", "_m.a")
    second = _ENTRY.replace("{bag}", "_m.b")
    return (
        f"list_transform([{{{{'a': {low}, 'b': {high}}}}}], lambda _m: CASE "
        "WHEN coalesce(json_type(_m.a), '') <> 'OBJECT' THEN _m.b "
        "WHEN coalesce(json_type(_m.b), '') <> 'OBJECT' THEN _m.a "
        "ELSE CAST('{{' || array_to_string(list_concat("
        f"list_transform(json_keys(_m.a), lambda _k: {first}), "
        "list_transform(list_filter(json_keys(_m.b), "
        "lambda _k: NOT list_contains(json_keys(_m.a), _k)), "
        f"lambda _k: {second})), ',') || '}}}}' AS JSON) END)[1]"
    )


_ROWS: Final = (
    _row("todecimal", "TRY_CAST({0} AS DECIMAL(38,18))", 1),
    _row("unixtime_seconds_todatetime", "make_timestamp(CAST({0} * 1000000 AS BIGINT))", 1),
    _row("unixtime_milliseconds_todatetime", "make_timestamp(CAST({0} * 1000 AS BIGINT))", 1),
    _row("unixtime_microseconds_todatetime", "make_timestamp(CAST({0} AS BIGINT))", 1),
    _row("$unixtime_nanoseconds", "make_timestamp(CAST({0} AS BIGINT) // 1000)", 1),
    _row("$extract_json", "coalesce(json_extract_string(TRY_CAST({0} AS JSON), {1}), '')", 2),
    _row("$tohex", "lower(to_hex(CAST({0} AS BIGINT)))", 1),
    _row("$low_bits", "(CAST({0} AS BIGINT) & 4294967295)", 1),
    _row("$tohex_padded", "list_transform([lower(to_hex(CAST({0} AS BIGINT)))], lambda _h: "
         f"CASE WHEN {{1}} > 1024 THEN error('{TOO_LONG}') ELSE "
         "lpad(_h, CAST(greatest({1}, length(_h)) AS INTEGER), '0') END)[1]", 2),
    _row("strcmp", "CAST(CASE WHEN {0} < {1} THEN -1 WHEN {0} > {1} THEN 1 ELSE 0 END AS BIGINT)",
         2),
    _row("string_size", "CAST(strlen({0}) AS BIGINT)", 1),
    _row("isascii", "NOT regexp_matches({0}, '[^\\x00-\\x7F]')", 1),
    _row("new_guid", "uuid()", 0),
    _row("$random", "random()", 0),
    _row("bitset_count_ones", "CAST(bit_count(CAST({0} AS BIGINT)) AS BIGINT)", 1),
    _row("loggamma", "lgamma({0})", 1),
    _row("bag_keys", "CASE WHEN json_type({0}) = 'OBJECT' THEN to_json(json_keys({0})) END", 1),
    _row("$bag_merge", _merged("{0}", "{1}"), 2),
    _row("$is_private", _PRIVATE, 1),
    _row("dayofmonth", "CAST(day({0}) AS INTEGER)", 1),
    _row("dayofyear", "CAST(dayofyear({0}) AS INTEGER)", 1),
    _row("monthofyear", "CAST(month({0}) AS INTEGER)", 1),
    _row("getmonth", "CAST(month({0}) AS INTEGER)", 1),
    _row("getyear", "CAST(year({0}) AS INTEGER)", 1),
    _row("hourofday", "CAST(hour({0}) AS INTEGER)", 1),
    _row("weekofyear", "CAST(weekofyear({0}) AS INTEGER)", 1),
    _row("week_of_year", "CAST(weekofyear({0}) AS INTEGER)", 1),
    _row("array_index_of", "CAST(coalesce(list_position(CAST(to_json({0}) AS JSON[]), "
         "CAST(to_json({1}) AS JSON)) - 1, -1) AS BIGINT)", 2),
    _row("$decimal_text", "regexp_replace(CAST({0} AS VARCHAR), '\\.?0+$', '')", 1),
    _row("$span_times", "to_microseconds(CAST(round(epoch_us({0}) * {1}) AS BIGINT))", 2),
    _row("$span_over", "to_microseconds(CAST(round(epoch_us({0}) / {1}) AS BIGINT))", 2),
)  # fmt: skip

RETURN_TYPES: Final = {
    "todecimal": "decimal", "strcmp": "long", "string_size": "long", "isascii": "bool",
    "unixtime_seconds_todatetime": "datetime", "unixtime_milliseconds_todatetime": "datetime",
    "unixtime_microseconds_todatetime": "datetime",
    "new_guid": "guid", "bitset_count_ones": "long", "loggamma": "real", "bag_keys": "dynamic",
}  # fmt: skip
"""Types of the functions here, by the names queries spell."""


NAME_PRESERVING: Final = frozenset(
    ["loggamma", "format_timespan", "bitset_count_ones", "todecimal", "bin_at"]
)
"""Functions that name an unnamed column after their first argument."""


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    rows = [
        *_ROWS,
        *(
            _row(name, sql, sql.count("{0}") + sql.count("{1}") + sql.count("{2}"))
            for name, sql in calls.RANGES.items()
        ),
    ]
    SCALAR_FUNCTIONS.update({row.name: row for row in rows})
    naming.NAME_PRESERVING |= NAME_PRESERVING
    naming._PREFIXED["string_size"] = "string_size"
