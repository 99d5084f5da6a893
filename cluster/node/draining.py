"""Seals what is left in the row stores once the cluster's streaming capability is off.

``ingest-data-streaming.md``: policies are removed first, which moves rows into extents, then the
capability is turned off. What is in a row store all the same, because a seal had failed or rows
came last, must not stay there unseen by followers: nothing would ever seal it but its age. So off
is not done before every node of the cluster has promised that nothing is left
(:attr:`CapabilityDrain.drained_revision`; the coordinator's half is its phase DRAINING).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from cluster.errors import RemoraError
from cluster.replication.authority import Capability

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.extents.keeping import Drained
    from cluster.replication.authority import Authority
    from cluster.rowstore.stores import RowStoresStatistics

logger = logging.getLogger(__name__)


class Keeper(Protocol):
    """What seals: :class:`cluster.extents.driver.ExtentKeeper`."""

    def is_drained(self) -> bool:
        """Whether no owned database has a row in a row store."""

    async def drain(self) -> Drained:
        """Seals everything of all owned databases."""


class Logs(Protocol):
    """Where rows arrive: :class:`cluster.rowstore.stores.RowStores`."""

    def statistics(self) -> RowStoresStatistics:
        """``waiting_bytes`` are staged and not durable yet."""

    def end_lsn(self) -> int:
        """Where the log ends."""

    async def wait_beyond(self, lsn: int) -> None:
        """Returns when the log ends behind ``lsn``."""


class CapabilityDrain:
    """Drains once for each time the capability goes off, as often as it takes.

    Ingestion is refused while it is off: the door asks the same view, and again right before rows
    are staged. So what was staged before becomes durable or is refused, what is durable is sealed,
    and then nothing is left and nothing can come. ``on_news`` is called when there is something
    new to report; it must not wait.
    """

    def __init__(
        self,
        keeper: Keeper,
        logs: Logs,
        authority: Authority,
        *,
        retry_seconds: float,
        on_news: Callable[[], None],
    ) -> None:
        self._keeper = keeper
        self._logs = logs
        self._authority = authority
        self._retry_seconds = retry_seconds
        self._on_news = on_news
        self._was_off = False
        self._drained = False
        self._due = trio.Event()
        self.trouble = ""
        """Why rows could not be sealed; empty: no trouble."""

    @property
    def drained_revision(self) -> int:
        """The promise of a heartbeat; see :class:`cluster.coordinator.reports.Report`."""
        view = self._authority.view
        return view.revision if view is not None and self._is_off() and self._drained else 0

    def authority_changed(self) -> None:
        """The authority has a new view. Must not wait."""
        is_off = self._is_off()
        if is_off and not self._was_off:
            # Mostly there is nothing to do, and the heartbeat that confirms off can say so.
            self._drained = self._is_empty()
            if not self._drained:
                self._due.set()
        elif not is_off:
            self._drained, self.trouble = False, ""
        self._was_off = is_off

    async def run(self) -> None:
        """Drains when it is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            if self._is_off() and not await self._drain():
                await trio.sleep(self._retry_seconds)
                self._due.set()

    async def _drain(self) -> bool:
        with trio.move_on_after(self._retry_seconds):
            await self._until_durable()
        trouble = ""
        try:
            drained = await self._keeper.drain()
        except RemoraError as error:
            trouble = str(error)
            logger.warning("the capability is off, but rows could not be sealed: %s", error)
        else:
            if drained.extents:
                logger.info("the capability is off: sealed %d extents", len(drained.extents))
        # It may have been turned on meanwhile, and off again: what counts is what is there now.
        self._drained = self._is_off() and self._is_empty()
        if self._drained:
            trouble = ""
        if self._drained or trouble != self.trouble:
            self.trouble = trouble
            self._on_news()
        return self._drained

    async def _until_durable(self) -> None:
        while self._logs.statistics().total("waiting_bytes"):
            await self._logs.wait_beyond(self._logs.end_lsn())

    def _is_empty(self) -> bool:
        return not self._logs.statistics().total("waiting_bytes") and self._keeper.is_drained()

    def _is_off(self) -> bool:
        view = self._authority.view
        return view is not None and view.capability is Capability.OFF
