"""Everything a node follows: attaches and detaches as the coordinator says.

:meth:`FollowerManager.authority_changed` is synchronous. When it returns, every gate has taken the
newest word, so a heartbeat sent after it may confirm the epoch. Opening, copying and removing
happen in tasks of their own.

A database of ours is never replaced: where a followed one would have the name of a local one, or of
one that follows something else, it is not followed, and the report says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from cluster.catalog.model import FollowingSource
from cluster.commands.doors import FollowingState
from cluster.coordinator.reports import UNKNOWN_LAG, FollowingReport
from cluster.errors import DatabaseNotFoundError, RemoraError
from cluster.limits import LIMITS, Limits
from follower.exchange import Identity
from follower.gate import Word
from follower.store import FollowedCopy, folder_name
from follower.worker import FollowedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent
    from cluster.clock import Clock
    from cluster.replication.authority import Authority, Grant, NodeView
    from cluster.replication.position import Position
    from cluster.rowstore.disk import Disk
    from cluster.transport.api import Channel
    from follower.prefetch import Prefetch
    from follower.statistics import FollowedDatabaseStatistics

logger = logging.getLogger(__name__)

Attachment = tuple[str, str]
"""Leader cluster and folded name of the database there."""


@dataclass(frozen=True, slots=True)
class FollowerStatistics:
    """``conflicts`` are attachments that are not followed because their name is taken."""

    databases: tuple[FollowedDatabaseStatistics, ...]
    conflicts: tuple[str, ...]


@dataclass(slots=True)
class _Followed:
    """A followed database and the task that runs it."""

    database: FollowedDatabase
    scope: trio.CancelScope
    ended: trio.Event


class FollowerManager:
    """The follower side of a node. :meth:`run` must be running.

    ``folder`` holds the rows of followed databases, one folder each. ``connect`` makes a channel
    to an address. ``chance`` gives uniform numbers in [0, 1). ``on_gate`` is called after a gate
    moved or a database was removed, so that the link can confirm at once; it must not wait.
    ``prefetch`` fetches files of databases that are to have them before they are seen.
    """

    def __init__(
        self,
        *,
        cluster: str,
        node: str,
        folder: Path,
        catalog: Catalog,
        authority: Authority,
        connect: Callable[[str], Channel],
        disk: Disk,
        clock: Clock,
        chance: Callable[[], float],
        on_gate: Callable[[], None],
        strict: bool = False,
        prefetch: Prefetch | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._strict = strict
        self._folder = folder
        self._catalog = catalog
        self._authority = authority
        self._connect = connect
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._on_gate = on_gate
        self._prefetch = prefetch
        self._limits = limits
        self._followed: dict[Attachment, _Followed] = {}
        self._conflicts: dict[Attachment, str] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows until cancelled. Started when every copy of before is open (and hidden)."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                for database in self._catalog.databases():
                    source = self._catalog.following_source(database.name)
                    if source is not None:
                        followed = self._add(database.name, source)
                        await nursery.start(self._run_one, followed)
                task_status.started()
                self.authority_changed()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # -- the coordinator's word -----------------------------------------------------------------

    def authority_changed(self) -> None:
        """The authority has a new view, or its lease was renewed or ran out.

        When this returns, nothing is visible any more that the new word hides.
        """
        view = self._authority.view
        if view is None or self._nursery is None:
            return
        grants = {_attachment(grant): grant for grant in view.following}
        moved = False
        for attachment, followed in tuple(self._followed.items()):
            grant = grants.get(attachment)
            if grant is not None and _name(grant) != followed.database.copy.name:
                grant = None  # under another name it is another database: it begins anew
            word = self._word(grant, view)
            moved |= followed.database.hear(word)
            if grant is None and not followed.scope.cancel_called:
                followed.scope.cancel()
                self._nursery.start_soon(self._remove, attachment, followed)
        self._conflicts = {}
        for attachment, grant in grants.items():
            if attachment not in self._followed:
                moved |= self._attach(attachment, grant)
        if moved:
            self._on_gate()

    def _word(self, grant: Grant | None, view: NodeView) -> Word:
        authority = self._authority
        return Word(grant, view.capability, authority.lease_until, authority.doubt)

    def _attach(self, attachment: Attachment, grant: Grant) -> bool:
        name = _name(grant)
        source = FollowingSource(grant.leader_cluster, grant.database)
        if (conflict := self._conflict(name, source)) is not None:
            self._conflicts[attachment] = conflict
            return False
        followed = self._add(name, source)
        view = self._authority.view
        assert view is not None
        assert self._nursery is not None
        followed.database.hear(self._word(grant, view))
        self._nursery.start_soon(self._run_one, followed)
        return True

    def _conflict(self, name: str, source: FollowingSource) -> str | None:
        for other in self._followed.values():
            copy = other.database.copy
            if copy.name.lower() == name.lower():
                return (
                    f"database '{name}' already follows database "
                    f"'{copy.source.leader_database}' of cluster '{copy.source.leader_cluster}'"
                )
        try:
            present = self._catalog.following_source(name)
        except DatabaseNotFoundError:
            return None
        if present is None:
            return f"this cluster has a database '{name}' of its own"
        if present != source:
            return (
                f"database '{name}' follows another database of cluster '{present.leader_cluster}'"
            )
        return None

    def _add(self, name: str, source: FollowingSource) -> _Followed:
        copy = FollowedCopy(
            name,
            source,
            folder=self._folder / folder_name(source.leader_cluster, source.leader_database),
            catalog=self._catalog,
            disk=self._disk,
            clock=self._clock,
            limits=self._limits,
            prefetch=self._prefetch,
        )
        database = FollowedDatabase(
            copy,
            identity=Identity(self._cluster, self._node, source.leader_database, self._strict),
            connect=self._connect,
            clock=self._clock,
            limits=self._limits,
            chance=self._chance,
            on_gate=self._on_gate,
        )
        followed = _Followed(database, trio.CancelScope(), trio.Event())
        self._followed[source.leader_cluster, source.leader_database.lower()] = followed
        return followed

    async def _run_one(
        self, followed: _Followed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            with followed.scope:
                await followed.database.run(task_status=task_status)
        finally:
            followed.ended.set()

    async def _remove(self, attachment: Attachment, followed: _Followed) -> None:
        """Detached: removes everything, then looks whether it was attached again meanwhile."""
        await followed.ended.wait()
        while True:
            try:
                await followed.database.copy.remove()
                break
            except (RemoraError, OSError) as error:
                logger.warning("cannot remove %r: %s", followed.database.copy.name, error)
                await trio.sleep(self._limits.follow_retry_longest_seconds)
        del self._followed[attachment]
        self.authority_changed()
        self._on_gate()

    # -- reading --------------------------------------------------------------------------------

    def get(self, name: str) -> FollowedDatabase | None:
        """The followed database of that case-insensitive name here; None if there is none."""
        for followed in self._followed.values():
            if followed.database.copy.name.lower() == name.lower():
                return followed.database
        return None

    def state(self, database: str) -> FollowingState:
        """Where a followed database stands. Raises DatabaseNotFoundError if it is not followed."""
        followed = self.get(database)
        if followed is None:
            raise DatabaseNotFoundError(
                f"This cluster does not follow database '{database}' at the moment.",
                metadata={"database": database},
            )
        report, source = followed.report(), followed.copy.source
        grants = self._authority.view.following if self._authority.view else ()
        attachment = (source.leader_cluster, source.leader_database.lower())
        grant = next((grant for grant in grants if _attachment(grant) == attachment), None)
        known_lag = report.lag_ms != UNKNOWN_LAG
        has_applied = followed.statistics().apply_lag.records > 0
        return FollowingState(
            leader_cluster=source.leader_cluster,
            leader_database=source.leader_database,
            configuration=grant.configuration if grant else "",
            origin=grant.origin.value if grant else "",
            epoch=report.applied_epoch,
            gate=report.gate,
            reason=report.refusal,
            is_connected=report.connected,
            version=report.position.version,
            ordinals={key: at.ordinal for key, at in report.position.keys.items()},
            rows_visible=report.rows_visible,
            lag_seconds=report.lag_ms / 1000 if known_lag else None,
            apply_lag_p50_seconds=report.apply_lag_ms_p50 / 1000 if has_applied else None,
            apply_lag_p99_seconds=report.apply_lag_ms_p99 / 1000 if has_applied else None,
            trouble=followed.trouble,
        )

    async def wait_for(self, name: str, position: Position) -> Position:
        """Waits until a followed database shows everything up to ``position``.

        Returns what is visible then. Raises DatabaseNotFoundError if nothing of that name is
        followed.
        """
        database = self.get(name)
        if database is None:
            raise DatabaseNotFoundError(
                f"This cluster follows no database '{name}'.", metadata={"database": name}
            )
        return await database.wait_for(position)

    async def fetch_extent(self, database: Database, extent: Extent, path: Path) -> None:
        """Writes an extent file of a followed database to a new file, as its leader sends it.

        What comes is not verified. Raises DatabaseNotFoundError if the database is not followed
        (any more), and what :func:`follower.link.fetch_extent` raises.
        """
        followed = self.get(database.name)
        if followed is None:
            raise DatabaseNotFoundError(
                f"This cluster follows no database '{database.name}'.",
                metadata={"database": database.name},
            )
        await followed.fetch_extent(extent, path)

    def report(self) -> tuple[FollowingReport, ...]:
        """Every attachment of the view, and what is being removed; a promise about epochs.

        See :class:`cluster.coordinator.reports.FollowingReport`.
        """
        reports = [followed.database.report() for followed in self._followed.values()]
        view = self._authority.view
        for grant in view.following if view else ():
            if _attachment(grant) in self._followed:
                continue
            reports.append(
                FollowingReport(
                    grant.leader_cluster,
                    grant.database,
                    applied_epoch=grant.epoch,  # nothing of it is here, so nothing can be seen
                    refusal=self._conflicts.get(_attachment(grant), "this node is starting"),
                )
            )
        return tuple(reports)

    def statistics(self) -> FollowerStatistics:
        """Counts for people."""
        return FollowerStatistics(
            databases=tuple(item.database.statistics() for item in self._followed.values()),
            conflicts=tuple(self._conflicts.values()),
        )


def _name(grant: Grant) -> str:
    """The name of the database here."""
    return grant.follower_database or grant.database


def _attachment(grant: Grant) -> Attachment:
    return grant.leader_cluster, grant.database.lower()
