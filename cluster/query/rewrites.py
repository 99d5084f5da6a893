"""Expressions written anew because their types are known: lists, timespans, decimals. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from duckdb_kql import ir

from cluster.errors import NotSupportedError
from cluster.query import windows

_NUMBERS: Final = frozenset(["int", "long", "real"])


@dataclass(frozen=True, slots=True)
class Typed:
    """A resolved expression and its Kusto type, None if not known."""

    expr: Any
    type: str | None


def collector(name: str, arguments: list[Typed], *, in_order: bool) -> ir.Expr:
    """``make_list(x, n)`` and ``make_set(x, n)`` with their bound, over text for points in time.

    A list of rows that are in order is made in that order, which DuckDB keeps only if told to.
    """
    value = arguments[0]
    expr = value.expr
    if value.type in ("datetime", "timespan"):
        quote = ir.Literal('"', "string")
        text = ir.FunctionCall("strcat", (quote, ir.FunctionCall("tostring", (expr,)), quote))
        null = ir.Literal(None, "dynamic")  # nulls are not collected, so they must stay null
        missing = ir.FunctionCall("isnull", (expr,))
        expr = ir.FunctionCall("iff", (missing, null, ir.FunctionCall("parse_json", (text,))))
    collected: ir.Expr = ir.FunctionCall(name, (expr,))
    if in_order and name == "make_list":
        collected = ir.FunctionCall("$ordered_list", (expr, ir.ColumnRef(windows.ROW)))
    if len(arguments) == 1:
        return collected
    size = arguments[1].expr
    if not (
        len(arguments) == 2
        and isinstance(size, ir.Literal)
        and isinstance(size.value, int)
        and size.value > 0
    ):
        raise NotSupportedError(f"{name}() takes an expression and a positive literal bound.")
    first, last = ir.Literal(0, "long"), ir.Literal(size.value - 1, "long")
    return ir.FunctionCall("array_slice", (collected, first, last))


def scaled(operator: str, left: Typed, right: Typed) -> Typed | None:
    """A timespan times or over a number, which DuckDB has for whole numbers only, or not."""
    if operator == "*" and right.type == "timespan":
        left, right = right, left
    if left.type != "timespan" or right.type not in _NUMBERS or operator not in "*/":
        return None
    name = "$span_times" if operator == "*" else "$span_over"
    return Typed(ir.FunctionCall(name, (left.expr, right.expr)), "timespan")


def inexact(what: str) -> NotSupportedError:
    """The refusal of what would compute decimals as real."""
    return NotSupportedError(
        f"{what} over decimal is not supported: it would compute as real.",
        remedy="Convert with todouble() to compute as real.",
    )


def decimal_as_text(value: Typed) -> Typed:
    """A decimal as Kusto writes it: without zeros at the end."""
    if value.type != "decimal":
        return value
    return Typed(ir.FunctionCall("$decimal_text", (value.expr,)), "string")
