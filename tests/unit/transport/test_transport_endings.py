"""What every transport promises of the end of calls: cancellation, deadlines, errors."""

from __future__ import annotations

import logging
import math
from contextlib import suppress

import pytest
import trio
from grpc import unary_unary_rpc_method_handler as handler_of
from transport_handlers import Probe, echo_one
from trio.testing import wait_all_tasks_blocked

from cluster.errors import (
    ConflictError,
    InternalError,
    InvalidRequestError,
    ProtocolError,
    RpcError,
    Status,
    TableNotFoundError,
    TimedOutError,
    UnavailableError,
    error_classes,
)

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
