"""One translated query over a snapshot: prune, hold what is read, bind, execute."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from cluster.errors import InternalError, LimitExceededError, NotSupportedError
from cluster.processors import on_all
from cluster.query.cursors import cursor_text
from cluster.query.execution import Execution
from cluster.query.hot.relations import Coverage
from cluster.query.native.switching import Switching
from cluster.query.pruning import conjunct_groups, holding
from cluster.query.records import counted, scanned
from cluster.query.relation import Input, cold_parts
from cluster.query.translation import CURSOR_SLOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb

    from cluster.limits import Limits
    from cluster.query.binding import BoundTable, QueryResult, QuerySnapshot
    from cluster.query.discovery import Found
    from cluster.query.execution import Bounds
    from cluster.query.hot.driver import HotCache
    from cluster.query.native.runs import Runs
    from cluster.query.pruning import ExtentSource
    from cluster.query.translation import TableUse
    from cluster.query.translations import Prepared

_INTERRUPT_SECONDS: Final = 0.01
_OWN_THREADS: Final = 4
"""For queries of the node itself: one behind a command must not wait until callers' have ended."""


class Runner:
    """Runs translated queries: at most ``most`` of callers at once, and some of the node itself.

    Guarantees: nothing is read but the snapshot given; when :meth:`run` returns, DuckDB has
    stopped.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        *,
        runs: Runs,
        folders: frozenset[Path],
        processors: tuple[int, ...],
        most: int,
    ) -> None:
        self._database = database
        self._runs = runs
        self._folders = folders
        self._processors = processors
        self._threads = trio.CapacityLimiter(most + _OWN_THREADS)
        self._files: ExtentSource | None = None
        self._hot: HotCache | None = None
        self._switching = Switching()

    def serve(self, files: ExtentSource, hot: HotCache | None) -> None:
        """From now on extents can be read, those in ``hot`` from memory."""
        self._files = files
        self._hot = hot

    async def run(
        self,
        prepared: Prepared,
        snapshot: QuerySnapshot,
        bounds: Bounds,
        given: Mapping[int, BoundTable],
    ) -> tuple[QueryResult, float]:
        """The result, and the seconds of processor time it took.

        ``given`` are tables that are not the snapshot's, by their places in the translation.
        """
        translation = prepared.translation
        if CURSOR_SLOT in translation.sql and snapshot.cursor_us is None:
            raise NotSupportedError("The database has no cursor here.")
        readable = {
            name.casefold(): tables
            for name, tables in {**snapshot.others, snapshot.database: snapshot.tables}.items()
        }
        tables = [
            given[index] if index in given else readable[use.database][use.table]
            for index, use in enumerate(translation.tables)
        ]
        if translation.only_count and bounds.take is None:
            return counted(translation.only_count, tables[0]), 0.0
        now_us = bounds.now_us
        coverages = [
            self._cover(bound, use) for bound, use in zip(tables, translation.tables, strict=True)
        ]
        async with AsyncExitStack() as stack:
            if self._hot is not None:
                stack.enter_context(self._hot.held(coverages))
            inputs = [
                await self._input(stack, bound, use, coverage, now_us)
                for bound, use, coverage in zip(tables, translation.tables, coverages, strict=True)
            ]
            execution = Execution(
                self._database,
                translation,
                inputs,
                bounds,
                self._runs,
                shape=prepared.shape,
                cursor_us=snapshot.cursor_us,
            )
            with self._switching.quick() if execution.calls_python else nullcontext():
                result, cpu_seconds = await self._execute(execution)
            prepared.shape = execution.shape
        cursor = ""
        if translation.uses_cursor and snapshot.cursor_us is not None:
            cursor = cursor_text(snapshot.cursor_us)
        return replace(result, cursor=cursor, scanned=scanned(inputs)), cpu_seconds

    async def discover(
        self,
        prepared: Prepared,
        snapshot: QuerySnapshot,
        bounds: Bounds,
        given: Mapping[int, BoundTable],
        limits: Limits,
    ) -> tuple[Found, float]:
        """What a first pass finds, and the seconds of processor time it took.

        Raises LimitExceededError for more than ``query_made_columns``, besides what :meth:`run`
        raises.
        """
        most = limits.query_made_columns
        rows = most + 1
        bounds = replace(bounds, rows=rows, take=rows, result_bytes=limits.query_result_bytes)
        result, cpu_seconds = await self.run(prepared, snapshot, bounds, given)
        found = tuple((row["name"], row["kind"]) for row in result.table.to_pylist())
        if len(found) > most:
            plugin = prepared.translation.discovers
            raise LimitExceededError(
                f"evaluate {plugin}() would make more than {most} columns.",
                remedy="Leave some out before it, or give it an output schema.",
                metadata={"limit": "query_made_columns", "limit_value": str(most)},
            )
        return found, cpu_seconds

    def _cover(self, bound: BoundTable, use: TableUse) -> Coverage:
        if use.counted or not bound.extents:
            return Coverage()
        if self._hot is None:
            return Coverage(cold=tuple(bound.extents.values()))
        return self._hot.cover(bound)

    async def _input(
        self,
        stack: AsyncExitStack,
        bound: BoundTable,
        use: TableUse,
        coverage: Coverage,
        now_us: int,
    ) -> Input:
        """Prunes what is cold, and holds the files of the rest until ``stack`` closes."""
        if not coverage.cold:
            return Input(bound, use, coverage.hot)
        if self._files is None or bound.database is None:
            raise InternalError("A query over extents came before there were files.")
        cold = coverage.cold
        groups = conjunct_groups(bound.table, use, now_us)
        if all(groups):
            cold = holding(groups, bound.table, cold, {})
            known = await self._files.statistics_of(bound.database, cold)
            cold = holding(groups, bound.table, cold, known)
        if not cold:
            return Input(bound, use, coverage.hot)
        paths = await stack.enter_async_context(self._files.acquire(bound.database, cold))
        located = [(extent, self._allowed(paths[extent.file])) for extent in cold]
        return Input(bound, use, coverage.hot, cold_parts(located))

    def _allowed(self, path: Path) -> str:
        if self._folders.isdisjoint(path.parents):
            raise InternalError("An extent file lies outside the folders of extents.")
        return str(path)

    async def _execute(self, execution: Execution) -> tuple[QueryResult, float]:
        result: QueryResult | None = None
        failure: Exception | None = None
        cpu_seconds = 0.0

        def run() -> QueryResult:
            nonlocal cpu_seconds
            began = time.thread_time()
            try:
                return execution.run()
            finally:
                cpu_seconds = time.thread_time() - began

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_interrupt_when_cancelled, execution)
                try:
                    result = await trio.to_thread.run_sync(
                        on_all(self._processors, run), limiter=self._threads
                    )
                except Exception as error:  # carried out of the nursery as it is
                    failure = error
                finally:
                    execution.finished = True  # also if it was cancelled before it began
                nursery.cancel_scope.cancel()
        finally:
            execution.forget()
        await trio.lowlevel.checkpoint_if_cancelled()  # rather than "interrupted"
        if failure is not None:
            raise failure
        assert result is not None
        return result, cpu_seconds


async def _interrupt_when_cancelled(execution: Execution) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            while not execution.finished:
                execution.interrupt()
                await trio.sleep(_INTERRUPT_SECONDS)
