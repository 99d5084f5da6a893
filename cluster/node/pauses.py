"""How long a node waits before it asks its coordinator again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST_PAUSE_SECONDS = 0.05
"""First pause of a back-off; it doubles up to a third of the lease."""


class Pauses:
    """A capped exponential back-off with jitter: half of each pause is random."""

    def __init__(self, longest_seconds: float, rng: random.Random) -> None:
        self._longest = longest_seconds
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        """All is well: the next pause is a short one."""
        self._next = min(FIRST_PAUSE_SECONDS, self._longest)

    def take(self) -> float:
        """The next pause, in seconds."""
        pause = self._next
        self._next = min(self._longest, pause * 2)
        return pause * self._rng.uniform(0.5, 1.0)
