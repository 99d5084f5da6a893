"""The keeper of a node's extents: seals, merges, retention, garbage; and the door to change them.

Guarantees:

- *Each row once.* At every moment, on every tree, a row is in the row store or in one extent, also
  after a crash at any point (:class:`~cluster.extents.keeping.CrashPoint`).
- *Ingestion and queries go on.* Nothing here holds the trio thread for longer than planning takes;
  a query that pinned a tree keeps rows, extents and files of that tree.
- *Nothing is lost by failing.* A seal or merge that cannot be written changes nothing; it is
  reported and tried again, later and later.
- *Only what nobody needs is deleted.* See :mod:`~cluster.extents.garbage`.

Not guaranteed: that rows are sealed in the order of their tables, or that a file is deleted soon.

Follower databases are left alone: their leader's keeper does all this.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from cluster.catalog.changes import find_table
from cluster.errors import ReadOnlyError
from cluster.extents.collect_job import Collector, no_followers
from cluster.extents.garbage import GarbageRule
from cluster.extents.keeping import (
    Drained,
    JobKind,
    JobReport,
    KeeperStatistics,
    SealReason,
)
from cluster.extents.reporting import Reporter
from cluster.extents.retrying import Retries
from cluster.extents.rules import Rules
from cluster.extents.schedule import Schedule
from cluster.extents.seal_job import Sealer
from cluster.extents.service import ExtentOperations
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent, RowStoreKey, Table, Version
    from cluster.clock import Clock
    from cluster.extents.collect_job import RootOf
    from cluster.extents.files import ExtentFiles
    from cluster.extents.keeping import At, UnsealedRows
    from cluster.extents.sealing import SealTask, Streamed
    from cluster.extents.writer import ExtentWriter
    from cluster.history.records import DataOperation

_DRAIN_PASSES = 8
_SECOND_US = 1_000_000
_SWEEP_US = 3600 * _SECOND_US
_START_SWEEP_SECONDS = 5.0
_LOOK_SHARE = 9
_LOOK_TABLES = 64


class ExtentKeeper(ExtentOperations):
    """See the module. Run it with :meth:`run`; every other method works without that, too.

    ``root_of`` gives the storage root of a URL as a database names it. ``acknowledged`` gives the
    oldest version of a database that any of its followers has acknowledged, None without any;
    ``is_pinned`` says whether a snapshot that somebody holds may still read a file.
    ``on_report`` is told of every job, ``on_data_operation`` of seals. ``at`` is for tests only.
    """

    def __init__(
        self,
        catalog: Catalog,
        row_stores: UnsealedRows,
        writer: ExtentWriter,
        files: ExtentFiles,
        root_of: RootOf,
        *,
        clock: Clock,
        limits: Limits = LIMITS,
        acknowledged: Callable[[str], Version | None] = no_followers,
        is_pinned: Callable[[str], bool] = lambda _: False,
        on_report: Callable[[JobReport], None] | None = None,
        on_data_operation: Callable[[DataOperation], None] | None = None,
        at: At | None = None,
    ) -> None:
        reporter = Reporter(clock, on_report, on_data_operation)
        super().__init__(
            catalog, row_stores, writer, files, root_of, limits=limits, reporter=reporter, at=at
        )
        self._clock = clock
        self._limits = limits
        self._rules = Rules(catalog, limits)
        self._sealer = Sealer(
            catalog,
            row_stores,
            writer,
            clock=clock,
            commit=self._commit_now,
            discard=self._discard_files,
            rules=self._rules,
            at=at,
        )
        self._collector = Collector(
            catalog,
            row_stores,
            root_of,
            self._rules,
            clock=clock,
            commit=self._commit_now,
            is_pinned=lambda file: files.is_pinned(file) or is_pinned(file),
            acknowledged=acknowledged,
            garbage_rule=GarbageRule(
                grace_us=int(limits.garbage_grace_seconds * _SECOND_US),
                follower_us=int(limits.garbage_follower_seconds * _SECOND_US),
            ),
            forget=files.forget,
            at=at,
        )
        self._schedule = Schedule(catalog, row_stores, self._rules)
        first, longest = limits.seal_retry_first_seconds, limits.seal_retry_longest_seconds
        self._seal_retries: Retries[RowStoreKey] = Retries(first, longest)
        self._merge_retries: Retries[RowStoreKey] = Retries(first, longest)
        self._seal_slots = trio.CapacityLimiter(limits.seal_concurrency)
        self._sealing: dict[RowStoreKey, trio.Lock] = {}
        self._wake = trio.Event()

    # Sealing

    async def seal(
        self, database: str, table: str | None = None, reason: SealReason = SealReason.COMMAND
    ) -> tuple[Extent, ...]:
        """Seals the rows of a table, or of all tables of a database, that are visible now.

        Returns the extents made. Raises DatabaseNotFoundError, TableNotFoundError, and what
        storage root and catalog raise; tables that could be sealed are sealed all the same.
        """
        self._check_owned(database)
        waiting = [
            item
            for item in self._schedule.streamed(database)
            if table is None or item.table == table
        ]
        if table is not None:
            find_table(self._catalog.get(database), table)
        return await self._seal_all(waiting, reason)

    async def drain(self, database: str | None = None) -> Drained:
        """Seals everything of a database, or of all this node owns, until nothing is left.

        For before the capability goes off, and before a database is detached: stop taking rows,
        then drain. Raises what :meth:`seal` raises.
        """
        extents: list[Extent] = []
        for _ in range(_DRAIN_PASSES):
            waiting = list(self._schedule.streamed(database))
            if not waiting:
                break
            extents.extend(await self._seal_all(waiting, SealReason.DRAIN))
        return Drained(tuple(extents), is_empty=not any(self._schedule.streamed(database)))

    def is_drained(self, database: str | None = None) -> bool:
        """Whether no row of a database, or of all this node owns, is in a row store only."""
        return not any(self._schedule.streamed(database))

    def wake(self) -> None:
        """Something changed that may call for a seal: look now, not at the next tick."""
        self._wake.set()

    # Merging, retention, garbage

    async def merge(
        self, database: str, table: str | None = None
    ) -> list[tuple[tuple[Extent, ...], tuple[Extent, ...]]]:
        """Merges what the merge policy says, once; returns (old, new) of each merge done.

        Raises DatabaseNotFoundError, TableNotFoundError, and what reading and writing raise.
        """
        self._check_owned(database)
        tree = self._catalog.get(database)
        names = sorted(tree.tables) if table is None else [find_table(tree, table).name]
        done = []
        for name in names:
            found = tree.tables[name]
            for extents in self._schedule.merges(tree, found, self._now_us()):
                merged = await self._merge_one(tree, found, extents)
                if merged:
                    done.append((extents, merged))
        return done

    def plan_merge(self, database: str, table: str) -> list[tuple[Extent, ...]]:
        """What :meth:`merge` would merge now (``.merge dryrun``)."""
        tree = self._catalog.get(database)
        return self._schedule.merges(tree, find_table(tree, table), self._now_us())

    async def retain(self, database: str | None = None) -> int:
        """Applies retention, extent tag retention and auto delete; returns extents dropped."""
        total = 0
        for name in [tree.name for tree in self._schedule.owned(database)]:
            with self._reporter.work(JobKind.RETAIN, name) as work:
                extents, tables = await self._collector.retain(name)
                work.extent_count = extents
                work.details = {"Tables": tables} if tables else {}
            total += extents
        return total

    async def collect_garbage(self) -> int:
        """Deletes files that nothing needs any more; returns how many. See ``garbage.py``."""
        with self._reporter.work(JobKind.COLLECT) as work:
            work.extent_count = await self._collector.collect()
        return work.extent_count

    async def sweep(self, *, at_start: bool = False) -> int:
        """Deletes files that nothing ever named; returns how many.

        ``at_start``: no job or ingestion of this process has begun, so that every such file was
        left by a crash. Else it must have been seen ``limits.orphan_grace_seconds`` ago too.
        """
        grace_us = 0 if at_start else int(self._limits.orphan_grace_seconds * _SECOND_US)
        with self._reporter.work(JobKind.SWEEP) as work:
            work.extent_count = await self._collector.sweep(grace_us=grace_us)
        return work.extent_count

    # Running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Does all of it on its timers until cancelled.

        Start it before ingestion: first it removes what a crash has left, then it is started.
        A storage root that cannot be reached does not keep it from starting.
        """
        with trio.move_on_after(_START_SWEEP_SECONDS):
            await self._quietly(lambda: self.sweep(at_start=True))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._seal_when_due)
            nursery.start_soon(self._merge_when_due)
            nursery.start_soon(self._keep_up)
            task_status.started()

    def statistics(self) -> KeeperStatistics:
        """Counts of this moment."""
        return self._reporter.statistics(retry_tables=len(self._seal_retries))

    # Inside

    async def _seal_when_due(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                now_us, began = self._now_us(), self._clock.monotonic()
                for task in await self._due_seals(now_us):
                    if task.key not in self._sealing and self._seal_retries.may(task.key, now_us):
                        nursery.start_soon(self._seal_quietly, task)
                # However many changes there are, looking takes a tenth of the time at most.
                await trio.sleep(_LOOK_SHARE * (self._clock.monotonic() - began))
                with trio.move_on_after(self._limits.seal_check_seconds):
                    await self._wake.wait()
                self._wake = trio.Event()

    async def _due_seals(self, now_us: int) -> list[SealTask]:
        """Looks at every table, without holding the trio thread for long."""
        if not self._schedule.may_be_due(now_us):
            return []
        found: list[Streamed] = []
        for database in self._schedule.begin_look():
            for number, table in enumerate(database.tables.values()):
                item = self._schedule.streamed_table(database, table)
                if item is not None:
                    found.append(item)
                if number % _LOOK_TABLES == 0:
                    await trio.lowlevel.checkpoint()
        return self._schedule.seals(found, now_us)

    async def _seal_quietly(self, task: SealTask) -> None:
        """A failure is in the report and the statistics; the next look tries again."""
        await self._quietly(
            lambda: self._seal_one(task.database, task.table, task.key, task.reason)
        )

    async def _seal_all(
        self, waiting: Sequence[Streamed], reason: SealReason
    ) -> tuple[Extent, ...]:
        """Seals all, as many at once as allowed; raises the first failure when all have ended."""
        extents: list[Extent] = []
        failures: list[Exception] = []

        async def seal(item: Streamed) -> None:
            try:
                extents.extend(await self._seal_one(item.database, item.table, item.key, reason))
            except Exception as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for item in waiting:
                nursery.start_soon(seal, item)
        if failures:
            raise failures[0]
        return tuple(extents)

    async def _seal_one(
        self, database: str, table: str, key: RowStoreKey, reason: SealReason
    ) -> tuple[Extent, ...]:
        lock = self._sealing.setdefault(key, trio.Lock())
        try:
            async with lock, self._seal_slots:
                with self._reporter.work(JobKind.SEAL, database, table) as work:
                    sealed = await self._sealer.seal(database, key, table)
                    work.is_abandoned = sealed.is_outdated
                    if sealed.extents:
                        work.wrote(sealed.extents)
                        work.details = {"Reason": reason.value}
        except Exception:
            self._seal_retries.failed(key, self._now_us())
            raise
        else:
            self._seal_retries.succeeded(key)
            return sealed.extents
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._sealing.pop(key, None)

    async def _merge_when_due(self) -> None:
        while True:
            self._schedule.forget_gone()
            for tree, table in self._schedule.tables_to_merge():
                await self._quietly(partial(self._merge_changed, tree, table))
            await trio.sleep(self._limits.merge_check_seconds)

    async def _merge_changed(self, tree: Database, table: Table) -> None:
        now_us = self._now_us()
        if not self._merge_retries.may(table.key, now_us):
            self._schedule.look_again(table.key)
            return
        try:
            for extents in self._schedule.merges(tree, table, now_us):
                await self._merge_one(tree, table, extents)
        except Exception:
            self._merge_retries.failed(table.key, self._now_us())
            self._schedule.look_again(table.key)
            raise
        self._merge_retries.succeeded(table.key)

    async def _keep_up(self) -> None:
        swept_us = self._now_us()
        while True:
            await trio.sleep(self._limits.upkeep_check_seconds)
            await self._quietly(self.retain)
            await self._quietly(self.collect_garbage)
            if self._now_us() - swept_us >= _SWEEP_US:
                swept_us = self._now_us()
                await self._quietly(self.sweep)

    async def _quietly(self, job: Callable[[], Awaitable[object]]) -> None:
        """Runs a job whose failure is counted and reported where it happens, and tried again."""
        try:
            await job()
        except Exception:
            await trio.lowlevel.checkpoint()

    def _check_owned(self, database: str) -> None:
        if self._catalog.is_following(database):
            raise ReadOnlyError(
                f"Database '{database}' follows a leader; its extents are the leader's.",
                metadata={"database": database},
            )

    def _now_us(self) -> int:
        return self._clock.now_ns() // 1000
