"""What a metadata transaction is made of, and the one function that applies it. Pure.

A transaction is a non-empty sequence of changes. :func:`apply` gives the tree after all of them,
one version later, or raises and gives nothing: a tree between two changes of a transaction is
never seen. Leader, follower and recovery all go through it, so equal journals give equal trees.

Invariants of every tree it returns:

- names obey :mod:`cluster.catalog.naming`; tables and columns are unique by case-sensitive name;
- a table has at least one column and never more than ``limits.columns_per_table``; a database
  never has more than ``limits.tables_per_database`` tables;
- a table's schema history only grows, each schema starting with the columns of the one before;
- row store keys are not zero and belong to one table each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    StreamingIngestionPolicy,
    Table,
)
from cluster.catalog.naming import check_entity_name, check_text
from cluster.errors import (
    EntityExistsError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)
from cluster.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAXIMUM_KEY: Final = 2**64 - 1

AS_DECIDED: Final = Limits(
    tables_per_database=2**31, columns_per_table=2**31, entity_name_characters=2**31
)
"""Limits for what was decided elsewhere or earlier: a leader's delta, or one's own journal. The
limits of the node that took the command were enforced when it was committed; refusing it here
would only split the copies."""


@dataclass(frozen=True, slots=True)
class CreateTable:
    """A new table, with a row store key no table ever had."""

    table: str
    table_id: str
    key: RowStoreKey
    columns: tuple[Column, ...]
    folder: str = ""
    docstring: str = ""


@dataclass(frozen=True, slots=True)
class AppendColumns:
    """New columns at the end of a table: a new schema version, old rows read null there."""

    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class DescribeTable:
    """Folder and docstring of a table, both replaced."""

    table: str
    folder: str
    docstring: str


@dataclass(frozen=True, slots=True)
class DropTable:
    """The table and its rows are gone; its row store key is never used again."""

    table: str


@dataclass(frozen=True, slots=True)
class SetTableStreamingPolicy:
    """The table's own policy; None removes it, so that the database's one is in force."""

    table: str
    policy: StreamingIngestionPolicy | None


@dataclass(frozen=True, slots=True)
class SetDatabaseStreamingPolicy:
    """The database's policy; None removes it."""

    policy: StreamingIngestionPolicy | None


Change = (
    CreateTable
    | AppendColumns
    | DescribeTable
    | DropTable
    | SetTableStreamingPolicy
    | SetDatabaseStreamingPolicy
)

EVENTS: Final[Mapping[type[Change], str]] = {
    CreateTable: "CREATE-TABLE",
    AppendColumns: "ALTER-TABLE-COLUMNS",
    DescribeTable: "ALTER-TABLE-DESCRIPTION",
    DropTable: "DROP-TABLE",
    SetTableStreamingPolicy: "ALTER-TABLE-POLICY-STREAMINGINGESTION",
    SetDatabaseStreamingPolicy: "ALTER-DATABASE-POLICY-STREAMINGINGESTION",
}
"""Names of changes in the journal (``journal.md``: named like CREATE-TABLE, not contractual)."""


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


def apply(database: Database, changes: Sequence[Change], limits: Limits) -> Database:
    """The tree after one transaction; ``database`` itself stays as it is.

    Raises InvalidRequestError (no change, bad columns or keys), EntityExistsError,
    TableNotFoundError, EntityNameError, LimitExceededError.
    """
    if not changes:
        raise InvalidRequestError("A metadata transaction has at least one change.")
    tree = database
    for change in changes:
        tree = _APPLY[type(change)](tree, change, limits)
    return replace(tree, version=database.version.next())


def _create_table(database: Database, change: CreateTable, limits: Limits) -> Database:
    check_entity_name("Table", change.table, limits)
    if change.table in database.tables:
        raise EntityExistsError(
            f"Entity ID '{change.table}' of kind 'Table' already exists.",
            metadata={"table": change.table},
        )
    if len(database.tables) >= limits.tables_per_database:
        raise LimitExceededError(
            f"Database '{database.name}' has {len(database.tables)} tables, "
            f"the limit is {limits.tables_per_database}.",
            metadata={"limit": "tables_per_database", "maximum": str(limits.tables_per_database)},
        )
    if not 0 < change.key <= MAXIMUM_KEY:
        raise InvalidRequestError(f"Row store key {change.key} is not a non-zero 64-bit number.")
    if any(table.key == change.key for table in database.tables.values()):
        raise InvalidRequestError(f"Row store key {change.key} belongs to another table.")
    _check_columns(change.table, change.columns, limits)
    check_text("Table id", change.table_id)
    _check_description(change.folder, change.docstring)
    table = Table(
        name=change.table,
        table_id=change.table_id,
        key=change.key,
        schemas=(change.columns,),
        folder=change.folder,
        docstring=change.docstring,
    )
    return _with_table(database, table)


def _append_columns(database: Database, change: AppendColumns, limits: Limits) -> Database:
    table = find_table(database, change.table)
    if not change.columns:
        raise InvalidRequestError(f"No column to append to table '{table.name}'.")
    columns = table.columns + change.columns
    _check_columns(table.name, columns, limits)
    return _with_table(database, replace(table, schemas=(*table.schemas, columns)))


def _describe_table(database: Database, change: DescribeTable, limits: Limits) -> Database:
    del limits
    table = find_table(database, change.table)
    _check_description(change.folder, change.docstring)
    return _with_table(database, replace(table, folder=change.folder, docstring=change.docstring))


def _drop_table(database: Database, change: DropTable, limits: Limits) -> Database:
    del limits
    find_table(database, change.table)
    tables = {name: table for name, table in database.tables.items() if name != change.table}
    return replace(database, tables=tables)


def _set_table_policy(
    database: Database, change: SetTableStreamingPolicy, limits: Limits
) -> Database:
    del limits
    table = find_table(database, change.table)
    return _with_table(database, replace(table, streaming_policy=change.policy))


def _set_database_policy(
    database: Database, change: SetDatabaseStreamingPolicy, limits: Limits
) -> Database:
    del limits
    return replace(database, streaming_policy=change.policy)


def _with_table(database: Database, table: Table) -> Database:
    return replace(database, tables={**database.tables, table.name: table})


def _check_description(folder: str, docstring: str) -> None:
    check_text("Folder", folder)
    check_text("Docstring", docstring)


def _check_columns(table: str, columns: Sequence[Column], limits: Limits) -> None:
    if not columns:
        raise InvalidRequestError(f"Table '{table}' needs at least one column.")
    if len(columns) > limits.columns_per_table:
        raise LimitExceededError(
            f"Table '{table}' would have {len(columns)} columns, "
            f"the limit is {limits.columns_per_table}.",
            metadata={"limit": "columns_per_table", "maximum": str(limits.columns_per_table)},
        )
    seen: set[str] = set()
    for column in columns:
        check_entity_name("Column", column.name, limits)
        if column.name in seen:
            raise InvalidRequestError(
                f"Column '{column.name}' is named twice in table '{table}'.",
                metadata={"table": table, "column": column.name},
            )
        seen.add(column.name)


# Any: the mapping pairs each change type with the function that takes exactly that type.
_APPLY: Final[Mapping[type[Change], Callable[..., Database]]] = {
    CreateTable: _create_table,
    AppendColumns: _append_columns,
    DescribeTable: _describe_table,
    DropTable: _drop_table,
    SetTableStreamingPolicy: _set_table_policy,
    SetDatabaseStreamingPolicy: _set_database_policy,
}
