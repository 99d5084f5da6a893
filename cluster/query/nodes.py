"""Nodes of our own, of operators and expressions the library has none for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from duckdb_kql import ir

TABLE_COLUMN: Final = "$table"
"""Column of ``search`` that names the table of a row."""


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
class Serialize(ir.Operator):  # type: ignore[misc]
    """``serialize``."""

    expressions: tuple[Any, ...]


@dataclass(frozen=True)
class As(ir.Operator):  # type: ignore[misc]
    """``as Name``."""

    name: str


@dataclass(frozen=True)
class Sample(ir.Operator):  # type: ignore[misc]
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
class MakeSeries(ir.Operator):  # type: ignore[misc]
    """``make-series``; ``defaults`` one an aggregate."""

    aggregates: tuple[Any, ...]
    defaults: tuple[Any, ...]
    on: Any
    start: Any
    stop: Any
    step: Any
    by: tuple[Any, ...] = ()


@dataclass(frozen=True)
class AnyColumn(ir.Expr):  # type: ignore[misc]
    """``* has "x"``: whether the operator holds for any column."""

    op: str
    value: Any


@dataclass(frozen=True)
class Rows(ir.Operator):  # type: ignore[misc]
    """One SELECT over the rows before it, ``PREVIOUS`` among its parts; ``names`` it gives."""

    parts: tuple[Any, ...]
    names: tuple[str, ...]


PREVIOUS: Final = object()
