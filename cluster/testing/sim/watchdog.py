"""A run that does not end in real time is ended: virtual time does not pass in a busy loop."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGAIN_SECONDS: Final = 5.0
"""After so long it strikes once more, should somebody have swallowed it."""


class RunHangsError(BaseException):
    """Not an Exception, so that nothing under test takes it for a failure it knows."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raises RunHangsError inside after so many real seconds, wherever the program is then.

    Only in the main thread, where signals arrive, and if nobody else uses the timer; whoever runs
    seeds elsewhere must watch them from outside, as workers of campaigns are watched.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def strike(*_: object) -> None:
        raise RunHangsError(f"the run did not end within {seconds:g} real seconds")

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
