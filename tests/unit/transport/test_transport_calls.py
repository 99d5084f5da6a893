"""What every transport promises (cluster/transport/api.py): calls, metadata, life cycle."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager

import pytest
import trio
from grpc import unary_unary_rpc_method_handler as handler_of
from transport_handlers import count_to, echo, echo_one, joined

from cluster.errors import (
    ConflictError,
    InternalError,
    RpcError,
    Status,
    ThrottledError,
    UnavailableError,
)
from cluster.rpc.v1 import ingestion_pb2, ingestion_pb2_grpc

# ---- calls


async def test_each_kind_of_call(pair):
    async with pair(unary=echo_one, serve=count_to, both=echo, collect=joined) as p:
        assert await p.unary(b"abc") == b"abc"
        assert await p.unary(b"") == b""
        async with p.serve(b"3") as stream:
            assert [message async for message in stream] == [b"0", b"1", b"2"]
        async with p.both() as stream:
            await stream.send(b"x")
            assert await stream.recv_many() == [b"x"]
            stream.close_send()
            assert await stream.recv_many() == []
            await stream.result()
        async with p.collect() as stream:
            await stream.send(b"a")
            await stream.send(b"b")
            stream.close_send()
            assert [message async for message in stream] == [b"ab"]


async def test_generated_stubs_and_servicers(make_transport):
    class Ingestion(ingestion_pb2_grpc.IngestionServiceServicer):
        async def Ingest(self, request, call):  # noqa: N802
            return ingestion_pb2.IngestResponse(row_count=len(request.payload))

        async def IngestStream(self, stream):  # noqa: N802
            while messages := await stream.recv_many():
                await stream.send(
                    ingestion_pb2.IngestStreamResponse(acked_through=messages[-1].sequence)
                )

    transport = make_transport()
    server = transport.server()
    ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(Ingestion(), server)
    assert server.services() == ("cluster.rpc.v1.IngestionService",)
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with transport.connect(address) as channel:
            stub = ingestion_pb2_grpc.IngestionServiceStub(channel)
            response = await stub.Ingest(ingestion_pb2.IngestRequest(payload=b"abc"))
            assert response == ingestion_pb2.IngestResponse(row_count=3)
            async with stub.IngestStream() as stream:
                await stream.send(ingestion_pb2.IngestStreamRequest(sequence=7))
                (ack,) = await stream.recv_many()
                assert ack.acked_through == 7
        nursery.cancel_scope.cancel()


async def test_messages_arrive_in_order_whole_and_once(pair):
    sent = [b"%d" % number for number in range(2000)]
    async with pair(both=echo) as p, p.both() as stream, trio.open_nursery() as nursery:

        async def push():
            for message in sent:
                await stream.send(message)
            stream.close_send()

        nursery.start_soon(push)
        assert [message async for message in stream] == sent


async def test_unknown_method_is_unimplemented(pair):
    async with pair(unary=echo_one) as p:
        with pytest.raises(RpcError) as caught:
            await p.channel.unary_unary("/test.Service/Nothing")(b"")
        assert caught.value.rpc_status is Status.UNIMPLEMENTED
        assert await p.unary(b"still serving") == b"still serving"


async def test_nobody_listens_is_unavailable(make_transport):
    transport = make_transport()
    server = transport.server()
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        nursery.cancel_scope.cancel()
    async with transport.connect(address) as channel:
        with pytest.raises(UnavailableError):
            await channel.unary_unary("/test.Service/Unary")(b"", timeout=5)
        async with channel.stream_stream("/test.Service/Both")(timeout=5) as stream:
            assert await stream.recv_many() == []
            with pytest.raises(UnavailableError):
                await stream.result()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send(b"")


async def test_calls_reach_a_server_that_came_up_after_the_channel(make_transport):
    transport = make_transport()
    first = transport.server()
    address = first.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(first.serve)
        nursery.cancel_scope.cancel()
    async with transport.connect(address) as channel, trio.open_nursery() as nursery:
        unary = channel.unary_unary("/test.Service/Unary")
        with pytest.raises(UnavailableError):
            await unary(b"", timeout=5)
        server = transport.server()
        server.add_registered_method_handlers("test.Service", {"Unary": handler_of(echo_one)})
        assert server.listen(address) == address
        await nursery.start(server.serve)
        with trio.fail_after(10):
            while True:
                try:
                    assert await unary(b"back") == b"back"
                    break
                except UnavailableError:
                    await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


# ---- metadata and interceptors


async def test_metadata_both_ways(pair):
    seen = []

    async def handler(request, call):
        seen.append(call)
        call.set_trailing_metadata((("took", "5"), ("raw-bin", b"\0\xff")))
        return b""

    async def fails(request, stream):
        stream.set_trailing_metadata((("took", "6"),))
        raise ThrottledError("later")

    async with pair(unary=handler, serve=fails) as p:
        sent = (("who", "me"), ("key-bin", b"\0\1\xff"), ("who", "you"))
        _, trailing = await p.unary.with_trailing_metadata(b"", metadata=sent)
        assert set(trailing) == {("took", "5"), ("raw-bin", b"\0\xff")}
        (call,) = seen
        for key in ("who", "key-bin"):  # the order of different keys is not kept
            assert [v for k, v in call.metadata if k == key] == [v for k, v in sent if k == key]
        assert call.method == "/test.Service/Unary"
        assert "127.0.0.1" in call.peer
        async with p.serve(b"") as stream:
            assert stream.trailing_metadata == ()
            with pytest.raises(ThrottledError):
                await stream.result()
            assert stream.trailing_metadata == (("took", "6"),)
        with pytest.raises(ValueError, match="Upper"):
            await p.unary(b"", metadata=(("Upper", "x"),))


async def test_server_interceptors_wrap_handlers_in_order(pair, make_transport):
    story = []

    async def outer(call, proceed):
        story.append(f"outer {call.method}")
        try:
            await proceed()
        except ConflictError:
            story.append("outer saw the error")
            raise

    async def guard(call, proceed):
        if ("token", "good") not in call.metadata:
            raise ThrottledError("no token")
        await proceed()
        story.append("guard after")

    async def unary(request, call):
        story.append("handler")
        if request == b"fail":
            raise ConflictError("no")
        return request

    transport = make_transport(interceptors=(outer, guard))
    good = (("token", "good"),)
    async with pair(transport, unary=unary, both=echo) as p:
        assert await p.unary(b"x", metadata=good) == b"x"
        assert story == ["outer /test.Service/Unary", "handler", "guard after"]
        story.clear()
        with pytest.raises(ConflictError):
            await p.unary(b"fail", metadata=good)
        assert story == ["outer /test.Service/Unary", "handler", "outer saw the error"]
        story.clear()
        with pytest.raises(ThrottledError):
            await p.unary(b"x")
        assert story == ["outer /test.Service/Unary"]
        async with p.both(metadata=good) as stream:
            await stream.send(b"y")
            assert await stream.recv_many() == [b"y"]
        async with p.both() as stream:
            with pytest.raises(ThrottledError):
                await stream.result()


async def test_an_interceptor_that_forgets_to_proceed_is_a_defect(pair, make_transport):
    async def forgets(call, proceed):
        await trio.lowlevel.checkpoint()

    async with pair(make_transport(interceptors=(forgets,)), unary=echo_one) as p:
        with pytest.raises(InternalError, match="without proceeding"):
            await p.unary(b"x")


async def test_client_interceptors_change_calls_and_see_errors(pair, make_transport):
    story = []

    @asynccontextmanager
    async def with_token(call):
        story.append(call.method)
        try:
            yield dataclasses.replace(call, metadata=(*call.metadata, ("token", "good")))
        except ConflictError:
            story.append("error")
            raise

    async def unary(request, call):
        if request == b"fail":
            raise ConflictError("no")
        return dict(call.metadata)["token"].encode()

    async def serve(request, stream):
        await stream.send(dict(stream.metadata)["token"].encode())

    transport = make_transport(client_interceptors=(with_token,))
    async with pair(transport, unary=unary, serve=serve) as p:
        assert await p.unary(b"") == b"good"
        with pytest.raises(ConflictError):
            await p.unary(b"fail")
        async with p.serve(b"") as stream:
            assert [message async for message in stream] == [b"good"]
        assert story == [*["/test.Service/Unary"] * 2, "error", "/test.Service/Serve"]


# ---- life cycle


async def test_statistics(pair, until):
    async with pair(unary=echo_one, both=echo) as p:
        await p.unary(b"12345")
        async with p.both() as stream:
            await stream.send(b"12")
            await stream.recv_many()
            assert p.channel.statistics().calls_live == 1
            assert p.server.statistics().calls_live == 1
        await until(lambda: p.server.statistics().calls_live == 0)
        for statistics in (p.channel.statistics(), p.server.statistics()):
            assert statistics.calls_started == 2
            assert statistics.calls_by_status == {Status.OK: 1, Status.CANCELLED: 1}
            assert statistics.messages_sent == statistics.messages_received == 2
            assert statistics.bytes_sent == statistics.bytes_received == 7


async def test_address_is_exclusive_and_free_after_the_end(make_transport):
    transport = make_transport()
    server = transport.server()
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with pytest.raises(OSError, match="cannot listen"):
            transport.server().listen(address)
        nursery.cancel_scope.cancel()
    again = transport.server()
    assert again.listen(address) == address
    with pytest.raises(OSError, match="cannot listen"):
        transport.server().listen("nonsense")
    with pytest.raises(RuntimeError, match="once"):
        await server.serve()


async def test_channels_and_streams_are_used_as_blocks(pair, make_transport):
    channel = make_transport().connect("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="async with"):
        await channel.unary_unary("/test.Service/Unary")(b"")
    async with channel:
        pass
    with pytest.raises(RuntimeError, match="once"):
        await channel.__aenter__()
    async with pair(both=echo) as p:
        stream = p.both()
        with pytest.raises(RuntimeError, match="async with"):
            await stream.send(b"")
        async with stream:
            with pytest.raises(RuntimeError, match="one call"):
                await stream.__aenter__()
