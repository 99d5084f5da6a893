"""Changes of tables as a whole: the values and what each does to the tree. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes_schema import check_columns
from cluster.catalog.lookup import find_table, table_not_found, with_table
from cluster.catalog.model import DroppedTable, RowStoreReference, Table
from cluster.catalog.naming import check_entity_name, check_text
from cluster.errors import (
    EntityExistsError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from cluster.catalog.model import Column, Database, RowStoreKey, Version
    from cluster.limits import Limits

MAXIMUM_KEY: Final = 2**64 - 1
MAXIMUM_ROW_STORE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CreateTable:
    """A new table, with a row store key no table ever had, in that row store of the node."""

    table: str
    table_id: str
    key: RowStoreKey
    columns: tuple[Column, ...]
    folder: str = ""
    docstring: str = ""
    row_store: int = 0


@dataclass(frozen=True, slots=True)
class DescribeTable:
    """Folder and docstring of a table, both replaced."""

    table: str
    folder: str
    docstring: str


@dataclass(frozen=True, slots=True)
class RenameTables:
    """New names of tables, ``(old, new)``, all at once: a swap is two of them.

    A renamed table keeps its id, keys, rows, extents and policies.
    """

    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DropTable:
    """The table is gone; its row store keys are never used again.

    If it has extents, it is kept in ``Database.dropped_tables`` under the version of the tree that
    last had it, so that it can be brought back. Rows in row stores are lost.
    """

    table: str
    dropped_us: int = 0


@dataclass(frozen=True, slots=True)
class RestoreTable:
    """Brings back a dropped table with its extents, schemas and policies (``.undo drop table``).

    ``version`` is the database's version just before the drop, as the journal has it in
    ``OriginalEntityVersion``; ``table`` the name it had then; ``new_name`` the name it gets, empty:
    the same. It starts with one reference, under a key no table ever had.
    """

    version: Version
    table: str
    key: RowStoreKey
    row_store: int = 0
    new_name: str = ""


@dataclass(frozen=True, slots=True)
class ForgetDroppedTables:
    """Tables dropped by the transactions that started at these versions can not be restored."""

    versions: tuple[Version, ...]


def create_table(database: Database, change: CreateTable, limits: Limits) -> Database:
    """Applies :class:`CreateTable`."""
    _check_new(database, change.table, limits)
    reference = _first_reference(database, change.key, change.row_store)
    check_columns(change.table, change.columns, limits)
    check_text("Table id", change.table_id)
    _check_description(change.folder, change.docstring)
    table = Table(
        name=change.table,
        table_id=change.table_id,
        references=(reference,),
        schemas=(change.columns,),
        column_ids=(tuple(range(len(change.columns))),),
        folder=change.folder,
        docstring=change.docstring,
    )
    return with_table(database, table)


def describe_table(database: Database, change: DescribeTable, limits: Limits) -> Database:
    """Applies :class:`DescribeTable`."""
    del limits
    table = find_table(database, change.table)
    _check_description(change.folder, change.docstring)
    return with_table(database, replace(table, folder=change.folder, docstring=change.docstring))


def rename_tables(database: Database, change: RenameTables, limits: Limits) -> Database:
    """Applies :class:`RenameTables`."""
    names = dict(change.names)
    if not names or len(names) != len(change.names):
        raise InvalidRequestError("Tables to rename are missing or named twice.")
    for old, new in change.names:
        find_table(database, old)
        check_entity_name("Table", new, limits)
    tables: dict[str, Table] = {}
    for old, table in database.tables.items():
        new = names.get(old, old)
        if new in tables:
            raise _exists(new)
        tables[new] = table if new == old else replace(table, name=new)
    return replace(database, tables=tables)


def drop_table(database: Database, change: DropTable, limits: Limits) -> Database:
    """Applies :class:`DropTable`."""
    del limits
    table = find_table(database, change.table)
    tables = {name: kept for name, kept in database.tables.items() if name != change.table}
    if not table.extents:
        return replace(database, tables=tables)
    dropped = DroppedTable(table, database.version, change.dropped_us)
    return replace(database, tables=tables, dropped_tables=(*database.dropped_tables, dropped))


def restore_table(database: Database, change: RestoreTable, limits: Limits) -> Database:
    """Applies :class:`RestoreTable`."""
    dropped = find_dropped(database, change.table, change.version)
    name = change.new_name or change.table
    _check_new(database, name, limits)
    reference = _first_reference(database, change.key, change.row_store)
    table = replace(dropped.table, name=name, references=(reference,))
    left = tuple(other for other in database.dropped_tables if other is not dropped)
    return with_table(replace(database, dropped_tables=left), table)


def forget_dropped(database: Database, change: ForgetDroppedTables, limits: Limits) -> Database:
    """Applies :class:`ForgetDroppedTables`."""
    del limits
    known = {dropped.version for dropped in database.dropped_tables}
    if not change.versions:
        raise InvalidRequestError("No version of dropped tables to forget is named.")
    for version in change.versions:
        if version not in known:
            raise EntityNotFoundError(
                f"No table of database '{database.name}' that was dropped at {version} is kept.",
                metadata={"database": database.name, "version": str(version)},
            )
    forgotten = frozenset(change.versions)
    left = tuple(item for item in database.dropped_tables if item.version not in forgotten)
    return replace(database, dropped_tables=left)


def find_dropped(database: Database, name: str, version: Version) -> DroppedTable:
    """The kept table of that name, dropped at that version, the newest if there are two.

    Raises TableNotFoundError.
    """
    for dropped in reversed(database.dropped_tables):
        if dropped.version == version and dropped.table.name == name:
            return dropped
    error = table_not_found(name)
    error.metadata["version"] = str(version)
    raise error


def check_new_keys(database: Database, keys: Collection[RowStoreKey]) -> None:
    """Refuses row store keys that are none, named twice, or that any table has or had.

    Looks at every table once, however many keys there are.
    """
    wanted = set(keys)
    if len(wanted) != len(keys):
        raise InvalidRequestError("A new row store key is named twice.")
    for key in keys:
        if not 0 < key <= MAXIMUM_KEY:
            raise InvalidRequestError(f"Row store key {key} is not a non-zero 64-bit number.")
    tables = itertools.chain(
        database.tables.values(), (dropped.table for dropped in database.dropped_tables)
    )
    for table in tables:
        for reference in table.references:
            if reference.key in wanted:
                raise InvalidRequestError(f"Row store key {reference.key} belongs to a table.")


def check_row_store(row_store: int) -> None:
    """Refuses what is no index of a row store."""
    if not 0 <= row_store <= MAXIMUM_ROW_STORE:
        raise InvalidRequestError(f"{row_store} is not the index of a row store.")


def _first_reference(database: Database, key: RowStoreKey, row_store: int) -> RowStoreReference:
    check_new_keys(database, (key,))
    check_row_store(row_store)
    return RowStoreReference(row_store, key)


def _check_new(database: Database, name: str, limits: Limits) -> None:
    check_entity_name("Table", name, limits)
    if name in database.tables:
        raise _exists(name)
    if len(database.tables) >= limits.tables_per_database:
        raise LimitExceededError(
            f"Database '{database.name}' has {len(database.tables)} tables, "
            f"the limit is {limits.tables_per_database}.",
            metadata={"limit": "tables_per_database", "maximum": str(limits.tables_per_database)},
        )


def _exists(name: str) -> EntityExistsError:
    return EntityExistsError(
        f"Entity ID '{name}' of kind 'Table' already exists.", metadata={"table": name}
    )


def _check_description(folder: str, docstring: str) -> None:
    check_text("Folder", folder)
    check_text("Docstring", docstring)
