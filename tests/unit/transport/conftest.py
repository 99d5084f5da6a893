"""A small service of raw bytes on any transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio

from cluster.transport.core import GrpcTransport
from cluster.transport.fallback import FallbackTransport
from cluster.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TRANSPORTS = {"core": GrpcTransport, "fallback": FallbackTransport, "memory": MemoryTransport}


@dataclass(frozen=True)
class Pair:
    """A server and a channel to it. ``unary``, ``serve``, ``both``, ``collect`` call it."""

    server: Any
    channel: Any
    address: str
    nursery: trio.Nursery
    """The server's; cancel it to stop the server."""

    @property
    def unary(self) -> Any:
        return self.channel.unary_unary("/test.Service/Unary")

    @property
    def serve(self) -> Any:
        return self.channel.unary_stream("/test.Service/Serve")

    @property
    def both(self) -> Any:
        return self.channel.stream_stream("/test.Service/Both")

    @property
    def collect(self) -> Any:
        return self.channel.stream_unary("/test.Service/Collect")


def register(server: Any, **handlers: Any) -> None:
    """What generated code does, for messages that are bytes."""
    kinds = {
        "unary": grpc.unary_unary_rpc_method_handler,
        "serve": grpc.unary_stream_rpc_method_handler,
        "both": grpc.stream_stream_rpc_method_handler,
        "collect": grpc.stream_unary_rpc_method_handler,
    }
    methods = {name.title(): kinds[name](handler) for name, handler in handlers.items()}
    server.add_registered_method_handlers("test.Service", methods)


@asynccontextmanager
async def open_pair(server_side: Any, client_side: Any, **handlers: Any) -> AsyncIterator[Pair]:
    server = server_side.server()
    register(server, **handlers)
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with client_side.connect(address) as channel:
            yield Pair(server, channel, address, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture(params=sorted(TRANSPORTS))
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a transport; tests that ask for it run on all of them."""
    return str(request.param)


@pytest.fixture
def make_transport(kind: str) -> Callable[..., Any]:
    """Makes transports of one kind; those of memory share one network."""
    if kind != "memory":
        return TRANSPORTS[kind]
    network = MemoryTransport().network
    return lambda **options: MemoryTransport(network=network, **options)


@pytest.fixture
def pair(make_transport: Callable[..., Any]) -> Callable[..., Any]:
    """``async with pair(unary=handler, ...) as p``: a server with these handlers, and a channel.

    ``transport`` is both sides' unless ``client`` is given.
    """

    def make(transport: Any = None, client: Any = None, **handlers: Any) -> Any:
        transport = transport or make_transport()
        return open_pair(transport, client or transport, **handlers)

    return make


@pytest.fixture
def until() -> Callable[..., Any]:
    """``await until(lambda: condition)``: gives way until it holds, for at most 5 seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not condition():
                await trio.lowlevel.checkpoint()

    return wait
