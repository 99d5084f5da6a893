"""Other clusters of the setup, asked for tables by queries here.

The coordinator says which nodes a cluster has and where they are; one that is alive is asked over
``QueryService``, with the token of whoever asks here and never with the secret of the setup: the
other cluster answers to its own rights and through its own gate.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import trio

from cluster.catalog.model import ScalarType
from cluster.errors import EntityNotFoundError, LimitExceededError, UnavailableError
from cluster.gateway.identity.calls import AS_CALLER
from cluster.query.binding import ResultColumn
from cluster.query.remote import OtherRows
from cluster.rpc.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
)

if TYPE_CHECKING:
    from cluster.node.config import NodeConfig
    from cluster.node.platform import EngineT
    from cluster.request import ClientRequest
    from cluster.transport.api import Transport

_STATUS_SECONDS: Final = 5.0
_ID_LETTERS: Final = 256
_UNTOLD: Final = "streaming rows are hidden there"
_UNSENDABLE: Final = re.compile(r"[^\x20-\x7e]")
"""What texts in the metadata of calls cannot have."""


class NodeClusters:
    """See :class:`cluster.query.remote.OtherClusters`. A call lasts as long as its query may."""

    def __init__(self, config: NodeConfig, transport: Transport) -> None:
        self._cluster = config.cluster.casefold()
        self._coordinator = config.coordinator
        self._transport = transport
        self._limits = config.limits

    def is_own(self, cluster: str) -> bool:
        """Whether this is the name of the node's own cluster."""
        return cluster == self._cluster

    async def ask(self, cluster: str, database: str, kql: str, request: ClientRequest) -> OtherRows:
        """The answer of a node of ``cluster`` that is alive.

        Raises EntityNotFoundError, UnavailableError, LimitExceededError for more bytes than a
        result may have here, and what the node refuses with.
        """
        address = await self._address_of(cluster)
        columns: tuple[ResultColumn, ...] = ()
        hidden = ""
        pieces = bytearray()
        complete = False
        deadline = trio.current_effective_deadline() - trio.current_time()
        async with (
            self._transport.connect(address) as channel,
            query_pb2_grpc.QueryServiceStub(channel).Query(
                query_pb2.QueryRequest(database=database, kql=kql),
                timeout=None if math.isinf(deadline) else max(0.001, deadline),
                metadata=_metadata(request),
            ) as stream,
        ):
            async for response in stream:
                kind = response.WhichOneof("part")
                if kind == "header":
                    columns = tuple(
                        ResultColumn(c.name, ScalarType(c.type)) for c in response.header.columns
                    )
                    if response.header.streaming_rows_hidden:
                        hidden = response.header.hidden_reason or _UNTOLD
                elif kind == "arrow":
                    pieces += response.arrow
                    if len(pieces) > 2 * self._limits.query_result_bytes:
                        raise LimitExceededError(
                            f"cluster('{cluster}') answers with more than "
                            f"{self._limits.query_result_bytes} bytes.",
                            metadata={"limit": "query_result_bytes"},
                        )
                else:
                    complete = True
        if not complete:
            raise UnavailableError(f"The answer of cluster('{cluster}') ended before its end.")
        with pa.ipc.open_stream(pieces) as reader:
            return OtherRows(columns, reader.read_all(), hidden)

    async def _address_of(self, cluster: str) -> str:
        async with self._transport.connect(self._coordinator) as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            status = await stub.GetStatus(
                coordinator_pb2.GetStatusRequest(), timeout=_STATUS_SECONDS
            )
        for known in status.clusters:
            if known.name.casefold() == cluster:
                for node in known.nodes:
                    if node.alive and node.grpc_address:
                        return str(node.grpc_address)
                raise UnavailableError(f"No node of cluster '{known.name}' is there.")
        raise EntityNotFoundError(
            f"Semantic error: SEM0100: Failed to resolve entity 'cluster(\"{cluster}\")'",
            metadata={"name": cluster},
        )


def _metadata(request: ClientRequest) -> tuple[tuple[str, str], ...]:
    """The rights of who asks, and the name of the request as far as metadata can have it.

    A token that it cannot have is of nobody: no door takes it.
    """
    found = [AS_CALLER]
    if name := _UNSENDABLE.sub("?", request.request_id.strip())[:_ID_LETTERS].strip():
        found.append(("x-ms-client-request-id", name))
    token = request.authorization.strip()
    if token and not _UNSENDABLE.search(token):
        found.append(("authorization", token))
    return tuple(found)


def with_other_clusters(engine: EngineT, config: NodeConfig, transport: Transport) -> EngineT:
    """The engine, which from now on reads tables of other clusters too."""
    engine.reach(NodeClusters(config, transport), config.cluster)
    return engine
