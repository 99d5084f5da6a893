"""Which processors the threads of a node run on.

A node's Python threads (trio, gRPC's pollers, the disk's) run one at a time: they hand the
interpreter's lock to each other several times a payload. On one processor that is a switch; across
two it is an interrupt, an idle processor waking up and cold caches. Measured on two processors, 16
streams of 10 rows: 5,500 payloads a second and 189 us of processor time each at the leader when the
threads float, 9,900 and 97 us when each node keeps its own to one processor.

What computes without that lock (DuckDB, large decodes) runs on all of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def usable() -> tuple[int, ...]:
    """The processors this thread may use, in order; empty where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))


def keep_to_one(number: int) -> tuple[int, ...]:
    """Keeps this thread, and those it starts from now on, to one processor.

    ``number`` counts round the usable ones, so that several nodes spread. Returns the processors
    that were usable before: hand them to :func:`on_all`. Does nothing where there is only one.
    """
    before = usable()
    if len(before) > 1:
        os.sched_setaffinity(0, {before[number % len(before)]})
    return before


def on_all(processors: tuple[int, ...], function: Callable[P, R]) -> Callable[P, R]:
    """``function``, running on all of ``processors`` while it lasts. For worker threads.

    The thread is a cached one that does other work afterwards, hence the way back.
    """
    if len(processors) < 2:
        return function

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, processors)
        try:
            return function(*args, **kwargs)
        finally:
            os.sched_setaffinity(0, own)

    return run
