"""Which columns of a table a pipeline reads. Pure.

Binding a query costs for each column at each step, so a table is bound with the columns that are
needed if that is certain: up to the first operator that names all it passes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir

from cluster.query.known_functions import OF_COLUMNS
from cluster.query.nodes import AnyColumn
from cluster.query.shapes import nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_PASS: Final = (ir.Where, ir.Extend, ir.Sort, ir.Top, ir.Take)
"""Operators that pass on every column, and do nothing with those they do not name."""

_CUT: Final = (ir.Project, ir.Summarize, ir.Count, ir.Distinct)
"""Operators that pass on only what they name."""

_ANY: Final = (ir.Wildcard, ir.RowContext, AnyColumn)


def needed(operators: Sequence[Any], columns: Collection[str]) -> frozenset[str] | None:
    """Those of ``columns`` that ``operators`` read of their input; None: all, or it is not known.

    A name bound by ``let`` counts as the column of that name, which it is if there is one.
    """
    found: set[str] = set()
    for operator in operators:
        if not isinstance(operator, (*_PASS, *_CUT)):
            return None
        for node in nodes(operator):
            if isinstance(node, _ANY):
                return None
            if isinstance(node, ir.FunctionCall) and node.name in OF_COLUMNS:
                return None
            if isinstance(node, ir.ColumnRef | ir.LetRef):
                found.add(node.name)
        if isinstance(operator, _CUT):
            return frozenset(name for name in columns if name in found)
    return None
