"""Functions of hidden columns and of the database cursor. Pure.

``ingestion_time()``, ``extent_id()`` and ``extent_tags()`` read hidden columns, which a table has
only in a query that uses them, and only up to the last operator that does. ``cursor_after()`` and
``cursor_before_or_at()`` compare the ingestion time with a database cursor: an opaque text, here
the number of 100 ns ticks since the year 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir

from cluster.errors import NotSupportedError, SemanticError
from cluster.query.cursors import TICKS_A_MICROSECOND, TICKS_TO_1970, cursor_us
from cluster.query.translation import CURSOR_SLOT, EXTENT_ID, EXTENT_TAGS, HIDDEN, INGESTION_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

FUNCTIONS: Final = {
    "ingestion_time": INGESTION_TIME,
    "extent_id": EXTENT_ID,
    "extent_tags": EXTENT_TAGS,
}
"""Functions without arguments, each the value of a hidden column."""

CURSOR_TESTS: Final = {"cursor_after": ">", "cursor_before_or_at": "<="}
"""Functions of one cursor, and how the ingestion time compares with it."""

CURRENT_CURSOR: Final = frozenset(["cursor_current", "current_cursor"])

_WITHOUT_ROWS: Final = {
    INGESTION_TIME: "CAST(NULL AS TIMESTAMP)",
    EXTENT_ID: "CAST('00000000-0000-0000-0000-000000000000' AS UUID)",
    EXTENT_TAGS: "CAST('[]' AS JSON)",
}
"""What the functions are where there is no row of a table (``ingestion-time-function.md``)."""


def columns_used(names: Mapping[str, Any] | frozenset[str]) -> frozenset[str]:
    """The hidden columns that functions of these names read."""
    used = {FUNCTIONS[name] for name in names if name in FUNCTIONS}
    if any(name in CURSOR_TESTS for name in names):
        used.add(INGESTION_TIME)
    return frozenset(used)


def column(name: str, columns: Mapping[str, str | None], *, without_rows: bool) -> Any:
    """The hidden column ``name`` as an expression.

    ``without_rows``: the expression is not over rows of a table. Raises NotSupportedError if the
    rows have lost the column on their way.
    """
    if name in columns:
        return ir.ColumnRef(name)
    if without_rows:
        return ir.RenderedAggregate(_WITHOUT_ROWS[name])
    function = next(f for f, hidden in FUNCTIONS.items() if hidden == name)
    raise NotSupportedError(
        f"{function}() and functions of cursors are supported between a table and the first "
        "operator that makes new rows or drops columns.",
        remedy=f"Use {function}() right behind the table, and give it a name with extend.",
    )


def current_cursor() -> Any:
    """The cursor of the query as text."""
    ticks = f"CAST(${CURSOR_SLOT} AS BIGINT) * {TICKS_A_MICROSECOND} + {TICKS_TO_1970}"
    return ir.RenderedAggregate(f"CAST({ticks} AS VARCHAR)")


def cursor_test(call: ir.FunctionCall, ingested: Any) -> Any:
    """``cursor_after(c)`` or ``cursor_before_or_at(c)`` over the ingestion time ``ingested``.

    Raises SemanticError for a text that is no cursor, NotSupportedError for an argument that is
    neither a text nor the current cursor.
    """
    argument = call.args[0] if len(call.args) == 1 else None
    if isinstance(argument, ir.FunctionCall) and argument.name in CURRENT_CURSOR:
        moment = f"make_timestamp(CAST(${CURSOR_SLOT} AS BIGINT))"
        return ir.BinaryOp(CURSOR_TESTS[call.name], ingested, ir.RenderedAggregate(moment))
    known = literal_cursor(call)
    if known is None:
        return ir.Literal(call.name == "cursor_after", "bool")
    moment = f"make_timestamp(CAST({known} AS BIGINT))"
    return ir.BinaryOp(CURSOR_TESTS[call.name], ingested, ir.RenderedAggregate(moment))


def literal_cursor(call: ir.FunctionCall) -> int | None:
    """Microseconds of a cursor written as a literal; None for the empty one: before everything."""
    argument = call.args[0] if len(call.args) == 1 else None
    if not (isinstance(argument, ir.Literal) and argument.kind == "string"):
        raise NotSupportedError(f"{call.name}() takes a cursor as a constant string.")
    text = str(argument.value)
    if not text:
        return None
    known = cursor_us(text)
    if known is None:
        raise SemanticError(f"Semantic error: {call.name}(): '{text}' is not a database cursor.")
    return known


def is_literal_test(node: Any) -> bool:
    """Whether ``node`` compares the ingestion time with a cursor written as a literal."""
    return (
        isinstance(node, ir.FunctionCall)
        and node.name in CURSOR_TESTS
        and len(node.args) == 1
        and isinstance(node.args[0], ir.Literal)
    )


def type_of(name: str) -> str:
    """The Kusto type of a hidden column."""
    return HIDDEN[name][0]
