"""The stream writer: what is refused for the moment only does not end it."""

from __future__ import annotations

import pytest
import trio

from cluster.client import StreamWriter
from cluster.errors import InvalidRequestError, RemoraError, ThrottledError, UnavailableError
from cluster.rpc.v1 import ingestion_pb2 as pb
from cluster.rpc.v1 import ingestion_pb2_grpc
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork


class Ingestion:
    """Fails the first stream with an error, after ``before`` payloads; then takes everything."""

    def __init__(self, error: RemoraError, before: int) -> None:
        self.error: RemoraError | None = error
        self.before = before
        self.stored: list[str] = []

    async def Ingest(self, request, call):  # noqa: N802
        raise NotImplementedError

    async def IngestStream(self, stream):  # noqa: N802
        sequence = 0
        while messages := await stream.recv_many() if self.before or not self.error else [None]:
            for message in messages:
                if self.error is not None and sequence == self.before:
                    error, self.error = self.error, None
                    raise error
                sequence += 1
                if message.request.source_id not in self.stored:
                    self.stored.append(message.request.source_id)
                await stream.send(pb.IngestStreamResponse(acked_through=sequence))


async def write(service, payloads):
    network = MemoryNetwork()
    server = MemoryTransport(network=network, host="node").server()
    ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(service, server)
    server.listen("node:1")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        client = MemoryTransport(network=network, host="client")
        async with client.connect("node:1") as channel:
            async with StreamWriter(channel, "db", "T", source="s") as writer:
                for _ in range(payloads):
                    await writer.send(b"1\n")
            statistics = writer.statistics()
        nursery.cancel_scope.cancel()
    return statistics


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("kind", [ThrottledError, UnavailableError])
async def test_a_stream_refused_for_the_moment_is_opened_again(autojump_clock, kind, before):
    service = Ingestion(kind("too many streams"), before)
    with trio.fail_after(60):
        statistics = await write(service, 5)
    assert service.stored == [f"s;{number}" for number in range(5)]
    assert (statistics.payloads_decided, statistics.reconnects) == (5, 1)


async def test_a_stream_refused_for_good_ends_the_writer(autojump_clock):
    with trio.fail_after(60), pytest.raises(ExceptionGroup) as raised:
        await write(Ingestion(InvalidRequestError("no"), 2), 5)
    assert raised.group_contains(InvalidRequestError, match="no")
