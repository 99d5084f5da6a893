"""Between the messages of ``coordinator.proto`` and the coordinator's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.capability import phase, waiting_for
from cluster.coordinator.configuration_messages import configuration_to_message
from cluster.coordinator.configuration_status import statuses
from cluster.coordinator.events import Certainty
from cluster.coordinator.reports import DatabaseReport, FollowingReport, Report
from cluster.coordinator.views import grants
from cluster.rpc.convert import (
    grant_to_message,
    issuer_to_message,
    position_from_message,
    position_to_message,
)
from cluster.rpc.v1 import coordinator_pb2

if TYPE_CHECKING:
    from cluster.coordinator.state import Node, Session, State
    from cluster.limits import Limits

CERTAINTY = {
    Certainty.IMMEDIATE: coordinator_pb2.CERTAINTY_IMMEDIATE,
    Certainty.CONFIRMED: coordinator_pb2.CERTAINTY_CONFIRMED,
    Certainty.LEASE_EXPIRED: coordinator_pb2.CERTAINTY_LEASE_EXPIRED,
}
"""How a change became certain, on the wire."""


def following_to_message(report: FollowingReport) -> coordinator_pb2.FollowingReport:
    """Encodes what a node tells about a database it follows."""
    return coordinator_pb2.FollowingReport(
        leader_cluster=report.leader_cluster,
        database=report.database,
        applied_epoch=report.applied_epoch,
        gate=report.gate,
        refusal=report.refusal,
        position=position_to_message(report.position),
        lag_ms=report.lag_ms,
        rows_visible=report.rows_visible,
        connected=report.connected,
        apply_lag_ms_p50=report.apply_lag_ms_p50,
        apply_lag_ms_p99=report.apply_lag_ms_p99,
    )


def following_from_message(message: coordinator_pb2.FollowingReport) -> FollowingReport:
    """Decodes it."""
    return FollowingReport(
        leader_cluster=message.leader_cluster,
        database=message.database,
        applied_epoch=message.applied_epoch,
        gate=message.gate,
        refusal=message.refusal,
        position=position_from_message(message.position),
        lag_ms=message.lag_ms,
        rows_visible=message.rows_visible,
        connected=message.connected,
        apply_lag_ms_p50=message.apply_lag_ms_p50,
        apply_lag_ms_p99=message.apply_lag_ms_p99,
    )


def database_to_message(report: DatabaseReport) -> coordinator_pb2.DatabaseReport:
    """Encodes what a node tells about a database it owns; at most 100 tables are named."""
    return coordinator_pb2.DatabaseReport(
        name=report.name,
        streaming_content=report.streaming_content,
        streaming_tables=report.streaming_tables[:100],
        position=position_to_message(report.position),
    )


def database_from_message(message: coordinator_pb2.DatabaseReport) -> DatabaseReport:
    """Decodes it."""
    return DatabaseReport(
        name=message.name,
        streaming_content=message.streaming_content,
        streaming_tables=tuple(message.streaming_tables),
        position=position_from_message(message.position),
    )


def report_from_message(message: coordinator_pb2.HeartbeatRequest) -> Report:
    """Decodes the report of a heartbeat."""
    return Report(
        following=tuple(map(following_from_message, message.following)),
        databases=tuple(map(database_from_message, message.databases)),
        drained_revision=message.drained_revision,
        drain_trouble=message.drain_trouble,
    )


def status_to_message(
    state: State, now: float, limits: Limits
) -> coordinator_pb2.GetStatusResponse:
    """Everything the coordinator knows at ``now``."""
    durable = state.durable
    changing = {change.cluster for change in durable.changes.values() if not change.database}
    clusters = [
        coordinator_pb2.ClusterStatus(
            name=cluster.name,
            streaming_ingestion=cluster.streaming_ingestion,
            changing=cluster.name in changing,
            strict=cluster.strict,
            location=cluster.location,
            phase=phase(durable, cluster.name).value,
            waiting_for=waiting_for(state, cluster.name, now),
            nodes=[
                _node_status(node, state.sessions[node.node], now)
                for node in durable.cluster_nodes(cluster.name)
            ],
        )
        for _, cluster in sorted(durable.clusters.items())
    ]
    return coordinator_pb2.GetStatusResponse(
        clusters=clusters,
        grants=map(grant_to_message, grants(durable)),
        epoch=durable.epoch,
        configurations=map(configuration_to_message, statuses(state, limits)),
        issuer=issuer_to_message(durable.issuer),
        doubt=state.contest.reason if state.contest else "",
    )


def _node_status(node: Node, session: Session, now: float) -> coordinator_pb2.NodeStatus:
    report = session.report or Report()
    heard = session.heard_at is not None
    return coordinator_pb2.NodeStatus(
        node=node.node,
        grpc_address=node.grpc_address,
        pid=node.pid,
        data=node.data,
        heartbeat_age_ms=-1.0 if session.heard_at is None else (now - session.heard_at) * 1000,
        alive=heard and now < session.lease_until,
        following=map(following_to_message, report.following),
        databases=map(database_to_message, report.databases),
    )
