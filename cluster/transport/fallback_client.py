"""The channel of the fallback: grpc.aio's public API on an asyncio loop that trio hosts."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, Self

import trio
from grpc import aio

from cluster.errors import Status, UnavailableError
from cluster.transport.asyncio_host import HostedLoop, hosted_loop
from cluster.transport.calling import Calling, StubChannel
from cluster.transport.fallback_stream import FallbackStream
from cluster.transport.options import channel_options
from cluster.transport.raw import RawReply
from cluster.transport.status import DETAILS_KEY, CallStatus, status_code, status_of

if TYPE_CHECKING:
    from types import TracebackType

    from cluster.transport.api import Metadata
    from cluster.transport.credentials import ChannelCredentials
    from cluster.transport.interceptors import OutgoingCall


_CORE_ERROR = "Internal error from Core"
"""What grpc.aio says if a call is over before its first batch, for example by its deadline."""


class FallbackChannel(StubChannel):
    """One connection (:class:`cluster.transport.api.Channel`). Use as ``async with``.

    Leaving the block ends the calls still under way with UnavailableError.
    """

    def __init__(
        self, address: str, calling: Calling, credentials: ChannelCredentials | None
    ) -> None:
        super().__init__(calling)
        self.address = address
        self._credentials = credentials
        self._channel: Any = None
        self._closed = False
        self._calls: set[FallbackClientStream] = set()

    async def __aenter__(self) -> Self:
        if self._channel is not None:
            raise RuntimeError("a channel is opened once: make a new one")
        await trio.lowlevel.checkpoint()
        options = channel_options(self.calling.limits, self._credentials)
        with hosted_loop().running():
            if self._credentials is None:
                self._channel = aio.insecure_channel(self.address, options)
            else:
                self._channel = aio.secure_channel(
                    self.address, self._credentials.to_grpc(), options
                )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        for call in tuple(self._calls):
            call.close("the channel was closed")
        await hosted_loop().run(self._close())

    async def _close(self) -> None:
        await self._channel.close()
        if tasks := [task for call in self._calls for task in call.tasks]:
            await asyncio.wait(tasks)

    async def raw_unary(self, call: OutgoingCall, payload: bytes) -> RawReply:
        """Makes one unary call."""
        await trio.lowlevel.checkpoint_if_cancelled()
        stream = self.raw_stream(call, payload)
        try:
            status = await stream.status()
        finally:
            stream.cancel()
        messages = await stream.recv_many()
        return RawReply(status, messages[0] if messages else None, stream.trailing)

    def raw_stream(self, call: OutgoingCall, payload: bytes | None) -> FallbackClientStream:
        """Starts one streaming call."""
        if self._channel is None:
            raise RuntimeError("open the channel first: `async with transport.connect(...)`")
        if self._closed:
            raise trio.ClosedResourceError("the channel is closed")
        loop = hosted_loop()
        with loop.running():
            started = self._channel.stream_stream(call.method)(
                timeout=call.timeout_seconds, metadata=call.metadata or None
            )
        seconds = math.inf if call.timeout_seconds is None else call.timeout_seconds
        deadline = trio.current_time() + seconds
        stream = FallbackClientStream(loop, self.calling, started, payload, deadline)
        self._calls.add(stream)
        for task in stream.tasks:
            task.add_done_callback(lambda _: self._forget(stream))
        return stream

    def _forget(self, stream: FallbackClientStream) -> None:
        if all(task.done() for task in stream.tasks):
            self._calls.discard(stream)


class FallbackClientStream(FallbackStream):
    """One call at the client, unary ones too: on the wire they are streams of one message."""

    def __init__(
        self,
        loop: HostedLoop,
        calling: Calling,
        call: Any,
        payload: bytes | None,
        deadline: float,
    ) -> None:
        super().__init__(loop, calling.limits)
        self._call = call
        self._deadline = deadline
        self._status: CallStatus | None = None
        self._ended = trio.Event()
        self.trailing: Metadata = ()
        if payload is not None:
            self._outgoing.reserve(len(payload))
            self._outbox.append(payload)
            self._sending_closed = True
        self.tasks = (loop.create_task(self._write()), loop.create_task(self._read()))

    async def _write(self) -> None:
        try:
            await self._write_behind(self._call.write)
            await self._call.done_writing()
        except (aio.AioRpcError, aio.UsageError, asyncio.InvalidStateError):
            self._outgoing.fail()  # the call is over; the reader says why
        except asyncio.CancelledError:
            self._outgoing.fail()
            if self._status is None and not self._call.done():
                raise

    async def _read(self) -> None:
        try:
            # A call that failed says so by raising here; its status is asked for below anyway.
            with contextlib.suppress(aio.AioRpcError, aio.UsageError):
                await self._read_ahead(self._call.read, aio.EOF)
        except asyncio.CancelledError:
            if not self._call.done():
                raise
        code = await self._call.code()
        trailing = tuple(await self._call.trailing_metadata() or ())
        details = next((value for key, value in trailing if key == DETAILS_KEY), b"")
        text = await self._call.details() or ""
        self.trailing = tuple(pair for pair in trailing if pair[0] != DETAILS_KEY)
        status = CallStatus(status_code(code.value[0]), text, details)
        if text == _CORE_ERROR and trio.current_time() >= self._deadline:
            status = CallStatus(Status.DEADLINE_EXCEEDED, "the deadline is over")
        self._finish(status)

    def _finish(self, status: CallStatus) -> None:
        if self._status is None:
            self._status = status
            self._end()
            # grpc.aio can leave a write waiting for ever when its call is cancelled early.
            self.tasks[0].cancel()
            self._ended.set()

    async def status(self) -> CallStatus:
        """Waits for the end of the call."""
        await self._ended.wait()
        assert self._status is not None
        return self._status

    def cancel(self) -> None:
        """Cancels the call; nothing if it is over."""
        if self._status is None:
            with self._loop.running():
                self._call.cancel()

    def close(self, reason: str) -> None:
        """The channel is closed under the call."""
        self.cancel()
        self._finish(status_of(UnavailableError(reason)))
