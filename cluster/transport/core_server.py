"""A gRPC server on the C-core, driven from trio with one poller thread.

Uses ``grpc._cython.cygrpc``, the private layer grpcio's own server is written on; see DESIGN.md.
"""

from __future__ import annotations

import collections
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import trio
from grpc._cython import cygrpc

from cluster.errors import Status
from cluster.transport.core_stream import NO_FLAGS, CoreStream
from cluster.transport.hub import Hub
from cluster.transport.methods import Method, MethodTable
from cluster.transport.options import server_options
from cluster.transport.serving import STOPPING, Serving, serve_call
from cluster.transport.status import DETAILS_KEY, CallStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.transport.api import Metadata
    from cluster.transport.credentials import ServerCredentials
    from cluster.transport.traffic import TransportStatistics

log = logging.getLogger("cluster.transport")

_CALLS_REQUESTED = 16
"""Calls the C-core may hand over before we ask for more."""

_GRACE_SECONDS = 5.0

_HOLD_BACK_SECONDS = 0.01
"""The C-core reports "no more messages" alike for a client that half-closed and for one that
cancelled, and the cancellation only just after. Waiting that long lets it overtake, so a handler
does not take a broken stream for a finished one."""

_HOLD_BACK_MOST_SECONDS = 0.1
"""How much longer it is held back while the poller is behind with its events."""

_FOREVER = 1e15
"""Seconds since 1970; the C-core says "no deadline" with the largest time it can express."""


class _CoreCall:
    """One unary call: bytes in, one batch with response and status out."""

    def __init__(self, server: CoreServer, event: Any) -> None:
        self._server = server
        self._call = event.call
        self._metadata = event.invocation_metadata
        deadline = event.call_details.deadline
        self._deadline: float = math.inf if deadline > _FOREVER else deadline
        self._finished = False
        self._peer_gone = False
        self.scope = trio.CancelScope()
        # Completes when the call is over, whoever ended it: cancellation, deadline and lost
        # connection all arrive here, because the C-core enforces deadlines itself.
        self._start((cygrpc.ReceiveCloseOnServerOperation(NO_FLAGS),), self._on_close)

    def _start(self, operations: tuple[Any, ...], done: Callable[[Any], None]) -> bool:
        return self._server.start_batch(self._call, operations, done)

    def _on_close(self, event: Any) -> None:  # poller thread
        if event.batch_operations[0].cancelled():
            self._server.hub.post(self._peer_left)

    def _peer_left(self) -> None:
        self._peer_gone = True
        self.scope.cancel()

    @property
    def metadata(self) -> Metadata:
        return tuple((pair.key, pair.value) for pair in self._metadata)

    @property
    def peer(self) -> str:
        peer: bytes = self._call.peer()
        return peer.decode()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.time())

    @property
    def is_over(self) -> bool:
        return self._peer_gone

    async def recv_many(self) -> list[bytes]:
        raise RuntimeError("a unary call has no stream of requests")

    async def send(self, payload: bytes) -> None:
        raise RuntimeError("a unary call returns its response")

    def finish(self, status: CallStatus, trailing: Metadata, payload: bytes | None) -> None:
        """Ends the call; only the first call counts. From either thread."""
        if not self._finished:
            self._finished = True
            self._send_status((self._initial_metadata(),), status, trailing, payload)

    @staticmethod
    def _initial_metadata() -> Any:
        return cygrpc.SendInitialMetadataOperation((), NO_FLAGS)

    def _send_status(
        self,
        operations: tuple[Any, ...],
        status: CallStatus,
        trailing: Metadata,
        payload: bytes | None,
    ) -> None:
        if payload is not None:
            operations += (cygrpc.SendMessageOperation(payload, NO_FLAGS),)
        if status.details:
            trailing = (*trailing, (DETAILS_KEY, status.details))
        last = cygrpc.SendStatusFromServerOperation(
            trailing, int(status.code), status.message.encode(), NO_FLAGS
        )
        if not self._start((*operations, last), _ignore):
            # Older cores refuse a batch with bad metadata; without any status the client waits.
            self._call.cancel(cygrpc.StatusCode.internal, "no status could be sent")

    def request_message(self, method: Method) -> None:  # poller thread
        """Asks for the single request; the handler starts when it is there."""

        def arrived(event: Any) -> None:  # poller thread
            message = event.batch_operations[0].message()
            if message is not None:
                self._server.hub.post(self._server.spawn, self, method, message)
            else:
                # Too large, or the client half-closed without one. Harmless if it is gone.
                self.finish(CallStatus(Status.UNIMPLEMENTED, "one request expected"), (), None)

        self._start((cygrpc.ReceiveMessageOperation(NO_FLAGS),), arrived)


class _CoreStreamCall(_CoreCall, CoreStream):
    """One streaming call."""

    def __init__(self, server: CoreServer, event: Any) -> None:
        CoreStream.__init__(self, server.hub, server.serving.limits)
        self._first_operations = (self._initial_metadata(),)
        _CoreCall.__init__(self, server, event)

    recv_many = CoreStream.recv_many
    send = CoreStream.send

    def _on_read_end(self) -> None:  # poller thread
        self._server.hold_back(self._stop_reading_unless_expired)

    def _stop_reading_unless_expired(self) -> None:  # poller thread
        # Past the deadline the cancellation is certain to come, if only later.
        if self.seconds_left > 0:
            self._stop_reading()

    def _peer_left(self) -> None:
        super()._peer_left()
        self._end()

    @property
    def is_over(self) -> bool:
        return self._peer_gone or self._write_over

    def finish(self, status: CallStatus, trailing: Metadata, payload: bytes | None) -> None:
        """Ends the call after what was sent; only the first call counts. From either thread."""
        if self._finished:
            return
        self._finished = True

        def last() -> None:
            operations, self._first_operations = self._first_operations, ()
            self._send_status(operations, status, trailing, payload)

        self._when_written(last)

    def start_reading(self) -> None:  # poller thread
        """Reads ahead before the handler asks."""
        with self._lock:
            self._read_ahead()


def _ignore(_: Any) -> None:
    """For batches whose end changes nothing; the close operation reports lost peers."""


class CoreServer:
    """Serves registered servicers (:class:`cluster.transport.api.Server`). Make one per address.

    Not guaranteed: that a client has received what a handler sent before the server stopped.
    """

    def __init__(self, serving: Serving, credentials: ServerCredentials | None) -> None:
        self.serving = serving
        self.hub: Hub
        self._credentials = None if credentials is None else credentials.to_grpc()._credentials
        self._methods = MethodTable()
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(server_options(serving.limits), False)
        self._server.register_completion_queue(self._queue)
        self._queue_lock = threading.Lock()
        self._queue_open = True
        self._held_back: collections.deque[tuple[float, Callable[[], None]]] = collections.deque()
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

    def listen(self, address: str) -> str:
        """Binds ``host:port`` (port 0: any free one) and returns the address bound.

        Raises OSError if the address is taken or is no address. The C-core accepts connections
        from :meth:`serve` on.
        """
        try:
            port = self._server.add_http2_port(address.encode(), self._credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        if not port:
            raise OSError(f"cannot listen on {address}: taken, or not an address of this machine")
        return f"{address.rpartition(':')[0]}:{port}"

    async def serve(
        self,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled; then handlers are cancelled, statuses flushed, port freed.

        ``grace_seconds`` bounds the flushing: calls whose clients do not read are then cut off.
        It does not bound handlers, which are awaited until their clean-up is done.
        """
        if self._served:
            raise RuntimeError("a server serves once")
        self._served = True
        self.hub = Hub()
        poller = threading.Thread(target=self._poll, name="remora-grpc-server", daemon=True)
        try:
            async with trio.open_nursery() as self._nursery:
                self._server.start()
                poller.start()
                for _ in range(_CALLS_REQUESTED):
                    self._server.request_call(self._queue, self._queue, self._accept)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # Before the nursery closes: calls that still arrive must not be spawned.
                    self._stopping = True
        finally:
            with trio.CancelScope(shield=True):
                await self._stop(grace_seconds)
            poller.join()

    async def _stop(self, grace_seconds: float) -> None:
        flushed = trio.Event()
        self._server.shutdown(self._queue, lambda _: self.hub.post(flushed.set))
        with trio.move_on_after(grace_seconds):
            await flushed.wait()
        if not flushed.is_set():
            self._server.cancel_all_calls()
            await flushed.wait()
        self._server.destroy()
        with self._queue_lock:
            self._queue_open = False
            self._queue.shutdown()

    def _poll(self) -> None:  # poller thread
        held_back = self._held_back
        while True:
            event = self._queue.poll(held_back[0][0] if held_back else None)
            if event.completion_type == cygrpc.CompletionType.queue_shutdown:
                return
            if event.completion_type != cygrpc.CompletionType.queue_timeout:
                try:
                    event.tag(event)
                except Exception:
                    log.exception("the gRPC poller met an unexpected error")
            # A cancellation that is already in the queue comes first, unless the queue never rests.
            idle = event.completion_type == cygrpc.CompletionType.queue_timeout
            now = time.time()
            while held_back and now >= held_back[0][0] + (0.0 if idle else _HOLD_BACK_MOST_SECONDS):
                held_back.popleft()[1]()
            event = None  # drops the call's last reference before blocking again

    def start_batch(
        self, call: Any, operations: tuple[Any, ...], done: Callable[[Any], None]
    ) -> bool:
        """Starts a batch of a call; False if it cannot be. From either thread.

        A server that has flushed may still be told of writes that failed. A batch started in
        answer to that, after the queue has been shut, would abort the process.
        """
        with self._queue_lock:
            return self._queue_open and not call.start_server_batch(operations, done)

    def hold_back(self, function: Callable[[], None]) -> None:  # poller thread
        """Runs ``function`` in the poller thread a moment later."""
        self._held_back.append((time.time() + _HOLD_BACK_SECONDS, function))

    def _accept(self, event: Any) -> None:  # poller thread
        if not event.success:
            return  # the server is stopping
        try:
            self._server.request_call(self._queue, self._queue, self._accept)
        except ValueError:
            log.debug("no more calls are accepted: the server is stopping")
        path = event.call_details.method.decode()
        method = self._methods.find(path)
        if method is None:
            status = CallStatus(Status.UNIMPLEMENTED, f"no method {path}")
            _CoreCall(self, event).finish(status, (), None)
        elif method.request_streaming:
            stream = _CoreStreamCall(self, event)
            stream.start_reading()
            self.hub.post(self.spawn, stream, method, None)
        else:
            kind = _CoreStreamCall if method.response_streaming else _CoreCall
            kind(self, event).request_message(method)

    def spawn(self, call: _CoreCall, method: Method, request: bytes | None) -> None:
        """Starts the handler of a call that has arrived."""
        if self._stopping:
            call.finish(STOPPING, (), None)
        else:
            self._nursery.start_soon(
                serve_call, self.serving, call, method, request, name=method.path
            )
