"""What a process has of its own faults: a disk and a clock that suffer them, each for its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.faults.active import ActiveFaults
from cluster.faults.clock import FaultyClock
from cluster.faults.composition import clock_faults, disk_faults
from cluster.faults.disk import FaultyDisk

if TYPE_CHECKING:
    import random

    from cluster.clock import Clock
    from cluster.faults.active import ActiveFault
    from cluster.rowstore.disk import Disk


class ProcessFaults:
    """The faults of this process. :meth:`run` must be running for them to end by themselves.

    ``clock`` and ``disk`` are for everything in the process; ``base`` is the clock that no fault
    moves, by which faults end.
    """

    def __init__(self, clock: Clock, disk: Disk, rng: random.Random) -> None:
        self.base = clock
        self.clock = FaultyClock(clock)
        self.disk = FaultyDisk(disk, rng)
        self._born_at = clock.monotonic()
        self._active = ActiveFaults()
        self._changed = trio.Event()

    @property
    def active(self) -> tuple[ActiveFault, ...]:
        """What is suffered now."""
        return self._active.faults

    def suffer(self, faults: tuple[ActiveFault, ...]) -> None:
        """From now on these, instead of those before. In effect on return."""
        self._active = ActiveFaults(faults).expire(self.base.monotonic())
        self._apply()
        self._changed.set()

    async def run(self) -> None:
        """Ends what has run out, until cancelled."""
        while True:
            self._changed = trio.Event()
            left = self._active.next_end - self.base.monotonic()
            with trio.move_on_after(max(0.0, left)):
                await self._changed.wait()
            remaining = self._active.expire(self.base.monotonic())
            if remaining != self._active:
                self._active = remaining
                self._apply()

    def _apply(self) -> None:
        self.disk.suffer(disk_faults(self._active.faults))
        self.clock.suffer(clock_faults(self._active.faults, self._born_at))
