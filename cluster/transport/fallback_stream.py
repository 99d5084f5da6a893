"""Between a trio task and the asyncio coroutines that move a call's messages with grpc.aio.

Both run in the trio thread, so there are no locks. asyncio tasks read ahead and write behind
within the window; they are not subject to trio's cancellation, so what a handler has sent before
it was cancelled still goes out.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import trio

from cluster.transport.window import Window

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from cluster.limits import Limits
    from cluster.transport.asyncio_host import HostedLoop


class FallbackStream:
    """The half that server and client share: :meth:`recv_many` and :meth:`send` in bytes."""

    def __init__(self, loop: HostedLoop, limits: Limits) -> None:
        self._loop = loop
        self._incoming = Window(limits, on_room=self._kick_reader)
        self._outgoing = Window(limits)
        self._outbox: collections.deque[bytes] = collections.deque()
        self._sending_closed = False
        self._reader_waits: asyncio.Future[None] | None = None
        self._writer_waits: asyncio.Future[None] | None = None

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end."""
        return await self._incoming.recv_many()

    async def send(self, payload: bytes) -> None:
        """Queues one message; parks while the window is full. BrokenResourceError: call over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._sending_closed or self._outgoing.is_over:
            raise trio.BrokenResourceError("the call is over, or was closed for sending")
        self._outgoing.reserve(len(payload))
        self._outbox.append(payload)
        self._kick_writer()
        await self._outgoing.wait_for_room()

    def close_send(self) -> None:
        """No more messages; what is queued still goes out."""
        self._sending_closed = True
        self._kick_writer()

    async def _read_ahead(self, read: Callable[[], Awaitable[Any]], eof: object) -> None:
        """Reads until the end of the messages; stops while the window is full. asyncio."""
        while (message := await read()) is not eof:
            self._incoming.reserve(len(message))
            self._incoming.arrive(message)
            while self._incoming.is_full:
                self._reader_waits = self._loop.create_future()
                await self._reader_waits

    async def _write_behind(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        """Writes what is queued until sending is closed. asyncio."""
        while True:
            while self._outbox:
                payload = self._outbox.popleft()
                await write(payload)
                self._outgoing.release(1, len(payload))
            if self._sending_closed:
                return
            self._writer_waits = self._loop.create_future()
            await self._writer_waits

    def _end(self) -> None:
        """The call is over."""
        self._outbox.clear()
        self._sending_closed = True
        self._incoming.fail()
        self._outgoing.fail()
        self._kick_writer()

    def _kick_reader(self) -> None:
        if self._reader_waits is not None and not self._reader_waits.done():
            self._reader_waits.set_result(None)

    def _kick_writer(self) -> None:
        if self._writer_waits is not None and not self._writer_waits.done():
            self._writer_waits.set_result(None)
