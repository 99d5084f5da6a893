"""``CoordinatorService`` of ``coordinator.proto``, on any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from google.protobuf.duration_pb2 import Duration

from cluster.coordinator import events
from cluster.coordinator.messages import CERTAINTY, report_from_message, status_to_message
from cluster.coordinator.registry import identify
from cluster.coordinator.views import view
from cluster.rpc.convert import grant_to_message, view_to_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.coordinator.driver import CoordinatorDriver
    from cluster.transport.api import Call, Server, ServerStream


def duration(seconds: float) -> Duration:
    """Encodes a duration, to the nanosecond."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


class CoordinatorServicer:
    """Turns calls into events of the driver and its answers into responses."""

    def __init__(self, driver: CoordinatorDriver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    def add_to(self, server: Server) -> None:
        """Registers the service."""
        coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(self, server)

    async def RegisterNode(  # noqa: N802
        self, request: coordinator_pb2.RegisterNodeRequest, call: Call
    ) -> coordinator_pb2.RegisterNodeResponse:
        """Adds or updates a node."""
        answer = await self._driver.request(
            lambda number: events.RegisterNode(
                request=number,
                cluster=request.cluster,
                node=request.node,
                instance=request.instance,
                grpc_address=request.grpc_address,
                pid=request.pid,
                data=request.data,
                initial_streaming_ingestion=request.initial_streaming_ingestion,
                strict=request.strict,
            )
        )
        registered = cast("events.Registered", answer)
        return coordinator_pb2.RegisterNodeResponse(view=view_to_message(registered.view))

    async def Heartbeat(  # noqa: N802
        self, request: coordinator_pb2.HeartbeatRequest, call: Call
    ) -> coordinator_pb2.HeartbeatResponse:
        """Renews a node's lease."""
        report = report_from_message(request)
        answer = await self._driver.request(
            lambda number: events.Heartbeat(
                request=number,
                cluster=request.cluster,
                node=request.node,
                instance=request.instance,
                applied_revision=request.applied_revision,
                report=report,
            )
        )
        renewed = cast("events.Renewed", answer)
        return coordinator_pb2.HeartbeatResponse(
            view=view_to_message(renewed.view), lease=duration(renewed.lease_seconds)
        )

    async def Watch(  # noqa: N802
        self,
        request: coordinator_pb2.WatchRequest,
        stream: ServerStream[coordinator_pb2.WatchRequest, coordinator_pb2.WatchResponse],
    ) -> None:
        """Streams the node's view. A slow reader gets the newest only."""
        sent = -1
        while True:
            changed = self._driver.changed
            durable = self._driver.state.durable
            identify(durable, request.cluster, request.node, request.instance)
            if durable.revision != sent:
                sent = durable.revision
                present = view_to_message(view(durable, request.cluster))
                await stream.send(coordinator_pb2.WatchResponse(view=present))
            await changed.wait()

    async def SetCapability(  # noqa: N802
        self, request: coordinator_pb2.SetCapabilityRequest, call: Call
    ) -> coordinator_pb2.SetCapabilityResponse:
        """Turns a cluster's capability on or off; returns when that is certain."""
        answer = await self._driver.request(
            lambda number: events.SetCapability(
                number, request.cluster, request.streaming_ingestion
            )
        )
        done = cast("events.CapabilitySet", answer)
        return coordinator_pb2.SetCapabilityResponse(
            epoch=done.epoch, certainty=CERTAINTY[done.certainty]
        )

    async def Attach(  # noqa: N802
        self, request: coordinator_pb2.AttachRequest, call: Call
    ) -> coordinator_pb2.AttachResponse:
        """Attaches a leader database to a follower cluster."""
        answer = await self._driver.request(
            lambda number: events.Attach(
                number, request.leader_cluster, request.database, request.follower_cluster
            )
        )
        attached = cast("events.Attached", answer)
        return coordinator_pb2.AttachResponse(grant=grant_to_message(attached.grant))

    async def Detach(  # noqa: N802
        self, request: coordinator_pb2.DetachRequest, call: Call
    ) -> coordinator_pb2.DetachResponse:
        """Detaches it; returns when that is certain."""
        answer = await self._driver.request(
            lambda number: events.Detach(
                number, request.leader_cluster, request.database, request.follower_cluster
            )
        )
        done = cast("events.Detached", answer)
        return coordinator_pb2.DetachResponse(certainty=CERTAINTY[done.certainty])

    async def GetStatus(  # noqa: N802
        self, request: coordinator_pb2.GetStatusRequest, call: Call
    ) -> coordinator_pb2.GetStatusResponse:
        """Everything the coordinator knows."""
        return status_to_message(self._driver.state, self._clock.monotonic())
