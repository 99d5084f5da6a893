"""Rows of policy commands, and policies as the details of tables and databases show them. Pure.

Declared choices where samples are silent: ``EntityName`` is ``[db].[table]``, the name of a
database, ``[db].[table].[column]``, empty for the cluster; ``ChildEntities`` is a JSON array of
table names for a database, else empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import column_policy_kind
from cluster.catalog.policy_text import cluster_kind, kind_of, shown
from cluster.commands.policy_json import policy_text
from cluster.commands.schema_text import compact

if TYPE_CHECKING:
    from cluster.catalog.model import Database, Table
    from cluster.commands.results import Row

_STREAMING: Final = "streamingingestion"


def effective_text(database: Database, table: Table, kind: str) -> str:
    """The policy in force for a table, its database considered; ``null`` if there is none."""
    if kind == _STREAMING:
        return policy_text(database.effective_streaming(table))
    return shown(database.effective_policy(table, kind))


def database_text(database: Database, kind: str) -> str:
    """The policy of the database itself; ``null`` if there is none."""
    if kind == _STREAMING:
        return policy_text(database.streaming_policy)
    return shown(database.policies.get(kind))


def cluster_row(cluster: Database, kind: str) -> Row:
    """Of the cluster, whose policies are kept in ``cluster``, the tree of ``NetDefaultDB``."""
    policy = shown(cluster.policies.get(cluster_kind(kind)))
    return (kind_of(kind).policy_name, "", policy, "", "Cluster")


def database_row(database: Database, kind: str) -> Row:
    """Of a database."""
    children = compact(sorted(database.tables))
    policy = shown(database.policies.get(kind))
    return (kind_of(kind).policy_name, database.name, policy, children, "Database")


def table_row(database: Database, table: Table, kind: str) -> Row:
    """Of a table itself, not the one in force."""
    entity = f"[{database.name}].[{table.name}]"
    return (kind_of(kind).policy_name, entity, shown(table.policies.get(kind)), "", "Table")


def column_row(database: Database, table: Table, place: int, kind: str) -> Row:
    """Of the column at that place."""
    entity = f"[{database.name}].[{table.name}].[{table.columns[place].name}]"
    policy = table.policies.get(column_policy_kind(table.column_ids[-1][place], kind))
    return (kind_of(kind).policy_name, entity, shown(policy), "", "Column")
