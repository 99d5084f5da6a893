"""The query engine: throttle, translate, prune, bind, execute, all within the time allowed."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import trio

from cluster.errors import (
    InternalError,
    NotSupportedError,
    RemoraError,
    ThrottledError,
    TimedOutError,
)
from cluster.limits import LIMITS, Limits
from cluster.processors import on_all
from cluster.query.binding import QuerySnapshot, given_table
from cluster.query.cursors import cursor_text
from cluster.query.execution import Execution, open_database
from cluster.query.hot.relations import Coverage
from cluster.query.inflight import Cancellations, state_of
from cluster.query.process import TranslatorProcess, TranslatorStatistics
from cluster.query.pruning import conjunct_groups, holding
from cluster.query.records import QueryRecord, QueryState, counted, given_batch, scanned
from cluster.query.relation import Input, cold_parts
from cluster.query.translation import CURSOR_SLOT
from cluster.query.translations import Translations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa

    from cluster.catalog.model import Column, Function
    from cluster.clock import Clock
    from cluster.query.binding import BoundTable, QueryResult
    from cluster.query.hot.driver import HotCache
    from cluster.query.pruning import ExtentSource
    from cluster.query.translation import TableUse
    from cluster.query.translations import Translator

_INTERRUPT_SECONDS: Final = 0.01
_ANY_ROWS: Final = 2**62
_COMMAND_RESULT: Final = "__command_result"
_PREWARM: Final = (
    "print now()",
    """datatable(a:long, b:string, t:datetime)[1, 'x', datetime(2020-01-01)]
    | where a > 0 and b has 'x' | extend c = a + 1
    | summarize n = count(), sum(a) by bin(t, 1h), b | top 10 by n""",
    "print a = 1 | join kind=inner (print a = 1, b = 'x') on a | project a, b | take 10 | count",
)


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """The engine so far."""

    running: int
    """Queries being answered now."""
    answered: int
    refused: int
    """Ended by a Remora error, throttled ones included."""
    throttled: int
    cancelled: int
    """Given up by their callers."""
    cache_hits: int
    cache_entries: int
    translator: TranslatorStatistics


class QueryEngine:
    """Answers KQL over snapshots. Use as ``async with``.

    ``folders`` are where files of extents may lie; no other file can be read. :meth:`serve` gives
    it the extents before the first query that needs them.

    Guarantees: an answer is computed from the snapshot given and nothing else; a query that is
    cancelled or out of time has stopped using DuckDB when ``run`` returns; no query reads a file
    of its own choice, a variable or the network.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        cores: int,
        limits: Limits = LIMITS,
        translator: Translator | None = None,
        processors: tuple[int, ...] = (),
        folders: Sequence[Path] = (),
        on_query: Callable[[QueryRecord], None] | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._stored = replace(
            limits, query_rows=_ANY_ROWS, query_result_bytes=limits.ingest_query_bytes
        )
        self._processors = processors
        translator = TranslatorProcess(limits) if translator is None else translator
        self._translations = Translations(translator, limits)
        self._folders = frozenset(
            folder for given in folders for folder in (given, given.resolve())
        )
        self.database = open_database(limits, cores, sorted(self._folders))
        self._on_query = on_query
        self._files: ExtentSource | None = None
        self._hot: HotCache | None = None
        self._most = limits.queries_per_core * cores
        self._threads = trio.CapacityLimiter(self._most)
        self.cancellations = Cancellations()
        self._running = self._answered = self._refused = self._begun = 0
        self._throttled = self._cancelled = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._translations.aclose()
        self.database.close()

    def serve(self, files: ExtentSource, hot: HotCache | None = None) -> None:
        """From now on queries read extents, those in ``hot`` from memory.

        ``hot`` holds its relations in :attr:`database`.
        """
        self._files = files
        self._hot = hot

    async def prewarm(self) -> None:
        """Takes the translator through the common shapes; another process computes for a second."""
        for kql in _PREWARM:
            await self._translations.of(kql, QuerySnapshot("", {}))

    async def run(
        self, kql: str, snapshot: QuerySnapshot, *, client_request_id: str = ""
    ) -> QueryResult:
        """Answers one query from ``snapshot``.

        Raises SyntaxRefusedError, SemanticError, NotSupportedError, InvalidRequestError (a control
        command), LimitExceededError (text, translation, rows, bytes, memory), ThrottledError,
        TimedOutError, InternalError, and what reading the files of extents raises.
        """
        return await self._logged(kql, snapshot, self._limits, client_request_id)

    async def run_to_store(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """Like :meth:`run`, for rows that are stored and not sent.

        Any number of rows, within ``limits.ingest_query_bytes``: the limits of a result are for
        callers (``query-limits.md``: ingestion from a query is not truncated).
        """
        return await self._logged(kql, snapshot, self._stored)

    async def _logged(
        self, kql: str, snapshot: QuerySnapshot, limits: Limits, client_request_id: str = ""
    ) -> QueryResult:
        record = self._begin(kql, snapshot.database, client_request_id)
        if self._running >= self._most:
            self._throttled += 1
            self._refused += 1
            refusal = ThrottledError(
                f"{self._most} queries are running already.", metadata={"limit": "queries_per_core"}
            )
            self._end(record, QueryState.THROTTLED, str(refusal))
            raise refusal
        self._running += 1
        try:
            work = self._within_time(kql, snapshot, limits)
            result, cpu_seconds = await self.cancellations.run(record.number, work)
        except RemoraError as error:
            self._refused += 1
            self._end(record, state_of(error), str(error))
            raise
        except Exception as error:  # a defect; the transport reports it
            self._end(record, QueryState.FAILED, type(error).__name__)
            raise
        except BaseException:  # cancelled, perhaps as a group
            self._cancelled += 1
            self._end(record, QueryState.CANCELLED, "")
            raise
        else:
            self._answered += 1
            self._end(record, QueryState.COMPLETED, "", result, cpu_seconds)
            return result
        finally:
            self._running -= 1

    async def run_over(
        self, columns: Sequence[Column], rows: Iterable[Sequence[object]], kql: str
    ) -> QueryResult:
        """Answers ``| kql`` over the rows of a command's result: ``.show tables | count``.

        ``rows`` have the values of ``commands.results``. No table of a database can be read.
        """
        table = given_table(_COMMAND_RESULT, columns, [given_batch(columns, rows)])
        text = f"{_COMMAND_RESULT}\n| {kql.lstrip().removeprefix('|')}"
        return await self._unlogged(text, QuerySnapshot("", {_COMMAND_RESULT: table}))

    async def run_on_batch(
        self,
        kql: str,
        source: str,
        columns: Sequence[Column],
        batch: pa.RecordBatch,
        *,
        database: str,
        functions: Mapping[str, Function] | None = None,
        others: Mapping[str, BoundTable] | None = None,
        ingested_us: int | None = None,
    ) -> QueryResult:
        """Answers a query of an update policy: its table ``source`` is exactly ``batch``.

        ``others`` are the other tables it may read; None: it may read no other, and naming one is
        SEM0100. ``storage_batches`` of the result makes rows to store of it.
        """
        tables = {
            **(others or {}),
            source: given_table(source, columns, [batch], ingested_us=ingested_us),
        }
        return await self._unlogged(
            kql, QuerySnapshot(database, tables, functions=functions or {}, cursor_us=None)
        )

    async def _unlogged(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """A query of the node itself: not throttled, not in the log of queries."""
        result, _ = await self._within_time(kql, snapshot, self._limits)
        return result

    def _begin(self, kql: str, database: str, client_request_id: str) -> QueryRecord:
        self._begun += 1
        now_ns = self._clock.now_ns()
        record = QueryRecord(self._begun, kql, database, now_ns, client_request_id)
        if self._on_query is not None:
            self._on_query(record)
        return record

    def _end(
        self,
        record: QueryRecord,
        state: QueryState,
        failure: str,
        result: QueryResult | None = None,
        cpu_seconds: float = 0.0,
    ) -> None:
        if self._on_query is not None:
            now_ns = self._clock.now_ns()
            self._on_query(record.ended(now_ns, state, failure, result, cpu_seconds))

    async def _within_time(
        self, kql: str, snapshot: QuerySnapshot, limits: Limits
    ) -> tuple[QueryResult, float]:
        with trio.move_on_after(self._limits.query_seconds):
            return await self._run(kql, snapshot, limits)
        raise TimedOutError(
            f"The query ran longer than {self._limits.query_seconds} seconds.",
            metadata={"limit": "query_seconds"},
        )

    async def _run(
        self, kql: str, snapshot: QuerySnapshot, limits: Limits
    ) -> tuple[QueryResult, float]:
        prepared = await self._translations.of(kql, snapshot)
        translation = prepared.translation
        if CURSOR_SLOT in translation.sql and snapshot.cursor_us is None:
            raise NotSupportedError("The database has no cursor here.")
        readable = {
            name.casefold(): tables
            for name, tables in {**snapshot.others, snapshot.database: snapshot.tables}.items()
        }
        bounds = [readable[use.database][use.table] for use in translation.tables]
        if translation.only_count:
            return counted(translation.only_count, bounds[0]), 0.0
        now_us = translation.query_now_us
        if now_us is None:
            now_us = self._clock.now_ns() // 1000
        coverages = [
            self._cover(bound, use) for bound, use in zip(bounds, translation.tables, strict=True)
        ]
        async with AsyncExitStack() as stack:
            if self._hot is not None:
                stack.enter_context(self._hot.held(coverages))
            inputs = [
                await self._input(stack, bound, use, coverage, now_us)
                for bound, use, coverage in zip(bounds, translation.tables, coverages, strict=True)
            ]
            execution = Execution(
                self.database,
                translation,
                inputs,
                limits,
                shape=prepared.shape,
                now_us=now_us,
                cursor_us=snapshot.cursor_us,
            )
            result, cpu_seconds = await self._execute(execution)
            prepared.shape = execution.shape
        cursor = ""
        if translation.uses_cursor and snapshot.cursor_us is not None:
            cursor = cursor_text(snapshot.cursor_us)
        return replace(result, cursor=cursor, scanned=scanned(inputs)), cpu_seconds

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

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_interrupt_when_cancelled, execution)
            try:
                result = await trio.to_thread.run_sync(
                    on_all(self._processors, run), limiter=self._threads
                )
            except Exception as error:  # carried out of the nursery as it is
                failure = error
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()  # rather than "interrupted"
        if failure is not None:
            raise failure
        assert result is not None
        return result, cpu_seconds

    def statistics(self) -> QueryStatistics:
        """Counters since the start."""
        return QueryStatistics(
            running=self._running,
            answered=self._answered,
            refused=self._refused,
            throttled=self._throttled,
            cancelled=self._cancelled,
            cache_hits=self._translations.hits,
            cache_entries=len(self._translations),
            translator=self._translations.statistics(),
        )


async def _interrupt_when_cancelled(execution: Execution) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            while not execution.finished:
                execution.interrupt()
                await trio.sleep(_INTERRUPT_SECONDS)
