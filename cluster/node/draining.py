"""Seals what is left in the row stores once the cluster's streaming capability is off.

``ingest-data-streaming.md``: policies are removed first, which moves rows into extents, then the
capability is turned off. What is in a row store all the same, because a seal had failed or rows
came last, must not stay there unseen by followers: nothing would ever seal it but its age.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from cluster.errors import RemoraError
from cluster.replication.authority import Capability

if TYPE_CHECKING:
    from cluster.extents.keeping import Drained
    from cluster.replication.authority import Authority

logger = logging.getLogger(__name__)


class Keeper(Protocol):
    """What seals: :class:`cluster.extents.driver.ExtentKeeper`."""

    async def drain(self) -> Drained:
        """Seals everything of all owned databases."""


class CapabilityDrain:
    """Drains once for each time the capability goes off, as often as it takes.

    Ingestion is refused while it is off, so nothing new comes.
    """

    def __init__(self, keeper: Keeper, authority: Authority, *, retry_seconds: float) -> None:
        self._keeper = keeper
        self._authority = authority
        self._retry_seconds = retry_seconds
        self._was_off = False
        self._due = trio.Event()

    def authority_changed(self) -> None:
        """The authority has a new view. Must not wait."""
        is_off = self._is_off()
        if is_off and not self._was_off:
            self._due.set()
        self._was_off = is_off

    async def run(self) -> None:
        """Drains when it is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            if self._is_off() and not await self._is_drained():
                await trio.sleep(self._retry_seconds)
                self._due.set()

    async def _is_drained(self) -> bool:
        try:
            drained = await self._keeper.drain()
        except RemoraError as error:
            logger.warning("the capability is off, but rows could not be sealed: %s", error)
            return False
        if drained.extents:
            logger.info("the capability is off: sealed %d extents", len(drained.extents))
        return drained.is_empty

    def _is_off(self) -> bool:
        view = self._authority.view
        return view is not None and view.capability is Capability.OFF
