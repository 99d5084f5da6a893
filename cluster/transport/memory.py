"""A transport of trio memory, for tests and simulations: same interface, no sockets, no threads.

Deadlines and delays follow trio's clock, so a test under ``MockClock`` runs at once and repeats
exactly. Everything above bytes (generated stubs, errors, limits, interceptors) is the code the
gRPC transports run. Faults of links: see :class:`.memory_network.MemoryNetwork`.

What it does not have: TLS, HTTP/2 metadata sizes.
"""

from __future__ import annotations

import contextvars
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import trio

from cluster.errors import Status
from cluster.limits import LIMITS, Limits
from cluster.transport.calling import Calling, StubChannel
from cluster.transport.memory_call import MemoryCall, MemoryClientStream, MemoryServerCall
from cluster.transport.memory_network import MemoryNetwork
from cluster.transport.methods import Method, MethodTable
from cluster.transport.raw import RawReply
from cluster.transport.serving import STOPPING, Serving, serve_call
from cluster.transport.status import CallStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from cluster.transport.interceptors import (
        ClientInterceptor,
        OutgoingCall,
        ServerInterceptor,
    )
    from cluster.transport.traffic import TransportStatistics


class MemoryServer:
    """Serves registered servicers (:class:`cluster.transport.api.Server`)."""

    def __init__(self, network: MemoryNetwork, serving: Serving) -> None:
        self.serving = serving
        self._network = network
        self._methods = MethodTable()
        self._addresses: list[str] = []
        self._early: list[tuple[MemoryServerCall, Method, bytes | None]] = []
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.copy_context()
        self._served = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Called by generated ``add_XServicer_to_server``."""
        self._methods.add_generic(handlers)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Called by generated ``add_XServicer_to_server``."""
        self._methods.add_registered(service, handlers)

    def services(self) -> tuple[str, ...]:
        """Full names of the services registered, sorted."""
        return self._methods.services()

    def statistics(self) -> TransportStatistics:
        """Counters since the server was made."""
        return self.serving.traffic.statistics()

    def listen(self, address: str) -> str:
        """Binds ``host:port`` (port 0: any free one) and returns the address bound.

        Raises OSError if the address is taken or is no address.
        """
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdecimal():
            raise OSError(f"cannot listen on {address}: not host:port")
        if port == "0":
            address = self._network.free_address(host)
        if address in self._network.servers:
            raise OSError(f"cannot listen on {address}: taken")
        self._network.servers[address] = self
        self._addresses.append(address)
        return address

    async def serve(
        self,
        *,
        grace_seconds: float = 5.0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled; then handlers are cancelled, statuses sent, addresses freed.

        ``grace_seconds`` changes nothing: memory takes a status at once.
        """
        if self._served:
            raise RuntimeError("a server serves once")
        self._served = True
        self._context = contextvars.copy_context()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                early, self._early = self._early, []
                for call, method, request in early:
                    self._spawn(nursery, call, method, request)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # Before the nursery closes: calls that still arrive must not be spawned.
                    self._nursery = None
        finally:
            for address in self._addresses:
                del self._network.servers[address]

    def accept(self, call: MemoryServerCall, path: str, request: bytes | None) -> None:
        """Takes a call that has arrived. Calls before :meth:`serve` wait for it."""
        method = self._methods.find(path)
        if method is None:
            call.finish(CallStatus(Status.UNIMPLEMENTED, f"no method {path}"), (), None)
        elif method.request_streaming != (request is None):
            call.finish(CallStatus(Status.UNIMPLEMENTED, "one request expected"), (), None)
        elif self._nursery is not None:
            self._spawn(self._nursery, call, method, request)
        elif self._served:
            call.finish(STOPPING, (), None)
        else:
            self._early.append((call, method, request))

    def _spawn(
        self, nursery: trio.Nursery, call: MemoryServerCall, method: Method, request: bytes | None
    ) -> None:
        # In the server's context, not in that of the client whose task may be running this.
        spawn = partial(
            nursery.start_soon, serve_call, self.serving, call, method, request, name=method.path
        )
        self._context.copy().run(spawn)


class MemoryChannel(StubChannel):
    """One connection (:class:`cluster.transport.api.Channel`). Use as ``async with``.

    Leaving the block ends the calls still under way with UnavailableError.
    """

    def __init__(self, network: MemoryNetwork, source: str, address: str, calling: Calling) -> None:
        super().__init__(calling)
        self.network = network
        self.source = source
        self.address = address
        self.target = address.rpartition(":")[0]
        self._open: bool | None = None
        self._calls: dict[MemoryCall, None] = {}

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("a channel is opened once: make a new one")
        await trio.lowlevel.checkpoint()
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        for call in tuple(self._calls):
            call.client.close("the channel was closed")
        await trio.lowlevel.cancel_shielded_checkpoint()

    def began(self, call: MemoryCall) -> None:
        """Counts a call as live."""
        if not self._calls:
            limits = self.calling.limits
            self.network.opened(
                self, limits.grpc_keepalive_seconds + limits.grpc_keepalive_timeout_seconds
            )
        self._calls[call] = None

    def ended(self, call: MemoryCall) -> None:
        """Both ends of a call are over."""
        if self._calls.pop(call, self) is None and not self._calls:
            self.network.closed(self)

    def broken(self, reason: str) -> None:
        """Ends every call with UNAVAILABLE at both ends."""
        for call in tuple(self._calls):
            call.broken(reason)

    async def raw_unary(self, call: OutgoingCall, payload: bytes) -> RawReply:
        """Makes one unary call."""
        await trio.lowlevel.checkpoint_if_cancelled()
        stream = self.raw_stream(call, payload)
        if self.network.link(self.source, self.target).duplicates():
            MemoryCall(self, call, payload)
        try:
            status = await stream.status()
        finally:
            stream.cancel()
        messages = stream.take()
        return RawReply(status, messages[0] if messages else None, stream.trailing)

    def raw_stream(self, call: OutgoingCall, payload: bytes | None) -> MemoryClientStream:
        """Starts one streaming call."""
        if self._open is None:
            raise RuntimeError("open the channel first: `async with transport.connect(...)`")
        if not self._open:
            raise trio.ClosedResourceError("the channel is closed")
        return MemoryCall(self, call, payload).client


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTransport:
    """What servers and channels of one host are made with (:class:`.api.Transport`).

    ``host`` names the links its channels use; servers are on the host of their address.
    """

    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    host: str = "127.0.0.1"
    limits: Limits = LIMITS
    interceptors: Sequence[ServerInterceptor] = ()
    client_interceptors: Sequence[ClientInterceptor] = ()

    def server(self) -> MemoryServer:
        """A server that is not listening yet."""
        return MemoryServer(self.network, Serving(self.interceptors, self.limits))

    def connect(self, address: str) -> MemoryChannel:
        """A channel to ``host:port``; connecting is lazy."""
        calling = Calling(self.client_interceptors, self.limits)
        return MemoryChannel(self.network, self.host, address, calling)
