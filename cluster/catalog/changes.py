"""What a metadata transaction is made of, and the one function that applies it. Pure.

A transaction is a non-empty sequence of changes. :func:`apply` gives the tree after all of them,
one version later, or raises and gives nothing: a tree between two changes of a transaction is
never seen. Leader, follower and recovery all go through it, so equal journals give equal trees.

Each change is a value, defined beside the function that applies it: tables as a whole
(:mod:`~cluster.catalog.changes_tables`), their columns (:mod:`~cluster.catalog.changes_schema`),
where their rows are (:mod:`~cluster.catalog.changes_data`), and everything else that has a name
(:mod:`~cluster.catalog.changes_entities`). All are imported from here.

Invariants of every tree it returns:

- names obey :mod:`cluster.catalog.naming`; tables and columns are unique by case-sensitive name;
- a table has at least one column and never more than ``limits.columns_per_table``; a database
  never has more than ``limits.tables_per_database`` tables;
- a table's schema history only grows; a column id means one column of one type for ever;
- row store keys are not zero and belong to one table each, dropped ones included; a table has 1 to
  64 references, which are never removed, and their floors only grow;
- an extent is in a table once, and its columns are, or were, columns of the table.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from cluster.catalog import changes_data as data
from cluster.catalog import changes_entities as entities
from cluster.catalog import changes_schema as schema
from cluster.catalog import changes_tables as tables
from cluster.catalog.changes_data import (
    ClearTable,
    ReplaceExtents,
    SealedRange,
    SealRows,
    SetReferences,
)
from cluster.catalog.changes_entities import (
    SetDatabaseStreamingPolicy,
    SetFunction,
    SetMapping,
    SetPolicy,
    SetPrettyName,
    SetPrincipals,
    SetTableStreamingPolicy,
)
from cluster.catalog.changes_schema import (
    AppendColumns,
    DescribeColumns,
    SetSchema,
    column_policy_kind,
)
from cluster.catalog.changes_tables import (
    MAXIMUM_KEY,
    CreateTable,
    DescribeTable,
    DropTable,
    ForgetDroppedTables,
    RenameTables,
    RestoreTable,
    find_dropped,
)
from cluster.catalog.lookup import entity_not_found, find_table, next_column_id, table_not_found
from cluster.errors import InvalidRequestError
from cluster.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database

__all__ = [
    "AS_DECIDED",
    "EVENTS",
    "MAXIMUM_KEY",
    "AppendColumns",
    "Change",
    "ClearTable",
    "CreateTable",
    "DescribeColumns",
    "DescribeTable",
    "DropTable",
    "ForgetDroppedTables",
    "RenameTables",
    "ReplaceExtents",
    "RestoreTable",
    "SealRows",
    "SealedRange",
    "SetDatabaseStreamingPolicy",
    "SetFunction",
    "SetMapping",
    "SetPolicy",
    "SetPrettyName",
    "SetPrincipals",
    "SetReferences",
    "SetSchema",
    "SetTableStreamingPolicy",
    "apply",
    "column_policy_kind",
    "entity_not_found",
    "find_dropped",
    "find_table",
    "is_shared",
    "next_column_id",
    "table_not_found",
    "touched_tables",
]

AS_DECIDED: Final = Limits(
    tables_per_database=2**31, columns_per_table=2**31, entity_name_characters=2**31
)
"""Limits for what was decided elsewhere or earlier: a leader's delta, or one's own journal. The
limits of the node that took the command were enforced when it was committed; refusing it here
would only split the copies."""

Change = (
    CreateTable
    | AppendColumns
    | SetSchema
    | DescribeTable
    | DescribeColumns
    | RenameTables
    | DropTable
    | RestoreTable
    | ForgetDroppedTables
    | SetTableStreamingPolicy
    | SetDatabaseStreamingPolicy
    | SetPolicy
    | SetMapping
    | SetFunction
    | SetPrettyName
    | SetPrincipals
    | SetReferences
    | SealRows
    | ReplaceExtents
    | ClearTable
)

EVENTS: Final[Mapping[type[Change], str]] = {
    CreateTable: "CREATE-TABLE",
    AppendColumns: "ALTER-TABLE-COLUMNS",
    SetSchema: "ALTER-TABLE-SCHEMA",
    DescribeTable: "ALTER-TABLE-DESCRIPTION",
    DescribeColumns: "ALTER-TABLE-COLUMN-DOCSTRINGS",
    RenameTables: "RENAME-TABLE",
    DropTable: "DROP-TABLE",
    RestoreTable: "UNDO-DROP-TABLE",
    SetTableStreamingPolicy: "ALTER-TABLE-POLICY-STREAMINGINGESTION",
    SetDatabaseStreamingPolicy: "ALTER-DATABASE-POLICY-STREAMINGINGESTION",
    SetPolicy: "ALTER-POLICY",
    SetMapping: "ALTER-INGESTION-MAPPING",
    SetFunction: "ALTER-FUNCTION",
    SetPrettyName: "ALTER-DATABASE-PRETTYNAME",
    SetPrincipals: "ALTER-PRINCIPALS",
    ClearTable: "CLEAR-TABLE-DATA",
}
"""Names of changes in the journal (``journal.md``: named like CREATE-TABLE, not contractual). What
is missing is not journaled, as ``journal.md`` says of adding extents."""

_APPLY: Final[Mapping[type[Change], Callable[..., Database]]] = {
    # ...: pairs each kind of change with the function that takes exactly that kind. SetReferences
    # is not among them: however many come in a row, they are applied at once.
    CreateTable: tables.create_table,
    AppendColumns: schema.append_columns,
    SetSchema: schema.set_schema,
    DescribeTable: tables.describe_table,
    DescribeColumns: schema.describe_columns,
    RenameTables: tables.rename_tables,
    DropTable: tables.drop_table,
    RestoreTable: tables.restore_table,
    ForgetDroppedTables: tables.forget_dropped,
    SetTableStreamingPolicy: entities.set_table_streaming,
    SetDatabaseStreamingPolicy: entities.set_database_streaming,
    SetPolicy: entities.set_policy,
    SetMapping: entities.set_mapping,
    SetFunction: entities.set_function,
    SetPrettyName: entities.set_pretty_name,
    SetPrincipals: entities.set_principals,
    SealRows: data.seal_rows,
    ReplaceExtents: data.replace_extents,
    ClearTable: data.clear_table,
}


def apply(
    database: Database,
    changes: Sequence[Change],
    limits: Limits,
    watch: Callable[[Database, Change], None] | None = None,
) -> Database:
    """The tree after one transaction; ``database`` itself stays as it is.

    ``watch`` is called after each change but SetReferences, with the tree it was applied to.

    Raises InvalidRequestError (no change, or a value out of its domain), EntityExistsError,
    EntityNotFoundError, TableNotFoundError, MappingNotFoundError, EntityNameError,
    LimitExceededError.
    """
    if not changes:
        raise InvalidRequestError("A metadata transaction has at least one change.")
    tree = database
    for kind, same in itertools.groupby(changes, type):
        if kind is SetReferences:
            tree = data.set_references(tree, cast("Iterable[SetReferences]", same), limits)
            continue
        for change in same:
            after = _APPLY[kind](tree, change, limits)
            if watch is not None:
                watch(tree, change)
            tree = after
    return replace(tree, version=database.version.next())


def is_shared(change: Change, sharing: Sharing) -> bool:
    """Whether a change may be told where this is shared: all tables it names, or its function."""
    if isinstance(change, SetFunction):
        return sharing.shares_function(change.name)
    return all(sharing.shares_table(name) for name in touched_tables(change))


def touched_tables(change: Change) -> tuple[str, ...]:
    """Names whose table may be another value, or gone, after the change."""
    if isinstance(change, RenameTables):
        return tuple(name for pair in change.names for name in pair)
    if isinstance(change, RestoreTable):
        return (change.new_name or change.table,)
    name = getattr(change, "table", "")
    return (name,) if name else ()
