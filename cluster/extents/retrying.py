"""What failed is tried again, later and later. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

Subject = TypeVar("Subject")

_SECOND_US = 1_000_000


class Retries(Generic[Subject]):
    """When each subject that failed may be tried again: the wait doubles with each failure."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first_us = int(first_seconds * _SECOND_US)
        self._longest_us = int(longest_seconds * _SECOND_US)
        self._waits: dict[Subject, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def may(self, subject: Subject, now_us: int) -> bool:
        """True if it did not fail last time, or has waited long enough since."""
        found = self._waits.get(subject)
        return found is None or now_us >= found[0]

    def failed(self, subject: Subject, now_us: int) -> None:
        """It has to wait: the first wait, or twice the last one, up to the longest."""
        found = self._waits.get(subject)
        wait_us = self._first_us if found is None else min(2 * found[1], self._longest_us)
        self._waits[subject] = (now_us + wait_us, wait_us)

    def succeeded(self, subject: Subject) -> None:
        """Its failures are forgotten; also for a subject that is gone."""
        self._waits.pop(subject, None)
