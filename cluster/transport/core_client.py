"""A gRPC channel on the C-core, driven from trio with one poller thread."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import trio
from grpc._cython import cygrpc

from cluster.transport.calling import Calling, StubChannel
from cluster.transport.core_stream import NO_FLAGS, CoreStream
from cluster.transport.hub import Hub, Waiter
from cluster.transport.options import channel_options
from cluster.transport.raw import RawReply
from cluster.transport.status import DETAILS_KEY, CallStatus, status_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from cluster.transport.api import Metadata
    from cluster.transport.credentials import ChannelCredentials
    from cluster.transport.interceptors import OutgoingCall

log = logging.getLogger("cluster.transport")

_PROPAGATE_DEFAULTS = 0xFFFF


def _status(operation: Any) -> tuple[CallStatus, Metadata]:
    """What a finished ReceiveStatusOnClientOperation holds."""
    trailing = tuple((pair.key, pair.value) for pair in operation.trailing_metadata())
    details = next((value for key, value in trailing if key == DETAILS_KEY), b"")
    status = CallStatus(status_code(operation.code()), operation.details(), details)
    return status, tuple(pair for pair in trailing if pair[0] != DETAILS_KEY)


class CoreChannel(StubChannel):
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
        self.hub: Hub
        self._calls: set[Any] = set()
        self._poller: threading.Thread
        # Guards the two below; the poller must not ask for events while no call is live.
        self._condition = threading.Condition()
        self._live = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._channel is not None:
            raise RuntimeError("a channel is opened once: make a new one")
        await trio.lowlevel.checkpoint()
        credentials = None if self._credentials is None else self._credentials.to_grpc()
        self.hub = Hub()
        self._channel = cygrpc.Channel(
            self.address.encode(),
            channel_options(self.calling.limits, self._credentials),
            None if credentials is None else credentials._credentials,
        )
        self._stopped = trio.Event()
        self._poller = threading.Thread(target=self._poll, name="remora-grpc-channel", daemon=True)
        self._poller.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()
        for call in tuple(self._calls):
            call.cancel(cygrpc.StatusCode.unavailable, "the channel was closed")
        with trio.CancelScope(shield=True):
            await self._stopped.wait()
        self._poller.join()
        self._channel.close(cygrpc.StatusCode.cancelled, "the channel was closed")

    def _poll(self) -> None:  # poller thread
        while True:
            with self._condition:
                while not self._live and not self._closed:
                    self._condition.wait()
                if not self._live:
                    break
            while self._live:
                event = self._channel.next_call_event()
                if event.completion_type == cygrpc.CompletionType.queue_timeout:
                    continue
                try:
                    call_is_over = event.tag(event)
                except Exception:
                    log.exception("the gRPC poller met an unexpected error")
                    continue
                if call_is_over:
                    with self._condition:
                        self._live -= 1
                event = None
        self.hub.post(self._stopped.set)

    def start_call(self, call: OutgoingCall, batches: tuple[Any, ...]) -> Any:
        """Starts one call with its first batches; their tags return True when it is over."""
        if self._channel is None:
            raise RuntimeError("open the channel first: `async with transport.connect(...)`")
        if self._closed:
            raise trio.ClosedResourceError("the channel is closed")
        deadline = None
        if call.timeout_seconds is not None:
            deadline = time.time() + call.timeout_seconds
        with self._condition:
            self._live += 1
            self._condition.notify()
        try:
            started = self._channel.integrated_call(
                _PROPAGATE_DEFAULTS,
                call.method.encode(),
                None,
                deadline,
                (),
                None,
                batches,
                None,
                None,
            )
        except BaseException:
            with self._condition:
                self._live -= 1
            raise
        self._calls.add(started)
        return started

    def forget(self, call: Any) -> None:
        """A call is over or nobody waits for it any more."""
        self._calls.discard(call)

    async def raw_unary(self, call: OutgoingCall, payload: bytes) -> RawReply:
        """Makes one unary call."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waiter = Waiter()
        finished: list[Any] = []

        def tag(event: Any) -> bool:  # poller thread
            finished.extend(event.batch_operations)
            self.hub.post(waiter.wake)
            return True

        operations = (
            cygrpc.SendInitialMetadataOperation(call.metadata, NO_FLAGS),
            cygrpc.SendMessageOperation(payload, NO_FLAGS),
            cygrpc.SendCloseFromClientOperation(NO_FLAGS),
            cygrpc.ReceiveInitialMetadataOperation(NO_FLAGS),
            cygrpc.ReceiveMessageOperation(NO_FLAGS),
            cygrpc.ReceiveStatusOnClientOperation(NO_FLAGS),
        )
        started = self.start_call(call, ((operations, tag),))
        try:
            await waiter.park(
                lambda: started.cancel(cygrpc.StatusCode.cancelled, "cancelled by the client")
            )
        finally:
            self.forget(started)
        status, trailing = _status(finished[5])
        return RawReply(status, finished[4].message(), trailing)

    def raw_stream(self, call: OutgoingCall, payload: bytes | None) -> CoreClientStream:
        """Starts one streaming call."""
        return CoreClientStream(self, call, payload)


class CoreClientStream(CoreStream):
    """One streaming call at the client, as bytes."""

    def __init__(self, channel: CoreChannel, call: OutgoingCall, payload: bytes | None) -> None:
        super().__init__(channel.hub, channel.calling.limits)
        self._channel = channel
        self._status: CallStatus | None = None
        self.trailing: Metadata = ()
        self._waiting: list[Waiter] = []
        operations: tuple[Any, ...] = (
            cygrpc.SendInitialMetadataOperation(call.metadata, NO_FLAGS),
        )
        if payload is not None:
            operations += (
                cygrpc.SendMessageOperation(payload, NO_FLAGS),
                cygrpc.SendCloseFromClientOperation(NO_FLAGS),
            )
        self._batches_due = 3
        batches = (
            (operations, self._tag(None)),
            ((cygrpc.ReceiveInitialMetadataOperation(NO_FLAGS),), self._tag(None)),
            ((cygrpc.ReceiveStatusOnClientOperation(NO_FLAGS),), self._tag(self._on_status)),
        )
        self._call = channel.start_call(call, batches)
        with self._lock:
            self._read_ahead()

    def _tag(self, done: Callable[[Any], None] | None) -> Callable[[Any], bool]:
        def tag(event: Any) -> bool:  # poller thread
            try:
                if done is not None:
                    done(event)
            except Exception:
                # Whatever it was, the batch is over: the channel counts calls to know when to end.
                log.exception("a streaming call met an unexpected error in the poller thread")
            with self._lock:
                self._batches_due -= 1
                return self._batches_due == 0

        return tag

    def _start(self, operations: tuple[Any, ...], done: Callable[[Any], None] | None) -> bool:
        # The lock is held. False: every batch has completed, the C-core has let the call go.
        self._batches_due += 1
        started: bool = self._call.operate(operations, self._tag(done))
        if not started:
            self._batches_due -= 1
        return started

    def _on_status(self, event: Any) -> None:  # poller thread
        status, self.trailing = _status(event.batch_operations[0])
        with self._lock:
            self._status = status
            waiting, self._waiting = self._waiting, []
        self._end()
        for waiter in waiting:
            self._hub.post(waiter.wake)
        # There: a call that fails at once is over before the constructor has it.
        self._hub.post(self._forget)

    def _forget(self) -> None:
        self._channel.forget(self._call)

    def close_send(self) -> None:
        """Half-closes after what was sent."""

        def last() -> None:
            with self._lock:
                if not self._write_over:
                    self._write_over = True
                    self._start((cygrpc.SendCloseFromClientOperation(NO_FLAGS),), None)

        self._when_written(last)

    async def status(self) -> CallStatus:
        """Waits for the end of the call."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with self._lock:
            waiter = None
            if self._status is None:
                waiter = Waiter()
                self._waiting.append(waiter)
        if waiter is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await waiter.park()
        assert self._status is not None
        return self._status

    def cancel(self) -> None:
        """Cancels the call; nothing if it is over."""
        if self._status is None:
            self._call.cancel(cygrpc.StatusCode.cancelled, "cancelled by the client")
        self._forget()
