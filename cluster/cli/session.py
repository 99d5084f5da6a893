"""Connections of a verb to the processes of a setup."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cluster.errors import InvalidRequestError
from cluster.launcher.lifecycle import check_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.launcher.setup import ProcessRecord, Setup
    from cluster.transport.api import Channel


@contextlib.asynccontextmanager
async def open_process(setup: Setup, record: ProcessRecord) -> AsyncIterator[Channel]:
    """A channel to a process of a setup. Raises UnavailableError if it is down or paused."""
    from cluster.launcher.links import client_links

    address = check_address(record)
    try:
        transport = client_links(setup).transport()
    except ValueError as error:
        raise InvalidRequestError(str(error), remedy="Correct the variable, or unset it.") from None
    async with transport.connect(address) as channel:
        yield channel


@contextlib.asynccontextmanager
async def open_cluster(setup: Setup, cluster: str) -> AsyncIterator[Channel]:
    """A channel to the node that takes a cluster's requests."""
    async with open_process(setup, setup.node_of(cluster)) as channel:
        yield channel


@contextlib.asynccontextmanager
async def open_coordinator_channel(setup: Setup) -> AsyncIterator[Channel]:
    """A channel to the coordinator."""
    async with open_process(setup, setup.coordinator) as channel:
        yield channel


@contextlib.asynccontextmanager
async def open_coordinator(setup: Setup) -> AsyncIterator[Any]:
    """The coordinator's stub."""
    from cluster.rpc.v1 import coordinator_pb2_grpc

    async with open_coordinator_channel(setup) as channel:
        yield coordinator_pb2_grpc.CoordinatorServiceStub(channel)
