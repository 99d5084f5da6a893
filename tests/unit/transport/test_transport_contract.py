"""What every transport promises (cluster/transport/api.py), on all three of them."""

from __future__ import annotations

import dataclasses
import logging
import math
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from grpc import unary_unary_rpc_method_handler as handler_of
from trio.testing import wait_all_tasks_blocked

from cluster.errors import (
    ConflictError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    ProtocolError,
    RpcError,
    Status,
    TableNotFoundError,
    ThrottledError,
    TimedOutError,
    UnavailableError,
    error_classes,
)
from cluster.limits import MIB, Limits
from cluster.rpc.v1 import ingestion_pb2, ingestion_pb2_grpc


class Probe:
    """A handler that waits for ever and says what became of it."""

    def __init__(self):
        self.started = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, *_):
        self.started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise


async def echo_one(request, call):
    return request


async def echo(stream):
    while messages := await stream.recv_many():
        for message in messages:
            await stream.send(message)


async def count_to(request, stream):
    for number in range(int(request)):
        await stream.send(b"%d" % number)


async def joined(stream):
    parts = []
    while messages := await stream.recv_many():
        parts.extend(messages)
    return b"".join(parts)


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


# ---- the end of calls


async def test_cancelled_unary_call_cancels_the_handler(pair):
    probe = Probe()
    async with pair(unary=probe) as p:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(p.unary, b"")
            await probe.started.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await probe.cancelled.wait()


@pytest.mark.parametrize("method", ["serve", "both"])
async def test_leaving_a_stream_cancels_the_handler(pair, method):
    probe = Probe()
    async with pair(serve=probe, both=probe) as p:
        async with p.serve(b"") if method == "serve" else p.both():
            await probe.started.wait()
        with trio.fail_after(5):
            await probe.cancelled.wait()


@pytest.mark.parametrize("end", ["leave", "deadline"])
async def test_a_broken_stream_does_not_look_finished(pair, end, until):
    ends = []

    async def handler(stream):
        await stream.recv_many()
        try:
            ends.append(await stream.recv_many())
        except trio.Cancelled:
            ends.append("cancelled")
            raise

    async with pair(both=handler) as p:
        for _ in range(20):
            async with p.both(timeout=0.02 if end == "deadline" else None) as stream:
                if end == "deadline":
                    with suppress(trio.BrokenResourceError):
                        await stream.send(b"x")
                    with pytest.raises(TimedOutError):
                        await stream.result()
                else:
                    await stream.send(b"x")
                    await until(lambda: p.server.statistics().messages_received > len(ends))
            await until(lambda: p.server.statistics().calls_live == 0)
        assert [each for each in ends if each != "cancelled"] == []
        async with p.both() as stream:
            await stream.send(b"x")
            stream.close_send()
            await stream.result()
        assert ends[-1] == []


async def test_cancelling_a_receive_cancels_the_handler(pair):
    probe = Probe()
    async with pair(both=probe) as p:
        async with trio.open_nursery() as nursery:

            async def receive():
                async with p.both() as stream:
                    await stream.recv_many()

            nursery.start_soon(receive)
            await probe.started.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await probe.cancelled.wait()


async def test_closing_the_channel_ends_its_calls(pair, make_transport):
    probe = Probe()
    async with pair(both=probe, unary=probe) as p, trio.open_nursery() as nursery:
        ended = []

        async def wait_for(coroutine_function, *args):
            with pytest.raises(UnavailableError):
                await coroutine_function(*args)
            ended.append(1)

        async def stream_result(channel):
            async with channel.stream_stream("/test.Service/Both")() as stream:
                await stream.result()

        async with make_transport().connect(p.address) as channel:
            nursery.start_soon(wait_for, stream_result, channel)
            await probe.started.wait()
            nursery.start_soon(wait_for, channel.unary_unary("/test.Service/Unary"), b"")
            await wait_all_tasks_blocked()
        with trio.fail_after(5):
            await probe.cancelled.wait()
        with pytest.raises(trio.ClosedResourceError):
            await channel.unary_unary("/test.Service/Unary")(b"")
    assert ended == [1, 1]


async def test_deadline_ends_both_sides(pair):
    probe = Probe()
    async with pair(unary=probe, both=probe) as p:
        with trio.fail_after(5):
            while not probe.started.is_set():  # a busy machine may be late to start it
                with pytest.raises(TimedOutError):
                    await p.unary(b"", timeout=0.05)
            await probe.cancelled.wait()
        with trio.fail_after(5):
            async with p.both(timeout=0.05) as stream:
                assert await stream.recv_many() == []
                with pytest.raises(TimedOutError):
                    await stream.result()


async def test_handler_sees_the_deadline(pair):
    async def left(request, call):
        return str(call.seconds_left).encode()

    async with pair(unary=left) as p:
        assert 50 < float(await p.unary(b"", timeout=60)) <= 60.5
        assert float(await p.unary(b"")) == math.inf
        assert float(await p.unary(b"", timeout=math.inf)) == math.inf
        with pytest.raises(ValueError, match="NaN"):
            await p.unary(b"", timeout=math.nan)


async def test_stopping_the_server_ends_calls_with_unavailable(pair):
    probe = Probe()
    async with pair(unary=probe, both=probe) as p, trio.open_nursery() as nursery:

        async def call():
            with pytest.raises(UnavailableError, match="stopping"):
                await p.unary(b"")

        nursery.start_soon(call)
        await probe.started.wait()
        p.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(5):
            await probe.cancelled.wait()


async def test_stopping_waits_for_the_handlers_clean_up(pair):
    done = []
    started = trio.Event()

    async def handler(stream):
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            done.append(1)

    async with pair(both=handler) as p, p.both():
        await started.wait()
    assert done == [1]


async def test_what_was_sent_before_an_error_arrives(pair):
    async def some_then_error(request, stream):
        for number in range(100):
            await stream.send(b"%d" % number)
        raise ConflictError("enough")

    async with pair(serve=some_then_error) as p, p.serve(b"") as stream:
        got = []

        async def receive():
            async for message in stream:
                got.append(message)

        with pytest.raises(ConflictError, match="enough"):
            await receive()
        assert len(got) == 100


async def test_many_cancelled_calls_leave_nothing_behind(pair, until):
    async def handler(request, call):
        for _ in range(request[0]):
            await trio.lowlevel.checkpoint()
        return request

    async with pair(unary=handler) as p:
        for _ in range(5):
            async with trio.open_nursery() as nursery:

                async def one(number):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as inner:
                            inner.start_soon(p.unary, bytes([number]))
                            for _ in range(number):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()

                for number in range(100):
                    nursery.start_soon(one, number)
        assert await p.unary(b"\0ok") == b"\0ok"
        await until(lambda: p.server.statistics().calls_live == 0)
        assert p.channel.statistics().calls_live == 0
        assert p.channel.statistics().calls_started == 501


# ---- errors


async def test_every_error_class_makes_the_round_trip(pair):
    classes = {each.__name__: each for each in error_classes()}

    def made(name):
        options = {
            "remedy": f"do something about {name}",
            "metadata": {"database": "Db", "limit": "x", "größe": "7 €"},
            "retry_after_seconds": 1.25,
        }
        if issubclass(classes[name], RpcError):
            return classes[name](Status.OUT_OF_RANGE, "what happened", **options)
        return classes[name](f"what happened: {name} ü", **options)

    async def unary(request, call):
        raise made(request.decode())

    async def serve(request, stream):
        raise made(request.decode())

    async with pair(unary=unary, serve=serve) as p:
        for name, error_class in classes.items():
            expected = made(name)
            with pytest.raises(error_class) as caught:
                await p.unary(name.encode())
            async with p.serve(name.encode()) as stream:
                with pytest.raises(error_class) as caught_stream:
                    await stream.result()
            for got in (caught.value, caught_stream.value):
                assert type(got) is error_class
                assert vars(got) == vars(expected)
                assert str(got) == str(expected)


async def test_other_exceptions_become_internal_without_their_text(pair, caplog):
    async def handler(request, call):
        raise RuntimeError("secret")

    async with pair(unary=handler) as p:
        with caplog.at_level(logging.ERROR), pytest.raises(InternalError) as caught:
            await p.unary(b"")
    assert "secret" not in str(vars(caught.value))
    (record,) = caplog.records
    assert "secret" in caplog.text
    assert "/test.Service/Unary" in record.getMessage()


async def test_groups_count_as_their_errors(pair, caplog):
    async def handler(request, call):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            if request == b"typed":
                raise TableNotFoundError("no table")
            raise ExceptionGroup("two", [TableNotFoundError("no table"), KeyError("bug")])

    async with pair(unary=handler) as p:
        with pytest.raises(TableNotFoundError, match="no table"):
            await p.unary(b"typed")
        with caplog.at_level(logging.ERROR), pytest.raises(InternalError):
            await p.unary(b"mixed")
        assert "bug" in caplog.text


async def test_an_error_in_clean_up_does_not_bring_the_server_down(pair, until):
    started = trio.Event()

    async def handler(request, call):
        async with trio.open_nursery() as nursery:

            async def fails_at_the_end():
                try:
                    await trio.sleep_forever()
                finally:
                    raise ConflictError("while stopping")

            nursery.start_soon(fails_at_the_end)
            started.set()
            await trio.sleep_forever()

    async with pair(unary=handler) as p:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(p.unary, b"")
            await started.wait()
            nursery.cancel_scope.cancel()
        await until(lambda: p.server.statistics().calls_live == 0)
        with pytest.raises(RpcError):
            await p.channel.unary_unary("/test.Service/Nothing")(b"")


async def test_messages_that_do_not_parse(pair, make_transport):
    def refuse(payload):
        raise ValueError("not mine")

    async with pair(unary=echo_one) as p:
        unary = p.channel.unary_unary("/test.Service/Unary", None, refuse)
        with pytest.raises(ProtocolError, match="not mine"):
            await unary(b"x")
    server = make_transport().server()
    server.add_registered_method_handlers(
        "test.Service", {"Unary": handler_of(echo_one, request_deserializer=refuse)}
    )
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with make_transport().connect(address) as channel:
            with pytest.raises(InvalidRequestError, match="not mine"):
                await channel.unary_unary("/test.Service/Unary")(b"x")
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


# ---- bounds


@pytest.mark.parametrize("streamed", [False, True])
async def test_message_size_limit_of_the_sender(pair, make_transport, streamed):
    limit = 1000
    transport = make_transport(limits=Limits(grpc_message_bytes=limit))

    async def big(request, call):
        return bytes(int(request))

    async def big_stream(stream):
        for request in await stream.recv_many():
            await stream.send(bytes(int(request)))

    async with pair(transport, unary=big, both=big_stream) as p:

        async def send(message):
            if not streamed:
                return await p.unary(message)
            async with p.both() as stream:
                await stream.send(message)
                stream.close_send()
                return b"".join([each async for each in stream])

        for size in (limit - 1, limit):
            assert len(await send(b"%d" % size)) == size
            assert await send(b"0".zfill(size)) == b""
        with pytest.raises(LimitExceededError) as caught:
            await send(b"%d" % (limit + 1))
        assert caught.value.metadata["limit"] == "grpc_message_bytes"
        with pytest.raises(LimitExceededError, match="1001 bytes"):
            await send(b"0".zfill(limit + 1))
        assert await p.unary(b"3") == bytes(3)


@pytest.mark.parametrize("streamed", [False, True])
async def test_message_size_limit_of_the_receiver(pair, make_transport, streamed):
    limit = 1000
    small = make_transport(limits=Limits(grpc_message_bytes=limit))
    large = make_transport()

    async def size_of(request, call):
        return bytes(int(request))

    for server_side, client_side, fill in ((small, large, limit), (large, small, 0)):
        async with pair(
            server_side, client_side, unary=size_of, both=echo_sizes, serve=serve_size
        ) as p:

            async def send(message, p=p):
                if not streamed:
                    return await p.unary(message)
                async with p.both() as stream:
                    await stream.send(message)
                    stream.close_send()
                    return b"".join([each async for each in stream])

            for size in (limit - 1, limit):
                message = b"0".zfill(size) if fill else b"%d" % size
                assert len(await send(message)) == (0 if fill else size)
            message = b"0".zfill(limit + 1) if fill else b"%d" % (limit + 1)
            with pytest.raises(RpcError) as caught:
                await send(message)
            assert caught.value.rpc_status is Status.RESOURCE_EXHAUSTED
            assert await p.unary(b"3") == bytes(3)


async def echo_sizes(stream):
    while messages := await stream.recv_many():
        for message in messages:
            await stream.send(bytes(int(message)))


async def serve_size(request, stream):
    await stream.send(bytes(int(request)))


@pytest.mark.parametrize("sender", ["server", "client"])
async def test_back_pressure_parks_the_sender(pair, sender, kind, until):
    sent = 0
    total = 200
    go_on = trio.Event()

    async def push(stream):
        nonlocal sent
        for _ in range(total):
            await stream.send(bytes(MIB))
            sent += 1

    async def handler(stream):
        if sender == "server":
            await push(stream)
        else:
            await go_on.wait()
            while messages := await stream.recv_many():
                await stream.send(b"%d" % len(messages))

    # Threads of gRPC move messages on while trio is idle, so "parked" needs a moment of quiet.
    cushion = 0.0 if kind == "memory" else 0.1
    async with pair(both=handler) as p, p.both() as stream, trio.open_nursery() as nursery:

        async def push_and_close():
            await push(stream)
            stream.close_send()

        if sender == "client":
            nursery.start_soon(push_and_close)
        await until(lambda: sent > 0)
        await wait_all_tasks_blocked(cushion)
        assert sent < 60  # 4 MiB at each end, and what HTTP/2 and sockets hold
        go_on.set()
        received = 0
        async for message in stream:
            received += 1 if sender == "server" else int(message)
        assert received == total


async def test_two_tasks_may_not_receive_from_one_stream(pair):
    probe = Probe()
    async with pair(both=probe) as p, p.both() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.recv_many)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.recv_many()
        nursery.cancel_scope.cancel()


async def test_sending_after_the_end_is_refused(pair):
    async def over_at_once(stream):
        await trio.lowlevel.checkpoint()

    async with pair(both=over_at_once) as p, p.both() as stream:
        await stream.result()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send(b"late")
    async with pair(both=echo) as p, p.both() as stream:
        stream.close_send()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send(b"late")
        await stream.result()


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
