"""Finding things in a metadata tree, in Kusto's words when they are not there. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.errors import EntityNotFoundError, TableNotFoundError

if TYPE_CHECKING:
    from cluster.catalog.model import Database, Table


def table_not_found(name: str) -> TableNotFoundError:
    """The error for a table that is not there, in Kusto's words."""
    return TableNotFoundError(
        f"Entity ID '{name}' of kind 'Table' was not found.", metadata={"table": name}
    )


def find_table(database: Database, name: str) -> Table:
    """The table of that case-sensitive name. Raises TableNotFoundError."""
    table = database.tables.get(name)
    if table is None:
        raise table_not_found(name)
    return table


def entity_not_found(kind: str, name: str) -> EntityNotFoundError:
    """The error for another entity that is not there; ``kind`` as Kusto writes it: ``Column``."""
    return EntityNotFoundError(
        f"Entity ID '{name}' of kind '{kind}' was not found.", metadata={"kind": kind, "name": name}
    )


def next_column_id(table: Table) -> int:
    """The lowest column id that no column of the table ever had; those above it are free too."""
    return 1 + max((identity for ids in table.column_ids for identity in ids), default=-1)


def with_table(database: Database, table: Table) -> Database:
    """The tree in which ``table`` is the table of its name; the version stays."""
    return replace(database, tables={**database.tables, table.name: table})
