"""Blocking work of extents: in worker threads, or at once in a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from cluster.processors import on_all

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """Runs functions in worker threads, a bounded number at once, on all given processors.

    With ``blocks=False`` they run in the trio thread: a simulation's clock must not move, and its
    order of events must not depend on the machine, while a thread works.
    """

    def __init__(self, *, blocks: bool, count: int, processors: tuple[int, ...] = ()) -> None:
        self.blocks = blocks
        self._processors = processors
        self._limiter = trio.CapacityLimiter(count)

    async def run(self, function: Callable[[], T], *, abandon: bool = False) -> T:
        """Returns what ``function`` returns; cancelling waits until it has.

        A function that takes long calls :meth:`check_cancelled` now and then. With ``abandon`` a
        cancelled caller goes on at once, and the function runs to its end unheard.
        """
        if not self.blocks:
            await trio.lowlevel.checkpoint()
            return function()
        return await trio.to_thread.run_sync(
            on_all(self._processors, function),
            limiter=self._limiter,
            abandon_on_cancel=abandon,
        )

    def check_cancelled(self) -> None:
        """Called by running functions: raises trio.Cancelled if the caller was cancelled."""
        if self.blocks:
            trio.from_thread.check_cancelled()
