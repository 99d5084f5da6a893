"""What the storage of one database should be, as plain dictionaries.

A column is a number that is never used twice; a row maps such numbers to values. Renaming changes
a name, dropping forgets a number, another type is another number: that is the whole rule for old
rows. Where a row is, in a row store or in which extent, is no business of the model.
"""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from cluster.catalog.model import ScalarType

Row = dict[int, Any]
_numbers = itertools.count(1)


@dataclass
class ModelColumn:
    """``number`` is what values are found by."""

    number: int
    name: str
    type: ScalarType

    @classmethod
    def new(cls, name: str, kind: ScalarType) -> ModelColumn:
        return cls(next(_numbers), name, kind)

    @property
    def absent(self) -> Any:
        """What a row reads that was written without this column."""
        return "" if self.type is ScalarType.STRING else None


@dataclass
class ModelTable:
    """``rows`` by the identity each row has: the value of its first column, for good."""

    columns: list[ModelColumn]
    rows: dict[int, Row] = field(default_factory=dict)
    identity: int = 0
    sources: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Rows of each source id that was acknowledged, whatever became of them."""
    retention_us: int | None = None
    history: list[list[ModelColumn]] = field(default_factory=list)
    """The schemas before, oldest first."""
    dropped_us: int = 0

    def __post_init__(self) -> None:
        self.identity = self.identity or self.columns[0].number

    def shown(self, row: Row) -> tuple[Any, ...]:
        """A row as a query gives it."""
        return tuple(row.get(column.number, column.absent) for column in self.columns)

    def place(self) -> int:
        """Where the identity is among the columns."""
        return [column.number for column in self.columns].index(self.identity)

    def without(self, gone: set[int]) -> ModelTable:
        """The same table without some rows."""
        copy = self.copy()
        copy.rows = {number: row for number, row in self.rows.items() if number not in gone}
        return copy

    def copy(self) -> ModelTable:
        """Independent in everything that changes."""
        rows, self.rows = self.rows, {}
        copy = deepcopy(self)
        self.rows = rows
        copy.rows = dict(rows)
        return copy


@dataclass
class Doubt:
    """Requests that were refused in a way that leaves open what a restart finds.

    Rows of one record of one key: all or nothing. ``links``: the other record of its chain.
    """

    table: int
    """Identity of the table."""
    key: int
    rows: dict[int, Row]
    source: str = ""
    partner: Doubt | None = None


@dataclass
class Model:
    """All tables by name, and dropped ones by version and name."""

    tables: dict[str, ModelTable] = field(default_factory=dict)
    dropped: dict[tuple[Any, str], ModelTable] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(
            {name: table.copy() for name, table in self.tables.items()},
            {name: table.copy() for name, table in self.dropped.items()},
        )

    def by_identity(self, identity: int) -> ModelTable | None:
        return next((t for t in self.tables.values() if t.identity == identity), None)
