"""The server of the fallback: grpc.aio's public API on an asyncio loop that trio hosts."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import grpc
import trio
from grpc import aio

from cluster.errors import Status
from cluster.transport.asyncio_host import HostedLoop, hosted_loop
from cluster.transport.fallback_stream import FallbackStream
from cluster.transport.methods import Method, MethodTable
from cluster.transport.options import server_options
from cluster.transport.serving import STOPPING, Serving, serve_call
from cluster.transport.status import CALL_OK, DETAILS_KEY, CallStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.transport.api import Metadata
    from cluster.transport.credentials import ServerCredentials
    from cluster.transport.traffic import TransportStatistics

_HOLD_BACK_SECONDS = 0.01
"""See :data:`.core_server._HOLD_BACK_SECONDS`."""

GRPC_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class _FallbackCall(FallbackStream):
    """One call at the server, unary ones too: on the wire they are streams of one message."""

    def __init__(self, loop: HostedLoop, serving: Serving, context: Any) -> None:
        super().__init__(loop, serving.limits)
        self._context = context
        self._status = CALL_OK
        self._trailing: Metadata = ()
        self._finished = False
        self._peer_gone = False
        self.scope = trio.CancelScope()
        self.metadata: Metadata = tuple(context.invocation_metadata() or ())
        # Read now: after the call grpc.aio's context points to memory that has been freed.
        self.peer: str = context.peer()
        left = context.time_remaining()
        self._deadline = math.inf if left is None else trio.current_time() + left

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - trio.current_time())

    @property
    def is_over(self) -> bool:
        return self._peer_gone or self._outgoing.is_over

    def finish(self, status: CallStatus, trailing: Metadata, payload: bytes | None) -> None:
        """Ends the call after what was sent; only the first call counts."""
        if self._finished:
            return
        self._finished = True
        self._status = status
        self._trailing = trailing
        if payload is not None:
            self._outgoing.reserve(len(payload))
            self._outbox.append(payload)
        self.close_send()

    def _peer_left(self) -> None:
        self._peer_gone = True
        # First: a handler must not take a broken stream for a finished one.
        self.scope.cancel()
        self._end()

    async def handle(self, server: FallbackServer, method: Method) -> None:
        """The call from its first to its last message, in asyncio."""
        reader: asyncio.Task[None] | None = None
        try:
            if method.request_streaming:
                reader = self._loop.create_task(self._read())
                server.spawn(self, method, None)
            else:
                request = await self._context.read()
                if request is aio.EOF:
                    self.finish(CallStatus(Status.UNIMPLEMENTED, "one request expected"), (), None)
                else:
                    self._incoming.end()
                    server.spawn(self, method, request)
            await self._write_behind(self._context.write)
            self._set_status()
        except asyncio.CancelledError:
            # Cancelled by the client, its deadline, a lost connection or the end of the grace.
            self._peer_left()
            raise
        except (aio.AioRpcError, aio.InternalError, aio.UsageError):
            self._peer_left()  # a write to a client that has just left
        finally:
            if reader is not None:
                reader.cancel()

    async def _read(self) -> None:
        await self._read_ahead(self._context.read, aio.EOF)
        # The end of a stream is reported just before the cancellation that caused it, if any.
        await asyncio.sleep(_HOLD_BACK_SECONDS)
        # Past the deadline the cancellation is certain to come, if only later.
        if self.seconds_left > 0:
            self._incoming.end()

    def _set_status(self) -> None:
        trailing = self._trailing
        if self._status.details:
            trailing = (*trailing, (DETAILS_KEY, self._status.details))
        if trailing:
            self._context.set_trailing_metadata(trailing)
        if self._status.code is not Status.OK:
            self._context.set_code(GRPC_STATUS[int(self._status.code)])
            self._context.set_details(self._status.message)


class _Router(grpc.GenericRpcHandler):
    """Sends every call to the method table, as bytes."""

    def __init__(self, server: FallbackServer, loop: HostedLoop, methods: MethodTable) -> None:
        self._server = server
        self._loop = loop
        self._methods = methods

    def service(self, handler_call_details: Any) -> Any:
        """Called by grpc.aio for each call."""
        method = self._methods.find(handler_call_details.method)
        if method is None:
            return None
        found = method

        async def handle(_: Any, context: Any) -> None:
            call = _FallbackCall(self._loop, self._server.serving, context)
            await call.handle(self._server, found)

        return grpc.stream_stream_rpc_method_handler(handle)


class FallbackServer:
    """Serves registered servicers (:class:`cluster.transport.api.Server`). Make one per address."""

    def __init__(self, serving: Serving, credentials: ServerCredentials | None) -> None:
        self.serving = serving
        self._credentials = credentials
        self._methods = MethodTable()
        self._server: Any = None
        self._nursery: trio.Nursery
        self._stopping = False
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

    def _opened(self) -> Any:
        if self._server is None:
            loop = hosted_loop()
            with loop.running():
                self._server = aio.server(
                    handlers=[_Router(self, loop, self._methods)],
                    options=server_options(self.serving.limits),
                )
        return self._server

    def listen(self, address: str) -> str:
        """Binds ``host:port`` (port 0: any free one) and returns the address bound.

        Raises OSError if the address is taken or is no address.
        """
        server = self._opened()
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials.to_grpc())
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        return f"{address.rpartition(':')[0]}:{port}"

    async def serve(
        self,
        *,
        grace_seconds: float = 5.0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled; then handlers are cancelled, statuses flushed, port freed."""
        if self._served:
            raise RuntimeError("a server serves once")
        self._served = True
        server = self._opened()
        loop = hosted_loop()
        try:
            async with trio.open_nursery() as self._nursery:
                await loop.run(server.start())
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # Before the nursery closes: calls that still arrive must not be spawned.
                    self._stopping = True
        finally:
            await loop.run(server.stop(grace_seconds))
            self._server = None

    def spawn(self, call: _FallbackCall, method: Method, request: bytes | None) -> None:
        """Starts the handler of a call that has arrived."""
        if self._stopping:
            call.finish(STOPPING, (), None)
        else:
            self._nursery.start_soon(
                serve_call, self.serving, call, method, request, name=method.path
            )
