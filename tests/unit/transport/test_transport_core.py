"""What only the C-core transport has: threads, a poller, real time under a virtual clock."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
import trio
from grpc import unary_stream_rpc_method_handler
from grpc._cython import cygrpc
from trio.testing import MockClock, wait_all_tasks_blocked

from cluster.errors import RpcError, Status
from cluster.limits import Limits
from cluster.transport.core import GrpcTransport
from cluster.transport.core_client import CoreChannel, CoreClientStream
from cluster.transport.core_stream import CoreStream
from cluster.transport.hub import Hub
from cluster.transport.interceptors import OutgoingCall


@pytest.fixture
def kind():
    """Only this transport."""
    return "core"


@pytest.fixture
def cushion():
    """Virtual time that jumps only after 50 ms of quiet: gRPC's threads are not trio tasks."""
    return MockClock(autojump_threshold=0.05)


def poller_threads():
    return [each.name for each in threading.enumerate() if each.name.startswith("remora-grpc")]


async def echo(request, call):
    return request


async def test_threads_end_with_their_server_and_channel(pair):
    for _ in range(5):
        async with pair(unary=echo) as p:
            assert await p.unary(b"x") == b"x"
            assert sorted(poller_threads()) == ["remora-grpc-channel", "remora-grpc-server"]
        assert poller_threads() == []


async def test_threads_end_when_the_block_fails(pair):
    async def fail():
        async with pair(unary=echo) as p:
            await p.unary(b"x")
            raise ValueError("in the block")

    with pytest.raises(ExceptionGroup):
        await fail()
    assert poller_threads() == []


async def test_an_hour_passes_at_once(pair, cushion):
    async def slow(request, call):
        await trio.sleep(3600)
        return b"late"

    async with pair(unary=slow) as p:
        began = time.monotonic()
        assert await p.unary(b"") == b"late"
        assert time.monotonic() - began < 5
        assert trio.current_time() >= 3600


async def test_a_status_the_core_refuses_still_ends_the_call(pair):
    async def handler(request, call):
        call.trailing = (("not valid", "x"),)  # past the check at the door
        return b""

    async with pair(unary=handler) as p:
        with trio.fail_after(5), pytest.raises(RpcError) as caught:
            await p.unary(b"")
    assert caught.value.rpc_status is Status.INTERNAL


async def test_calls_cut_off_after_the_grace(pair, make_transport):
    """A client that does not read cannot keep the server from stopping."""
    transport = make_transport()
    server = transport.server()

    async def flood(request, stream):
        while True:
            await stream.send(bytes(1 << 20))

    handlers = {"Serve": unary_stream_rpc_method_handler(flood)}
    server.add_registered_method_handlers("test.Service", handlers)
    address = server.listen("127.0.0.1:0")
    async with transport.connect(address) as channel:
        serve = channel.unary_stream("/test.Service/Serve")
        async with serve(b"") as stream, trio.open_nursery() as nursery:
            await nursery.start(partial(server.serve, grace_seconds=0.05))
            await stream.recv_many()
            await wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        assert poller_threads() == ["remora-grpc-channel"]


# ---- the streaming half alone, with the C-core played by the test


class Event:
    def __init__(self, operation=None, success=True):
        self.batch_operations = [operation]
        self.success = success


class Received:
    def __init__(self, message):
        self._message = message

    def message(self):
        return self._message


class Half(CoreStream):
    """Records the batches started; :meth:`complete` plays the C-core."""

    def __init__(self, limits):
        super().__init__(Hub(), limits)
        self.reads = []
        self.writes = []

    def _start(self, operations, done):
        is_read = isinstance(operations[0], cygrpc.ReceiveMessageOperation)
        (self.reads if is_read else self.writes).append(done)
        return True

    def receive(self, message):
        self.reads.pop()(Event(Received(message)))

    def written(self, success=True):
        self.writes.pop(0)(Event(success=success))


@pytest.mark.parametrize("counted", ["messages", "bytes"])
async def test_reads_ahead_up_to_the_window(counted):
    if counted == "messages":
        half, payload = Half(Limits(stream_window_messages=10)), b""
    else:
        half, payload = Half(Limits(stream_window_bytes=10)), b"x"
    with half._lock:
        half._read_ahead()
    for count in range(1, 11):
        assert len(half.reads) == 1
        half.receive(payload)
        assert len(half.reads) == (1 if count < 10 else 0)
    assert await half.recv_many() == [payload] * 10
    assert len(half.reads) == 1


@pytest.mark.parametrize("counted", ["messages", "bytes"])
async def test_writes_behind_up_to_the_window(counted, autojump_clock):
    if counted == "messages":
        half, payload = Half(Limits(stream_window_messages=10)), b""
    else:
        half, payload = Half(Limits(stream_window_bytes=10)), b"x"
    for _ in range(10):  # one on the wire, nine queued
        with trio.fail_after(1):
            await half.send(payload)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(half.send, payload)  # the tenth queued: full
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        for _ in range(4):
            half.written()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1  # six queued
        half.written()
    assert len(half.writes) == 1


async def test_a_failed_write_frees_those_who_wait():
    half = Half(Limits(stream_window_messages=1))
    await half.send(b"on the wire")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(half.send, b"queued")
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 3
        half.written(success=False)
    with pytest.raises(trio.BrokenResourceError):
        await half.send(b"late")


async def test_a_receive_that_was_cancelled_can_be_repeated(autojump_clock):
    half = Half(Limits())
    with trio.move_on_after(1) as scope:
        await half.recv_many()
    assert scope.cancelled_caught
    half.receive(b"kept")
    assert await half.recv_many() == [b"kept"]
    half.receive(None)
    assert await half.recv_many() == []
    assert await half.recv_many() == []


async def test_a_call_that_is_over_before_its_start_returns_ends_with_its_channel(
    kind, monkeypatch
) -> None:
    """The poller may hear that nobody listens while the thread that calls is not running."""
    told = threading.Event()
    on_status = CoreClientStream._on_status
    start_call = CoreChannel.start_call

    def tell(stream, event):
        try:
            on_status(stream, event)
        finally:
            told.set()

    def start_slowly(channel, call, batches):
        started = start_call(channel, call, batches)
        assert told.wait(10)
        return started

    monkeypatch.setattr(CoreClientStream, "_on_status", tell)
    monkeypatch.setattr(CoreChannel, "start_call", start_slowly)
    calls = GrpcTransport().connect("127.0.0.1:1")
    with trio.fail_after(10):
        async with calls as channel:
            stream = channel.raw_stream(OutgoingCall("/test.Service/Both", 5, ()), None)
            status = await stream.status()
    assert status.code is Status.UNAVAILABLE
    assert poller_threads() == []


async def test_a_channel_ends_though_the_poller_met_an_error_in_a_call(
    kind, monkeypatch, caplog
) -> None:
    tag = CoreClientStream._tag

    def failing(stream, done):
        def fail(event):
            if done is not None:
                done(event)
            raise LookupError("no such thing")

        return tag(stream, fail)

    monkeypatch.setattr(CoreClientStream, "_tag", failing)
    with trio.fail_after(10):
        async with GrpcTransport().connect("127.0.0.1:1") as channel:
            stream = channel.raw_stream(OutgoingCall("/test.Service/Both", 5, ()), None)
            assert (await stream.status()).code is Status.UNAVAILABLE
    assert poller_threads() == []
    assert "no such thing" in caplog.text
