"""The query engine: throttle, translate, bind, execute, all within the time allowed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import trio

from cluster.errors import LimitExceededError, RemoraError, ThrottledError, TimedOutError
from cluster.limits import LIMITS, Limits
from cluster.processors import on_all
from cluster.query.execution import Execution, open_database
from cluster.query.lexical import names_mentioned
from cluster.query.process import TranslatorProcess, TranslatorStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from cluster.catalog.model import Column
    from cluster.clock import Clock
    from cluster.query.binding import BoundTable, QueryResult, QuerySnapshot
    from cluster.query.messages import Schemas
    from cluster.query.translation import Translation

_CACHED_CHARACTERS: Final = 64 * 1024
_INTERRUPT_SECONDS: Final = 0.01
_PREWARM: Final = (
    "print now()",
    """datatable(a:long, b:string, t:datetime)[1, 'x', datetime(2020-01-01)]
    | where a > 0 and b has 'x' | extend c = a + 1
    | summarize n = count(), sum(a) by bin(t, 1h), b | top 10 by n""",
    "print a = 1 | join kind=inner (print a = 1, b = 'x') on a | project a, b | take 10 | count",
)


class Translator(Protocol):
    """Where KQL becomes SQL."""

    async def translate(
        self, kql: str, database: str, schemas: Schemas, others: dict[str, Schemas]
    ) -> Translation:
        """Translates one query."""

    async def aclose(self) -> None:
        """Frees what it holds."""

    def statistics(self) -> TranslatorStatistics:
        """Its figures."""


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

    Guarantees: an answer is computed from the snapshot given and nothing else; a query that is
    cancelled or out of time has stopped using DuckDB when ``run`` returns; no query reads a file,
    a variable or the network.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        cores: int,
        limits: Limits = LIMITS,
        translator: Translator | None = None,
        processors: tuple[int, ...] = (),
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._processors = processors
        self._translator = TranslatorProcess(limits) if translator is None else translator
        self._database = open_database(limits, cores)
        self._most = limits.queries_per_core * cores
        self._threads = trio.CapacityLimiter(self._most)
        self._cache: OrderedDict[object, Translation] = OrderedDict()
        self._running = self._answered = self._refused = 0
        self._throttled = self._cancelled = self._cache_hits = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._translator.aclose()
        self._database.close()

    async def prewarm(self) -> None:
        """Starts the translator and takes it through the common shapes, so no query waits for it.

        Optional; costs about a second of processor time of another process.
        """
        for kql in _PREWARM:
            await self._translator.translate(kql, "", {}, {})

    async def run(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """Answers one query from ``snapshot``.

        Raises SyntaxRefusedError, SemanticError, NotSupportedError, InvalidRequestError (a control
        command), LimitExceededError (text, translation, rows, bytes, memory), ThrottledError,
        TimedOutError, InternalError.
        """
        if self._running >= self._most:
            self._throttled += 1
            self._refused += 1
            raise ThrottledError(
                f"{self._most} queries are running already.", metadata={"limit": "queries_per_core"}
            )
        self._running += 1
        try:
            result = await self._within_time(kql, snapshot)
        except RemoraError:
            self._refused += 1
            raise
        except Exception:
            raise  # a defect; the transport reports it
        except BaseException:  # cancelled, perhaps as a group
            self._cancelled += 1
            raise
        else:
            self._answered += 1
            return result
        finally:
            self._running -= 1

    async def _within_time(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        with trio.move_on_after(self._limits.query_seconds):
            return await self._run(kql, snapshot)
        raise TimedOutError(
            f"The query ran longer than {self._limits.query_seconds} seconds.",
            metadata={"limit": "query_seconds"},
        )

    async def _run(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        size = len(kql.encode("utf-8", "surrogatepass"))
        if size > self._limits.query_text_bytes:
            raise LimitExceededError(
                f"The query text has {size} bytes, the limit is {self._limits.query_text_bytes}.",
                remedy="Shorten the query.",
                metadata={"limit": "query_text_bytes"},
            )
        readable = {
            name.casefold(): tables
            for name, tables in {**snapshot.others, snapshot.database: snapshot.tables}.items()
        }
        translation = await self._translate(kql, snapshot)
        tables = [readable[use.database][use.table] for use in translation.tables]
        now_us = self._clock.now_ns() // 1000
        return await self._execute(
            Execution(self._database, translation, tables, now_us, self._limits)
        )

    async def _translate(self, kql: str, snapshot: QuerySnapshot) -> Translation:
        used = _mentioned(kql, snapshot.tables)
        others = {name: _mentioned(kql, tables) for name, tables in snapshot.others.items()}
        key = (
            kql,
            snapshot.database,
            tuple(sorted(used.items(), key=_name)),
            tuple((n, tuple(sorted(t.items(), key=_name))) for n, t in sorted(others.items())),
        )
        hit = self._cache.get(key)
        if hit is not None:
            self._cache_hits += 1
            self._cache.move_to_end(key)
            return hit
        translation = await self._translator.translate(
            kql,
            snapshot.database,
            _schemas(used),
            {name: _schemas(tables) for name, tables in others.items()},
        )
        if len(kql) + len(translation.sql) <= _CACHED_CHARACTERS:
            self._cache[key] = translation
            if len(self._cache) > self._limits.query_cache_entries:
                self._cache.popitem(last=False)
        return translation

    async def _execute(self, execution: Execution) -> QueryResult:
        result: QueryResult | None = None
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_interrupt_when_cancelled, execution)
            try:
                result = await trio.to_thread.run_sync(
                    on_all(self._processors, execution.run), limiter=self._threads
                )
            except Exception as error:  # carried out of the nursery as it is
                failure = error
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()  # rather than "interrupted"
        if failure is not None:
            raise failure
        assert result is not None
        return result

    def statistics(self) -> QueryStatistics:
        """Counters since the start."""
        return QueryStatistics(
            running=self._running,
            answered=self._answered,
            refused=self._refused,
            throttled=self._throttled,
            cancelled=self._cancelled,
            cache_hits=self._cache_hits,
            cache_entries=len(self._cache),
            translator=self._translator.statistics(),
        )


async def _interrupt_when_cancelled(execution: Execution) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            while not execution.finished:
                execution.interrupt()
                await trio.sleep(_INTERRUPT_SECONDS)


def _mentioned(kql: str, tables: Mapping[str, BoundTable]) -> dict[str, tuple[Column, ...]]:
    return {name: tables[name].columns for name in names_mentioned(kql, tables)}


def _name(item: tuple[str, object]) -> str:
    return item[0]


def _schemas(tables: dict[str, tuple[Column, ...]]) -> Schemas:
    return {
        name: tuple((column.name, column.type.value) for column in columns)
        for name, columns in tables.items()
    }
