"""The HTTP server of a node: uvicorn in a thread of its own, handlers in the trio thread.

::

    client -- uvicorn (asyncio, one thread) -- Application -- Exchange -- handler (trio)

Ports are bound by :meth:`HttpServer.listen`, in trio and before anything else starts, so that a
port that is taken is an OSError there. Everything of uvicorn is imported in its thread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.gateway.http.application import Application
from cluster.gateway.http.bridge import LoopHub
from cluster.limits import LIMITS, Limits
from cluster.transport.hub import Hub

if TYPE_CHECKING:
    import ssl

    from cluster.gateway.http.application import BodyLimit
    from cluster.gateway.http.bridge import Exchange
    from cluster.gateway.http.messages import Handler

logger = logging.getLogger(__name__)

_STOP_SECONDS: Final = 1.0
"""How long a client may take to read its last response when the server stops."""


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """Counters since the start. ``requests_in_progress`` is how many there are now.

    ``requests_malformed`` are those with too large a head and those that are not HTTP;
    ``clients_lost`` went away while they were being answered.
    """

    requests_total: int = 0
    requests_in_progress: int = 0
    requests_abandoned: int = 0
    connections_total: int = 0
    connections_refused: int = 0
    requests_malformed: int = 0
    heads_too_large: int = 0
    bodies_too_large: int = 0
    clients_lost: int = 0

    def metrics(self) -> dict[str, int]:
        """All of them by the names under which they are to be exported; limits name some too."""
        return {
            "http_requests_total": self.requests_total,
            "http_requests_in_progress": self.requests_in_progress,
            "http_requests_abandoned_total": self.requests_abandoned,
            "http_connections_total": self.connections_total,
            "http_connections_refused_total": self.connections_refused,
            "http_malformed_total": self.requests_malformed,
            "http_refused_total": self.heads_too_large,
            "http_too_large_total": self.bodies_too_large,
            "http_clients_lost_total": self.clients_lost,
        }


class HttpServer:
    """Serves ``handler`` on every address of :meth:`listen`.

    ``body_limit`` says how large the body of a request may be; None: ``limits.http_body_bytes``.
    """

    def __init__(
        self, handler: Handler, *, body_limit: BodyLimit | None = None, limits: Limits = LIMITS
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._body_limit = body_limit or (lambda method, path: limits.http_body_bytes)
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._counts: Any = None
        self._stop_in_loop: Any = None
        self._requests_total = 0
        self._requests_abandoned = 0
        self._bodies_too_large = 0
        self._in_progress: set[Exchange] = set()
        self._idle = trio.Event()
        self._is_stopping = False

    def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> str:
        """Binds an address before :meth:`serve`; port 0 is any free one. Returns the URL.

        Raises OSError if the port is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            # As for gRPC: connections that are closing do not make a port taken.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)  # now, because two sockets can be bound to a port until one listens
            listener.setblocking(False)
            bound = listener.getsockname()[1]
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise OSError(errno.EADDRINUSE, f"port {port} of {host} is taken") from None
            raise
        self._listeners.append((listener, tls))
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if tls is None else 'https'}://{shown}:{bound}"

    async def serve(
        self,
        *,
        grace_seconds: float,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled. Started when connections are accepted.

        Then nothing new is taken, and handlers under way get ``grace_seconds`` to end; what is left
        of them is cancelled, and its client told that the node stops.
        """
        started = trio.Event()
        async with trio.open_nursery() as outer:
            outer.start_soon(self._run, started, grace_seconds + _STOP_SECONDS)
            await started.wait()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._is_stopping = True
                if not self._in_progress:
                    self._idle.set()
                self._stop_in_loop()
                with trio.CancelScope(shield=True), trio.move_on_after(grace_seconds):
                    await self._idle.wait()
                self._nursery.cancel_scope.cancel()

    def statistics(self) -> HttpStatistics:
        """A snapshot of the counters."""
        counts = self._counts
        return HttpStatistics(
            requests_total=self._requests_total,
            requests_in_progress=len(self._in_progress),
            requests_abandoned=self._requests_abandoned,
            connections_total=0 if counts is None else counts.connections_total,
            connections_refused=0 if counts is None else counts.connections_refused,
            requests_malformed=0 if counts is None else counts.requests_malformed,
            heads_too_large=0 if counts is None else counts.heads_too_large,
            bodies_too_large=self._bodies_too_large,
            clients_lost=0 if counts is None else counts.clients_lost,
        )

    # In the trio thread

    async def _run(self, started: trio.Event, stop_seconds: float) -> None:
        """Lives as long as the thread does; handlers are its children."""
        # Shielded: the thread ends by being told to, and handlers have their time of grace.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as self._nursery:
                await trio.to_thread.run_sync(
                    self._in_thread, Hub(), started, stop_seconds, limiter=trio.CapacityLimiter(1)
                )

    def _start(self, exchange: Exchange) -> None:
        if exchange.is_abandoned:
            return
        self._requests_total += 1
        self._bodies_too_large += bool(exchange.request.body_over_bytes)
        self._in_progress.add(exchange)
        self._nursery.start_soon(self._answer, exchange)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            with trio.CancelScope() as exchange.scope_in_trio:
                exchange.response = await self._handler(exchange.request)
        finally:
            exchange.scope_in_trio = None
            self._in_progress.discard(exchange)
            self._loop_hub.post(exchange.finish_in_loop)
            if exchange.is_abandoned:
                self._requests_abandoned += 1
            if self._is_stopping and not self._in_progress:
                self._idle.set()

    # In the asyncio thread

    def _in_thread(self, hub: Hub, started: trio.Event, stop_seconds: float) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve_in_loop(hub, started, stop_seconds))

    async def _serve_in_loop(self, hub: Hub, started: trio.Event, stop_seconds: float) -> None:
        from cluster.gateway.http.protocol import Counts, DoorConfig, DoorServer

        loop = asyncio.get_running_loop()
        loop_hub = LoopHub(loop)
        application = Application(loop, hub, self._start, self._body_limit)
        counts = Counts()
        servers: list[DoorServer] = []

        def stop() -> None:
            for server in servers:
                server.stop()

        def ready() -> None:
            self._loop_hub, self._counts = loop_hub, counts
            self._stop_in_loop = lambda: loop_hub.post(stop)
            started.set()

        def on_started() -> None:
            if all(server.started for server in servers):
                hub.post(ready)

        for _, tls in self._listeners:
            config = DoorConfig(
                application,
                tls=tls,
                limits=self._limits,
                counts=counts,
                stop_seconds=stop_seconds,
            )
            servers.append(DoorServer(config, on_started))
        async with asyncio.TaskGroup() as tasks:
            for server, (listener, _) in zip(servers, self._listeners, strict=True):
                tasks.create_task(server.serve(sockets=[listener]))
