"""What every transport promises of sizes and windows."""

from __future__ import annotations

import pytest
import trio
from transport_handlers import Probe, echo
from trio.testing import wait_all_tasks_blocked

from cluster.errors import (
    LimitExceededError,
    RpcError,
    Status,
)
from cluster.limits import MIB, Limits


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
