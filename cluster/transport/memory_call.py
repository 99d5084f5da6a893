"""One call of the in-memory transport: two ends, two windows, frames in between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from cluster.errors import Status, UnavailableError
from cluster.transport.hub import Waiter
from cluster.transport.memory_network import Lane
from cluster.transport.status import CallStatus, status_of
from cluster.transport.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.limits import Limits
    from cluster.transport.api import Metadata
    from cluster.transport.interceptors import OutgoingCall
    from cluster.transport.memory import MemoryChannel, MemoryServer
    from cluster.transport.memory_timers import Timer


class CallTap(Protocol):
    """Somebody who looks at the messages of a call, and changes nothing."""

    def sent(self, payload: bytes, *, by_client: bool) -> None:
        """A message has left its sender."""

    def arrived(self, payload: bytes, *, at_client: bool) -> None:
        """A message has arrived at the other end."""


class MemoryCall:
    """The call itself: starts both ends and ends them."""

    def __init__(self, channel: MemoryChannel, call: OutgoingCall, payload: bytes | None) -> None:
        network = channel.network
        self.channel = channel
        self.server: MemoryServerCall | None = None
        self.method = call.method
        self.metadata = call.metadata
        self.request = payload
        self.deadline = math.inf
        if call.timeout_seconds is not None:
            self.deadline = trio.current_time() + call.timeout_seconds
        self.up_window = Window(channel.calling.limits)
        self.down_window = Window(channel.calling.limits)
        self._up = (network.link(channel.source, channel.target), Lane())
        self._down = (network.link(channel.target, channel.source), Lane())
        self.client = MemoryClientStream(self)
        self.tap = None if network.tap is None else network.tap(self)
        channel.began(self)
        self._timer: Timer | None = None
        if self.deadline <= trio.current_time():
            self._expire()
        elif self.deadline < math.inf:
            self._timer = network.timers.at(self.deadline, self._expire)
        self.to_server(self._open, payload or b"")

    def _expire(self) -> None:
        """The deadline is over at both ends, whatever is under way between them."""
        self.client.finished(CallStatus(Status.DEADLINE_EXCEEDED, "the deadline is over"), ())
        if self.server is not None:
            self.server.scope.cancel()
        self.over()

    def to_server(self, deliver: Callable[[], None], payload: bytes = b"") -> None:
        """Sends one frame to the server."""
        link, lane = self._up
        link.carry(self.channel, lane, deliver, self.broken, len(payload))

    def to_client(self, deliver: Callable[[], None], payload: bytes = b"") -> None:
        """Sends one frame to the client."""
        link, lane = self._down
        link.carry(self.channel, lane, deliver, self.broken, len(payload))

    def _open(self) -> None:
        if self.client.is_over and self.server is None:
            return  # the client gave up before the call arrived
        server = self.channel.network.server_at(
            self.channel.source, self.channel.address, self.method
        )
        if server is None:
            self.broken(f"connection refused by {self.channel.address}")
            return
        self.server = MemoryServerCall(self, server)
        if self.request is not None:
            self.up_window.end()
        if self.request is not None and self._too_large(self.request, server.serving.limits):
            return
        server.accept(self.server, self.method, self.request)

    def _too_large(self, payload: bytes, limits: Limits) -> bool:
        """Ends the call as gRPC does if the receiver does not take messages of this size."""
        if len(payload) <= limits.grpc_message_bytes:
            return False
        text = f"received a message of {len(payload)} bytes, limit {limits.grpc_message_bytes}"
        self.client.finished(CallStatus(Status.RESOURCE_EXHAUSTED, text), ())
        self.client_left()
        return True

    def message_to_server(self, payload: bytes) -> None:
        """A message has arrived at the server."""
        server = self.server
        if server is not None and not self._too_large(payload, server.limits):
            if self.tap is not None:
                self.tap.arrived(payload, at_client=False)
            self.up_window.arrive(payload)

    def message_to_client(self, payload: bytes) -> None:
        """A message has arrived at the client."""
        if not self._too_large(payload, self.channel.calling.limits):
            if self.tap is not None and not self.client.is_over:
                self.tap.arrived(payload, at_client=True)
            self.down_window.arrive(payload)

    def broken(self, reason: str) -> None:
        """Ends the call at both ends, at once."""
        self.client.finished(status_of(UnavailableError(reason)), ())
        self.client_left()

    def client_left(self) -> None:
        """The server learns that nobody waits for the call any more."""
        if self.server is not None:
            self.server.peer_left()
        self.over()

    def over(self) -> None:
        """To be called when an end is over; when both are, the channel forgets the call."""
        if self.client.is_over and (self.server is None or self.server.is_over):
            self.channel.ended(self)
            if self._timer is not None:
                self.channel.network.timers.cancel(self._timer)


class MemoryServerCall:
    """The server's end (:class:`cluster.transport.raw.RawServerCall`)."""

    def __init__(self, call: MemoryCall, server: MemoryServer) -> None:
        self._call = call
        self.limits = server.serving.limits
        self.scope = trio.CancelScope()
        self.peer = f"memory:{call.channel.source}"
        self.metadata = call.metadata
        self._finished = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return max(0.0, self._call.deadline - trio.current_time())

    @property
    def is_over(self) -> bool:
        """True once nothing can be sent any more."""
        return self._finished

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end."""
        return await self._call.up_window.recv_many()

    async def send(self, payload: bytes) -> None:
        """Sends one message; parks while the client is a window behind.

        With room left no other task runs, as in the gRPC transport.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._finished:
            raise trio.BrokenResourceError("the call is over")
        call = self._call
        call.down_window.reserve(len(payload))
        if call.tap is not None:
            call.tap.sent(payload, by_client=False)
        call.to_client(lambda: call.message_to_client(payload), payload)
        if call.down_window.is_full:
            await call.down_window.wait_for_room()

    def finish(self, status: CallStatus, trailing: Metadata, payload: bytes | None) -> None:
        """Ends the call after what was sent; only the first call counts."""
        if self._finished:
            return
        self._finished = True
        call = self._call
        call.up_window.fail()
        call.over()

        def arrived() -> None:
            if payload is not None:
                call.down_window.reserve(len(payload))
                call.message_to_client(payload)
            call.client.finished(status, trailing)
            call.over()

        call.to_client(arrived, payload or b"")

    def peer_left(self) -> None:
        """The client cancelled, or the connection is gone."""
        self._finished = True
        # First: a handler must not take a broken stream for a finished one.
        self.scope.cancel()
        self._call.up_window.fail()


class MemoryClientStream:
    """The client's end (:class:`cluster.transport.raw.RawClientStream`)."""

    def __init__(self, call: MemoryCall) -> None:
        self._call = call
        self.trailing: Metadata = ()
        self._status: CallStatus | None = None
        self._waiting: list[Waiter] = []
        self._closed = call.request is not None

    @property
    def is_over(self) -> bool:
        """True once the status is here."""
        return self._status is not None

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end."""
        return await self._call.down_window.recv_many()

    def take(self) -> list[bytes]:
        """Messages that have arrived, maybe none; for calls that are over."""
        return self._call.down_window.take()

    async def send(self, payload: bytes) -> None:
        """Sends one message; parks while the server is a window behind.

        With room left no other task runs, as in the gRPC transport.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._status is not None or self._closed:
            raise trio.BrokenResourceError("the call is over, or was closed for sending")
        call = self._call
        window = call.up_window
        window.reserve(len(payload))
        if call.tap is not None:
            call.tap.sent(payload, by_client=True)
        call.to_server(lambda: call.message_to_server(payload), payload)
        if window.is_full:
            await window.wait_for_room()

    def close_send(self) -> None:
        """Half-closes after what was sent."""
        if not self._closed and self._status is None:
            self._closed = True
            self._call.to_server(self._call.up_window.end)

    async def status(self) -> CallStatus:
        """Waits for the end of the call."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._status is None:
            waiter = Waiter()
            self._waiting.append(waiter)
            await waiter.park()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        assert self._status is not None
        return self._status

    def finished(self, status: CallStatus, trailing: Metadata) -> None:
        """The call has ended for the client; only the first status counts."""
        if self._status is not None:
            return
        self._status = status
        self.trailing = trailing
        self._call.down_window.fail()
        # Only the status has come back; what the server still receives is not our business.
        self._call.up_window.abandon()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.wake()

    def cancel(self) -> None:
        """Cancels the call; nothing if it is over."""
        self._leave(CallStatus(Status.CANCELLED, "cancelled by the client"))

    def close(self, reason: str) -> None:
        """The channel is closed under the call."""
        self._leave(status_of(UnavailableError(reason)))

    def _leave(self, status: CallStatus) -> None:
        if self._status is None:
            self.finished(status, ())
            self._call.to_server(self._call.client_left)
            self._call.over()
