"""A bad link between two real sockets on loopback."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cluster.faults.composition import NO_DIRECTION_FAULTS, DirectionFaults
from cluster.faults.worker import LINE_BYTES, PIECE_BYTES, Direction, Link

GOOD = NO_DIRECTION_FAULTS
CUT = DirectionFaults(is_cut=True)
STALLED = DirectionFaults(is_stalled=True)
PATIENCE_SECONDS = 10


class Ends:
    """A link, what dials it and what accepts at its other end."""

    def __init__(self, link, address, listener):
        self.link = link
        self._address = address
        self._listener = listener
        self._streams = []

    async def dial(self):
        host, _, port = self._address.rpartition(":")
        self._streams.append(await trio.open_tcp_stream(host, int(port)))
        return self._streams[-1]

    async def accept(self):
        self._streams.append(await self._listener.accept())
        return self._streams[-1]

    async def close(self):
        for stream in self._streams:
            await stream.aclose()

    async def joined(self):
        dialer = await self.dial()
        acceptor = await self.accept()
        await dialer.send_all(b"?")  # once this is through, the link knows of the connection
        assert await acceptor.receive_some() == b"?"
        return dialer, acceptor


@pytest.fixture
async def ends(nursery):
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    link = Link(random.Random(1))
    host, port = listener.socket.getsockname()[:2]
    link.upstream = f"{host}:{port}"
    async with listener:
        address = await nursery.start(link.run)
        with trio.fail_after(PATIENCE_SECONDS):
            ends = Ends(link, address, listener)
            yield ends
            await ends.close()


async def read(stream, size):
    data = bytearray()
    while len(data) < size and (piece := await stream.receive_some()):
        data += piece
    return bytes(data)


@asynccontextmanager
async def nothing_comes(stream):
    """While the block runs, nothing arrives; afterwards what was sent meanwhile does."""
    came = trio.Event()

    async def hear():
        assert await stream.receive_some()
        came.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        yield came


async def test_a_good_link_passes_everything_both_ways_and_its_end(ends):
    dialer, acceptor = await ends.joined()
    big = random.Random(2).randbytes(3 * LINE_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialer.send_all, big)
        assert await read(acceptor, len(big)) == big
    await acceptor.send_all(b"answer")
    await dialer.send_eof()
    assert await read(dialer, 6) == b"answer"
    assert await acceptor.receive_some() == b""
    await acceptor.send_all(b"after")
    await acceptor.aclose()
    assert await read(dialer, 6) == b"after"
    statistics = ends.link.statistics()
    assert statistics.connections == 1
    assert statistics.forwarded_bytes == len(big) + 12
    assert statistics.broken == 0


@pytest.mark.parametrize("held", [CUT, STALLED])
async def test_a_held_direction_passes_nothing_until_it_is_free(ends, held):
    dialer, acceptor = await ends.joined()
    ends.link.suffer(held, GOOD)
    async with nothing_comes(acceptor) as came:
        await dialer.send_all(b"late")
        await acceptor.send_all(b"other way")  # passes: so the first had its time, too
        assert await read(dialer, 9) == b"other way"
        assert not came.is_set()
        ends.link.suffer(GOOD, GOOD)
        await came.wait()


async def test_a_stall_fills_the_senders_window(ends):
    dialer, acceptor = await ends.joined()
    ends.link.suffer(STALLED, GOOD)
    big = bytes(8 * LINE_BYTES)
    sent = trio.Event()

    async def send():
        await dialer.send_all(big)
        sent.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.move_on_after(0.2):
            await sent.wait()
        assert not sent.is_set(), "more was taken than windows hold"
        ends.link.suffer(GOOD, GOOD)
        assert len(await read(acceptor, len(big))) == len(big)


async def test_nothing_connects_through_a_cut_but_a_stall_lets_it(ends):
    ends.link.suffer(GOOD, STALLED)
    dialer, acceptor = await ends.joined()
    ends.link.suffer(GOOD, CUT)
    await ends.dial()
    accepted = trio.Event()

    async def accept():
        await ends.accept()
        accepted.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await dialer.send_all(b"y")
        assert await acceptor.receive_some() == b"y"
        assert not accepted.is_set()
        ends.link.suffer(GOOD, GOOD)
        await accepted.wait()


async def test_a_delay_is_for_each_piece_and_its_end_frees_what_is_on_its_way(ends):
    dialer, acceptor = await ends.joined()
    ends.link.suffer(DirectionFaults(delay_seconds=0.1, jitter_seconds=0.02), GOOD)
    began = trio.current_time()
    for letter in b"abc":
        await dialer.send_all(bytes([letter]))
    assert await read(acceptor, 3) == b"abc"
    assert trio.current_time() - began >= 0.1
    ends.link.suffer(DirectionFaults(delay_seconds=3600.0), GOOD)
    async with nothing_comes(acceptor) as came:
        await dialer.send_all(b"d")
        await acceptor.send_all(b"other way")
        assert await read(dialer, 9) == b"other way"
        assert not came.is_set()
        ends.link.suffer(GOOD, GOOD)
        await came.wait()


async def test_a_narrow_link_takes_its_time(ends):
    dialer, acceptor = await ends.joined()
    ends.link.suffer(DirectionFaults(bytes_per_second=100_000), GOOD)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialer.send_all, bytes(20_000))
        assert len(await read(acceptor, 20_000)) == 20_000
    assert trio.current_time() - began >= 0.15


async def test_pieces_are_small_where_the_link_is_narrow():
    way = Direction(random.Random(1))
    assert way.piece_bytes() == PIECE_BYTES
    way.suffer(DirectionFaults(bytes_per_second=1000))
    assert way.piece_bytes() == 20
    way.suffer(DirectionFaults(bytes_per_second=1))
    assert way.piece_bytes() == 1


async def test_a_reset_breaks_what_is_connected_once(ends):
    dialer, acceptor = await ends.joined()
    resets = DirectionFaults(resets=frozenset({"f1"}))
    ends.link.suffer(resets, GOOD)
    for stream in (dialer, acceptor):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    dialer, acceptor = await ends.joined()
    ends.link.suffer(resets, GOOD)  # told again, it is the same fault
    await dialer.send_all(b"x")
    assert await acceptor.receive_some() == b"x"
    assert ends.link.statistics().broken == 1


async def test_a_lost_piece_breaks_its_connection(ends):
    dialer, acceptor = await ends.joined()
    ends.link.suffer(GOOD, DirectionFaults(break_ratio=1.0))
    await dialer.send_all(b"x")
    assert await acceptor.receive_some() == b"x"
    await acceptor.send_all(b"y")
    with pytest.raises(trio.BrokenResourceError):
        await dialer.receive_some()
    assert ends.link.statistics().open_connections == 0


async def test_the_end_of_an_acceptor_is_the_dialers(ends):
    dialer, acceptor = await ends.joined()
    acceptor.setsockopt(
        trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4)
    )
    await acceptor.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await dialer.receive_some()


async def test_nobody_at_the_other_end_is_nobody_at_this_one(ends):
    ends.link.upstream = ""
    dialer = await ends.dial()
    with pytest.raises(trio.BrokenResourceError):
        await dialer.receive_some()
