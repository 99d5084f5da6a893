"""The one thread that uses the files of queued ingestion."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class FilesThread:
    """Runs functions in worker threads, one at a time, in the order of the calls.

    A function that has begun is never abandoned: what it has written is known to the caller.
    """

    def __init__(self) -> None:
        self._one = trio.CapacityLimiter(1)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns what ``function`` returns, raises what it raises."""
        call = partial(function, *args, **kwargs)
        return await trio.to_thread.run_sync(call, limiter=self._one)
