"""A translated query: values both processes know. Imports nothing of the translator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cluster.errors import LimitExceededError, NotSupportedError

TOO_LONG: Final = "E_VALUE_TOO_LONG"
"""Text of the DuckDB error of a value that has grown too long."""


@dataclass(frozen=True, slots=True)
class TableUse:
    """One table a query reads, and the name it has in the SQL."""

    alias: str
    database: str
    """Case-folded."""
    table: str


@dataclass(frozen=True, slots=True)
class Translation:
    """A query as SQL."""

    sql: str
    """One SELECT over the inputs ``"$0"``, ``"$1"``, ...: ``tables[0]``, ``tables[1]``, ..."""
    tables: tuple[TableUse, ...] = ()
    same_types: tuple[tuple[str, ...], ...] = ()
    """Groups of SELECTs: columns of equal names must have equal types within a group."""
    clock_slot: str | None = None
    """Name of the parameter that takes the time of the query; None if it does not ask."""
    query_now_us: int | None = None
    """The time set by ``set query_now``, microseconds since 1970; None: take the clock's."""


def two_types(name: str, one: str, other: str) -> NotSupportedError:
    """A union of one name with two types."""
    return NotSupportedError(
        f"'union' operator: column '{name}' is {one} in one branch and {other} in another; "
        f"splitting it into '{name}_{one}' and '{name}_{other}' is not supported.",
        remedy="Convert the column to one type in every branch.",
    )


def too_long(limit: int) -> LimitExceededError:
    """A value grew beyond the limit."""
    return LimitExceededError(
        f"A string or dynamic value would be longer than {limit} bytes ({TOO_LONG}).",
        metadata={"limit": "string_value_bytes"},
    )
