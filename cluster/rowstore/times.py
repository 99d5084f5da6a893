"""Ingestion times: strictly increasing, and how far all of them are visible."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cluster.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cluster.clock import Clock

NANOSECONDS_A_MICROSECOND: Final = 1000


class IngestionTimes:
    """Mints the ingestion times of a node: microseconds since 1970 UTC, each used once.

    Every record of the row stores and every batch ingestion gets one. A time is *pending* from
    its minting until its rows are visible. What failed in a way that leaves open whether it will
    be there after a restart (a write to a log) stays pending: cursors must not pass it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_us = 0
        self._pending: OrderedDict[int, None] = OrderedDict()

    def now_ns(self) -> int:
        """The wall clock itself, in nanoseconds: for records that hold no rows."""
        return self._clock.now_ns()

    def mint(self) -> int:
        """A new time, pending: above all minted before, and not below the clock."""
        now_us = self._clock.now_ns() // NANOSECONDS_A_MICROSECOND
        self._last_us = max(now_us, self._last_us + 1)
        self._pending[self._last_us] = None
        return self._last_us

    def settle(self, times_us: Iterable[int]) -> None:
        """Rows of these times are visible, or will never be. Harmless for others."""
        for time_us in times_us:
            self._pending.pop(time_us, None)

    @contextmanager
    def stamp(self) -> Iterator[int]:
        """A time for rows that are visible, or given up, at the end of the ``with`` block.

        If the block raises UnavailableError, as a catalog does that could not write, nobody knows
        whether a restart will find the rows: the time stays pending.
        """
        time_us = self.mint()
        try:
            yield time_us
        except UnavailableError:
            raise
        except BaseException:
            self.settle((time_us,))
            raise
        self.settle((time_us,))

    def raise_to(self, time_us: int) -> None:
        """Times minted from now on are above this one, which was given out in an earlier life."""
        self._last_us = max(self._last_us, time_us)

    def cursor_us(self) -> int:
        """Everything at or before it is visible, and nothing at or before it will appear later.

        Just below the oldest pending time; the last time minted if none is pending; 0 if none
        was ever.
        """
        if self._pending:
            return next(iter(self._pending)) - 1
        return self._last_us
