"""What a node asks another cluster with, and what it makes of the answers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace

import pyarrow as pa
import pytest
import trio

from cluster.errors import EntityNotFoundError, LimitExceededError, UnavailableError
from cluster.limits import LIMITS
from cluster.node.other_clusters import NodeClusters
from cluster.request import Caller, ClientRequest
from cluster.rpc.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    types_pb2,
)
from cluster.transport.memory import MemoryTransport

EVE = ClientRequest(Caller("aaduser=eve"), request_id="r", authorization="Bearer of-eve")


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Knows cluster Far, whose node is at far:1, and Down, whose node is not there."""

    async def GetStatus(self, request, call):  # noqa: N802
        up = coordinator_pb2.NodeStatus(grpc_address="far:1", alive=True)
        down = coordinator_pb2.NodeStatus(grpc_address="down:1", alive=False)
        return coordinator_pb2.GetStatusResponse(
            clusters=[
                coordinator_pb2.ClusterStatus(name="Far", nodes=[up]),
                coordinator_pb2.ClusterStatus(name="Down", nodes=[down]),
            ]
        )


class Far(query_pb2_grpc.QueryServiceServicer):
    """Answers one number; ``is_cut``: without the end. Remembers what it is asked with."""

    def __init__(self):
        self.metadata = {}
        self.is_cut = False
        self.hidden = {}

    async def Query(self, request, stream):  # noqa: N802
        self.metadata = dict(stream.metadata)
        column = types_pb2.Column(name="n", type="long")
        header = query_pb2.QueryHeader(columns=[column], **self.hidden)
        await stream.send(query_pb2.QueryResponse(header=header))
        sink = pa.BufferOutputStream()
        table = pa.table({"n": [7]})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        await stream.send(query_pb2.QueryResponse(arrow=sink.getvalue().to_pybytes()))
        if not self.is_cut:
            end = query_pb2.QueryCompletion(row_count=1)
            await stream.send(query_pb2.QueryResponse(completion=end))


@asynccontextmanager
async def clusters(far, **limits):
    transport = MemoryTransport(host="near")
    async with trio.open_nursery() as nursery:
        for address, add, servicer in (
            ("c:1", coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, Coordinator()),
            ("far:1", query_pb2_grpc.add_QueryServiceServicer_to_server, far),
        ):
            server = MemoryTransport(network=transport.network, host=address[:-2]).server()
            add(servicer, server)
            server.listen(address)
            await nursery.start(server.serve)
        given = SimpleNamespace(**{"query_result_bytes": LIMITS.query_result_bytes, **limits})
        yield NodeClusters(
            SimpleNamespace(cluster="Near", coordinator="c:1", limits=given), transport
        )
        nursery.cancel_scope.cancel()


async def test_rows_are_asked_for_with_the_rights_of_who_asks(autojump_clock):
    far = Far()
    async with clusters(far) as asked:
        answer = await asked.ask("far", "Db", "T", EVE)
    assert [column.name for column in answer.columns] == ["n"]
    assert answer.table.to_pylist() == [{"n": 7}]
    assert answer.hidden_reason == ""
    assert far.metadata["authorization"] == "Bearer of-eve"
    assert far.metadata["x-remora-as-caller"] == "true"
    assert far.metadata["x-ms-client-request-id"] == "r"


@pytest.mark.parametrize(
    ("given", "sent"),
    [("Köln;1", "K?ln;1"), (" a\tb\n", "a?b"), ("x" * 5000, "x" * 256), (" ", None), ("", None)],
)
async def test_a_request_may_have_any_name(autojump_clock, given, sent):
    """In the body of a request it is any text; in the metadata of a call it is not."""
    far = Far()
    odd = ClientRequest(Caller(), request_id=given, authorization="Bearer é")
    async with clusters(far) as asked:
        answer = await asked.ask("far", "Db", "T", odd)
    assert answer.table.num_rows == 1
    assert far.metadata.get("x-ms-client-request-id") == sent
    assert "authorization" not in far.metadata  # it is nobody's


@pytest.mark.parametrize(
    ("reason", "told"),
    [("the lease has run out", "the lease has run out"), ("", "streaming rows are hidden there")],
)
async def test_rows_that_a_follower_hides_are_told_of(autojump_clock, reason, told):
    far = Far()
    far.hidden = {"streaming_rows_hidden": True, "hidden_reason": reason}
    async with clusters(far) as asked:
        assert (await asked.ask("far", "Db", "T", EVE)).hidden_reason == told


async def test_what_is_not_there_or_not_whole_is_no_answer(autojump_clock):
    far = Far()
    async with clusters(far) as asked:
        with pytest.raises(EntityNotFoundError):
            await asked.ask("nowhere", "Db", "T", EVE)
        with pytest.raises(UnavailableError, match="No node of cluster 'Down'"):
            await asked.ask("down", "Db", "T", EVE)
        far.is_cut = True
        with pytest.raises(UnavailableError, match="ended before its end"):
            await asked.ask("far", "Db", "T", EVE)
    async with clusters(Far(), query_result_bytes=10) as asked:
        with pytest.raises(LimitExceededError, match="more than 10 bytes"):
            await asked.ask("far", "Db", "T", EVE)
