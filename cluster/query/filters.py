"""Conditions on a table taken from the ``where`` operators right behind it. Pure.

They serve to leave out extents that hold no row of interest (``cluster/extents/pruning.py``), so a
condition that is not understood is left out, never guessed. Constants are literals, ``now()``,
``ago()``, and sums of these.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.timespans import ticks

from cluster.query.hidden import CURSOR_TESTS, is_literal_test, literal_cursor
from cluster.query.translation import INGESTION_TIME, Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DATETIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?Z?"
)
_EPOCH: Final = dt.datetime(1970, 1, 1)  # no zone: Kusto datetimes are UTC by definition
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_MIRRORED: Final = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NUMBERS: Final = frozenset(["int", "long", "real", "decimal"])
_EXACT: Final = frozenset(["datetime", "timespan", "string", "bool"])


@dataclass(frozen=True, slots=True)
class Constant:
    """A value and its Kusto type; times in microseconds. ``relative``: to the time of the query."""

    value: int | float | str | bool
    type: str
    relative: bool = False


def filters_of(predicate: Any, columns: Mapping[str, str | None]) -> Iterator[Filter]:
    """The conditions joined by *and* in ``predicate`` that are understood.

    ``columns`` are those of the table with their Kusto types.
    """
    if isinstance(predicate, ir.BinaryOp):
        if predicate.op == "and":
            yield from filters_of(predicate.left, columns)
            yield from filters_of(predicate.right, columns)
            return
        yield from _comparison(predicate, columns)
    elif isinstance(predicate, ir.Between) and not predicate.negated:
        yield from _between(predicate, columns)
    elif isinstance(predicate, ir.InList):
        yield from _in_list(predicate, columns)
    elif is_literal_test(predicate):
        known = literal_cursor(predicate)
        if known is not None:
            yield Filter(INGESTION_TIME, CURSOR_TESTS[predicate.name], (known,))


def _column(node: Any, columns: Mapping[str, str | None]) -> str | None:
    if isinstance(node, ir.ColumnRef) and node.name in columns:
        return str(node.name)
    if isinstance(node, ir.FunctionCall) and node.name == "ingestion_time":
        return INGESTION_TIME
    return None


def _comparable(column: str, constant: Constant, columns: Mapping[str, str | None]) -> bool:
    kind = "datetime" if column == INGESTION_TIME else columns[column]
    if kind in _NUMBERS:
        return constant.type in _NUMBERS
    return kind in _EXACT and kind == constant.type


def _comparison(node: ir.BinaryOp, columns: Mapping[str, str | None]) -> Iterator[Filter]:
    op, left, right = node.op, node.left, node.right
    if _column(left, columns) is None and op in _MIRRORED:
        op, left, right = _MIRRORED[op], right, left
    column, constant = _column(left, columns), constant_of(right)
    if column is None or constant is None or not _comparable(column, constant, columns):
        return
    value = constant.value
    if op in _MIRRORED:
        if not (op != "==" and isinstance(value, str | bool)):  # Kusto orders no strings
            yield Filter(column, op, (value,), constant.relative)
    elif isinstance(value, str):
        if op == "startswith_cs":
            yield Filter(column, op, (value,))
        elif op in ("startswith", "=~") and value.isascii():
            # Upper case letters come before lower case ones, so what is equal but for case lies
            # between the two.
            yield Filter(column, ">=", (value.upper(),))
            if op == "=~":
                yield Filter(column, "<=", (value.lower(),))
            elif value:
                end = value.lower()
                yield Filter(column, "<", (end[:-1] + chr(ord(end[-1]) + 1),))


def _between(node: ir.Between, columns: Mapping[str, str | None]) -> Iterator[Filter]:
    column, (low, high) = _column(node.value, columns), bounds_of(node)
    if column is None:
        return
    if low is not None and _comparable(column, low, columns):
        yield Filter(column, ">=", (low.value,), low.relative)
    if high is not None and _comparable(column, high, columns):
        yield Filter(column, "<=", (high.value,), high.relative)


def bounds_of(node: ir.Between) -> tuple[Constant | None, Constant | None]:
    """Both bounds of ``between``, each None if it is not a constant that is understood."""
    low, high = constant_of(node.low), constant_of(node.high)
    if high is not None and high.type == "timespan" and (low is None or low.type == "datetime"):
        high = None if low is None else _sum(low, high, 1)  # `t between (a .. 3d)` ends at a + 3d
    return low, high


def _in_list(node: ir.InList, columns: Mapping[str, str | None]) -> Iterator[Filter]:
    column = _column(node.value, columns)
    if column is None or node.negated or node.case_insensitive or node.subquery is not None:
        return
    constants = [constant_of(item) for item in node.items]
    values = []
    for constant in constants:
        if constant is None or constant.relative or not _comparable(column, constant, columns):
            return
        values.append(constant.value)
    if values:
        yield Filter(column, "==", tuple(values))


def constant_of(node: Any) -> Constant | None:
    """The value of a constant expression, None if it is not one that is understood here."""
    if isinstance(node, ir.Literal):
        return _literal(node)
    if isinstance(node, ir.UnaryOp) and node.op == "-":
        operand = constant_of(node.operand)
        if operand is None or operand.relative or operand.type not in ("long", "real", "timespan"):
            return None
        return Constant(-operand.value, operand.type)  # type: ignore[operator]
    if isinstance(node, ir.FunctionCall):
        return _call(node)
    if isinstance(node, ir.BinaryOp) and node.op in "+-":
        left, right = constant_of(node.left), constant_of(node.right)
        if left is not None and right is not None and right.type == "timespan":
            return _sum(left, right, 1 if node.op == "+" else -1)
    return None


def _call(node: ir.FunctionCall) -> Constant | None:
    arguments = [constant_of(argument) for argument in node.args]
    if node.name == "now" and not arguments:
        return Constant(0, "datetime", True)
    if len(arguments) != 1 or arguments[0] is None:
        return None
    argument = arguments[0]
    if node.name in ("now", "ago") and argument.type == "timespan":
        return _sum(Constant(0, "datetime", True), argument, 1 if node.name == "now" else -1)
    if node.name in ("todatetime", "datetime") and argument.type in ("string", "datetime"):
        if argument.type == "datetime":
            return argument
        return _datetime(str(argument.value))
    return None


def _sum(point: Constant, span: Constant, sign: int) -> Constant | None:
    if point.type not in ("datetime", "timespan") or span.relative:
        return None
    value = int(point.value) + sign * int(span.value)
    return Constant(value, point.type, point.relative)


def _literal(node: ir.Literal) -> Constant | None:
    value, kind = node.value, node.kind
    if kind == "datetime":
        return _datetime(str(value))
    if kind == "timespan":
        try:
            count, rest = divmod(ticks(str(value)), 10)
        except ValueError:
            return None
        return None if rest else Constant(count, "timespan")
    if kind in ("long", "int") and isinstance(value, int) and not isinstance(value, bool):
        return Constant(value, "long")
    if kind == "real" and isinstance(value, int | float) and math.isfinite(value):
        return Constant(float(value), "real")
    if (kind == "string" and isinstance(value, str)) or (kind == "bool" and value is not None):
        return None if value is None else Constant(value, kind)
    return None


def _datetime(text: str) -> Constant | None:
    """Only the forms whose meaning is beyond doubt."""
    match = _DATETIME.fullmatch(text.strip().strip("'\""))
    if match is None:
        return None
    fields = [int(part or 0) for part in match.groups()[:6]]
    try:
        moment = dt.datetime(*fields, int((match[7] or "").ljust(6, "0") or 0))  # type: ignore[arg-type,call-arg]
    except ValueError:
        return None
    return Constant((moment - _EPOCH) // _MICROSECOND, "datetime")
