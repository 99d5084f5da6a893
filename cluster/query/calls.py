"""Functions whose SQL depends on the types or constants of their arguments. Pure.

Each takes its resolved arguments and gives the expression and its type. What cannot be computed
right is refused, never guessed.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_string

from cluster.errors import NotSupportedError
from cluster.query.call_tables import made
from cluster.query.filters import constant_of
from cluster.query.translation import TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.call_tables import Argument, Called, CallTable

_JSON_STEP: Final = re.compile(r"\.(\w+)|\[\s*(\d+)\s*\]|\[\s*['\"]([^'\"\\]*)['\"]\s*\]")
_SPAN_ELEMENT: Final = re.compile(r"d{1,8}|hh?|HH?|mm?|ss?|f{1,7}|F{1,7}|[ /\-:,.\[\]_]")
MOST_ELEMENTS: Final = 1_048_576
"""Of ``range()`` (range-function.md)."""


def call(name: str, arguments: Sequence[Argument]) -> Called | None:
    """The expression and type of a call, None if ``name`` is no function of this module.

    Raises SemanticError for a number of arguments it does not take, NotSupportedError for
    arguments it cannot compute with.
    """
    return made(_CALLS, name, arguments)


def _text(argument: Argument, what: str) -> str:
    if not (isinstance(argument.expr, ir.Literal) and argument.expr.kind == "string"):
        raise NotSupportedError(f"{what} is supported as a constant string only.")
    return str(argument.expr.value)


def _sql(name: str, *arguments: Any) -> Any:
    return ir.FunctionCall(name, tuple(arguments))


def _constant(value: str) -> Any:
    return ir.RenderedAggregate(value)


def _extract_json(arguments: Sequence[Argument]) -> Called:
    path = _text(arguments[0], "The path of extract_json()")
    position, pointer = 1, ""
    while path[:1] == "$" and position < len(path):
        step = _JSON_STEP.match(path, position)
        if step is None:
            break
        key = next(group for group in step.groups() if group is not None)
        pointer += "/" + key.replace("~", "~0").replace("/", "~1")
        position = step.end()
    if path[:1] != "$" or position != len(path):
        raise NotSupportedError(f"extract_json(): the path '{path}' is not supported.")
    return _sql("$extract_json", arguments[1].expr, ir.Literal(pointer, "string")), "string"


def _nanoseconds(arguments: Sequence[Argument]) -> Called:
    return _sql("$unixtime_nanoseconds", arguments[0].expr), "datetime"


def _tohex(arguments: Sequence[Argument]) -> Called:
    value, *size = (a.expr for a in arguments)
    if arguments[0].type == "int":  # the complement of two in 32 bits
        value = _sql("$low_bits", value)
    return _sql("$tohex_padded" if size else "$tohex", value, *size), "string"


def _bag_merge(arguments: Sequence[Argument]) -> Called:
    merged = arguments[0].expr
    for other in arguments[1:]:
        merged = _sql("$bag_merge", merged, other.expr)
    return merged, "dynamic"


def _rand(arguments: Sequence[Argument]) -> Called:
    drawn = _sql("$random")
    if not arguments:
        return drawn, "real"
    scaled = ir.BinaryOp("*", drawn, _sql("todouble", arguments[0].expr))
    return _sql("$floor", scaled), "real"


def _is_private(arguments: Sequence[Argument]) -> Called:
    return _sql("$is_private", _sql("parse_ipv4", arguments[0].expr)), "bool"


def _in_range(arguments: Sequence[Argument]) -> Called:
    if not isinstance(arguments[1].expr, ir.Literal):
        return _sql("$native_ipv4_is_in_range", *(a.expr for a in arguments)), "bool"
    text = _text(arguments[1], "The range of ipv4_is_in_range()")
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return ir.Literal(None, "bool"), "bool"
    low, high = int(network.network_address), int(network.broadcast_address)
    address = _sql("parse_ipv4", arguments[0].expr)
    return ir.Between(address, ir.Literal(low, "long"), ir.Literal(high, "long")), "bool"


def _around(arguments: Sequence[Argument]) -> Called:
    value, center, delta = (a.expr for a in arguments)
    return ir.Between(
        value, ir.BinaryOp("-", center, delta), ir.BinaryOp("+", center, delta)
    ), "bool"


def _bin_at(arguments: Sequence[Argument]) -> Called:
    value, width, fixed = arguments
    kinds = [a.type for a in arguments]
    constant = constant_of(width.expr)
    if constant is None or constant.relative or float(constant.value) <= 0:
        raise NotSupportedError("bin_at() takes a constant bin size greater than zero.")
    if kinds[0] in ("int", "long") and kinds[1:] == ["long", "long"]:
        whole = _sql("tolong", value.expr) if kinds[0] == "int" else value.expr
        shift = ir.BinaryOp("-", whole, fixed.expr)
        binned = _sql("$bin_long", shift, _constant(f"CAST({int(constant.value)} AS BIGINT)"))
        return ir.BinaryOp("+", binned, fixed.expr), "long"
    if set(kinds) <= {"int", "long", "real"}:
        number = _constant(f"CAST({float(constant.value)!r} AS DOUBLE)")
        shift = ir.BinaryOp("-", _sql("todouble", value.expr), _sql("todouble", fixed.expr))
        return ir.BinaryOp("+", _sql("$bin_real", shift, number), fixed.expr), "real"
    if kinds == ["datetime", "timespan", "datetime"] or kinds == ["timespan"] * 3:
        shift = ir.BinaryOp("-", value.expr, fixed.expr)
        number = _constant(f"CAST({int(constant.value)} AS BIGINT)")
        return ir.BinaryOp("+", fixed.expr, _sql("$bin_timespan", shift, number)), kinds[0]
    raise NotSupportedError(
        "bin_at() is supported over numbers, datetimes and timespans of a known type."
    )


def _range(arguments: Sequence[Argument]) -> Called:
    kinds = [a.type for a in arguments]
    start, stop = arguments[0].expr, arguments[1].expr
    moments = kinds[0] in ("datetime", "timespan")
    if len(arguments) == 2:
        step = ir.Literal("1h", "timespan") if moments else ir.Literal(1, "long")
    else:
        step = arguments[2].expr
    numbers = {"int", "long"}
    if numbers.issuperset(kinds):
        return _sql("$range_long", start, stop, step), "dynamic"
    if kinds[:2] == ["datetime"] * 2 and kinds[2:] in ([], ["timespan"]):
        return _sql("$range_datetime", start, stop, step), "dynamic"
    if (numbers | {"real"}).issuperset(kinds):
        return _sql("$range_real", start, stop, step), "dynamic"
    raise NotSupportedError("range() is supported over numbers and datetimes of a known type.")


def _format_timespan(arguments: Sequence[Argument]) -> Called:
    pattern = _text(arguments[1], "The format of format_timespan()")
    pieces, position = [], 0
    while position < len(pattern):
        element = _SPAN_ELEMENT.match(pattern, position)
        if element is None:
            raise NotSupportedError(
                f"format_timespan(): '{pattern[position]}' in the format is not supported."
            )
        pieces.append(_span_piece(element[0]))
        position = element.end()
    body = " || ".join(pieces) or "''"
    sql = (
        "list_transform([epoch_us({0})], lambda _t: CASE WHEN _t IS NULL THEN '' ELSE "
        f"(CASE WHEN _t < 0 THEN '-' ELSE '' END) || {body} END)[1]"
    )
    before, _, after = sql.partition("{0}")
    return Fragment((before, arguments[0].expr, after)), "string"


def _span_piece(element: str) -> str:
    kind, size = element[0], len(element)
    if kind == "f":
        return f"substr(lpad(CAST((abs(_t) % 1000000) * 10 AS VARCHAR), 7, '0'), 1, {size})"
    if kind == "F":
        return f"rtrim({_span_piece('f' * size)}, '0')"
    whole = {
        "d": "abs(_t) // 86400000000", "h": "abs(_t) // 3600000000 % 24",
        "m": "abs(_t) // 60000000 % 60", "s": "abs(_t) // 1000000 % 60",
    }.get(kind.lower())  # fmt: skip
    if whole is None:
        return str(quote_string(element))
    text = f"CAST({whole} AS VARCHAR)"
    return f"lpad({text}, CAST(greatest({size}, length({text})) AS INTEGER), '0')"


@dataclass(frozen=True)
class Fragment(ir.Expr):  # type: ignore[misc]  # the library has no types
    """SQL with expressions in it, rendered when everything around it is."""

    parts: tuple[Any, ...]


_CALLS: Final[CallTable] = {
    "extract_json": (2, 2, _extract_json),
    "extractjson": (2, 2, _extract_json),
    "unixtime_nanoseconds_todatetime": (1, 1, _nanoseconds),
    "tohex": (1, 2, _tohex),
    "bag_merge": (2, 64, _bag_merge),
    "rand": (0, 1, _rand),
    "ipv4_is_private": (1, 1, _is_private),
    "ipv4_is_in_range": (2, 2, _in_range),
    "around": (3, 3, _around),
    "bin_at": (3, 3, _bin_at),
    "range": (2, 3, _range),
    "format_timespan": (2, 2, _format_timespan),
}

NAMES: Final = frozenset(_CALLS)

RANGES: Final = {
    "$range_long": "list_transform([{{'a': CAST({0} AS BIGINT), 'b': CAST({1} AS BIGINT), "
    "'s': CAST({2} AS BIGINT)}}], lambda _r: CASE WHEN _r.s = 0 OR _r.a IS NULL OR _r.b IS NULL "
    "OR _r.s IS NULL THEN NULL WHEN (CAST(_r.b AS HUGEINT) - _r.a) // _r.s >= "
    f"{MOST_ELEMENTS} THEN error('{TOO_LONG}') "
    "ELSE to_json(generate_series(_r.a, _r.b, _r.s)) END)[1]",
    "$range_real": "list_transform([{{'a': CAST({0} AS DOUBLE), 'b': CAST({1} AS DOUBLE), "
    "'s': CAST({2} AS DOUBLE)}}], lambda _r: CASE WHEN _r.s = 0 OR NOT isfinite(_r.a) OR NOT "
    "isfinite(_r.b) OR NOT isfinite(_r.s) OR _r.a + _r.b + _r.s IS NULL THEN NULL "
    "WHEN (_r.b - _r.a) / _r.s >= "
    f"{MOST_ELEMENTS} THEN error('{TOO_LONG}') ELSE to_json(list_transform(generate_series(0, "
    "CAST(floor((_r.b - _r.a) / _r.s) AS BIGINT)), lambda _i: _r.a + _i * _r.s)) END)[1]",
    "$range_datetime": "list_transform([{{'a': {0}, 'b': {1}, 's': {2}}}], lambda _r: "
    "CASE WHEN epoch_us(_r.s) = 0 OR _r.a IS NULL OR _r.b IS NULL OR _r.s IS NULL THEN NULL "
    "WHEN epoch_us(_r.b - _r.a) // epoch_us(_r.s) >= "
    f"{MOST_ELEMENTS} THEN error('{TOO_LONG}') ELSE to_json(list_transform(generate_series(_r.a, "
    "_r.b, _r.s), lambda _i: strftime(_i, '%Y-%m-%dT%H:%M:%S.%f') || '0Z')) END)[1]",
    "$floor": "floor({0})",
}
"""Rows of the registry for the calls here."""
