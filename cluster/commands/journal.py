"""Executors of ``.show journal``: the metadata transactions that are kept (``journal.md``).

One row a change; those that only add, move or seal data are not journaled. The journal goes back
as far as the history kept for followers (``limits.catalog_history_deltas``). What columns hold is
not contractual; there are no client request ids. ``User`` is who was authenticated, else who the
client says it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import (
    EVENTS,
    AppendColumns,
    Change,
    ClearTable,
    CreateTable,
    DescribeColumns,
    DescribeTable,
    DropTable,
    RenameTables,
    RestoreTable,
    SetDatabaseStreamingPolicy,
    SetFunction,
    SetMapping,
    SetPolicy,
    SetPrettyName,
    SetPrincipals,
    SetSchema,
    SetTableStreamingPolicy,
)
from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policy_text import shown
from cluster.commands.functions import shown_body
from cluster.commands.lexer import fit_for_logs
from cluster.commands.literals import EPOCH
from cluster.commands.policy_json import policy_text
from cluster.commands.principals import principals_text
from cluster.commands.table_views import stored_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Column
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    Entry = tuple[str, str, str]
    """EntityName, UpdatedEntityName, UpdatedEntityState."""

_CLUSTER: Final = "cluster "
_NO_STATE: Final = "."


async def show_journal(context: Context) -> list[Row]:
    """``.show journal``: of all databases, oldest first."""
    rows = [
        row
        for database in context.catalog.databases()
        for row in _rows(database.name, context.catalog.history(database.name))
    ]
    return sorted(rows, key=lambda row: row[1])  # type: ignore[arg-type, return-value]


async def show_database_journal(context: Context) -> list[Row]:
    """``.show database D journal``: of that database, oldest first."""
    database = context.catalog.get(context.database_named)
    return list(_rows(database.name, context.catalog.history(database.name)))


async def show_cluster_journal(context: Context) -> list[Row]:
    """``.show cluster journal``: changes of policies of the cluster."""
    return list(_rows(DEFAULT_DATABASE, context.catalog.history(DEFAULT_DATABASE), of_cluster=True))


def _rows(database: str, history: Sequence[Delta], *, of_cluster: bool = False) -> Iterator[Row]:
    for delta in history:
        moment = EPOCH + timedelta(microseconds=delta.event_time_ns // 1000)
        for change in delta.changes:
            if type(change) not in EVENTS or _is_of_cluster(change) is not of_cluster:
                continue
            for name, updated, state in _entries(database, change):
                yield (
                    EVENTS[type(change)],
                    moment,
                    "" if of_cluster else database,
                    name,
                    updated,
                    str(delta.to_version),
                    _container(database, change),
                    _NO_STATE,
                    fit_for_logs(state),
                    fit_for_logs(delta.text),
                    "",
                    None,
                    "",
                    delta.user,
                    str(delta.from_version),
                )


def _is_of_cluster(change: Change) -> bool:
    return isinstance(change, SetPolicy) and change.kind.startswith(_CLUSTER)


def _container(database: str, change: Change) -> str:
    """What the entity is in: the table of columns, the database of all else."""
    if isinstance(change, AppendColumns | SetSchema | DescribeColumns):
        return change.table
    if isinstance(change, SetMapping) and change.table:
        return change.table
    if isinstance(change, SetPrettyName | SetDatabaseStreamingPolicy) or _is_of_cluster(change):
        return ""
    return database


def _entries(database: str, change: Change) -> list[Entry]:
    match change:
        case RenameTables(names):
            return [(old, new, f"Name: {new}") for old, new in names]
        case RestoreTable(table=table, new_name=new_name):
            return [(table, new_name or table, f"Name: {new_name or table}")]
        case DropTable(table):
            return [(table, "", _NO_STATE)]
        case SetFunction(name, function):
            state = _NO_STATE if function is None else function.parameters + shown_body(function)
            return [(name, "" if function is None else name, state)]
        case SetMapping(name=name, mapping=mapping):
            updated = ("", _NO_STATE) if mapping is None else (name, mapping.text)
            return [(name, *updated)]
        case SetPrettyName(text):
            return [(database, database, f"PrettyName: {text}")]
        case SetDatabaseStreamingPolicy(policy):
            return [(database, database, policy_text(policy))]
        case SetPrincipals(table, principals):
            return [(table or database, table or database, principals_text(principals))]
        case SetPolicy(table, kind, policy):
            name = table or ("" if _is_of_cluster(change) else database)
            return [(name, name, f"{kind}: {shown(policy)}")]
        case _:
            return _table_entries(change)


def _table_entries(change: Change) -> list[Entry]:
    match change:
        case CreateTable(table=table, columns=columns) | SetSchema(table=table, columns=columns):
            return [(table, table, f"Name: {table}, {_attributes(table, columns)}")]
        case AppendColumns(table, columns):
            return [(table, table, _attributes(table, columns))]
        case DescribeTable(table, folder, docstring):
            return [(table, table, f"Folder: {folder}, DocString: {docstring}")]
        case DescribeColumns(table, docstrings):
            return [
                (f"[{table}].[{name}]", f"[{table}].[{name}]", text) for name, text in docstrings
            ]
        case SetTableStreamingPolicy(table, policy):
            return [(table, table, policy_text(policy))]
        case ClearTable(table):
            return [(table, table, _NO_STATE)]
    raise AssertionError(f"{type(change).__name__} is journaled and has no entry here")


def _attributes(table: str, columns: Sequence[Column]) -> str:
    shown_columns = (
        f"Name='[{table}].[{column.name}]', Type='{stored_type(column.type)}'" for column in columns
    )
    return f"Attributes: {' '.join(shown_columns)}"


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show journal": show_journal,
    "show database journal": show_database_journal,
    "show cluster journal": show_cluster_journal,
}
