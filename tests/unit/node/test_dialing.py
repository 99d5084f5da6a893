"""Where a node calls its coordinator: where it was told, elsewhere, and back."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from cluster.errors import ConflictError
from cluster.faults.link import nobody_listens
from cluster.node.dialing import Dialer


class Transport:
    """Remembers where channels were opened, and which of them are open."""

    def __init__(self):
        self.called = []
        self.open = []

    def connect(self, address):
        return Channel(self, address)


class Channel:
    def __init__(self, transport, address):
        self._transport = transport
        self.address = address

    async def __aenter__(self):
        self._transport.called.append(self.address)
        self._transport.open.append(self.address)
        return self

    async def __aexit__(self, *error):
        self._transport.open.remove(self.address)


async def for_ever(channel):
    await trio.sleep_forever()


async def test_a_node_calls_where_it_is_told_and_back(nursery):
    transport = Transport()
    dialer = Dialer("first:1", transport)
    nursery.start_soon(dialer.keep, for_ever)
    await trio.testing.wait_all_tasks_blocked()
    for address in ("", "first:1", "proxy:1", "proxy:1", "proxy:2", ""):
        dialer.call_at(address)
        await trio.testing.wait_all_tasks_blocked()
    assert transport.called == ["first:1", "proxy:1", "proxy:2", "first:1"]
    assert transport.open == ["first:1"]


async def test_a_refusal_ends_it():
    transport = Transport()
    refusal = ConflictError("another process")

    async def refuse(channel):
        return refusal

    assert await Dialer("first:1", transport).keep(refuse) is refusal
    assert transport.open == []


async def test_a_node_goes_back_when_nobody_is_there_and_not_again(nursery):
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()[:2]
    transport = Transport()
    dialer = Dialer("first:1", transport)
    called = trio.Event()
    calls = []

    async def count_calls(channel):
        calls.append(channel.address)
        if len(calls) == 3:
            called.set()
        await trio.sleep_forever()

    nursery.start_soon(dialer.keep, count_calls)
    await trio.testing.wait_all_tasks_blocked()
    dialer.failed()  # of no consequence: there is nowhere to go back to
    dialer.call_at(f"{host}:{port}")
    await trio.testing.wait_all_tasks_blocked()
    await listener.aclose()
    dialer.failed()
    with trio.fail_after(10):
        await called.wait()
    assert calls == ["first:1", f"{host}:{port}", "first:1"]
    dialer.call_at(f"{host}:{port}")  # the coordinator does not know yet
    await trio.testing.wait_all_tasks_blocked()
    assert len(calls) == 3


async def test_silence_is_not_absence(autojump_clock):
    listener = trio.socket.socket()
    with listener:
        await listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        assert await nobody_listens(f"{host}:{port}")  # bound, and does not listen
        listener.listen()
        assert not await nobody_listens(f"{host}:{port}")  # listens, and never accepts
    assert await nobody_listens(f"{host}:{port}")


@pytest.mark.parametrize("address", ["no such host:1"])
async def test_nobody_is_where_there_is_no_host(address):
    assert await nobody_listens(address)
