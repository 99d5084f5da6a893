"""An asyncio event loop that trio runs: enough of one for grpc.aio, in trio's thread.

Uses asyncio's extension points only: ``AbstractEventLoop``, ``Future(loop=)``, ``Task(loop=)`` and
``_set_running_loop``, which asyncio documents for the authors of event loops. The running loop is
set only while asyncio code runs, so trio code never sees one. Time is trio's clock.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import heapq
import itertools
import logging
import math
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    import contextvars
    import socket
    from collections.abc import Callable, Coroutine, Iterator

log = logging.getLogger("cluster.transport")

Result = TypeVar("Result")

_HOSTED: trio.lowlevel.RunVar[HostedLoop | None] = trio.lowlevel.RunVar("hosted asyncio loop")
"""The loop of the present ``trio.run``; a run has at most one, because grpc.aio has one poller."""


def hosted_loop() -> HostedLoop:
    """The loop of this ``trio.run``, started when first asked for; it ends with the run."""
    loop = _HOSTED.get(None)
    if loop is None:
        loop = HostedLoop()
        _HOSTED.set(loop)
        trio.lowlevel.spawn_system_task(loop.pump, name="hosted asyncio loop")
    return loop


# Untyped: the interface has some forty methods more, which raise NotImplementedError.
_EventLoop: Any = asyncio.AbstractEventLoop


class HostedLoop(_EventLoop):  # type: ignore[misc]
    """Runs callbacks, timers and socket readers as trio tasks. Made by :func:`hosted_loop`."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._work = trio.Event()
        self._readers: dict[Any, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._waiting_readers: list[Callable[[], None]] = []
        self._closed = False

    # ---- for trio

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Makes this the running loop of asyncio within the block, which must not await trio."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    async def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Runs an asyncio coroutine to its end. A trio cancellation waits for that end."""
        task = self.create_task(coroutine)
        done = trio.Event()
        task.add_done_callback(lambda _: done.set())
        with trio.CancelScope(shield=True):
            await done.wait()
        return task.result()

    async def pump(self) -> None:
        """Runs the loop until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for start in self._waiting_readers:
                    start()
                while True:
                    self._run_due()
                    if self._ready:
                        await trio.lowlevel.checkpoint()
                        continue
                    self._work = trio.Event()
                    with trio.move_on_at(self._timers[0][0] if self._timers else math.inf):
                        await self._work.wait()
        finally:
            self._closed = True
            self._nursery = None

    def _run_due(self) -> None:
        now = self.time()
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        with self.running():
            # Callbacks scheduled by these run in the next round, after a trio checkpoint.
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()

    # ---- for asyncio

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._work.set()
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._token.run_sync_soon(self._wake, idempotent=True)
        return handle

    def _wake(self) -> None:
        self._work.set()

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        self._work.set()
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by asyncio; the handle is skipped when its time comes."""

    def time(self) -> float:
        return trio.current_time()

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Result], **kwargs: Any) -> asyncio.Task[Result]:
        return asyncio.Task(coro, loop=self, **kwargs)

    def add_reader(self, fd: socket.socket | int, callback: Callable[..., Any], *args: Any) -> None:
        self.remove_reader(fd)
        scope = self._readers[fd] = trio.CancelScope()

        def start() -> None:
            assert self._nursery is not None
            self._nursery.start_soon(self._read, fd, callback, args, scope)

        if self._nursery is None:
            self._waiting_readers.append(start)
        else:
            start()

    def remove_reader(self, fd: Any) -> bool:
        scope = self._readers.pop(fd, None)
        if scope is not None:
            scope.cancel()
        return scope is not None

    async def _read(
        self, fd: Any, callback: Callable[..., Any], args: Any, scope: trio.CancelScope
    ) -> None:
        with scope:
            while True:
                await trio.lowlevel.wait_readable(fd)
                # Called here, not scheduled: it must read before the next wait.
                with self.running():
                    asyncio.Handle(callback, args, self, None)._run()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        log.error("asyncio: %s", context.get("message"), exc_info=context.get("exception"))
