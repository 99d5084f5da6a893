"""``CoordinatorService`` of ``coordinator.proto``, on any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from google.protobuf.duration_pb2 import Duration

from cluster.coordinator import events
from cluster.coordinator.configuration_messages import (
    attach_from_message,
    configuration_to_message,
    put_from_message,
)
from cluster.coordinator.configuration_status import statuses
from cluster.coordinator.messages import CERTAINTY, report_from_message, status_to_message
from cluster.coordinator.registry import Caller, check_watcher
from cluster.coordinator.views import view
from cluster.errors import EntityNotFoundError, InvalidRequestError
from cluster.rpc.convert import grant_to_message, issuer_from_message, view_to_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.coordinator.configuration_status import ConfigurationStatus
    from cluster.coordinator.driver import CoordinatorDriver
    from cluster.faults.driver import FaultDriver
    from cluster.replication.authority import NodeView
    from cluster.transport.api import Call, Server, ServerStream


def duration(seconds: float) -> Duration:
    """Encodes a duration, to the nanosecond."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


class CoordinatorServicer:
    """Turns calls into events of the driver and its answers into responses."""

    def __init__(
        self, driver: CoordinatorDriver, clock: Clock, faults: FaultDriver | None = None
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._faults = faults

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
                location=request.location,
            )
        )
        registered = cast("events.Registered", answer)
        return coordinator_pb2.RegisterNodeResponse(
            view=self._view(registered.view, request.cluster),
            registration=registered.registration,
        )

    def _view(self, view: NodeView, cluster: str) -> coordinator_pb2.NodeView:
        """The view of a cluster's node, with the addresses that faults of links make it use."""
        message = view_to_message(view)
        return message if self._faults is None else self._faults.reroute(message, cluster)

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
                obeys=issuer_from_message(request.obeys),
                newest_epoch=request.newest_epoch,
                registration=request.registration,
                sequence=request.sequence,
            )
        )
        renewed = cast("events.Renewed", answer)
        if self._faults is not None:
            self._faults.heard()
        return coordinator_pb2.HeartbeatResponse(
            view=self._view(renewed.view, request.cluster),
            lease=duration(renewed.lease_seconds),
            doubt=renewed.doubt,
        )

    async def Watch(  # noqa: N802
        self,
        request: coordinator_pb2.WatchRequest,
        stream: ServerStream[coordinator_pb2.WatchRequest, coordinator_pb2.WatchResponse],
    ) -> None:
        """Streams the node's view. A slow reader gets the newest only."""
        sent = -1
        process = Caller(request.cluster, request.node, request.instance, request.registration)
        obeys = issuer_from_message(request.obeys)
        while True:
            changed = self._driver.changed
            state = self._driver.state
            durable = state.durable
            check_watcher(state, process, obeys, request.applied_revision)
            if durable.revision != sent:
                sent = durable.revision
                present = self._view(view(durable, request.cluster), request.cluster)
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
        answer = await self._driver.request(lambda number: attach_from_message(number, request))
        attached = cast("events.Attached", answer)
        return coordinator_pb2.AttachResponse(
            grant=None if attached.grant is None else grant_to_message(attached.grant),
            status=configuration_to_message(attached.status),
            certainty=CERTAINTY[attached.certainty],
        )

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

    async def Adopt(  # noqa: N802
        self, request: coordinator_pb2.AdoptRequest, call: Call
    ) -> coordinator_pb2.AdoptResponse:
        """Takes the place of whatever coordinator nodes obey."""
        answer = await self._driver.request(events.Adopt)
        return coordinator_pb2.AdoptResponse(doubt=cast("events.Adopting", answer).doubt)

    async def GetStatus(  # noqa: N802
        self, request: coordinator_pb2.GetStatusRequest, call: Call
    ) -> coordinator_pb2.GetStatusResponse:
        """Everything the coordinator knows."""
        status = status_to_message(self._driver.state, self._clock.monotonic(), self._driver.limits)
        if self._faults is not None:
            status.faults.extend(self._faults.messages())
        return status

    async def PutAttachmentConfiguration(  # noqa: N802
        self, request: coordinator_pb2.PutAttachmentConfigurationRequest, call: Call
    ) -> coordinator_pb2.PutAttachmentConfigurationResponse:
        """Creates a configuration or updates it; returns when a change of sharing is certain."""
        answer = await self._driver.request(
            lambda number: put_from_message(number, request.configuration)
        )
        attached = cast("events.Attached", answer)
        return coordinator_pb2.PutAttachmentConfigurationResponse(
            status=configuration_to_message(attached.status),
            certainty=CERTAINTY[attached.certainty],
        )

    async def GetAttachmentConfiguration(  # noqa: N802
        self, request: coordinator_pb2.GetAttachmentConfigurationRequest, call: Call
    ) -> coordinator_pb2.GetAttachmentConfigurationResponse:
        """One configuration."""
        for status in self._statuses(follower=request.follower_cluster):
            if status.configuration.key.name == request.name.lower():
                return coordinator_pb2.GetAttachmentConfigurationResponse(
                    status=configuration_to_message(status)
                )
        raise EntityNotFoundError(
            f"cluster '{request.follower_cluster}' has no attachment configuration '{request.name}'"
        )

    async def ListAttachmentConfigurations(  # noqa: N802
        self, request: coordinator_pb2.ListAttachmentConfigurationsRequest, call: Call
    ) -> coordinator_pb2.ListAttachmentConfigurationsResponse:
        """The configurations of a follower cluster."""
        found = self._statuses(follower=request.follower_cluster)
        return coordinator_pb2.ListAttachmentConfigurationsResponse(
            configurations=map(configuration_to_message, found)
        )

    async def DeleteAttachmentConfiguration(  # noqa: N802
        self, request: coordinator_pb2.DeleteAttachmentConfigurationRequest, call: Call
    ) -> coordinator_pb2.DeleteAttachmentConfigurationResponse:
        """Detaches everything of a configuration; returns when that is certain."""
        answer = await self._driver.request(
            lambda number: events.DeleteConfiguration(
                number, request.follower_cluster, request.name
            )
        )
        done = cast("events.Detached", answer)
        return coordinator_pb2.DeleteAttachmentConfigurationResponse(
            certainty=CERTAINTY[done.certainty]
        )

    async def ListFollowerDatabases(  # noqa: N802
        self, request: coordinator_pb2.ListFollowerDatabasesRequest, call: Call
    ) -> coordinator_pb2.ListFollowerDatabasesResponse:
        """Who follows a leader cluster."""
        found = self._statuses(leader=request.leader_cluster)
        return coordinator_pb2.ListFollowerDatabasesResponse(
            configurations=map(configuration_to_message, found)
        )

    async def DetachFollowerDatabases(  # noqa: N802
        self, request: coordinator_pb2.DetachFollowerDatabasesRequest, call: Call
    ) -> coordinator_pb2.DetachFollowerDatabasesResponse:
        """Detaches everything of a configuration, from the leader's side."""
        if not request.leader_cluster:
            raise InvalidRequestError("a detach from the leader's side names the leader cluster")
        answer = await self._driver.request(
            lambda number: events.DeleteConfiguration(
                number, request.follower_cluster, request.configuration, request.leader_cluster
            )
        )
        done = cast("events.Detached", answer)
        return coordinator_pb2.DetachFollowerDatabasesResponse(certainty=CERTAINTY[done.certainty])

    def _statuses(self, *, follower: str = "", leader: str = "") -> tuple[ConfigurationStatus, ...]:
        """Raises EntityNotFoundError if there is no such cluster."""
        state = self._driver.state
        cluster = follower or leader
        if cluster not in state.durable.clusters:
            raise EntityNotFoundError(f"there is no cluster '{cluster}'")
        return statuses(state, self._driver.limits, follower=follower, leader=leader)
