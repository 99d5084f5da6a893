"""A process's ear for its own faults: the WatchFaults stream of the coordinator.

The stream goes to the coordinator directly, past the link proxy: what carries faults is not struck
by them, so that they can be cleared. While the coordinator is away, what was heard last holds until
its time has run out.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import trio

from cluster.errors import RemoraError
from cluster.faults.kinds import kind_name
from cluster.faults.messages import actives_from_messages
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

if TYPE_CHECKING:
    from cluster.faults.process import ProcessFaults
    from cluster.transport.api import Transport

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.2
"""Before the stream is opened again."""

PROBE_SECONDS: Final = 1.0


async def watch_faults(
    coordinator: str, process: str, transport: Transport, faults: ProcessFaults
) -> None:
    """Suffers what the coordinator at this address says, until cancelled."""
    async with transport.connect(coordinator) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(faults.run)
        stub = faults_pb2_grpc.FaultServiceStub(channel)
        while True:
            try:
                await _watch_once(stub, process, faults)
            except RemoraError as error:
                logger.debug("faults are not heard of: %s", error)
            await trio.sleep(PAUSE_SECONDS)


async def _watch_once(
    stub: faults_pb2_grpc.FaultServiceStub, process: str, faults: ProcessFaults
) -> None:
    async with stub.WatchFaults() as stream:
        with contextlib.suppress(trio.BrokenResourceError):  # the call is over: its result says why
            await stream.send(faults_pb2.WatchFaultsRequest(process=process))
            while messages := await stream.recv_many():
                plan = messages[-1]
                before = faults.active
                faults.suffer(actives_from_messages(plan.faults, faults.base.monotonic()))
                if faults.active or before:
                    shown = ", ".join(kind_name(one.fault.kind) for one in faults.active) or "none"
                    logger.info("faults in effect here: %s", shown)
                confirmation = faults_pb2.WatchFaultsRequest(
                    process=process, revision=plan.revision
                )
                await stream.send(confirmation)
        await stream.result()


async def nobody_listens(address: str) -> bool:
    """True if a connection to ``host:port`` cannot be made; not if nothing is heard at all."""
    host, _, port = address.rpartition(":")
    with trio.socket.socket() as probe, trio.move_on_after(PROBE_SECONDS):
        try:
            await probe.connect((host, int(port)))
        except OSError:
            return True
    return False
