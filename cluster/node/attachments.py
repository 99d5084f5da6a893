"""What commands on a follower ask of the coordinator about its attachments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from cluster.node.config import NodeConfig
    from cluster.transport.api import Transport


class NodeAttachments:
    """The attachments of the node's cluster, which its coordinator decides about."""

    def __init__(self, config: NodeConfig, transport: Transport) -> None:
        self._cluster = config.cluster
        self._address = config.coordinator
        self._transport = transport
        # Detaching is certain when every node has confirmed it, or its lease has run out.
        self._patience_seconds = 2 * config.limits.lease_seconds

    async def detach(self, leader_cluster: str, leader_database: str) -> None:
        """Ends an attachment; nothing of it is visible on any node when this returns.

        Raises what the coordinator refuses with (NotSupportedError, ConflictError for a database
        that is one of many of a configuration), UnavailableError, TimedOutError.
        """
        request = coordinator_pb2.DetachRequest(
            leader_cluster=leader_cluster,
            database=leader_database,
            follower_cluster=self._cluster,
        )
        async with self._transport.connect(self._address) as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            await stub.Detach(request, timeout=self._patience_seconds)
