"""What operators have in common: names and types they give, walks over expressions. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident

from cluster.errors import SemanticError
from cluster.query.translation import HIDDEN, two_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.query.expressions import Columns


def union_columns(op: ir.Union, tables: Sequence[Columns]) -> Columns:
    """Names and types of a union; refuses one name with two types, which Kusto would split.

    Raises SemanticError if there is none.
    """
    columns: Columns = {}
    for table in tables:
        for name, kind in table.items():
            if op.kind == "inner" and any(name not in other for other in tables):
                continue
            known = columns.setdefault(name, kind)
            if known is None:
                columns[name] = kind
            elif kind is not None and kind != known:
                raise two_types(name, known, kind)
    if op.with_source:
        return {op.with_source: "string"} | columns
    if not columns.keys() - HIDDEN:
        raise SemanticError("Semantic error: 'union' operator: the tables share no column.")
    return columns


def filled(columns: Columns, optional: Sequence[str]) -> list[Any]:
    """Makes missing strings empty, as in Kusto, where a string is never null."""
    fills = []
    for name in optional:
        column = quote_ident(name)
        if columns[name] == "string":
            sql = f"coalesce({column}, '')"
        elif columns[name] is None:  # the literal takes the type of the other branch
            sql = f"CASE WHEN typeof({column}) = 'VARCHAR' AND {column} IS NULL THEN '' "
            sql += f"ELSE {column} END"
        else:
            continue
        fills.append(ir.NamedExpr(ir.RenderedAggregate(sql), name))
    return [ir.Extend(tuple(fills))] if fills else []


def spelled(named: Sequence[ir.NamedExpr], names: Sequence[str]) -> tuple[ir.NamedExpr, ...]:
    """Output names written out: resolving may have changed what they are derived from."""
    return tuple(dataclasses.replace(n, name=name) for n, name in zip(named, names, strict=True))


def as_written(expr: Any) -> Any:
    """A name bound by ``let`` was a plain name in the text."""
    return ir.ColumnRef(expr.name) if isinstance(expr, ir.LetRef) else expr


def class_of(kind: str | None) -> str | None:
    """What a type can be compared with: all numbers with each other."""
    return "number" if kind in ("int", "long", "real", "decimal") else kind


def nodes(expr: Any) -> Iterator[Any]:
    """Every value in an expression once; nested queries, but nothing inside them."""
    pending, seen = [expr], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if dataclasses.is_dataclass(node) and not isinstance(node, ir.Query):
            pending.extend(getattr(node, f.name) for f in dataclasses.fields(node))
        elif isinstance(node, tuple):
            pending.extend(node)


def texts(expr: Any) -> Iterator[str]:
    """Every text in an expression."""
    return (node for node in nodes(expr) if isinstance(node, str))
