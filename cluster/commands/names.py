"""What commands name: tables, columns, databases, and new names for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.catalog.model import Column


@dataclass(frozen=True, slots=True)
class EntityName:
    """A name that may be qualified by its database."""

    database: str | None
    name: str


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column of a table that may be qualified by its database."""

    database: str | None
    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Rename:
    """``new = old [ifexists]``; ``old`` is a table's name or a :class:`ColumnName`."""

    new: str
    old: Any
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A table's name and columns."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """A database, wanted if its version is later than ``version`` (None: always)."""

    database: str
    version: str | None
