"""Executors of commands about the state of the cluster (``adx-behaviour.md`` 1.9, 3.11, 7.6).

A cluster is one node. What there is no such thing of here (purges, exports, views) is 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.commands.grammar.diagnostics import RESOURCES
from cluster.commands.properties import read_properties
from cluster.commands.sizes import sizes_of
from cluster.commands.system import show_cluster
from cluster.commands.when import moment_ns
from cluster.errors import InvalidRequestError
from cluster.history.records import OperationState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

_SCOPES: Final = ("cluster", "workloadgroup")


async def show_cluster_details(context: Context) -> list[Row]:
    """``.show cluster details``."""
    return [(*row, "") for row in await show_cluster(context)]


async def show_cluster_services(context: Context) -> list[Row]:
    """``.show cluster services``: the one node does everything."""
    return [(context.node.facts().node_id, True, False, True, False, True, True)]


async def show_capacity(context: Context) -> list[Row]:
    """``.show capacity [resource] [with (scope = cluster)]``: the limits of the node."""
    _check_scope(context)
    asked = context.words & frozenset(RESOURCES)
    used = _used(context)
    return [
        (item.name, item.total, item.consumed, max(0, item.total - item.consumed), item.origin)
        for item in (used.get(name) or _Resource(name, 0, 0, "NotSupported") for name in RESOURCES)
        if (item.name in asked if asked else item.name in used)
    ]


async def show_cache(context: Context) -> list[Row]:
    """``.show cache``: extents in memory, and copies of other nodes' extent files on disk."""
    services, facts, load = (
        context.node.services,
        context.node.facts(),
        context.node.services.load(),
    )
    hot = {"Extents": load.hot_extents, "Rows": load.hot_rows, "Failures": load.hot_failures}
    return [
        (
            facts.node_id,
            facts.total_memory_bytes,
            services.limits.hot_cache_bytes,
            load.hot_bytes,
            None,
            load.disk_bytes,
            services.limits.extent_cache_bytes,
            load.copies_bytes,
            load.copies_hits,
            load.copies_misses,
            json.dumps(hot),
            json.dumps({"Files": load.copies_files}),
            load.hot_bytes,
            None,
            None,
        )
    ]


async def show_diagnostics(context: Context) -> list[Row]:
    """``.show diagnostics [with (scope = cluster)]``: one row.

    The node is healthy unless a row store takes no writes or the last seal of a table failed.
    """
    _check_scope(context)
    values = {**_state(context), **_data(context)}
    columns = context.command.spec.columns
    return [tuple(values.get(column.name, _nothing(column.type.value)) for column in columns)]


def _state(context: Context) -> Mapping[str, object]:
    """Health and work in progress."""
    services, facts, load = (
        context.node.services,
        context.node.facts(),
        context.node.services.load(),
    )
    stores = services.row_stores.statistics().stores
    keeper = services.extents.statistics()
    limits = services.limits
    broken = [store.read_only_reason for store in stores if store.read_only_reason]
    reasons = [*broken, *([keeper.last_failure] if keeper.retry_tables else [])]
    attempts = keeper.merges + keeper.merge_failures
    ended = [entry for entry in services.history.operations() if _is_ingestion(entry.kind)]
    failed = sum(entry.state is OperationState.FAILED for entry in ended)
    done = sum(entry.state is OperationState.COMPLETED for entry in ended)
    live = sum(store.live_bytes for store in stores)
    room = limits.row_store_bytes * len(stores)
    return {
        "IsHealthy": not reasons,
        "NotHealthyReason": "; ".join(reasons),
        "IsAttentionRequired": bool(reasons),
        "AttentionRequiredReason": "; ".join(reasons),
        "EnvironmentDescription": json.dumps({"ClusterName": facts.cluster}),
        "MachinesTotal": 1,
        "NodeLastRestartedOn": moment_ns(facts.started_at_ns),
        "AdminLastElectedOn": moment_ns(facts.started_at_ns),
        "BuildVersion": facts.build_version,
        "BuildTime": moment_ns(facts.built_at_ns),
        "ProductVersion": f"Remora_{facts.build_version}",
        "IngestionsLoadFactor": load.operations_running / limits.background_operations,
        "IngestionsInProgress": load.operations_running,
        "IngestionsSuccessRate": _rate(done, done + failed),
        "FailedIngestOperations": failed,
        "MergesInProgress": keeper.merges_running,
        "MergesSuccessRate": _rate(keeper.merges, attempts),
        "MergesLoadFactor": keeper.merges_running / limits.merge_concurrency,
        "FailedMergeOperations": keeper.merge_failures,
        "RowStoreLocalStorageCapacityFactor": live / room if room else 0.0,
        "RowStoreSealsInProgress": keeper.seals_running,
        "IsRowStoreUnhealthy": bool(broken),
        "WarmExtentSize": float(load.hot_bytes),
        "HotDataDiskSpaceUsage": _rate(load.disk_bytes - load.disk_free_bytes, load.disk_bytes),
    }


def _data(context: Context) -> Mapping[str, object]:
    """Extents of all databases."""
    databases = context.catalog.databases()
    most, largest = max(
        (
            (len(table.extents), table.name)
            for database in databases
            for table in database.tables.values()
        ),
        default=(0, ""),
    )
    everything = sizes_of(
        extent
        for database in databases
        for table in database.tables.values()
        for extent in table.extents.values()
    )
    return {
        "ExtentsTotal": everything.extents,
        "TotalOriginalDataSize": float(everything.original_bytes),
        "TotalExtentSize": float(everything.extent_bytes),
        "MaxExtentsInSingleTable": most,
        "TableWithMaxExtents": largest if most else "",
        "NumberOfDatabases": len(databases),
    }


@dataclass(frozen=True, slots=True)
class _Resource:
    name: str
    total: int
    consumed: int
    origin: str


def _used(context: Context) -> Mapping[str, _Resource]:
    services = context.node.services
    limits, load, keeper = services.limits, services.load(), services.extents.statistics()
    return {
        item.name: item
        for item in (
            _Resource("ingestions", limits.background_operations, load.operations_running,
                      "limits.background_operations"),
            _Resource("extents-merge", limits.merge_concurrency, keeper.merges_running,
                      "limits.merge_concurrency"),
            _Resource("streaming-ingestion-post-processing", limits.seal_concurrency,
                      keeper.seals_running, "limits.seal_concurrency"),
            _Resource("queries", load.queries_most, load.queries_running,
                      "limits.queries_per_core"),
        )
    }  # fmt: skip


def _check_scope(context: Context) -> None:
    scope = read_properties(context, {"scope": str}).get("scope", "cluster")
    if scope not in _SCOPES:
        raise InvalidRequestError(
            f"'{scope}' is no scope; it is {' or '.join(_SCOPES)}.", metadata={"scope": scope}
        )


def _is_ingestion(kind: str) -> bool:
    return kind.startswith(("DataIngest", "TableSet", "TableAppend"))


def _rate(part: float, whole: float) -> float:
    """A share in percent; of nothing, everything."""
    return 100.0 * part / whole if whole else 100.0


def _nothing(kind: str) -> object:
    return {"bool": False, "datetime": None, "real": 0.0, "string": ""}.get(kind, 0)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show cluster details": show_cluster_details,
    "show cluster services": show_cluster_services,
    "show capacity": show_capacity,
    "show cache": show_cache,
    "show diagnostics": show_diagnostics,
}
