"""Conditions right behind a table, in SQL that DuckDB can answer from its own statistics. Pure.

The library writes every comparison so that it is right whatever the types are: a string with a
check for JSON and for null, a datetime literal with all the formats Kusto reads. Right behind a
table types are known, strings are never null, and in a ``where`` null and false are the same. So
comparisons of a column with a constant joined by *and* and *or* are written plainly here, which
DuckDB pushes into its scans (one day of 5 M rows: 8.8 ms to 3 ms, a string: 20 ms to 8 ms).

A ``real`` that is not a number is greater than nothing here, as in Kusto; DuckDB has it greater
than everything.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident, quote_string

from cluster.query.filters import bounds_of, constant_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.query.filters import Constant

_ORDER: Final = frozenset(["<", "<=", ">", ">="])
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INTEGERS: Final = frozenset(["int", "long"])
_LARGEST: Final = 2**63


def plain(predicate: Any, columns: Mapping[str, str | None]) -> Any:
    """``predicate`` with what is understood written plainly; the rest is as it was.

    ``columns`` are a table's own, with their Kusto types.
    """
    if isinstance(predicate, ir.BinaryOp):
        if predicate.op in ("and", "or"):
            return dataclasses.replace(
                predicate,
                left=plain(predicate.left, columns),
                right=plain(predicate.right, columns),
            )
        return _comparison(predicate, columns) or predicate
    if isinstance(predicate, ir.Between) and not predicate.negated:
        return _between(predicate, columns) or predicate
    if isinstance(predicate, ir.InList) and not (predicate.negated or predicate.case_insensitive):
        return _in_list(predicate, columns) or predicate
    return predicate


def _column(node: Any, columns: Mapping[str, str | None]) -> tuple[str, str] | None:
    """A column in SQL and its type."""
    if not isinstance(node, ir.ColumnRef):
        return None
    kind = columns.get(node.name)
    return None if kind is None else (quote_ident(node.name), kind)


def _comparison(node: ir.BinaryOp, columns: Mapping[str, str | None]) -> Any:
    op, left, right = node.op, node.left, node.right
    if op in _MIRRORED and _column(left, columns) is None:
        op, left, right = _MIRRORED[op], right, left
    found, constant = _column(left, columns), constant_of(right)
    if found is None or constant is None:
        return None
    column, kind = found
    value = _constant(constant, kind)
    if value is None:
        return None
    if op == "==":
        return ir.RenderedAggregate(f"({column} = {value})")
    if op == "!=" and kind == "string":
        return ir.RenderedAggregate(f"({column} <> {value})")
    if op in _ORDER and kind != "string":
        sql = f"{column} {op} {value}"
        if kind == "real" and op in (">", ">="):
            sql += f" AND {column} <= CAST('inf' AS DOUBLE)"
        return ir.RenderedAggregate(f"({sql})")
    return None


def _between(node: ir.Between, columns: Mapping[str, str | None]) -> Any:
    found, (low, high) = _column(node.value, columns), bounds_of(node)
    if found is None or low is None or high is None:
        return None
    column, kind = found
    first, last = _constant(low, kind), _constant(high, kind)
    if first is None or last is None or kind == "string":
        return None
    return ir.RenderedAggregate(f"({column} >= {first} AND {column} <= {last})")


def _in_list(node: ir.InList, columns: Mapping[str, str | None]) -> Any:
    found = _column(node.value, columns)
    if found is None or node.subquery is not None or not node.items:
        return None
    column, kind = found
    values = []
    for item in node.items:
        constant = constant_of(item)
        value = None if constant is None else _constant(constant, kind)
        if value is None:
            return None
        values.append(value)
    return ir.RenderedAggregate(f"({column} IN ({', '.join(values)}))")


def _constant(constant: Constant, kind: str) -> str | None:
    """A constant as SQL of the column's type; None if the two do not simply compare."""
    value = constant.value
    if constant.relative:
        return None  # the library writes it as a parameter and an interval
    if kind == "datetime" and constant.type == "datetime":
        return f"make_timestamp(CAST({value} AS BIGINT))"
    if kind == "string" and constant.type == "string":
        return str(quote_string(str(value)))
    if kind in _INTEGERS and constant.type == "long" and abs(int(value)) < _LARGEST:
        return f"CAST({value} AS BIGINT)"
    if kind == "real" and constant.type in ("long", "real"):
        return f"CAST({float(value)!r} AS DOUBLE)"
    return None
