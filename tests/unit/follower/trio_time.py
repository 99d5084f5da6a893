"""Time and threads of tests in one process with virtual time."""

from __future__ import annotations

import trio


class TrioClock:
    """Trio's time as both clocks."""

    def now_ns(self):
        return 1_700_000_000_000_000_000 + int(trio.current_time() * 1e9)

    def monotonic(self):
        return trio.current_time()


async def in_place(function, *args, **_):
    """Stands in for ``trio.to_thread.run_sync``."""
    await trio.lowlevel.checkpoint()
    return function(*args)
