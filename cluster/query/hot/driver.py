"""The hot cache at work: fills itself in the background, never in the way of a query.

Memory is DuckDB's; one thread at a time loads, joins and drops. A query asks :meth:`HotCache.cover`
where the extents of a table are, and holds the relations it was given until it has ended.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import duckdb
import trio

from cluster.errors import RemoraError
from cluster.limits import LIMITS
from cluster.processors import on_all
from cluster.query.hot.relations import Coverage, HotRelations, Relation, member_of
from cluster.query.hot.statements import HELD_BYTES, NUMBERS, join_statement, load_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import Database, Extent, Table
    from cluster.catalog.policies import CachingPolicy
    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.query.binding import BoundTable
    from cluster.query.hot.relations import Join, Load, Member

logger = logging.getLogger(__name__)


class Files(Protocol):
    """Where files of extents come from: :class:`cluster.extents.files.ExtentFiles`."""

    def acquire(
        self, database: Database, extents: Iterable[Extent]
    ) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """Holds files; local paths by ``Extent.file``."""


@dataclass(frozen=True, slots=True)
class HotCacheStatistics:
    """Memory in bytes; ``loads``, ``joins``, ``drops`` and ``failures`` since the start.

    ``waiting_drops``: relations that no query will find again, but some still read.
    """

    byte_count: int
    relations: int
    extents: int
    rows: int
    loads: int
    joins: int
    drops: int
    failures: int
    waiting_drops: int


class HotCache:
    """Extents in DuckDB's memory, under ``limits.hot_cache_bytes``.

    ``tables`` gives every table there is with its caching policy, of owned and followed databases.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        *,
        files: Files,
        tables: Callable[[], Iterable[tuple[Database, Table, CachingPolicy]]],
        clock: Clock,
        limits: Limits = LIMITS,
        processors: tuple[int, ...] = (),
    ) -> None:
        self._database = database
        self._files = files
        self._tables = tables
        self._clock = clock
        self._limits = limits
        self._processors = processors
        self._relations = HotRelations(limits)
        self._condemned: list[Relation] = []
        self._failed: dict[Member, float] = {}
        self._threads = trio.CapacityLimiter(1)
        self._poked = trio.Event()
        self._number = self._loads = self._joins = self._drops = self._failures = 0

    # -- for queries -----------------------------------------------------------------------------

    def cover(self, bound: BoundTable) -> Coverage:
        """Where each extent of a table is now."""
        return self._relations.cover(bound)

    @contextmanager
    def held(self, coverages: Iterable[Coverage]) -> Iterator[None]:
        """Keeps what was covered in memory while a query reads it."""
        relations = [relation for coverage in coverages for relation in coverage.relations]
        self._relations.hold(relations)
        try:
            yield
        finally:
            if any(True for _ in self._relations.release(relations)):
                self.poke()

    # -- in the background -----------------------------------------------------------------------

    def poke(self) -> None:
        """The tables, their extents or their policies may have changed. Cheap."""
        self._poked.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the cache as it should be until cancelled."""
        task_status.started()
        while True:
            self._poked = trio.Event()
            await self.settle()
            with trio.move_on_after(self._limits.hot_look_seconds):
                await self._poked.wait()
            await trio.sleep(self._limits.hot_pause_seconds)

    async def settle(self) -> None:
        """Loads, joins and drops until the cache holds what it should."""
        while await self._step():
            await trio.lowlevel.checkpoint()

    async def _step(self) -> bool:
        """Some work; False if there was none."""
        now = self._clock.monotonic()
        self._failed = {m: until for m, until in self._failed.items() if until > now}
        now_us = self._clock.now_ns() // 1000
        plan = self._relations.plan(self._tables(), now_us, frozenset(self._failed))
        for relation in plan.drop:
            self._condemn(relation)
        await self._drop()
        if plan.loads:
            return await self._load_all(plan.loads)
        if plan.join is None:
            return False
        try:
            await self._join(plan.join)
        except (RemoraError, duckdb.Error) as error:
            self._note(error)
            return False
        return True

    async def _load_all(self, loads: Iterable[Load]) -> bool:
        """Takes extents of several tables in, as long as there is room."""
        for load in loads:
            try:
                await self._load(load)
            except (RemoraError, duckdb.Error) as error:
                self._note(error)
                until = self._clock.monotonic() + self._limits.hot_look_seconds
                self._failed.update({member_of(load.table, e): until for e in load.extents})
            if self._relations.byte_count >= self._limits.hot_cache_bytes:
                break  # they are larger than was thought
        return True

    def _note(self, error: Exception) -> None:
        self._failures += 1
        logger.warning("extents stay out of the hot cache for now: %s", error)

    async def _load(self, load: Load) -> None:
        async with self._files.acquire(load.database, load.extents) as paths:
            located = [(extent, str(paths[extent.file])) for extent in load.extents]
            name = self._name()
            statement, numbers, columns = load_statement(name, load.table, located)
            byte_count = await self._make(name, statement, numbers)
        self._loads += 1
        self._relations.add(
            Relation(
                name,
                load.table.key,
                tuple(member_of(load.table, extent) for extent in load.extents),
                tuple(extent.row_count for extent in load.extents),
                columns,
                byte_count,
                max(extent.created_max_us for extent in load.extents),
            )
        )

    async def _join(self, join: Join) -> None:
        name = self._name()
        statement, columns = join_statement(name, join)
        self._relations.hold(join.relations)
        try:
            byte_count = await self._make(name, statement, None)
        finally:
            for _ in self._relations.release(join.relations):
                self.poke()
        self._joins += 1
        pairs = [
            (relation.members[number], relation.row_counts[number])
            for relation, kept in zip(join.relations, join.kept, strict=True)
            for number in kept
        ]
        created_us = max(relation.created_us for relation in join.relations)
        for relation in join.relations:
            self._condemn(relation)
        members, counts = tuple(m for m, _ in pairs), tuple(n for _, n in pairs)
        self._relations.add(
            Relation(name, join.table.key, members, counts, columns, byte_count, created_us)
        )
        await self._drop()

    def _name(self) -> str:
        self._number += 1
        return f"hot{self._number}"

    def _condemn(self, relation: Relation) -> None:
        self._relations.condemn(relation)
        self._condemned.append(relation)

    async def _make(self, name: str, statement: str, numbers: pa.Table | None) -> int:
        """Makes and compresses a relation; returns its size. Leaves nothing behind if it fails."""

        def make() -> int:
            cursor = self._database.cursor()
            try:
                before = _held(cursor)
                if numbers is not None:
                    cursor.register(NUMBERS, numbers)
                cursor.execute(f"ATTACH ':memory:' AS {name}").fetchall()
                try:
                    cursor.execute(statement).fetchall()
                    cursor.execute(f"CHECKPOINT {name}").fetchall()
                except duckdb.Error:
                    cursor.execute(f"DETACH {name}").fetchall()
                    raise
                return max(0, _held(cursor) - before)
            finally:
                cursor.close()

        return await trio.to_thread.run_sync(on_all(self._processors, make), limiter=self._threads)

    async def _drop(self) -> None:
        """Frees the condemned relations that no query reads any more."""
        free = [relation for relation in self._condemned if not relation.holders]
        if not free:
            return
        self._condemned = [relation for relation in self._condemned if relation.holders]
        self._drops += len(free)

        def drop() -> None:
            cursor = self._database.cursor()
            for relation in free:
                cursor.execute(f"DETACH {relation.name}").fetchall()
            cursor.close()

        await trio.to_thread.run_sync(drop, limiter=self._threads)

    def statistics(self) -> HotCacheStatistics:
        """Counters since the start, and what is held now."""
        relations = self._relations.relations
        return HotCacheStatistics(
            byte_count=self._relations.byte_count,
            relations=len(relations),
            extents=sum(len(relation.members) for relation in relations),
            rows=sum(relation.row_count for relation in relations),
            loads=self._loads,
            joins=self._joins,
            drops=self._drops,
            failures=self._failures,
            waiting_drops=len(self._condemned),
        )


def _held(cursor: duckdb.DuckDBPyConnection) -> int:
    ((held,),) = cursor.execute(HELD_BYTES).fetchall()
    return int(held)
