"""Link faults of the in-memory transport, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import grpc
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cluster.errors import TimedOutError, UnavailableError
from cluster.limits import LIMITS
from cluster.transport.faults import NO_FAULTS, LinkFaults
from cluster.transport.memory import MemoryNetwork, MemoryTransport

KEEPALIVE_SECONDS = LIMITS.grpc_keepalive_seconds + LIMITS.grpc_keepalive_timeout_seconds
PARTITIONED = LinkFaults(partitioned=True)


class World:
    """Hosts ``client`` and ``server``; the server echoes."""

    def __init__(self, network, channel):
        self.network = network
        self.channel = channel
        self.unary = channel.unary_unary("/t.T/Unary")
        self.both = channel.stream_stream("/t.T/Both")


async def unary(request, call):
    return request


async def echo(stream):
    while messages := await stream.recv_many():
        for message in messages:
            await stream.send(message)


@asynccontextmanager
async def open_world(seed=0, both=echo):
    network = MemoryNetwork(seed=seed)
    server = MemoryTransport(network=network, host="server").server()
    server.add_registered_method_handlers(
        "t.T",
        {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Both": grpc.stream_stream_rpc_method_handler(both),
        },
    )
    address = server.listen("server:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with MemoryTransport(network=network, host="client").connect(address) as channel:
            yield World(network, channel)
        nursery.cancel_scope.cancel()


async def test_delay_in_each_direction(autojump_clock):
    async with open_world() as world:
        world.network.set_faults("client", "server", LinkFaults(delay_seconds=3))
        world.network.set_faults("server", "client", LinkFaults(delay_seconds=4))
        began = trio.current_time()
        assert await world.unary(b"x") == b"x"
        assert trio.current_time() - began == pytest.approx(7)
        world.network.clear_faults()
        began = trio.current_time()
        assert await world.unary(b"x") == b"x"
        assert trio.current_time() == began


async def test_jitter_keeps_the_order_of_a_stream(autojump_clock):
    async with open_world() as world:
        for source, target in (("client", "server"), ("server", "client")):
            world.network.set_faults(
                source,
                target,
                LinkFaults(jitter_seconds=1, reorder_ratio=0.5, reorder_seconds=5),
            )
        sent = [b"%d" % number for number in range(200)]
        async with world.both() as stream, trio.open_nursery() as nursery:

            async def push():
                for message in sent:
                    await stream.send(message)
                stream.close_send()

            nursery.start_soon(push)
            assert [message async for message in stream] == sent


async def finishing_times(faults):
    times = {}
    async with open_world(seed=1) as world:
        world.network.set_faults("client", "server", faults)

        async def one(number):
            await world.unary(b"%d" % number)
            times[number] = trio.current_time()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
                await wait_all_tasks_blocked()
    return [times[number] for number in range(20)]


async def test_calls_overtake_each_other_only_when_reordered(autojump_clock):
    plain = await finishing_times(LinkFaults(jitter_seconds=1))
    assert plain == sorted(plain)
    reordered = LinkFaults(jitter_seconds=1, reorder_ratio=0.5, reorder_seconds=5)
    times = await finishing_times(reordered)
    assert times != sorted(times)


async def test_a_lost_message_ends_its_call_and_no_other(autojump_clock):
    cancelled = trio.Event()

    async def handler(stream):
        try:
            await echo(stream)
        except trio.Cancelled:
            cancelled.set()
            raise

    async with open_world(both=handler) as world:
        async with world.both() as stream, world.both() as other:
            await stream.send(b"1")
            assert await stream.recv_many() == [b"1"]
            await other.send(b"1")
            assert await other.recv_many() == [b"1"]
            world.network.set_faults("client", "server", LinkFaults(drop_ratio=1))
            await stream.send(b"2")
            assert await stream.recv_many() == []
            with pytest.raises(UnavailableError, match="lost"):
                await stream.result()
            await cancelled.wait()
            world.network.clear_faults()
            await other.send(b"2")
            assert await other.recv_many() == [b"2"]
        assert world.network.statistics().frames_dropped == 1


async def test_a_lost_answer_leaves_the_outcome_unknown(autojump_clock):
    async with open_world() as world:
        world.network.set_faults("server", "client", LinkFaults(drop_ratio=1))
        with pytest.raises(UnavailableError):
            await world.unary(b"x")


async def test_reset_ends_every_call_of_the_connection(autojump_clock):
    async with open_world() as world:
        async with world.both() as one, world.both() as two:
            world.network.reset("client", "server")
            for stream in (one, two):
                with pytest.raises(UnavailableError, match="reset"):
                    await stream.result()
        assert await world.unary(b"again") == b"again"
        world.network.set_faults("client", "server", LinkFaults(reset_ratio=1))
        with pytest.raises(UnavailableError, match="reset"):
            await world.unary(b"x")
        assert world.network.statistics().connections_reset == 2


@pytest.mark.parametrize(
    ("source", "target"), [("client", "server"), ("server", "client")], ids=["there", "back"]
)
async def test_a_partition_that_heals_in_time_only_delays(autojump_clock, source, target):
    async with open_world() as world, world.both() as stream:
        await stream.send(b"1")
        assert await stream.recv_many() == [b"1"]
        world.network.set_faults(source, target, PARTITIONED)
        await stream.send(b"2")
        with trio.move_on_after(KEEPALIVE_SECONDS - 1) as scope:
            await stream.recv_many()
        assert scope.cancelled_caught
        assert world.network.statistics().frames_waiting == 1
        world.network.set_faults(source, target, NO_FAULTS)
        assert await stream.recv_many() == [b"2"]
        await trio.sleep(10 * KEEPALIVE_SECONDS)
        await stream.send(b"3")
        assert await stream.recv_many() == [b"3"]


@pytest.mark.parametrize(
    ("source", "target"), [("client", "server"), ("server", "client")], ids=["there", "back"]
)
async def test_keepalive_ends_calls_at_both_ends_of_a_partition(autojump_clock, source, target):
    left = []

    async def handler(stream):
        try:
            await trio.sleep_forever()
        finally:
            left.append(trio.current_time())

    async with open_world(both=handler) as world:
        async with world.both() as stream:
            await trio.sleep(100)
            began = trio.current_time()
            world.network.set_faults(source, target, PARTITIONED)
            with pytest.raises(UnavailableError, match="keepalive"):
                await stream.result()
            assert trio.current_time() - began == pytest.approx(KEEPALIVE_SECONDS)
        await wait_all_tasks_blocked()
        assert left == [pytest.approx(began + KEEPALIVE_SECONDS)]
        # A call begun in the partition gets the same time.
        began = trio.current_time()
        with pytest.raises(UnavailableError):
            await world.unary(b"x")
        assert trio.current_time() - began == pytest.approx(KEEPALIVE_SECONDS)
        world.network.clear_faults()
        assert await world.unary(b"x") == b"x"


async def test_a_server_learns_of_a_client_that_left_behind_a_partition(autojump_clock):
    left = []

    async def handler(stream):
        try:
            await trio.sleep_forever()
        finally:
            left.append(trio.current_time())

    async with open_world(both=handler) as world:
        async with world.both():
            await wait_all_tasks_blocked()
            world.network.set_faults("client", "server", PARTITIONED)
        await wait_all_tasks_blocked()
        assert left == []
        await trio.sleep(KEEPALIVE_SECONDS + 1)
        assert left == [pytest.approx(KEEPALIVE_SECONDS)]


async def test_deadlines_follow_the_virtual_clock(autojump_clock):
    async with open_world() as world:
        world.network.set_faults("client", "server", PARTITIONED)
        began = trio.current_time()
        with pytest.raises(TimedOutError):
            await world.unary(b"x", timeout=5)
        assert trio.current_time() - began == 5
        async with world.both(timeout=5) as stream:
            await stream.send(b"x")
            assert await stream.recv_many() == []
            with pytest.raises(TimedOutError):
                await stream.result()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send(b"x")
        world.network.clear_faults()
        assert await world.unary(b"late calls are not run") == b"late calls are not run"


async def history(seed):
    outcomes = []
    async with open_world(seed=seed) as world:
        faults = LinkFaults(drop_ratio=0.1, jitter_seconds=2, reset_ratio=0.05)
        world.network.set_faults("client", "server", faults)
        world.network.set_faults("server", "client", faults)
        for number in range(60):
            began = trio.current_time()
            try:
                await world.unary(b"%d" % number, timeout=3)
                outcomes.append((number, "ok", trio.current_time() - began))
            except (UnavailableError, TimedOutError) as error:
                outcomes.append((number, error.message, trio.current_time() - began))
    return outcomes


async def test_same_seed_same_history(autojump_clock):
    first = await history(7)
    assert await history(7) == [
        (number, outcome, pytest.approx(took)) for number, outcome, took in first
    ]
    assert {outcome for _, outcome, _ in first} >= {"ok", "the deadline is over"}
    assert [o[1] for o in await history(8)] != [o[1] for o in first]


async def test_calls_before_serve_wait_for_it(autojump_clock):
    network = MemoryNetwork()
    transport = MemoryTransport(network=network)
    server = transport.server()
    handler = grpc.unary_unary_rpc_method_handler(unary)
    server.add_registered_method_handlers("t.T", {"Unary": handler})
    address = server.listen("127.0.0.1:0")
    async with transport.connect(address) as channel, trio.open_nursery() as nursery:

        async def call():
            assert await channel.unary_unary("/t.T/Unary")(b"early") == b"early"
            nursery.cancel_scope.cancel()

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        await nursery.start(server.serve)
