"""What ``.set``, ``.append`` and kin do to the schema of their table. Pure.

``data-ingestion/ingest-from-query.md``: columns are matched by their order and type, never by name;
``.set`` makes a table, ``.append`` needs one, the other two take what they find.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.changes import (
    AS_DECIDED,
    AppendColumns,
    CreateTable,
    DescribeTable,
    SetPolicy,
    SetSchema,
    apply,
    find_table,
    next_column_id,
)
from cluster.catalog.policy_text import altered
from cluster.errors import EntityExistsError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.batch.properties import IngestionProperties
    from cluster.catalog.changes import Change
    from cluster.catalog.model import Column, Database, RowStoreKey, Table


class Mode(enum.Enum):
    """The four commands that ingest from a query. The value is the command's word."""

    SET = "set"
    APPEND = "append"
    SET_OR_APPEND = "set-or-append"
    SET_OR_REPLACE = "set-or-replace"


@dataclass(frozen=True, slots=True)
class NewTable:
    """Names for a table, should one be made."""

    table_id: str
    key: RowStoreKey
    row_store: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows of a result go: ``table`` as it is after ``changes``, which go with the rows.

    ``replaces``: everything the table has goes.
    """

    table: Table
    changes: tuple[Change, ...] = ()
    replaces: bool = False


def plan_target(
    database: Database,
    name: str,
    mode: Mode,
    columns: Sequence[Column],
    properties: IngestionProperties,
    new: NewTable,
) -> Target:
    """Where a result with these columns goes, by this tree.

    Raises EntityExistsError (``.set`` of a table there is), TableNotFoundError (``.append`` without
    one), InvalidRequestError (the schemas do not match), and what creating a table raises.
    """
    present = database.tables.get(name)
    if present is not None and mode is Mode.SET:
        raise EntityExistsError(
            f"Entity ID '{name}' of kind 'Table' already exists.",
            remedy="Use .append, .set-or-append or .set-or-replace.",
            metadata={"table": name},
        )
    if present is None and mode is Mode.APPEND:
        find_table(database, name)
    replaces = present is not None and mode is Mode.SET_OR_REPLACE
    if present is None:
        changes = _creation(name, columns, properties, new)
    else:
        changes = _adaptation(present, columns, properties, replaces=replaces)
    tree = apply(database, changes, AS_DECIDED) if changes else database
    return Target(tree.tables[name], changes, replaces)


def _creation(
    name: str, columns: Sequence[Column], properties: IngestionProperties, new: NewTable
) -> tuple[Change, ...]:
    creation = CreateTable(
        table=name,
        table_id=new.table_id,
        key=new.key,
        columns=tuple(columns),
        folder=properties.folder or "",
        docstring=properties.docstring or "",
        row_store=new.row_store,
    )
    if properties.ingestion_time:
        return (creation,)
    return (creation, SetPolicy(name, "ingestiontime", altered("ingestiontime", "false")))


def _adaptation(
    table: Table, columns: Sequence[Column], properties: IngestionProperties, *, replaces: bool
) -> tuple[Change, ...]:
    for column in columns:
        if "$" in column.name:  # ingest-from-query.md: names the service makes itself
            raise InvalidRequestError(
                f"Column name '{column.name[:64]}' of the result contains '$'.",
                remedy="Give it another name with project-rename.",
                metadata={"table": table.name},
            )
    described = _description(table, properties)
    if properties.recreate_schema and replaces:
        return (*_recreation(table, columns), *described)
    wanted = [column.type for column in columns]
    present = [column.type for column in table.columns]
    if wanted == present:
        return described
    if properties.extend_schema and wanted[: len(present)] == present:
        return (AppendColumns(table.name, tuple(columns[len(present) :])), *described)
    raise InvalidRequestError(
        f"Query schema does not match table schema. QuerySchema=({_shown(columns)}), "
        f"TableSchema=({_shown(table.columns)}).",
        remedy="Project the columns in the table's order and types, or use extend_schema.",
        metadata={"table": table.name},
    )


def _description(table: Table, properties: IngestionProperties) -> tuple[Change, ...]:
    """``folder`` and ``docstring`` overwrite those of a table there is."""
    folder = table.folder if properties.folder is None else properties.folder
    docstring = table.docstring if properties.docstring is None else properties.docstring
    if (folder, docstring) == (table.folder, table.docstring):
        return ()
    return (DescribeTable(table.name, folder, docstring),)


def _recreation(table: Table, columns: Sequence[Column]) -> tuple[Change, ...]:
    known = {
        (column.name, column.type): identity
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
    }
    fresh = next_column_id(table)
    ids = []
    for column in columns:
        identity = known.get((column.name, column.type))
        if identity is None:
            identity, fresh = fresh, fresh + 1
        ids.append(identity)
    if list(columns) == list(table.columns) and tuple(ids) == table.column_ids[-1]:
        return ()
    return (SetSchema(table.name, tuple(columns), tuple(ids)),)


def _shown(columns: Sequence[Column]) -> str:
    return ", ".join(f"{column.name}:{column.type.value}" for column in columns)
