"""What every transport offers: the one interface services and clients are written against.

Three implementations: gRPC's C-core driven from trio (:mod:`cluster.transport.core`), the same
on grpcio's public API (:mod:`cluster.transport.fallback`) and memory
(:mod:`cluster.transport.memory`). All of them serve servicers registered by generated
``add_XServicer_to_server`` functions and are called through generated ``XStub(channel)`` classes.

Servicer methods are trio coroutines::

    async def Ingest(self, request, call: Call) -> Response          # unary
    async def Query(self, request, stream: ServerStream) -> None     # server streaming
    async def Follow(self, stream: ServerStream) -> None             # bidirectional

Stub methods::

    response = await stub.Ingest(request, timeout=5.0, metadata=(("k", "v"),))
    async with stub.Query(request, timeout=30.0) as stream:          # server streaming
        async for message in stream: ...
    async with stub.Follow() as stream:                              # bidirectional
        await stream.send(message); batch = await stream.recv_many()

Guarantees of every implementation:

- Messages of a stream arrive in the order sent, each whole, none twice.
- A client that leaves a stream's block early, or is cancelled, cancels the handler's trio scope.
- A handler that raises :class:`cluster.errors.RemoraError` ends the call with its gRPC status and
  ``google.rpc`` details; the client raises an equal error of the same class (matched by
  ``ErrorInfo.reason``). Other exceptions become INTERNAL without their text.
- A deadline ends the call on both sides with DEADLINE_EXCEEDED (:class:`TimedOutError`).
- Sending parks while the peer is 32 messages or 4 MiB behind (back-pressure).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from cluster.transport.traffic import TransportStatistics

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)
RequestIn = TypeVar("RequestIn", covariant=True)
ResponseOut = TypeVar("ResponseOut", contravariant=True)

Metadata = tuple[tuple[str, str | bytes], ...]
"""Metadata pairs; keys are lower-case, keys that end in ``-bin`` carry bytes."""


class Call(Protocol):
    """What a handler knows about the call it serves."""

    @property
    def method(self) -> str:
        """Full path, ``/package.Service/Method``."""

    @property
    def metadata(self) -> Metadata:
        """Metadata the client sent."""

    @property
    def peer(self) -> str:
        """Address of the client, for logs."""

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Metadata to send with the status."""


class ServerStream(Call, Protocol[RequestIn, ResponseOut]):
    """A handler's end of a stream."""

    async def recv_many(self) -> Sequence[RequestIn]:
        """Every message that has arrived, at least one; ``[]`` when the client has closed."""

    async def send(self, message: ResponseOut) -> None:
        """Sends one message; parks while the window is full. BrokenResourceError: call is over."""


class ClientStream(Protocol[Request, Response]):
    """A client's end of a stream. Use as ``async with``; leaving early cancels the call."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

    async def send(self, message: Request) -> None:
        """Sends one message; parks while the window is full. BrokenResourceError: call is over."""

    def close_send(self) -> None:
        """No more messages will be sent; what was sent still goes out."""

    async def recv_many(self) -> Sequence[Response]:
        """Every message that has arrived, at least one; ``[]`` when the server has finished."""

    async def result(self) -> None:
        """Waits for the final status; raises the typed error unless it is OK."""

    def __aiter__(self) -> AsyncIterator[Response]:
        """The messages one by one, then :meth:`result`."""


class Channel(Protocol):
    """A connection to one address; made by ``Transport.connect``. Generated stubs take it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

    def statistics(self) -> TransportStatistics:
        """Counters since the channel was made."""

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Called by generated stubs."""

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Called by generated stubs."""

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Called by generated stubs."""


class Server(Protocol):
    """Serves registered servicers; made by ``Transport.server``."""

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Called by generated ``add_XServicer_to_server``."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Called by generated ``add_XServicer_to_server``."""

    def services(self) -> tuple[str, ...]:
        """Full names of the services registered, sorted."""

    def statistics(self) -> TransportStatistics:
        """Counters since the server was made."""

    def listen(self, address: str) -> str:
        """Binds ``host:port`` (port 0: any free one) and returns the address bound.

        Raises OSError if the address is taken.
        """

    async def serve(self, *, grace_seconds: float = ..., task_status: Any = ...) -> None:
        """Serves until cancelled; then handlers are cancelled, statuses flushed, port freed."""


class Transport(Protocol):
    """A way to talk: gRPC, its fallback, or memory."""

    def server(self) -> Server:
        """A server that is not listening yet."""

    def connect(self, address: str) -> Channel:
        """A channel to ``host:port``; connecting is lazy."""
