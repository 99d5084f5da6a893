"""Between the asyncio thread of HTTP and the trio thread that owns all state, batched both ways.

Into trio requests go through the hub that gRPC uses; out of it responses go through
:class:`LoopHub`. Waking either loop costs a write to a socket and a pass through it, so what is
there when one wakes up is taken in one go: the busier, the cheaper.

A request is an :class:`Exchange`. It starts in asyncio, is answered in trio, and ends in asyncio; a
client that goes away abandons it, which cancels the handler.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import trio

    from cluster.gateway.http.messages import HttpRequest, HttpResponse


class LoopHub:
    """Runs functions in the thread of an asyncio loop, in the order posted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: collections.deque[tuple[Callable[..., None], tuple[Any, ...]]] = (
            collections.deque()
        )
        self._kicked = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Has ``function(*args)`` run in the loop's thread. Call from any thread.

        Functions must not raise. Once the loop is closed the function is dropped: there is no
        connection left.
        """
        # Append before the test, as in cluster.transport.hub: no item is left behind.
        self._queue.append((function, args))
        if not self._kicked:
            self._kicked = True
            self._kick()

    def _kick(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # the loop is closed
            self._queue.clear()

    def _drain(self) -> None:
        self._kicked = False
        for _ in range(len(self._queue)):
            function, args = self._queue.popleft()
            function(*args)
        if self._queue and not self._kicked:
            self._kicked = True
            self._kick()


class Exchange:
    """One request and its response.

    ``response`` is set by trio before it posts :meth:`finish_in_loop`, and read after; None: the
    handler was cancelled. ``is_lost`` belongs to asyncio, ``is_abandoned`` and ``scope_in_trio`` to
    trio; methods say in their names where they run.
    """

    __slots__ = ("_future", "is_abandoned", "is_lost", "request", "response", "scope_in_trio")

    def __init__(self, request: HttpRequest, future: asyncio.Future[None]) -> None:
        self.request = request
        self.response: HttpResponse | None = None
        self.is_lost = False
        self.is_abandoned = False
        self.scope_in_trio: trio.CancelScope | None = None
        self._future = future

    async def wait_in_loop(self) -> None:
        """Returns when there is a response, or never will be one."""
        await self._future

    def finish_in_loop(self) -> None:
        """Lets :meth:`wait_in_loop` return."""
        if not self._future.done():
            self._future.set_result(None)

    def lose_in_loop(self) -> None:
        """The client has gone; :meth:`wait_in_loop` returns."""
        self.is_lost = True
        self.finish_in_loop()

    def abandon_in_trio(self) -> None:
        """The client has gone: the handler is cancelled, or not even started."""
        self.is_abandoned = True
        if self.scope_in_trio is not None:
            self.scope_in_trio.cancel()
