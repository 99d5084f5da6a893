"""A translated query: values both processes know. Imports nothing of the translator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cluster.errors import LimitExceededError, NotSupportedError

TOO_LONG: Final = "E_VALUE_TOO_LONG"
"""Text of the DuckDB error of a value that has grown too long."""

REFUSED_VALUE: Final = "E_NOT_SUPPORTED: "
"""What begins the text of the DuckDB error of a value a function is not supported for."""

INGESTION_TIME: Final = "$ingestion_time"
EXTENT_ID: Final = "$extent_id"
EXTENT_TAGS: Final = "$extent_tags"

HIDDEN: Final = {
    INGESTION_TIME: ("datetime", "TIMESTAMP"),
    EXTENT_ID: ("guid", "UUID"),
    EXTENT_TAGS: ("dynamic", "JSON"),
}
"""Hidden columns, which no query can spell: Kusto type and DuckDB type. Bound only when used."""

CURSOR_SLOT: Final = "database_cursor_us"
"""Name of the parameter that takes the database cursor, in microseconds since 1970."""

ROW_COUNT: Final = "$rows"
"""The only column of an input that stands for a table which is only counted."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition that all rows a query uses of a table fulfil.

    ``comparison`` is the value of an :class:`cluster.extents.pruning.Comparison`; a row fulfils it
    with one of ``values``, in the storage domain of the column's type. ``relative``: the values
    are microseconds to be added to the time of the query. ``column`` is a column of the table or
    :data:`INGESTION_TIME`.
    """

    column: str
    comparison: str
    values: tuple[int | float | str | bool, ...] = ()
    relative: bool = False


@dataclass(frozen=True, slots=True)
class TableUse:
    """One table a query reads, and the name it has in the SQL."""

    alias: str
    database: str
    """Case-folded."""
    table: str
    hidden: tuple[str, ...] = ()
    """Hidden columns it is bound with, behind its own."""
    columns: tuple[str, ...] = ()
    """Those of its own columns that are read, in their order."""
    counted: bool = False
    """Only its number of rows is wanted: the input is one row of :data:`ROW_COUNT`."""
    filters: tuple[tuple[Filter, ...], ...] = ((),)
    """One group for each place of the query that reads it; a row that fulfils none is not used."""


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
    only_count: str = ""
    """If not empty: the answer is the number of rows of ``tables[0]``, in a column of this name."""
    visualization: dict[str, object] | None = None
    """What ``render`` says, see ``visualization.py``; None without one."""
    discovers: str = ""
    """If not empty: this is a first pass for the plugin of this name, see ``discovery.py``."""
    uses_cursor: bool = False
    """It uses a function of the database cursor; the SQL may have :data:`CURSOR_SLOT`."""


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
