"""One direction of a stream inside the trio thread: a bounded queue of messages.

For transports that have no poller thread. The sender counts a message with :meth:`reserve` when
it leaves; it occupies the window until the receiver has taken it.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import trio

from cluster.transport.hub import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.limits import Limits


class Window:
    """Bounded by ``stream_window_messages`` and ``stream_window_bytes`` of ``limits``.

    ``on_room`` is called, besides waking parked senders, when the window is half empty again.
    """

    def __init__(self, limits: Limits, on_room: Callable[[], None] | None = None) -> None:
        self._limits = limits
        self._on_room = on_room
        self._arrived: collections.deque[bytes] = collections.deque()
        self._taken_messages = 0
        self._taken_bytes = 0
        self._ended = False
        self._failed = False
        self._receiver: Waiter | None = None
        self._senders: list[Waiter] = []

    @property
    def is_over(self) -> bool:
        """True once nothing can be sent any more."""
        return self._failed

    def reserve(self, size_bytes: int) -> None:
        """Counts a message that is on its way."""
        self._taken_messages += 1
        self._taken_bytes += size_bytes

    @property
    def is_full(self) -> bool:
        """True while senders must wait."""
        return not self._failed and (
            self._taken_messages >= self._limits.stream_window_messages
            or self._taken_bytes >= self._limits.stream_window_bytes
        )

    def release(self, messages: int, size_bytes: int) -> None:
        """Messages reserved have been taken."""
        self._taken_messages -= messages
        self._taken_bytes -= size_bytes
        if (
            self._taken_messages <= self._limits.stream_window_messages // 2
            and self._taken_bytes <= self._limits.stream_window_bytes // 2
        ):
            self._wake_senders()

    async def wait_for_room(self) -> None:
        """Parks while the window is full; then until it is half empty (fewer wake-ups)."""
        if not self.is_full:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        waiter = Waiter()
        self._senders.append(waiter)
        await waiter.park()

    def arrive(self, payload: bytes) -> None:
        """A reserved message is there. After :meth:`fail` it is dropped."""
        if not self._failed:
            self._arrived.append(payload)
            self._wake_receiver()

    def end(self) -> None:
        """No more messages; what has arrived can still be received."""
        self._ended = True
        self._wake_receiver()

    def abandon(self) -> None:
        """The sender is gone: nobody waits for room. The receiver notices nothing by this."""
        self._failed = True
        self._wake_senders()

    def fail(self) -> None:
        """The call is over: senders stop waiting; what has arrived can still be received."""
        self._failed = self._ended = True
        self._wake_receiver()
        self._wake_senders()

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end.

        Raises BusyResourceError if another task is receiving from this stream.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._arrived and not self._ended:
            if self._receiver is not None:
                raise trio.BusyResourceError("another task is receiving from this stream")
            self._receiver = Waiter()
            try:
                await self._receiver.park()
            finally:
                self._receiver = None
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return self.take()

    def take(self) -> list[bytes]:
        """Messages that have arrived, maybe none; nobody waits and no other task runs."""
        messages = list(self._arrived)
        self._arrived.clear()
        self.release(len(messages), sum(map(len, messages)))
        return messages

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.wake()

    def _wake_senders(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.wake()
        if self._on_room is not None:
            self._on_room()
