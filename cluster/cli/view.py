"""What ``remora status`` shows, as one JSON value. Pure but for the messages it reads.

The launcher knows what should run and what the operating system says of it; the coordinator knows
what was decided and what nodes have reported. Where they leave a doubt, a gate is shown closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.cli.fault import fault_views
from cluster.launcher.identity import ProcessState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.launcher.setup import ProcessRecord, Setup
    from cluster.rpc.v1 import coordinator_pb2, types_pb2

    States = Mapping[str, ProcessState]


def setup_view(setup: Setup, capabilities: Mapping[str, bool] | None = None) -> dict[str, Any]:
    """The shape ``remora up --json`` prints. ``http`` and ``https`` are URLs; null: the process
    has no such door.

    ``streaming_ingestion`` is the capability by cluster name where it is known, else the one the
    topology starts with.
    """
    known = capabilities or {}
    coordinator = setup.coordinator
    return {
        "coordinator": {
            "grpc": coordinator.grpc,
            "http": coordinator.http or None,
            "pid": coordinator.pid,
        },
        "clusters": [
            {
                "name": spec.name,
                "streaming_ingestion": known.get(spec.name, spec.streaming_ingestion),
                "nodes": [_node(setup.processes[node]) for node in spec.node_ids()],
            }
            for spec in setup.topology.clusters
        ],
    }


def status_view(
    setup: Setup,
    states: States,
    status: coordinator_pb2.GetStatusResponse | None,
    problem: str = "",
) -> dict[str, Any]:
    """``setup_view`` with everything that changes.

    ``status`` is None when the coordinator did not answer; ``problem`` says why. Then capabilities
    are ``"unknown"`` and attachments are not known.
    """
    reported = {} if status is None else {cluster.name: cluster for cluster in status.clusters}
    view = setup_view(setup, {name: c.streaming_ingestion for name, c in reported.items()})
    coordinator = view["coordinator"]
    if status is not None and status.doubt:
        problem = problem or f"nothing is decided at the moment: {status.doubt}"
    view = {"name": setup.name, "folder": str(setup.folder), "problem": problem, **view}
    view["faults"] = [] if status is None else fault_views(status.faults)
    coordinator["state"] = states[setup.coordinator.id].value
    for spec, cluster in zip(setup.topology.clusters, view["clusters"], strict=True):
        known = reported.get(spec.name)
        cluster["capability"] = (
            "unknown" if known is None else "on" if known.streaming_ingestion else "off"
        )
        cluster["changing"] = known is not None and known.changing
        cluster["waiting_for"] = [] if known is None else list(known.waiting_for)
        cluster["strict"] = spec.strict if known is None else known.strict
        nodes = {} if known is None else {node.node: node for node in known.nodes}
        for node in cluster["nodes"]:
            node["state"] = states[node["id"]].value
            heard = nodes.get(node["id"])
            node["lease"] = heard is not None and heard.alive
            age = -1.0 if heard is None else heard.heartbeat_age_ms
            node["heartbeat_age_ms"] = None if age < 0 else round(age, 1)
        first = cluster["nodes"][0]
        heard = nodes.get(first["id"])
        usable = first["state"] == ProcessState.RUNNING.value and first["lease"]
        grants = [] if status is None else status.grants
        cluster["attachments"] = [
            _attachment(grant, heard, first["id"], usable)
            for grant in grants
            if grant.follower_cluster == spec.name
        ]
        cluster["location"] = spec.location if known is None else known.location
        configurations = [] if status is None else status.configurations
        cluster["unattached"] = [
            {"leader": item["leader"], "configuration": item["configuration"], **one}
            for item in map(configuration_view, configurations)
            if item["follower"] == spec.name
            for one in item["unattached"]
        ]
        cluster["databases"] = [
            {
                "name": database.name,
                "streaming_content": database.streaming_content,
                "streaming_tables": list(database.streaming_tables),
                "position": position_view(database.position),
            }
            for database in ([] if heard is None else heard.databases)
        ]
    return view


def configuration_view(status: coordinator_pb2.AttachmentConfigurationStatus) -> dict[str, Any]:
    """An attachment configuration and what has become of each database it follows."""
    known = status.configuration
    return {
        "follower": known.follower_cluster,
        "configuration": known.name,
        "leader": known.leader_cluster,
        "database": known.database,
        "override": known.database_name_override,
        "prefix": known.database_name_prefix,
        "sharing": sharing_view(known.sharing),
        "principals": known.default_principals_modification_kind,
        "origin": known.origin,
        "attached": [
            {"database": grant.database, "follower_database": grant.follower_database}
            for grant in status.attached
        ],
        "unattached": [
            {
                "database": item.database,
                "follower_database": item.follower_database,
                "reason": item.reason,
            }
            for item in status.unattached
        ],
    }


def sharing_view(sharing: types_pb2.TableLevelSharing) -> dict[str, list[str]]:
    """The lists that name anything; none: everything is shared."""
    return {item.name: list(entries) for item, entries in sharing.ListFields()}


def position_view(position: types_pb2.Position) -> dict[str, Any]:
    """A position: metadata version, rows in all, and ordinals by row store key (hexadecimal)."""
    return {
        "version": f"v{position.version.major}.{position.version.minor}",
        "rows": sum(key.ordinal for key in position.keys),
        "keys": {f"{key.key:016x}": key.ordinal for key in position.keys},
    }


def _node(record: ProcessRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "grpc": record.grpc,
        "http": record.http or None,
        "https": record.https or None,
        "pid": record.pid,
        "data": str(record.data),
    }


def _attachment(
    grant: coordinator_pb2.Grant,
    node: coordinator_pb2.NodeStatus | None,
    node_id: str,
    usable: bool,
) -> dict[str, Any]:
    report = _report(grant, node)
    is_open = usable and report is not None and report.gate == "open"
    refusal = ""
    if not is_open:
        if not usable:
            refusal = f"{node_id} is not heard from: what it shows is not known"
        elif report is None:
            refusal = grant.reason or f"{node_id} has not reported yet"
        else:
            refusal = report.refusal or grant.reason or f"{node_id} has not opened its gate yet"
    lags: dict[str, float | None] = {"lag_ms": None, "lag_ms_p50": None, "lag_ms_p99": None}
    if report is not None:
        measured = (report.lag_ms, report.apply_lag_ms_p50, report.apply_lag_ms_p99)
        lags = {
            name: None if value < 0 else round(value, 3)
            for name, value in zip(lags, measured, strict=True)
        }
    return {
        "leader": grant.leader_cluster,
        "database": grant.database,
        "follower_database": grant.follower_database or grant.database,
        "configuration": grant.configuration,
        "sharing": sharing_view(grant.sharing),
        "principals": grant.principals_modification_kind,
        "origin": grant.origin,
        "epoch": grant.epoch,
        "granted": "rows" if grant.rows else "sealed data",
        "gate": "open" if is_open else "closed",
        "refusal": refusal,
        "connected": report is not None and usable and report.connected,
        "position": None if report is None else position_view(report.position),
        **lags,
        "rows": 0 if report is None else report.rows_visible,
    }


def _report(
    grant: coordinator_pb2.Grant, node: coordinator_pb2.NodeStatus | None
) -> coordinator_pb2.FollowingReport | None:
    for report in [] if node is None else node.following:
        same_leader = report.leader_cluster == grant.leader_cluster
        if same_leader and report.database.lower() == grant.database.lower():
            return report
    return None
