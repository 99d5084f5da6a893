"""What commands of a node ask about attachments, its own and those of its followers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.catalog.naming import fold_database_name
from cluster.errors import UnavailableError
from cluster.replication.authority import Capability
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.node.config import NodeConfig
    from cluster.node.platform import Platform
    from cluster.replication.authority import Authority


class NodeAttachments:
    """The attachments of the node's cluster, which its coordinator decides about."""

    def __init__(
        self,
        config: NodeConfig,
        platform: Platform,
        authority: Authority,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        """``refresh`` returns when the authority knows what the coordinator has answered before."""
        self._authority = authority
        self._refresh = refresh
        self._clock = platform.clock
        self._cluster = config.cluster
        self._address = config.coordinator
        self._transport = platform.transport
        # Detaching is certain when every node has confirmed it, or its lease has run out.
        self._lease_seconds = config.limits.lease_seconds
        self._patience_seconds = 2 * self._lease_seconds

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

    async def followers_of(self, database: str) -> tuple[str, ...]:
        """The clusters that follow a database of this one, by name.

        The coordinator is asked: it answers who detaches when followers have, and does not wait for
        the leader's nodes to hear of it. Raises UnavailableError if it is in doubt: nobody answers
        for a lease, or the lease has run out.
        """
        with trio.move_on_after(self._lease_seconds) as waiting:
            await self._refresh()
        view = self._authority.view
        if (
            waiting.cancelled_caught
            or view is None
            or self._authority.capability(self._clock.monotonic()) is Capability.UNKNOWN
        ):
            raise UnavailableError(
                f"Whether database '{database}' is followed is not known: the coordinator has not "
                "been heard for too long."
            )
        return tuple(
            sorted(
                grant.follower_cluster
                for grant in view.followed
                if fold_database_name(grant.database) == fold_database_name(database)
            )
        )
