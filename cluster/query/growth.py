"""Functions that make values longer than they got, bounded.

DuckDB's memory limit does not count strings in flight: ``strrep('a', 4000000000)`` took 7.7 GB and
could not be interrupted for 50 s, and thirty ``extend s = strcat(s, s)`` double a kilobyte to a
terabyte. So every function that can grow a value fails once the value is longer than
``string_value_bytes``, before the next one can double it.

The rows here join the library's function registry under names no query can spell (``$``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from duckdb_kql import ir
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from cluster.errors import NotSupportedError
from cluster.query.translation import TOO_LONG, too_long

if TYPE_CHECKING:
    from collections.abc import Sequence

GROWING: Final = frozenset(
    {
        "strcat", "strcat_delim", "strcat_array", "replace_regex", "array_concat", "pack_array",
        "pack", "bag_pack", "zip", "set_union", "$bag_merge",
        "base64_encode_tostring", "base64_encodestring",
    }
)  # fmt: skip
"""Functions whose result is checked after they have made it: it is about as long as its parts."""

MOST_REPEATS: Final = 1024
"""Kusto's own bound of strrep (strrep-function.md)."""

_REPLACED_FACTOR: Final = 4
_REWRITE_CHARACTERS: Final = 1024

_ROWS: Final = (
    FunctionSpec(
        "$bounded",
        "template",
        "list_transform([{0}], lambda _v: CASE WHEN strlen(CAST(_v AS VARCHAR)) > {1} "
        f"THEN error('{TOO_LONG}') ELSE _v END)[1]",
        (2,),
    ),
    FunctionSpec(
        "$repeat",
        "template",
        "list_transform([CAST({0} AS VARCHAR)], lambda _v: CASE WHEN strlen(_v) * {1} > {2} "
        f"THEN error('{TOO_LONG}') ELSE repeat(_v, {{1}}) END)[1]",
        (3,),
    ),
    FunctionSpec(
        "$replace",
        "template",
        "list_transform([{{'s': CAST({0} AS VARCHAR), 'r': CAST({2} AS VARCHAR)}}], lambda _v: "
        "CASE WHEN strlen(_v.s) * greatest(strlen(_v.r), 1) > {3} "
        f"THEN error('{TOO_LONG}') ELSE replace(_v.s, {{1}}, _v.r) END)[1]",
        (4,),
    ),
)


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    SCALAR_FUNCTIONS.update({row.name: row for row in _ROWS})


def bounded(name: str, arguments: Sequence[ir.Expr], limit: int) -> ir.Expr:
    """The call ``name(*arguments)`` such that its value has at most ``limit`` bytes.

    Constants are measured here and stay as they are. Raises LimitExceededError for a constant
    that is too long, NotSupportedError for a replacement pattern that is not a short constant.
    """
    call = ir.FunctionCall(name, tuple(arguments))
    bound = ir.Literal(limit, "long")
    if name == "strrep" and len(arguments) == 2:
        times = arguments[1]
        if not isinstance(times, ir.Literal):
            times = ir.FunctionCall("min_of", (times, ir.Literal(MOST_REPEATS, "long")))
        elif isinstance(times.value, int):
            times = dataclasses.replace(times, value=min(times.value, MOST_REPEATS))
        return ir.FunctionCall("$repeat", (arguments[0], times, bound))
    if name in ("replace", "replace_string") and len(arguments) == 3:
        work = ir.Literal(limit * _REPLACED_FACTOR, "long")
        call = ir.FunctionCall("$replace", (*arguments, work))
        return ir.FunctionCall("$bounded", (call, bound))
    if name == "replace_regex" and len(arguments) == 3:
        size = constant_length(arguments[2])
        if size is None or size > _REWRITE_CHARACTERS:
            raise NotSupportedError(
                "replace_regex() takes a constant rewrite pattern of at most "
                f"{_REWRITE_CHARACTERS} characters."
            )
    if name not in GROWING:
        return call
    length = constant_length(call)
    if length is None:
        return ir.FunctionCall("$bounded", (call, bound))
    if length > limit:
        raise too_long(limit)
    return call


def constant_length(expr: ir.Expr) -> int | None:
    """Characters of a constant string; None if it is not one."""
    if isinstance(expr, ir.Literal):
        return len(str(expr.value)) if expr.kind == "string" else None
    if isinstance(expr, ir.FunctionCall) and expr.name == "strcat":
        lengths = [constant_length(part) for part in expr.args]
        return None if None in lengths else sum(filter(None, lengths))
    return None
