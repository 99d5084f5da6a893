"""Executors of the streaming ingestion policy commands.

Rules (``*-streaming-ingestion-policy-command.md``): ``.alter`` replaces the object,
``.alter-merge`` changes the given properties, ``enable`` and ``disable`` flip ``IsEnabled`` alone,
``.delete`` removes it; each returns the row that ``.show`` would return afterwards.

While the cluster's streaming capability is off or unknown, ``.alter``, ``.alter-merge`` and
``enable`` are refused with Kusto's words. ``disable`` and ``.delete`` are allowed (declared
choice): ``ingest-data-streaming.md`` says to remove the policies when streaming is given up.

Checks run in this order: database, read-only, table, policy text, capability.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import (
    Change,
    SetDatabaseStreamingPolicy,
    SetTableStreamingPolicy,
    find_table,
)
from cluster.commands.policy_json import POLICY_NAME, merged, policy_text, replaced, switched
from cluster.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.model import Database, StreamingIngestionPolicy
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    Edit = Callable[[StreamingIngestionPolicy | None, Context], StreamingIngestionPolicy | None]

NOT_ENABLED: Final = "Admin command cannot be executed as streaming ingestion is not enabled"


async def show_table_policy(context: Context) -> list[Row]:
    """The policy set on the table itself, ``null`` if none; not the effective one."""
    entity = context.values["table"]
    database = context.catalog.get(entity.database or context.database)
    return [_table_row(database, entity.name)]


async def show_database_policy(context: Context) -> list[Row]:
    """The policy set on the database, ``null`` if none."""
    return [_database_row(context.catalog.get(_database_name(context)))]


async def show_cluster_policy(context: Context) -> list[Row]:
    """Always ``null``: there is no policy of a whole cluster here."""
    return [(POLICY_NAME, "", policy_text(None), "", "Cluster")]


async def alter_table_policy(context: Context) -> list[Row]:
    """``.alter table T policy streamingingestion ('<json>' | enable | disable)``."""
    return await _change_table(context, _altered)


async def alter_database_policy(context: Context) -> list[Row]:
    """``.alter database [D] policy streamingingestion ('<json>' | enable | disable)``."""
    return await _change_database(context, _altered)


async def alter_merge_table_policy(context: Context) -> list[Row]:
    """``.alter-merge table T policy streamingingestion '<json>'``."""
    return await _change_table(context, _merged)


async def alter_merge_database_policy(context: Context) -> list[Row]:
    """``.alter-merge database [D] policy streamingingestion '<json>'``."""
    return await _change_database(context, _merged)


async def delete_table_policy(context: Context) -> list[Row]:
    """``.delete table T policy streamingingestion``: the database's policy is in force again."""
    return await _change_table(context, _deleted)


async def delete_database_policy(context: Context) -> list[Row]:
    """``.delete database D policy streamingingestion``."""
    return await _change_database(context, _deleted)


def _altered(
    present: StreamingIngestionPolicy | None, context: Context
) -> StreamingIngestionPolicy:
    if "disable" in context.words:
        return switched(present, enabled=False)
    if "enable" in context.words:
        policy = switched(present, enabled=True)
    else:
        policy = replaced(context.values["policy"])
    _check_capability(context)
    return policy


def _merged(present: StreamingIngestionPolicy | None, context: Context) -> StreamingIngestionPolicy:
    policy = merged(present, context.values["policy"])
    _check_capability(context)
    return policy


def _deleted(present: StreamingIngestionPolicy | None, context: Context) -> None:
    del present, context


def _check_capability(context: Context) -> None:
    if not context.node.streaming_capability():
        raise ConflictError(
            NOT_ENABLED,
            remedy="Turn streaming ingestion on for the cluster: remora capability CLUSTER on.",
            metadata={"cluster": context.node.facts().cluster},
        )


async def _change_table(context: Context, edit: Edit) -> list[Row]:
    entity = context.values["table"]

    def plan(database: Database) -> Sequence[Change]:
        table = find_table(database, entity.name)
        policy = edit(table.streaming_policy, context)
        if policy == table.streaming_policy:
            return ()
        return [SetTableStreamingPolicy(table.name, policy)]

    database = await context.transact(entity.database or context.database, plan)
    return [_table_row(database, entity.name)]


async def _change_database(context: Context, edit: Edit) -> list[Row]:
    def plan(database: Database) -> Sequence[Change]:
        policy = edit(database.streaming_policy, context)
        if policy == database.streaming_policy:
            return ()
        return [SetDatabaseStreamingPolicy(policy)]

    return [_database_row(await context.transact(_database_name(context), plan))]


def _database_name(context: Context) -> str:
    name: str = context.values.get("database", context.database)
    return name


def _table_row(database: Database, name: str) -> Row:
    table = find_table(database, name)
    entity = f"[{database.name}].[{table.name}]"
    return (POLICY_NAME, entity, policy_text(table.streaming_policy), "", "Table")


def _database_row(database: Database) -> Row:
    children = json.dumps(sorted(database.tables), ensure_ascii=False)
    policy = policy_text(database.streaming_policy)
    return (POLICY_NAME, database.name, policy, children, "Database")


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show table policy streamingingestion": show_table_policy,
    "show database policy streamingingestion": show_database_policy,
    "show cluster policy streamingingestion": show_cluster_policy,
    "alter table policy streamingingestion": alter_table_policy,
    "alter database policy streamingingestion": alter_database_policy,
    "alter-merge table policy streamingingestion": alter_merge_table_policy,
    "alter-merge database policy streamingingestion": alter_merge_database_policy,
    "delete table policy streamingingestion": delete_table_policy,
    "delete database policy streamingingestion": delete_database_policy,
}
