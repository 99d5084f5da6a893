"""Nodes of our own, of operators and expressions the library has none for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from duckdb_kql import ir

TABLE_COLUMN: Final = "$table"
"""Column of ``search`` that names the table of a row."""


@dataclass(frozen=True)
class Written(ir.Operator):  # type: ignore[misc]  # the library has no types
    """An operator whose fields are all that ``let`` may put names into."""


@dataclass(frozen=True)
class Render(ir.Operator):  # type: ignore[misc]  # the library has no types
    """``render kind with (name=value, ...)``."""

    kind: str
    properties: tuple[tuple[str, str], ...] = ()
    """Names in lower case; lists of columns are joined by commas."""


@dataclass(frozen=True)
class Choose(ir.Operator):  # type: ignore[misc]
    """``project-keep``, ``project-away`` and ``project-reorder``: columns by name or pattern."""

    kind: str
    targets: tuple[tuple[str, bool, str], ...]
    """Name or pattern, whether it is a pattern, and the order of what it matches."""


@dataclass(frozen=True)
class Serialize(Written):
    """``serialize``."""

    expressions: tuple[Any, ...]


@dataclass(frozen=True)
class As(ir.Operator):  # type: ignore[misc]
    """``as Name``."""

    name: str


@dataclass(frozen=True)
class Sample(Written):
    """``sample n``; with ``of`` it is ``sample-distinct n of expression``."""

    count: int
    of: Any = None


@dataclass(frozen=True)
class SearchWithin(ir.Operator):  # type: ignore[misc]
    """What ``| search`` does besides its condition: it says which table a row is of."""


@dataclass(frozen=True)
class DistinctAll(ir.Operator):  # type: ignore[misc]
    """``distinct *``."""


@dataclass(frozen=True)
class Apply(ir.Operator):  # type: ignore[misc]
    """``mv-apply``: ``expand`` makes the rows that the operators of ``body`` work on, row by row.

    ``body`` is a query of its own, because names bound by ``let`` are decided by its columns.
    """

    expand: tuple[Any, ...]
    body: ir.Query


@dataclass(frozen=True)
class MakeSeries(Written):
    """``make-series``; ``defaults`` one an aggregate."""

    aggregates: tuple[Any, ...]
    defaults: tuple[Any, ...]
    on: Any
    start: Any
    stop: Any
    step: Any
    by: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Evaluate(Written):
    """``evaluate plugin(...)``."""

    plugin: str
    arguments: tuple[tuple[str, Any], ...]
    """Names, empty for one by position, and values."""
    schema: tuple[tuple[str, str], ...] | None = None
    """Names and types of the columns it gives, None if it does not say."""
    with_source: bool = False
    """Besides ``schema``, the columns there were."""


@dataclass(frozen=True)
class ParseKv(Written):
    """``parse-kv``: ``keys`` are names and types, ``settings`` what stands behind ``with``."""

    expression: Any
    keys: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class TopHitters(Written):
    """``top-hitters count of column by weight``."""

    count: Any
    column: str
    weight: Any = None


class Level(NamedTuple):
    """One ``top-nested``; ``count`` and ``others`` are None where they are not said."""

    count: Any
    of: Any
    others: Any
    by: Any
    ascending: bool


@dataclass(frozen=True)
class TopNested(Written):
    """``top-nested``, one level or several."""

    levels: tuple[tuple[Any, ...], ...]
    """Each with the fields of a :class:`Level`."""


@dataclass(frozen=True)
class Partition(Written):
    """``partition by column (...)``; ``body`` has a source of its own if written in braces."""

    column: str
    body: ir.Query
    strategy: str
    has_source: bool


@dataclass(frozen=True)
class Consume(Written):
    """``consume``."""


@dataclass(frozen=True)
class OuterKey(ir.Expr):  # type: ignore[misc]
    """The key of a partition, as an expression within it."""

    sql: str
    kind: str | None


@dataclass(frozen=True)
class AnyColumn(ir.Expr):  # type: ignore[misc]
    """``* has "x"``: whether the operator holds for any column."""

    op: str
    value: Any


@dataclass(frozen=True)
class Rows(ir.Operator):  # type: ignore[misc]
    """One SELECT over the rows before it, ``PREVIOUS`` among its parts; ``names`` it gives.

    A ``NamedExpr`` among the parts is an aggregate, whose name does not count.
    """

    parts: tuple[Any, ...]
    names: tuple[str, ...]


PREVIOUS: Final = object()
