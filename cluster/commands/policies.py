"""Executors of the commands of all policies that are kept as JSON: one set for all kinds.

``.alter`` replaces the object, ``.alter-merge`` changes the properties given (or appends to a
list), ``.delete`` removes it; each returns the row ``.show`` would return afterwards. What a kind
holds is in :mod:`cluster.catalog.policy_kinds`; the streaming ingestion policy is in
:mod:`cluster.commands.streaming_policies`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import SetPolicy, column_policy_kind, find_table
from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import check_retention
from cluster.catalog.policy_fields import timespan_text
from cluster.catalog.policy_kinds import POLICY_KINDS, Scope
from cluster.catalog.policy_text import altered, caching_text, cluster_kind, merged
from cluster.commands.columns import place_of
from cluster.commands.grammar.policies import name_of
from cluster.commands.literals import EPOCH
from cluster.commands.policy_checks import check_row_order, check_update, check_update_query
from cluster.commands.policy_rows import cluster_row, column_row, database_row, table_row
from cluster.commands.properties import read_properties
from cluster.commands.row_level_checks import (
    check_restricted,
    check_row_level,
    check_row_level_query,
    check_update_reads,
)
from cluster.commands.schema_text import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database
    from cluster.commands.context import Context, Executor
    from cluster.commands.names import ColumnName, EntityName
    from cluster.commands.results import Row

    Edit = Callable[[str | None], str | None]
    """From the policy that is set to the one to be set; None: none."""

_US: Final = timedelta(microseconds=1)


# Showing


async def show_cluster(kind: str, context: Context) -> list[Row]:
    """``.show cluster policy KIND``."""
    return [cluster_row(context.catalog.get(DEFAULT_DATABASE), kind)]


async def show_database(kind: str, context: Context) -> list[Row]:
    """``.show database [D | *] policy KIND``."""
    if "*" in context.words:
        return [database_row(database, kind) for database in context.catalog.databases()]
    return [database_row(context.catalog.get(context.database_named), kind)]


async def show_table(kind: str, context: Context) -> list[Row]:
    """``.show table (T | *) policy KIND``."""
    entity: EntityName | None = context.values.get("table")
    if entity is None:
        database = context.catalog.get(context.database)
        return [table_row(database, table, kind) for _, table in sorted(database.tables.items())]
    database = context.catalog.get(entity.database or context.database)
    return [table_row(database, find_table(database, entity.name), kind)]


async def show_column(kind: str, context: Context) -> list[Row]:
    """``.show column (T.C | *) policy KIND``."""
    named: ColumnName | None = context.values.get("column")
    if named is None:
        database = context.catalog.get(context.database)
        return [
            column_row(database, table, place, kind)
            for _, table in sorted(database.tables.items())
            for place in range(len(table.columns))
        ]
    database = context.catalog.get(named.database or context.database)
    table = find_table(database, named.table)
    return [column_row(database, table, place_of(table, named.column), kind)]


# Changing


async def change_cluster(kind: str, edit: Callable[..., Edit], context: Context) -> list[Row]:
    """A policy of the cluster, which is kept in ``NetDefaultDB``."""

    def plan(database: Database) -> Sequence[Change]:
        key = cluster_kind(kind)
        return list(_changed("", key, database.policies.get(key), edit(kind, context)))

    return [cluster_row(await context.transact(DEFAULT_DATABASE, plan), kind)]


async def change_database(kind: str, edit: Callable[..., Edit], context: Context) -> list[Row]:
    """A policy of a database."""

    def plan(database: Database) -> Sequence[Change]:
        changes = list(_changed("", kind, database.policies.get(kind), edit(kind, context)))
        _check(database, kind, changes)
        return changes

    return [database_row(await context.transact(context.database_named, plan), kind)]


async def change_table(kind: str, edit: Callable[..., Edit], context: Context) -> list[Row]:
    """A policy of one table, or of several, all or none."""
    entity: EntityName | None = context.values.get("table")
    names = [entity.name] if entity else list(dict.fromkeys(context.values["tables"]))
    database_name = entity.database if entity and entity.database else context.database

    def plan(database: Database) -> Sequence[Change]:
        changes: list[SetPolicy] = []
        for name in names:
            present = find_table(database, name).policies.get(kind)
            changes += _changed(name, kind, present, edit(kind, context))
        _check(database, kind, changes)
        return changes

    check_query = _QUERY_CHECKS.get(kind)
    if check_query is not None and not context.catalog.is_following(database_name):
        # A look ahead: what translates the queries is slow and may not hold up the catalog.
        database = context.catalog.get(database_name)
        await check_query(context, database, plan(database))
    database = await context.transact(database_name, plan)
    return [table_row(database, find_table(database, name), kind) for name in names]


async def change_column(kind: str, edit: Callable[..., Edit], context: Context) -> list[Row]:
    """A policy of a column; it stays with the column when that is renamed."""
    named: ColumnName = context.values["column"]

    def plan(database: Database) -> Sequence[Change]:
        table = find_table(database, named.table)
        identity = table.column_ids[-1][place_of(table, named.column)]
        key = column_policy_kind(identity, kind)
        return list(_changed(table.name, key, table.policies.get(key), edit(kind, context)))

    database = await context.transact(named.database or context.database, plan)
    table = find_table(database, named.table)
    return [column_row(database, table, place_of(table, named.column), kind)]


def alter(kind: str, context: Context) -> Edit:
    """``.alter``: the object that is given, defaults filled."""
    text = _given(kind, context)
    return lambda present: altered(kind, text)


def alter_merge(kind: str, context: Context) -> Edit:
    """``.alter-merge``: what is given changes."""
    text = _given(kind, context)
    return lambda present: merged(kind, present, text)


def delete(kind: str, context: Context) -> Edit:
    """``.delete``: none from now on."""
    del kind, context
    return lambda present: None


def _changed(table: str, key: str, present: str | None, edit: Edit) -> Iterator[SetPolicy]:
    policy = edit(present)
    if policy != present:
        yield SetPolicy(table, key, policy)


def _check(database: Database, kind: str, changes: Sequence[SetPolicy]) -> None:
    """What can be wrong with a policy in this database. Raises RequestError."""
    for change in changes:
        if change.policy is None:
            continue
        if kind == "retention":
            check_retention(database, change.table, change.policy)
        elif kind == "roworder":
            check_row_order(find_table(database, change.table), change.policy)
        elif kind == "update":
            check_update(database, change.table, change.policy)
            check_update_reads(database, change.policy)
        elif kind == "row_level_security":
            check_row_level(database, find_table(database, change.table), change.policy)
        elif kind == "restricted_view_access":
            check_restricted(find_table(database, change.table), change.policy)


def _given(kind: str, context: Context) -> str:
    """The JSON that the command says, in whatever syntax."""
    values = context.values
    if "policy" in values:
        read_properties(context, {})
        text: str = values["policy"]
        return text
    if kind == "caching":
        hot = values.get("hot")
        return caching_text(
            values.get("hotdata", hot) // _US,
            values.get("hotindex", hot) // _US,
            [((a - EPOCH) // _US, (b - EPOCH) // _US) for a, b in values.get("windows", ())],
        )
    if kind == "row_level_security":
        read_properties(context, {})
        return compact({"IsEnabled": "enable" in context.words, "Query": values["query"]})
    if kind == "roworder":
        return compact([{"ColumnName": name, "SortOrder": order} for name, order in values["keys"]])
    if kind == "retention":
        return compact(_retention(context))
    return "true" if "true" in context.words else "false"


def _retention(context: Context) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if "softdelete" in context.values:
        given["SoftDeletePeriod"] = timespan_text(context.values["softdelete"] // _US)
    if "recoverability" in context.words:
        given["Recoverability"] = "Enabled" if "enabled" in context.words else "Disabled"
    return given


_QUERY_CHECKS: Final = {"update": check_update_query, "row_level_security": check_row_level_query}
_SHOW: Final = {
    Scope.CLUSTER: show_cluster,
    Scope.DATABASE: show_database,
    Scope.TABLE: show_table,
    Scope.COLUMN: show_column,
}
_CHANGE: Final = {
    Scope.CLUSTER: change_cluster,
    Scope.DATABASE: change_database,
    Scope.TABLE: change_table,
    Scope.COLUMN: change_column,
}


def _executors() -> Iterator[tuple[str, Executor]]:
    for kind in POLICY_KINDS.values():
        for scope in kind.scopes:
            subject, change = scope.value.lower(), _CHANGE[scope]
            yield name_of("show", subject, kind.name), partial(_SHOW[scope], kind.name)
            yield name_of("alter", subject, kind.name), partial(change, kind.name, alter)
            yield name_of("delete", subject, kind.name), partial(change, kind.name, delete)
            if scope is Scope.TABLE:
                yield name_of("alter", "tables", kind.name), partial(change, kind.name, alter)
            if kind.can_merge:
                yield (
                    name_of("alter-merge", subject, kind.name),
                    partial(change, kind.name, alter_merge),
                )


EXECUTORS: Final[Mapping[str, Executor]] = dict(_executors())
