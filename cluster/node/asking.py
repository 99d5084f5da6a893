"""What of a heartbeat somebody waits for, and who waits until one sent from now on is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from cluster.coordinator.reports import Report


class Asking:
    """Numbers of what is sent to the coordinator, which answers it in that order."""

    def __init__(self) -> None:
        self._sent = 0
        self._answered = 0
        self._wanted = 0
        self._changed = trio.Event()

    @property
    def is_due(self) -> bool:
        """Somebody waits for the answer to what has not been sent yet."""
        return self._wanted > self._sent

    def want(self) -> int:
        """The number that the next thing sent has; from now on it is due."""
        self._wanted = self._sent + 1
        return self._wanted

    def send(self) -> int:
        """Something is being sent; returns its number, from 1."""
        self._sent += 1
        return self._sent

    def answer(self) -> None:
        """What was sent last has been answered."""
        self._answered = self._sent
        self._changed.set()
        self._changed = trio.Event()

    async def until_answered(self, number: int) -> None:
        """Returns when ``number`` or something sent after it has been answered."""
        while self._answered < number:
            await self._changed.wait()


def said(revision: int, report: Report) -> object:
    """The part of a heartbeat somebody may be waiting for; ``revision`` is the one applied."""
    return (
        revision,
        tuple((f.leader_cluster, f.database, f.applied_epoch) for f in report.following),
        tuple((d.name, d.streaming_tables) for d in report.databases),
        report.drained_revision,
        report.drain_trouble,
        report.newest_epoch,
    )
