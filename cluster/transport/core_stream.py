"""One end of a stream on the C-core: reads ahead and writes behind in the poller thread.

The poller thread keeps one read and one write under way as long as the window has room, so the
trio thread finds batches waiting and is woken once a batch, not once a message. Application code
never runs in the poller thread.

Locking: ``_lock`` guards all state below; both threads take it, briefly, and never while holding
another lock of ours. Starting a batch under it is allowed: the C-core does not call back.
"""

from __future__ import annotations

import collections
import logging
import threading
from typing import TYPE_CHECKING, Any

import trio
from grpc._cython import cygrpc

from cluster.transport.hub import Hub, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.limits import Limits

log = logging.getLogger("cluster.transport")

NO_FLAGS = 0


class CoreStream:
    """The half that server and client share. Subclasses start batches of operations."""

    def __init__(self, hub: Hub, limits: Limits) -> None:
        self._hub = hub
        self._window_messages = limits.stream_window_messages
        self._window_bytes = limits.stream_window_bytes
        self._lock = threading.Lock()
        self._inbox: collections.deque[bytes] = collections.deque()
        self._inbox_bytes = 0
        self._reading = False
        self._read_over = False
        self._reader: Waiter | None = None
        self._outbox: collections.deque[bytes] = collections.deque()
        self._outbox_bytes = 0
        self._writing = False
        self._write_over = False
        self._writers: list[Waiter] = []
        self._after_writes: Callable[[], None] | None = None
        self._first_operations: tuple[Any, ...] = ()
        """Sent along with the first write (the server's initial metadata)."""

    def _start(self, operations: tuple[Any, ...], done: Callable[[Any], None]) -> bool:
        """Starts a batch; ``done(event)`` runs in the poller thread. False: the call is over."""
        raise NotImplementedError

    # ---- reading

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end.

        Raises BusyResourceError if another task is receiving from this stream.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        parked = False
        while True:
            with self._lock:
                if self._inbox:
                    messages = list(self._inbox)
                    self._inbox.clear()
                    self._inbox_bytes = 0
                    self._read_ahead()
                    break
                if self._read_over:
                    messages = []
                    break
                if self._reader is not None:
                    raise trio.BusyResourceError("another task is receiving from this stream")
                self._read_ahead()
                waiter = self._reader = Waiter()
            try:
                await waiter.park()
            finally:
                with self._lock:
                    if self._reader is waiter:
                        self._reader = None
            parked = True
        if not parked:  # parking has let other tasks run already
            await trio.lowlevel.cancel_shielded_checkpoint()
        return messages

    def _read_ahead(self) -> None:
        if self._reading or self._read_over:
            return
        self._reading = self._start((cygrpc.ReceiveMessageOperation(NO_FLAGS),), self._on_read)
        self._read_over = not self._reading

    def _on_read(self, event: Any) -> None:  # poller thread
        message = event.batch_operations[0].message()
        if message is None:
            self._on_read_end()
            return
        with self._lock:
            self._reading = False
            self._inbox.append(message)
            self._inbox_bytes += len(message)
            if len(self._inbox) < self._window_messages and self._inbox_bytes < self._window_bytes:
                self._read_ahead()
            reader, self._reader = self._reader, None
        if reader is not None:
            self._hub.post(reader.wake)

    def _on_read_end(self) -> None:  # poller thread
        self._stop_reading()

    def _stop_reading(self) -> None:
        with self._lock:
            self._reading = False
            self._read_over = True
            reader, self._reader = self._reader, None
        if reader is not None:
            self._hub.post(reader.wake)

    # ---- writing

    async def send(self, payload: bytes) -> None:
        """Queues one message; parks while the window is full.

        Raises BrokenResourceError if the call is over. A message queued is sent in order, but
        only the peer can say that it arrived. If cancelled while parked the message stays queued.
        Other tasks run when the window is full, not at every send.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        with self._lock:
            if self._write_over:
                raise trio.BrokenResourceError("the call is over")
            self._outbox.append(payload)
            self._outbox_bytes += len(payload)
            if not self._writing:
                self._write()
            waiter = None
            if (
                len(self._outbox) >= self._window_messages
                or self._outbox_bytes >= self._window_bytes
            ):
                waiter = Waiter()
                self._writers.append(waiter)
        # No checkpoint with room left: it would cost more than the send, and a burst is bounded by
        # the window.
        if waiter is not None:
            await waiter.park()

    def _write(self) -> None:
        payload = self._outbox.popleft()
        self._outbox_bytes -= len(payload)
        first, self._first_operations = self._first_operations, ()
        operations = (*first, cygrpc.SendMessageOperation(payload, NO_FLAGS))
        self._writing = self._start(operations, self._on_write)
        if not self._writing:
            self._stop_writing()

    def _stop_writing(self) -> None:
        self._write_over = True
        self._outbox.clear()
        self._outbox_bytes = 0

    def _on_write(self, event: Any) -> None:  # poller thread
        writers: list[Waiter] = []
        after: Callable[[], None] | None = None
        with self._lock:
            self._writing = False
            if not event.success:
                self._stop_writing()
            if self._outbox:
                self._write()
            if not self._writing:
                after, self._after_writes = self._after_writes, None
            # Woken at half the window: a batch of sends for each wake-up, not one.
            if self._write_over or (
                len(self._outbox) <= self._window_messages // 2
                and self._outbox_bytes <= self._window_bytes // 2
            ):
                writers, self._writers = self._writers, []
        if after is not None:
            after()
        for writer in writers:
            self._hub.post(writer.wake)

    def _when_written(self, function: Callable[[], None]) -> None:
        """Runs ``function`` once everything queued is sent or lost, in either thread."""
        with self._lock:
            if self._writing or self._outbox:
                self._after_writes = function
                return
        function()

    def _end(self) -> None:
        """No more writes; wakes everybody who waits. From the poller or the trio thread."""
        with self._lock:
            self._stop_writing()
            writers, self._writers = self._writers, []
        for writer in writers:
            self._hub.post(writer.wake)
