"""The client side above bytes: what generated stubs call.

Transports subclass :class:`StubChannel` and move bytes.
"""

from __future__ import annotations

import collections
import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from cluster.errors import ProtocolError, Status
from cluster.limits import LIMITS, Limits
from cluster.transport.interceptors import OutgoingCall
from cluster.transport.metadata import checked_metadata
from cluster.transport.serving import check_message_size
from cluster.transport.status import error_of
from cluster.transport.traffic import Traffic, TransportStatistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from types import TracebackType

    from cluster.transport.api import Metadata
    from cluster.transport.interceptors import ClientInterceptor
    from cluster.transport.raw import RawClientStream, RawReply


@dataclass(frozen=True, slots=True)
class Calling:
    """What all calls of one channel share."""

    interceptors: Sequence[ClientInterceptor] = ()
    limits: Limits = LIMITS
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class _Codec:
    """One method as a stub knows it."""

    channel: StubChannel
    path: str
    serialize_request: Callable[[Any], bytes]
    deserialize_response: Callable[[bytes], Any]

    def serialized(self, message: Any) -> bytes:
        """One request, encoded and within the limit."""
        payload = self.serialize_request(message)
        check_message_size(len(payload), self.channel.calling.limits, self.path)
        return payload

    def parsed(self, payload: bytes) -> Any:
        """One response, decoded."""
        self.channel.calling.traffic.received(payload)
        try:
            return self.deserialize_response(payload)
        except Exception as error:
            raise ProtocolError(f"a response of {self.path} does not parse: {error}") from error

    def outgoing(
        self, timeout: float | None, metadata: Iterable[tuple[str, str | bytes]] | None
    ) -> OutgoingCall:
        """The call, checked at the door."""
        if timeout is not None and math.isnan(timeout):
            raise ValueError("timeout must be a number of seconds, not NaN")
        seconds = None if timeout is None or math.isinf(timeout) else timeout
        return OutgoingCall(self.path, seconds, checked_metadata(metadata))


class UnaryCallable:
    """``await stub.Method(request, timeout=seconds, metadata=pairs)``."""

    __slots__ = ("_codec",)

    def __init__(self, codec: _Codec) -> None:
        self._codec = codec

    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC deadlines travel to the server
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
    ) -> Any:
        """The response. Raises the typed error the call ended with.

        Raises LimitExceededError, before anything is sent, if the request is too large, and
        ValueError if timeout or metadata are invalid.
        """
        response, _ = await self.with_trailing_metadata(request, timeout=timeout, metadata=metadata)
        return response

    async def with_trailing_metadata(
        self,
        request: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
    ) -> tuple[Any, Metadata]:
        """The response and the metadata sent with the status."""
        codec = self._codec
        payload = codec.serialized(request)
        call = codec.outgoing(timeout, metadata)
        interceptors = codec.channel.calling.interceptors
        if not interceptors:
            return self._decoded(await self._called(call, payload))
        async with contextlib.AsyncExitStack() as stack:
            for interceptor in interceptors:
                call = await stack.enter_async_context(interceptor(call))
            return self._decoded(await self._called(call, payload))
        raise AssertionError("a client interceptor swallowed the error of its call")

    async def _called(self, call: OutgoingCall, payload: bytes) -> RawReply:
        channel = self._codec.channel
        traffic = channel.calling.traffic
        traffic.started()
        traffic.sent(payload)
        status = Status.CANCELLED
        try:
            reply = await channel.raw_unary(call, payload)
            status = reply.status.code
            return reply
        finally:
            traffic.ended(status)

    def _decoded(self, reply: RawReply) -> tuple[Any, Metadata]:
        if reply.status.code is not Status.OK:
            raise error_of(reply.status)
        if reply.payload is None:
            raise ProtocolError(f"{self._codec.path} ended with OK but without a response")
        return self._codec.parsed(reply.payload), reply.trailing


class StubStream:
    """A client's end of a stream (:class:`cluster.transport.api.ClientStream`)."""

    def __init__(self, codec: _Codec, call: OutgoingCall, payload: bytes | None) -> None:
        self._codec = codec
        self._call = call
        self._payload = payload
        self._stack = contextlib.AsyncExitStack()
        self._stream: RawClientStream | None = None
        self._status: Status | None = None

    @property
    def _raw(self) -> RawClientStream:
        if self._stream is None:
            raise RuntimeError(f"use {self._codec.path} as `async with stub.Method(...) as stream`")
        return self._stream

    async def __aenter__(self) -> Self:
        if self._stream is not None:
            raise RuntimeError("a stream is one call: make a new one to call again")
        channel, call = self._codec.channel, self._call
        await self._stack.__aenter__()
        try:
            for interceptor in channel.calling.interceptors:
                call = await self._stack.enter_async_context(interceptor(call))
            self._stream = channel.raw_stream(call, self._payload)
        except BaseException as error:
            if not await self._stack.__aexit__(type(error), error, error.__traceback__):
                raise
            raise AssertionError("a client interceptor swallowed the error of its call") from error
        channel.calling.traffic.started()
        if self._payload is not None:
            channel.calling.traffic.sent(self._payload)
            self._payload = None
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._raw.cancel()
        left = Status.CANCELLED if self._status is None else self._status
        self._codec.channel.calling.traffic.ended(left)
        return await self._stack.__aexit__(exc_type, exc, traceback)

    @property
    def trailing_metadata(self) -> Metadata:
        """Metadata the server sent with the status; empty before the end."""
        return self._raw.trailing

    async def send(self, message: Any) -> None:
        """Sends one message; parks while the window is full.

        Raises LimitExceededError if it is too large (nothing is sent) and BrokenResourceError if
        the call is over; :meth:`result` then says why.
        """
        payload = self._codec.serialized(message)
        self._codec.channel.calling.traffic.sent(payload)
        await self._raw.send(payload)

    def close_send(self) -> None:
        """No more messages will be sent; what was sent still goes out."""
        self._raw.close_send()

    async def recv_many(self) -> list[Any]:
        """Every message that has arrived, at least one; ``[]`` when the server has finished.

        ``[]`` says nothing about success: :meth:`result` does.
        """
        return [self._codec.parsed(payload) for payload in await self._raw.recv_many()]

    async def result(self) -> None:
        """Waits for the final status; raises the typed error unless it is OK."""
        status = await self._raw.status()
        self._status = status.code
        if status.code is not Status.OK:
            raise error_of(status)

    def __aiter__(self) -> AsyncIterator[Any]:
        """The messages one by one, then :meth:`result`."""
        return _Messages(self)


class _Messages:
    """Iterates a stream. Not a generator: leaving the loop early leaves nothing to close."""

    __slots__ = ("_batch", "_stream")

    def __init__(self, stream: StubStream) -> None:
        self._stream = stream
        self._batch: collections.deque[Any] = collections.deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if not self._batch:
            self._batch.extend(await self._stream.recv_many())
        if not self._batch:
            await self._stream.result()
            raise StopAsyncIteration
        return self._batch.popleft()


class _SingleRequestCallable:
    __slots__ = ("_codec",)

    def __init__(self, codec: _Codec) -> None:
        self._codec = codec

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
    ) -> StubStream:
        codec = self._codec
        return StubStream(codec, codec.outgoing(timeout, metadata), codec.serialized(request))


class _StreamedRequestCallable:
    __slots__ = ("_codec",)

    def __init__(self, codec: _Codec) -> None:
        self._codec = codec

    def __call__(
        self,
        *,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
    ) -> StubStream:
        return StubStream(self._codec, self._codec.outgoing(timeout, metadata), None)


def _identity(message: Any) -> Any:
    return message


class StubChannel:
    """Base of every channel: what generated ``XStub`` classes ask for."""

    def __init__(self, calling: Calling) -> None:
        self.calling = calling

    def statistics(self) -> TransportStatistics:
        """Counters since the channel was made."""
        return self.calling.traffic.statistics()

    async def raw_unary(self, call: OutgoingCall, payload: bytes) -> RawReply:
        """Makes one unary call; cancelling it cancels the call."""
        raise NotImplementedError

    def raw_stream(self, call: OutgoingCall, payload: bytes | None) -> RawClientStream:
        """Starts one streaming call; with ``payload`` as its only request unless None."""
        raise NotImplementedError

    def _codec(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
    ) -> _Codec:
        return _Codec(
            self, method, request_serializer or _identity, response_deserializer or _identity
        )

    # `_registered_method` is an optimisation hint of grpcio's own channels.

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> UnaryCallable:
        """One request, one response."""
        return UnaryCallable(self._codec(method, request_serializer, response_deserializer))

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> Callable[..., StubStream]:
        """One request, a stream of responses."""
        codec = self._codec(method, request_serializer, response_deserializer)
        return _SingleRequestCallable(codec)

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> Callable[..., StubStream]:
        """A stream of requests, a stream of responses."""
        codec = self._codec(method, request_serializer, response_deserializer)
        return _StreamedRequestCallable(codec)

    stream_unary = stream_stream
    """A stream of requests, one response: a stream that receives one message."""
