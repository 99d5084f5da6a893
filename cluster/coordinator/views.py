"""Grants and views: what follows from the durable state. Pure.

The rule: a follower cluster receives streaming rows if and only if its own streaming capability
is on. Metadata and sealed data are always granted. The leader's capability is shown but decides
nothing: turning it off stops new rows at the leader's door, and rows already in its row store
still belong to every follower that may follow streaming data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.replication.authority import Capability, Grant, NodeView

if TYPE_CHECKING:
    from cluster.coordinator.state import Attachment, Durable

_OFF = (
    "streaming ingestion is off on follower cluster '{follower}'; leader database '{database}' is "
    "followed without streaming rows (sealed data only). "
    "Turn it on with: remora capability {follower} on"
)
_STRICT_OFF = (
    "streaming ingestion is off on strict follower cluster '{follower}'; leader database "
    "'{database}' is not followed at all. Turn it on with: remora capability {follower} on"
)


def capability(durable: Durable, cluster: str) -> Capability:
    """A cluster's capability as decided; UNKNOWN for a cluster nobody registered."""
    known = durable.clusters.get(cluster)
    if known is None:
        return Capability.UNKNOWN
    return Capability.ON if known.streaming_ingestion else Capability.OFF


def leader_address(durable: Durable, cluster: str) -> str:
    """Address followers should call: the first node's by id; empty without one."""
    nodes = durable.cluster_nodes(cluster)
    return nodes[0].grpc_address if nodes else ""


def refusal(follower: str, database: str, *, strict: bool) -> str:
    """Why a grant gives no rows, in words for people."""
    text = _STRICT_OFF if strict else _OFF
    return text.format(follower=follower, database=database)


def grant(durable: Durable, attachment: Attachment) -> Grant:
    """The decision for one attachment."""
    follower = attachment.follower_cluster
    follower_capability = capability(durable, follower)
    rows = follower_capability is Capability.ON
    strict = durable.clusters[follower].strict
    configuration = durable.configurations[attachment.configuration_key]
    return Grant(
        leader_cluster=attachment.leader_cluster,
        database=attachment.database,
        follower_cluster=follower,
        epoch=attachment.epoch,
        rows=rows,
        reason="" if rows else refusal(follower, attachment.database, strict=strict),
        follower_database=attachment.follower_database,
        leader_address=leader_address(durable, attachment.leader_cluster),
        leader_capability=capability(durable, attachment.leader_cluster),
        follower_capability=follower_capability,
        strict=strict,
        configuration=configuration.name,
        sharing=configuration.sharing,
        principals_kind=configuration.principals_kind,
        origin=configuration.origin,
    )


def grants(durable: Durable) -> tuple[Grant, ...]:
    """Every grant, by leader, database and follower."""
    return tuple(
        grant(durable, attachment) for _, attachment in sorted(durable.attachments.items())
    )


def view(durable: Durable, cluster: str) -> NodeView:
    """What every node of a cluster must know."""
    touching = sorted(durable.touching(cluster), key=lambda attachment: attachment.key)
    return NodeView(
        revision=durable.revision,
        capability=capability(durable, cluster),
        following=tuple(grant(durable, a) for a in touching if a.follower_cluster == cluster),
        followed=tuple(grant(durable, a) for a in touching if a.leader_cluster == cluster),
        issuer=durable.issuer,
    )
