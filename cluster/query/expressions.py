"""Scalar expressions of one operator: names resolved, types followed, wrong answers stopped.

The library knows names but no types and looks columns up without regard to case. Here every column
must exist exactly as written, every function must be one that is answered correctly, and the Kusto
type of each expression is followed as far as it is known.

Wrong answers stopped here (numbers of ``reference/kql.md`` 4.2): 4 ``make_list(x, n)`` fixed, 6
decimal arithmetic that would be real refused, 9 datetime literals finer than a microsecond refused.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import aggregates as aggregates_of
from cluster.query import (
    bins,
    calls,
    growth,
    hidden,
    native_calls,
    principal_functions,
    rewritten_calls,
    vocabulary,
    windows,
)
from cluster.query.call_tables import Argument
from cluster.query.known_functions import OF_COLUMNS, OF_HIDDEN, require_known
from cluster.query.nodes import AnyColumn, OuterKey
from cluster.query.rewrites import Typed, collector, decimal_as_text, inexact, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOO_FINE: Final = re.compile(r"\.\d{6}[1-9]\d*\s*(?:[Zz]|[+-]\d\d:?\d\d)?\s*$")
_GRAPH: Final = (ir.GraphVar, ir.GraphProperty, ir.GraphElement, ir.GraphCall)
_AS_IS: Final = (ir.Wildcard, ir.RowContext, ir.RenderedAggregate, OuterKey)
"""Left as they are. Rendered ones are conditions of predicates.py; no text can spell one."""

_BOOLEAN: Final = (ir.InList, ir.HasList, ir.Between)
_COLLECTORS: Final = frozenset(["make_list", "make_set"])


Columns = dict[str, str | None]
"""Column names in order, each with its Kusto type or None if that is not known."""


def unresolved(name: str, operator: str, what: str = "column or scalar") -> SemanticError:
    """SEM0100 in Kusto's words."""
    where = f"'{operator}' operator: " if operator else ""
    return SemanticError(
        f"Semantic error: SEM0100: {where}Failed to resolve {what} expression named '{name}'",
        metadata={"name": name},
    )


def require_usable(names: Sequence[str], where: str) -> None:
    """Raises SemanticError for a name that is empty, which nothing could be read by.

    Raises NotSupportedError if two differ only in case, which DuckDB cannot hold.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not name:
            raise SemanticError(f"Semantic error: a column of {where} has an empty name.")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise NotSupportedError(
                f"Columns '{other}' and '{name}' of {where} differ only in case: "
                "not supported in a query.",
                remedy="Rename one of them with project-rename.",
            )


class Queries(Protocol):
    """What expressions need of the queries around and inside them."""

    def nested(self, query: ir.Query) -> tuple[ir.Query, Columns]:
        """Resolves a query inside an expression."""

    def is_table(self, name: str) -> bool:
        """True if ``name`` is a table or a tabular ``let`` in scope."""

    @property
    def database(self) -> str:
        """The database in context."""

    @property
    def string_bytes(self) -> int:
        """Most bytes of one string or dynamic value."""

    @property
    def without_rows(self) -> bool:
        """True if expressions are not over rows of a table."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Values of functions of the request, by their names."""

    @property
    def in_order(self) -> bool:
        """True if rows are in an order that functions may depend on."""

    @property
    def restarts(self) -> windows.Restarts:
        """Collects the conditions at which sums start anew."""

    def use_cursor(self) -> None:
        """Notes that the query depends on the database cursor."""


class Expressions:
    """Resolves the expressions of one operator over its input columns.

    The representation is a graph with shared nodes, so each node is visited once (``_seen``):
    walking it as a tree would take 2^n steps for n chained ``let``.
    """

    def __init__(self, columns: Mapping[str, str | None], operator: str, queries: Queries) -> None:
        self._columns = columns
        self._operator = operator
        self._queries = queries
        self._string_bytes = queries.string_bytes
        self._seen: dict[tuple[int, bool], tuple[Any, Typed]] = {}

    def resolve(self, node: Any, *, aggregates: bool = False) -> Typed:
        """Resolves ``node``. ``aggregates``: aggregate functions are allowed in it.

        Raises SemanticError or NotSupportedError.
        """
        if isinstance(node, AnyColumn):
            node = any_column(self._columns, node)
        key = (id(node), aggregates)
        hit = self._seen.get(key)
        if hit is None:
            hit = (node, self._resolve(node, aggregates))  # the node stays alive, so does its id
            self._seen[key] = hit
        return hit[1]

    def _resolve(self, node: Any, aggregates: bool) -> Typed:
        if isinstance(node, ir.ColumnRef):
            if node.name not in self._columns:
                raise unresolved(node.name, self._operator)
            return Typed(node, self._columns[node.name])
        if isinstance(node, ir.Literal):
            return self._literal(node)
        if isinstance(node, ir.BinaryOp):
            return self._binary(node, aggregates)
        if isinstance(node, ir.UnaryOp):
            operand = self._widened(self.resolve(node.operand, aggregates=aggregates), node.op)
            kind = operand.type if node.op == "-" else "bool"
            return Typed(dataclasses.replace(node, operand=operand.expr), kind)
        if isinstance(node, ir.FunctionCall):
            return self._call(node, aggregates)
        if isinstance(node, ir.ToScalar):
            query, columns = self._queries.nested(node.query)
            return Typed(ir.ToScalar(query), next(iter(columns.values()), None))
        if isinstance(node, _BOOLEAN):
            return Typed(self._membership(node, aggregates), "bool")
        if isinstance(node, ir.PathAccess):
            steps = tuple(
                step
                if step.index is None
                else dataclasses.replace(step, index=self.resolve(step.index).expr)
                for step in node.steps
            )
            base = self.resolve(node.base, aggregates=aggregates).expr
            return Typed(ir.PathAccess(base, steps), "dynamic")
        if isinstance(node, _AS_IS):
            known = "bool" if isinstance(node, ir.RenderedAggregate) else None
            return Typed(node, getattr(node, "kind", known))
        if isinstance(node, ir.Parameter):
            raise NotSupportedError("Query parameters are not supported.")
        what = "Graph operators" if isinstance(node, _GRAPH) else type(node).__name__
        raise NotSupportedError(f"{what}: not supported in a query.")

    def _literal(self, node: ir.Literal) -> Typed:
        if node.kind == "datetime" and node.value and _TOO_FINE.search(str(node.value)):
            raise NotSupportedError(
                f"datetime({node.value}) is finer than a microsecond, the resolution kept here.",
                remedy="Round the literal to microseconds.",
            )
        return Typed(node, node.kind if node.kind != "null" else None)

    def _binary(self, node: ir.BinaryOp, aggregates: bool) -> Typed:
        left = self.resolve(node.left, aggregates=aggregates)
        right = self.resolve(node.right, aggregates=aggregates)
        if node.op not in vocabulary.ARITHMETIC:
            return Typed(dataclasses.replace(node, left=left.expr, right=right.expr), "bool")
        if node.op == "/" and "decimal" in (left.type, right.type):
            raise inexact("'/'")
        left, right = self._widened(left, node.op), self._widened(right, node.op)
        span = scaled(node.op, left, right)
        if span is not None:
            return span
        return Typed(
            dataclasses.replace(node, left=left.expr, right=right.expr),
            vocabulary.arithmetic_type(node.op, left.type, right.type),
        )

    @staticmethod
    def _widened(value: Typed, operator: str) -> Typed:
        """Kusto computes int arithmetic in long; DuckDB would overflow at 2^31."""
        if value.type != "int" or operator not in vocabulary.ARITHMETIC:
            return value
        if isinstance(value.expr, ir.ColumnRef):
            sql = f"CAST({quote_ident(value.expr.name)} AS BIGINT)"
            return Typed(ir.RenderedAggregate(sql), "long")
        return Typed(ir.FunctionCall("tolong", (value.expr,)), "long")

    def _membership(self, node: Any, aggregates: bool) -> Any:
        if isinstance(node, ir.Between):
            value, low, high = (
                self.resolve(part, aggregates=aggregates).expr
                for part in (node.value, node.low, node.high)
            )
            return dataclasses.replace(node, value=value, low=low, high=high)
        value = self.resolve(node.value, aggregates=aggregates).expr
        subquery, items = node.subquery, node.items
        if subquery is None and len(items) == 1 and isinstance(items[0], ir.ColumnRef):
            name = items[0].name
            if name not in self._columns and self._queries.is_table(name):
                subquery, items = ir.Query(ir.TableRef(name)), ()  # `x in (T)`
        if subquery is not None:
            subquery = self._queries.nested(subquery)[0]
        items = tuple(self.resolve(item).expr for item in items)
        return dataclasses.replace(node, value=value, items=items, subquery=subquery)

    def _call(self, node: ir.FunctionCall, aggregates: bool) -> Typed:
        name = node.name
        aggregate = name in AGGREGATE_FUNCTIONS
        self._check_function(name, aggregate=aggregate, allowed=aggregates)
        if name == "current_database":
            return Typed(ir.Literal(self._queries.database, "string"), "string")
        if name in self._queries.facts:
            return Typed(*principal_functions.call(name, node.args, self._queries.facts))
        if name in OF_HIDDEN:
            return self._hidden(node)
        if name in OF_COLUMNS:
            return self._of_columns(node)
        arguments = [self.resolve(a, aggregates=aggregates and not aggregate) for a in node.args]
        if name in aggregates_of.CONDITIONAL and len(arguments) > 1:
            name = aggregates_of.CONDITIONAL[name]
            value, condition, *more = arguments
            kept = ir.FunctionCall("$when", (condition.expr, value.expr))
            arguments = [Typed(kept, value.type), *more]
        if name == "make_list_with_nulls" and len(arguments) == 1:
            kept = aggregates_of.with_nulls(arguments[0].expr, arguments[0].type)
            name, arguments = "make_list", [Typed(kept, "dynamic")]
        if name in windows.NAMES:
            return self._window(name, arguments)
        return self._typed_call(name, arguments)

    def _typed_call(self, name: str, arguments: list[Typed]) -> Typed:
        if arguments and arguments[0].type == "timespan" and name in ("sum", "avg"):
            name = f"${name}_span"
            return Typed(ir.FunctionCall(name, (arguments[0].expr,)), "timespan")
        if name in vocabulary.TEXT_OF_ARGUMENTS:
            arguments = [decimal_as_text(argument) for argument in arguments]
        if name == "percentile" and arguments and arguments[0].type == "int":
            whole = ir.FunctionCall("tolong", (arguments[0].expr,))
            arguments = [Typed(whole, "long"), *arguments[1:]]
        if name in vocabulary.INEXACT_OF_DECIMAL and any(a.type == "decimal" for a in arguments):
            raise inexact(f"{name}()")
        if name == "extract" and len(arguments) == 4:
            raise NotSupportedError("extract() with a type argument is not supported.")
        kind = vocabulary.RETURN_TYPES.get(name)
        index = vocabulary.TYPE_OF_ARGUMENT.get(name)
        if index is not None and index < len(arguments):
            kind = arguments[index].type
            if kind == "int" and name in vocabulary.WIDENED:
                kind = "long"
        called = self._made(name, arguments)
        if called is not None:
            return called
        if name in bins.NAMES:
            binned = bins.by_type([a.type for a in arguments], [a.expr for a in arguments])
            if binned is not None:
                return Typed(binned, kind)
        if name in _COLLECTORS and arguments:
            return Typed(collector(name, arguments, in_order=self._queries.in_order), "dynamic")
        return Typed(growth.bounded(name, [a.expr for a in arguments], self._string_bytes), kind)

    def _made(self, name: str, arguments: list[Typed]) -> Typed | None:
        """A call of a function that is made by types or constants, None if it is none."""
        given = [Argument(a.expr, a.type) for a in arguments]
        called = (
            calls.call(name, given)
            or rewritten_calls.call(name, given)
            or native_calls.call(name, given)
        )
        if called is None:
            return None
        expr, kind = called
        if isinstance(expr, ir.FunctionCall) and expr.name in growth.GROWING:
            expr = growth.bounded(expr.name, expr.args, self._string_bytes)
        return Typed(expr, kind)

    def _window(self, name: str, arguments: list[Typed]) -> Typed:
        if not self._queries.in_order:
            raise SemanticError(
                f"Semantic error: SEM0230: Function '{name}' cannot be invoked in current "
                "context: the row set must be serialized.",
                remedy="Put sort by or serialize before it.",
            )
        given = [(argument.expr, argument.type) for argument in arguments]
        return Typed(*windows.call(name, given, self._queries.restarts))

    def _of_columns(self, node: ir.FunctionCall) -> Typed:
        """Functions of the columns there are."""
        if node.name == "bag_pack_columns":
            return self._packed([self._column_name(one) for one in node.args])
        if node.name == "pack_all":
            packed = self._packed([name for name in self._columns if not name.startswith("$")])
            if not node.args or node.args[0] == ir.Literal(False, "bool"):
                return packed
            if node.args != (ir.Literal(True, "bool"),):
                raise NotSupportedError("pack_all() takes a constant bool.")
            return Typed(native_calls.without_empty(packed.expr), "dynamic")
        name = node.args[0] if len(node.args) == 2 else None
        if not (isinstance(name, ir.Literal) and name.kind == "string"):
            raise NotSupportedError(f"{node.name}() takes a constant name and a default.")
        if name.value in self._columns:
            return self.resolve(ir.ColumnRef(str(name.value)))
        return self.resolve(node.args[1])

    def _packed(self, names: Sequence[str]) -> Typed:
        """A bag of these columns."""
        pairs = [e for n in names for e in (ir.Literal(n, "string"), ir.ColumnRef(n))]
        return self.resolve(ir.FunctionCall("bag_pack", tuple(pairs)))

    @staticmethod
    def _column_name(node: Any) -> str:
        if not isinstance(node, ir.ColumnRef):
            raise NotSupportedError("bag_pack_columns() takes columns by their names.")
        return str(node.name)

    def _hidden(self, node: ir.FunctionCall) -> Typed:
        without_rows = self._queries.without_rows
        if node.name in hidden.FUNCTIONS:
            if node.args:
                raise SemanticError(f"Semantic error: {node.name}() takes no arguments.")
            name = hidden.FUNCTIONS[node.name]
            value = hidden.column(name, self._columns, without_rows=without_rows)
            return Typed(value, hidden.type_of(name))
        self._queries.use_cursor()
        if node.name in hidden.CURRENT_CURSOR:
            return Typed(hidden.current_cursor(), "string")
        name = hidden.FUNCTIONS["ingestion_time"]
        ingested = hidden.column(name, self._columns, without_rows=without_rows)
        return Typed(hidden.cursor_test(node, ingested), "bool")

    def _check_function(self, name: str, *, aggregate: bool, allowed: bool) -> None:
        if aggregate:
            if allowed:
                return
            raise SemanticError(
                f"Semantic error: '{self._operator}' operator: Function '{name}' cannot be invoked "
                "in current context: it is an aggregation, or an argument of one."
            )
        if name in self._queries.facts:
            return
        require_known(name)


def any_column(columns: Mapping[str, str | None], node: AnyColumn) -> Any:
    """``* has "x"`` over these columns; values that are no strings by their text."""
    if node.op.startswith("!") or node.op == "matches regex":
        raise NotSupportedError(
            f"* {node.op} is not supported by Remora.", remedy="Name the columns."
        )
    found: Any = None
    for name, kind in columns.items():
        if name.startswith("$"):
            continue
        value: Any = ir.ColumnRef(name)
        if kind != "string":
            value = ir.FunctionCall("tostring", (value,))
        one = ir.BinaryOp(node.op, value, node.value)
        found = one if found is None else ir.BinaryOp("or", found, one)
    if found is None:
        raise unresolved("*", "where")
    return found
