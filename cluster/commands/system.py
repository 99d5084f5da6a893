"""Executors of commands about the cluster and its nodes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.catalog.model import Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def show_cluster(context: Context) -> list[Row]:
    """``.show cluster``: one row a node; a cluster has one node."""
    facts = context.node.facts()
    environment = {"Environment": "Remora", "ClusterName": facts.cluster}
    return [
        (
            facts.node_id,
            facts.address,
            facts.node_id,
            _time(facts.started_at_ns),
            facts.is_admin,
            facts.total_memory_bytes,
            facts.available_memory_bytes,
            facts.processor_count,
            json.dumps(environment),
        )
    ]


async def show_version(context: Context) -> list[Row]:
    """``.show version``."""
    facts = context.node.facts()
    product = f"Remora_{facts.build_version}"
    return [(facts.build_version, _time(facts.built_at_ns), "Engine", product)]


async def clear_table_cache(context: Context) -> list[Row]:
    """``.clear table T cache streamingingestion schema``: the next request sees the newest schema.

    One row for each node of the cluster; there is one.
    """
    table = find_table(context.catalog.get(context.database), context.values["table"])
    return _cleared(context, [table])


async def clear_database_cache(context: Context) -> list[Row]:
    """``.clear database cache streamingingestion schema``; see :func:`clear_table_cache`."""
    return _cleared(context, context.catalog.get(context.database).tables.values())


async def clear_query_results(context: Context) -> list[Row]:
    """``.clear database cache query_results``: results of queries are not kept, so none are."""
    return [(context.node.facts().node_id, 0)]


async def show_query_results(context: Context) -> list[Row]:
    """``.show database cache query_results``; see :func:`clear_query_results`."""
    return [(context.node.facts().node_id, 0, 0, 0, 0, 0)]


def _cleared(context: Context, tables: Iterable[Table]) -> list[Row]:
    context.node.services.schema_cache.clear(frozenset(table.key for table in tables))
    return [(context.node.facts().node_id, "Succeeded")]


def _time(since_epoch_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=since_epoch_ns // 1000)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "clear table cache": clear_table_cache,
    "clear database cache": clear_database_cache,
    "clear query results": clear_query_results,
    "show query results": show_query_results,
    "show cluster": show_cluster,
    "show version": show_version,
}
