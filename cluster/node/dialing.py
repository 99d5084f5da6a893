"""Where a node calls its coordinator: at the address of its start, or through the link proxy.

The coordinator says so in every view, while a fault is between it and the node. If nobody is at the
other address any more, because the proxy has ended, the node goes back to the first by itself; if
nothing is heard from there, it stays: that is what a partition is like.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from cluster.faults.link import nobody_listens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.errors import RemoraError
    from cluster.transport.api import Channel, Transport

logger = logging.getLogger(__name__)


class Dialer:
    """The node's channel to its coordinator, which may be made again elsewhere at any time."""

    def __init__(self, address: str, transport: Transport) -> None:
        self._first = address
        self._transport = transport
        self._called = address
        self._gone = ""
        self._scope = trio.CancelScope()
        self._failed = trio.Event()

    async def keep(self, use: Callable[[Channel], Awaitable[RemoraError]]) -> RemoraError:
        """Calls ``use`` with a channel, again for each new address; returns what it returns."""
        while True:
            with trio.CancelScope() as self._scope:
                async with (
                    self._transport.connect(self._called) as channel,
                    trio.open_nursery() as nursery,
                ):
                    if self._called != self._first:
                        nursery.start_soon(self._fall_back)
                    refusal = await use(channel)
                    nursery.cancel_scope.cancel()
                return refusal

    def call_at(self, address: str) -> None:
        """The coordinator says where it is to be called; empty: where it was at the start."""
        address = address or self._first
        if address not in (self._called, self._gone):
            self._called, self._gone = address, ""
            self._scope.cancel()

    def failed(self) -> None:
        """A call has failed."""
        self._failed.set()

    async def _fall_back(self) -> None:
        while True:
            self._failed = trio.Event()
            await self._failed.wait()
            if await nobody_listens(self._called):
                logger.warning("nobody is at %s: back to %s", self._called, self._first)
                self._called, self._gone = self._first, self._called
                self._scope.cancel()
