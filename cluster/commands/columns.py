"""Executors of commands about columns.

A column has an id, and data is read by id (:class:`cluster.catalog.model.Table`): renaming keeps
the data, another type and dropping lose it, in row stores and extents alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import (
    DescribeColumns,
    SetSchema,
    column_policy_kind,
    entity_not_found,
    find_table,
    next_column_id,
)
from cluster.commands.scalar_names import CLR_NAMES
from cluster.commands.schema_text import schema_row
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Column, Database, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.names import ColumnName, Rename
    from cluster.commands.results import Row

    Schema = tuple[tuple[Column, ...], tuple[int, ...]]


async def alter_column_type(context: Context) -> list[Row]:
    """``.alter column T.C type=...``: what was stored in the column reads null from now on."""
    named: ColumnName = context.values["column"]

    def edit(table: Table) -> Schema | None:
        place = place_of(table, named.column)
        before = table.columns[place]
        if before.type is context.values["type"]:
            return None
        columns, ids = list(table.columns), list(table.column_ids[-1])
        columns[place] = replace(before, type=context.values["type"])
        ids[place] = next_column_id(table)
        return tuple(columns), tuple(ids)

    database = await _edit(context, named.database, named.table, edit)
    return [_column_row(database, named.table, named.column)]


async def rename_column(context: Context) -> list[Row]:
    """``.rename column T.C to N``."""
    named: ColumnName = context.values["column"]
    new = context.values["name"]

    def edit(table: Table) -> Schema | None:
        return _renamed(table, {named.column: new})

    database = await _edit(context, named.database, named.table, edit)
    return [_column_row(database, named.table, new)]


async def rename_columns(context: Context) -> list[Row]:
    """``.rename columns A=T.B, B=T.A``: swaps two columns; nothing else is supported by Kusto."""
    renames: Sequence[Rename] = context.values["renames"]
    first: ColumnName = renames[0].old
    names = {item.old.column: item.new for item in renames}
    one_table = {(item.old.database, item.old.table) for item in renames}
    if len(renames) != 2 or len(one_table) != 1 or set(names) != set(names.values()):
        raise InvalidRequestError(
            ".rename columns swaps exactly two columns of one table: "
            ".rename columns A = T.B, B = T.A.",
            remedy="Use .rename column for each of the others.",
        )
    if any(item.if_exists for item in renames):
        raise InvalidRequestError(".rename columns takes no ifexists.")

    def edit(table: Table) -> Schema | None:
        return _renamed(table, names)

    database = await _edit(context, first.database, first.table, edit)
    return [_column_row(database, first.table, item.new) for item in renames]


async def drop_column(context: Context) -> list[Row]:
    """``.drop column T.C [ifexists]``."""
    named: ColumnName = context.values["column"]

    def edit(table: Table) -> Schema | None:
        present = any(column.name == named.column for column in table.columns)
        if "ifexists" in context.words and not present:
            return None
        return _without(table, [named.column])

    database = await _edit(context, named.database, named.table, edit)
    return [schema_row(database, database.tables[named.table])]


async def drop_table_columns(context: Context) -> list[Row]:
    """``.drop table T columns (A, B)``: all or none."""
    name = context.values["table"]

    def edit(table: Table) -> Schema | None:
        return _without(table, context.values["columns"])

    database = await _edit(context, None, name, edit)
    return [schema_row(database, database.tables[name])]


async def alter_docstrings(context: Context) -> list[Row]:
    """``.alter table T column-docstrings (...)``: columns that are not named lose theirs."""
    return await _describe(context, clear_others=True)


async def alter_merge_docstrings(context: Context) -> list[Row]:
    """``.alter-merge table T column-docstrings (...)``: columns that are not named keep theirs."""
    return await _describe(context, clear_others=False)


def place_of(table: Table, name: str) -> int:
    """Where the column of that name is. Raises EntityNotFoundError."""
    for place, column in enumerate(table.columns):
        if column.name == name:
            return place
    error = entity_not_found("Column", name)
    error.metadata["table"] = table.name
    raise error


async def _edit(
    context: Context, database: str | None, name: str, edit: Callable[[Table], Schema | None]
) -> Database:
    def plan(tree: Database) -> Sequence[Change]:
        schema = edit(find_table(tree, name))
        return () if schema is None else [SetSchema(name, *schema)]

    return await context.transact(database or context.database, plan)


async def _describe(context: Context, *, clear_others: bool) -> list[Row]:
    name = context.values["table"]
    given: Sequence[tuple[str, str]] = context.values["docstrings"]

    def plan(database: Database) -> Sequence[Change]:
        table = find_table(database, name)
        if len(dict(given)) != len(given):
            raise InvalidRequestError(f"A column of table '{name}' is described twice.")
        for column, _ in given:
            place_of(table, column)
        wanted = dict(given)
        if clear_others:
            wanted = {column.name: wanted.get(column.name, "") for column in table.columns}
        changed = tuple(
            (column.name, wanted[column.name])
            for column in table.columns
            if wanted.get(column.name, column.docstring) != column.docstring
        )
        return [DescribeColumns(name, changed)] if changed else ()

    database = await context.transact(context.database, plan)
    return [schema_row(database, database.tables[name])]


def _renamed(table: Table, names: Mapping[str, str]) -> Schema | None:
    for name in names:
        place_of(table, name)
    columns = tuple(
        replace(column, name=names.get(column.name, column.name)) for column in table.columns
    )
    return None if columns == table.columns else (columns, table.column_ids[-1])


def _without(table: Table, names: Sequence[str]) -> Schema:
    places = {place_of(table, name) for name in names}
    if len(places) == len(table.columns):
        raise InvalidRequestError(
            f"Table '{table.name}' needs at least one column; drop the table instead.",
            metadata={"table": table.name},
        )
    kept = [place for place in range(len(table.columns)) if place not in places]
    ids = table.column_ids[-1]
    return tuple(table.columns[place] for place in kept), tuple(ids[place] for place in kept)


def _column_row(database: Database, table_name: str, name: str) -> Row:
    table = find_table(database, table_name)
    place = place_of(table, name)
    policy = table.policies.get(column_policy_kind(table.column_ids[-1][place], "encoding"))
    entity = f"[{database.name}].[{table.name}].[{name}]"
    return (entity, CLR_NAMES[table.columns[place].type], policy or "null")


EXECUTORS: Final[Mapping[str, Executor]] = {
    "alter column type": alter_column_type,
    "rename column": rename_column,
    "rename columns": rename_columns,
    "drop column": drop_column,
    "drop table columns": drop_table_columns,
    "alter table column-docstrings": alter_docstrings,
    "alter-merge table column-docstrings": alter_merge_docstrings,
}
