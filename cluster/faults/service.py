"""``FaultService`` of ``faults.proto``, on any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.errors import InvalidRequestError
from cluster.faults.messages import fault_from_message
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

if TYPE_CHECKING:
    from cluster.faults.driver import FaultDriver
    from cluster.transport.api import Call, Server, ServerStream


class FaultServicer:
    """Turns calls into words to the driver."""

    def __init__(self, driver: FaultDriver) -> None:
        self._driver = driver

    def add_to(self, server: Server) -> None:
        """Registers the service."""
        faults_pb2_grpc.add_FaultServiceServicer_to_server(self, server)

    async def AddFault(  # noqa: N802
        self, request: faults_pb2.AddFaultRequest, call: Call
    ) -> faults_pb2.AddFaultResponse:
        """Makes something go wrong; answered when it does."""
        added = await self._driver.add(fault_from_message(request.fault, request.duration_seconds))
        (message,) = self._driver.messages((added,))
        return faults_pb2.AddFaultResponse(fault=message)

    async def ListFaults(  # noqa: N802
        self, request: faults_pb2.ListFaultsRequest, call: Call
    ) -> faults_pb2.ListFaultsResponse:
        """The faults there are now."""
        return faults_pb2.ListFaultsResponse(faults=self._driver.messages())

    async def ClearFaults(  # noqa: N802
        self, request: faults_pb2.ClearFaultsRequest, call: Call
    ) -> faults_pb2.ClearFaultsResponse:
        """Ends one, or all; answered when they are over."""
        gone, confirmed = await self._driver.clear(request.id)
        return faults_pb2.ClearFaultsResponse(
            faults=self._driver.messages(gone), confirmed=confirmed
        )

    async def WatchFaults(  # noqa: N802
        self,
        stream: ServerStream[faults_pb2.WatchFaultsRequest, faults_pb2.WatchFaultsResponse],
    ) -> None:
        """Streams a process's plans; takes its confirmations."""
        hello = await stream.recv_many()
        if not hello or not hello[0].process:
            raise InvalidRequestError("the first message names no process")
        process = hello[0].process
        driver = self._driver
        driver.confirm(process, hello[-1].revision)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_plans, process, stream)
                while messages := await stream.recv_many():
                    driver.confirm(process, messages[-1].revision)
                nursery.cancel_scope.cancel()
        finally:
            driver.lost(process)

    async def _send_plans(
        self,
        process: str,
        stream: ServerStream[faults_pb2.WatchFaultsRequest, faults_pb2.WatchFaultsResponse],
    ) -> None:
        while True:
            plan = self._driver.plan(process)
            await stream.send(plan)
            await self._driver.wait_plan(process, plan.revision)
