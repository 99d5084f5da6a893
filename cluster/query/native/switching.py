"""How long a function of Python keeps other threads waiting while queries call it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCH_SECONDS: Final = 0.0005
"""The interpreter's switch interval while a query calls functions of Python."""


class Switching:
    """The interpreter's switch interval, shorter only while it has to be.

    It holds for the whole process and has a price: each switch of threads that are both busy. To be
    called by one thread.
    """

    def __init__(self) -> None:
        self._queries = 0
        self._usual_seconds: float | None = None

    @contextmanager
    def quick(self) -> Iterator[None]:
        """Within it the interval is :data:`SWITCH_SECONDS` or shorter; then it is what it was.

        Whoever has set a shorter one keeps it.
        """
        if self._queries == 0 and sys.getswitchinterval() > SWITCH_SECONDS:
            self._usual_seconds = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_SECONDS)
        self._queries += 1
        try:
            yield
        finally:
            self._queries -= 1
            if self._queries == 0 and self._usual_seconds is not None:
                sys.setswitchinterval(self._usual_seconds)
                self._usual_seconds = None
