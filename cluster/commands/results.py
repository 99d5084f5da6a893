"""What a command returns: one table, typed like any other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.model import Column, ScalarType

if TYPE_CHECKING:
    import pyarrow as pa

Value = str | bool | int | float | None | object
"""``datetime`` values are aware :class:`datetime.datetime`, guids lower-case text, ``dynamic`` JSON
text; the other types are Python's own."""

Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Columns in the documented order, and rows of as many values.

    A result that went through KQL has its rows in ``piped`` instead, in the Arrow types of a
    query's result.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    piped: pa.Table | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} values for {len(self.columns)} columns")


def parse_schema(text: str) -> tuple[Column, ...]:
    """Columns from ``Name, Other:bool``; a column without a type is a string."""
    columns = []
    for item in text.split(","):
        name, _, kind = item.strip().partition(":")
        columns.append(Column(name, ScalarType(kind or "string")))
    return tuple(columns)
