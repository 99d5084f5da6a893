"""The query engine: throttle, translate, prune, bind, execute, all within the time allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import trio

from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    QueryThrottledError,
    RemoraError,
    TimedOutError,
)
from cluster.limits import LIMITS, Limits
from cluster.query.binding import Answer, QuerySnapshot, given_table
from cluster.query.execution import Bounds, open_database
from cluster.query.inflight import Cancellations, state_of
from cluster.query.native.runs import Runs
from cluster.query.options import QueryOptions, forces_row_level_security, options_of
from cluster.query.parameters import lets_of
from cluster.query.principal_facts import facts_of
from cluster.query.process import TranslatorProcess, TranslatorStatistics
from cluster.query.reaching import Reaching
from cluster.query.records import QueryRecord, QueryState, given_batch
from cluster.query.runner import Runner
from cluster.query.statements import Script, take_apart
from cluster.query.translations import Translations
from cluster.request import NODE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa

    from cluster.catalog.model import Column, Function
    from cluster.clock import Clock
    from cluster.query.binding import BoundTable, QueryResult
    from cluster.query.discovery import Found
    from cluster.query.hot.driver import HotCache
    from cluster.query.pruning import ExtentSource
    from cluster.query.remote import OtherClusters
    from cluster.query.translations import Translator
    from cluster.request import Caller, ClientRequest

_ANY_ROWS: Final = 2**62
_COMMAND_RESULT: Final = "__command_result"
_THROTTLED_RETRY_SECONDS: Final = 1.0
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
        self._plain = options_of({}, (), limits)
        self._stored = QueryOptions(limits.query_seconds, _ANY_ROWS, limits.ingest_query_bytes)
        translator = TranslatorProcess(limits) if translator is None else translator
        self._translations = Translations(translator, limits)
        readable = frozenset(folder for given in folders for folder in (given, given.resolve()))
        runs = Runs()
        self.database = open_database(limits, cores, runs, sorted(readable))
        self._on_query = on_query
        self._most = limits.queries_per_core * cores
        self._runner = Runner(
            self.database, runs=runs, folders=readable, processors=processors, most=self._most
        )
        self.cancellations = Cancellations()
        self._clusters: OtherClusters | None = None
        self._cluster = ""
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
        self._runner.serve(files, hot)

    def reach(self, clusters: OtherClusters, cluster: str) -> None:
        """From now on queries of clients may name tables of other clusters; ``cluster``: ours."""
        self._clusters = clusters
        self._cluster = cluster

    async def prewarm(self) -> None:
        """Takes the translator through the common shapes; another process computes for a second."""
        for kql in _PREWARM:
            await self._translations.of(kql, QuerySnapshot("", {}))

    async def answer(
        self, text: str, snapshot: QuerySnapshot, request: ClientRequest = NODE_REQUEST
    ) -> Answer:
        """Answers every query of a text from ``snapshot``, at one moment.

        Options and parameters are those of ``request``; ``set`` statements of the text win. Raises
        SyntaxRefusedError, SemanticError, NotSupportedError, InvalidRequestError (a control
        command, an option that cannot be read), LimitExceededError (text, translation, results,
        rows, bytes, memory), QueryThrottledError, TimedOutError, InternalError, and what reading
        the files of extents raises. There is an answer to all of the text or to nothing.
        """
        return await self._logged(text, snapshot, request, None)

    async def run(
        self,
        kql: str,
        snapshot: QuerySnapshot,
        *,
        client_request_id: str = "",
        caller: Caller | None = None,
    ) -> QueryResult:
        """Like :meth:`answer` for a text with one result, part of something ``caller`` asked for.

        Raises InvalidRequestError for one with several, before any of them is computed.
        """
        request = NODE_REQUEST
        if client_request_id:
            request = replace(request, request_id=client_request_id)
        return (await self._logged(kql, snapshot, request, None, 1, caller)).only

    async def run_to_store(
        self, kql: str, snapshot: QuerySnapshot, *, caller: Caller | None = None
    ) -> QueryResult:
        """Like :meth:`run`, for rows that are stored and not sent.

        Any number of rows, within ``limits.ingest_query_bytes``: the limits of a result are for
        callers (``query-limits.md``: ingestion from a query is not truncated).
        """
        return (await self._logged(kql, snapshot, NODE_REQUEST, self._stored, 1, caller)).only

    async def _logged(
        self,
        text: str,
        snapshot: QuerySnapshot,
        request: ClientRequest,
        options: QueryOptions | None,
        most: int | None = None,
        caller: Caller | None = None,
    ) -> Answer:
        record = self._begin(text, snapshot.database, request)
        if self._running >= self._most:
            self._throttled += 1
            self._refused += 1
            refusal = QueryThrottledError(
                f"{self._most} queries are running already.",
                metadata={"limit": "queries_per_core"},
                retry_after_seconds=_THROTTLED_RETRY_SECONDS,
            )
            self._end(record, QueryState.THROTTLED, str(refusal))
            raise refusal
        self._running += 1
        try:
            work = self._answered_within_time(text, snapshot, request, options, most, caller)
            answer, cpu_seconds = await self.cancellations.run(record.number, work)
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
            self._end(record, QueryState.COMPLETED, "", answer, cpu_seconds)
            return answer
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
        answer, _ = await self._answered_within_time(kql, snapshot, NODE_REQUEST, None, 1)
        return answer.only

    def _begin(self, text: str, database: str, request: ClientRequest) -> QueryRecord:
        self._begun += 1
        now_ns = self._clock.now_ns()
        record = QueryRecord(self._begun, text, database, now_ns, request)
        if self._on_query is not None:
            self._on_query(record)
        return record

    def _end(
        self,
        record: QueryRecord,
        state: QueryState,
        failure: str,
        answer: Answer | None = None,
        cpu_seconds: float = 0.0,
    ) -> None:
        if self._on_query is not None:
            results = () if answer is None else answer.results
            now_ns = self._clock.now_ns()
            self._on_query(record.ended(now_ns, state, failure, results, cpu_seconds))

    async def _answered_within_time(
        self,
        text: str,
        snapshot: QuerySnapshot,
        request: ClientRequest,
        options: QueryOptions | None,
        most: int | None,
        caller: Caller | None = None,
    ) -> tuple[Answer, float]:
        self._require_short(text)
        script = take_apart(text, self._limits.query_statements)
        if most is not None and len(script.statements) > most:
            raise InvalidRequestError(
                f"The text has {len(script.statements)} results, and only one can be taken here.",
                remedy="Send each query by itself, or use an interface with several results.",
            )
        if options is None:
            options = self._plain
            if request.options or script.settings:
                options = options_of(request.options, script.settings, self._limits)
        with trio.move_on_after(options.seconds):
            return await self._computed(script, snapshot, request, options, caller)
        raise TimedOutError(
            f"The query ran longer than {options.seconds:g} seconds.",
            metadata={"limit": "query_seconds"},
        )

    def _require_short(self, text: str) -> None:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > self._limits.query_text_bytes:
            raise LimitExceededError(
                f"The query text has {size} bytes, the limit is {self._limits.query_text_bytes}.",
                remedy="Shorten the query.",
                metadata={"limit": "query_text_bytes"},
            )

    async def _computed(
        self,
        script: Script,
        snapshot: QuerySnapshot,
        request: ClientRequest,
        options: QueryOptions,
        caller: Caller | None,
    ) -> tuple[Answer, float]:
        prefix = lets_of(script.parameters, request.parameters) if script.parameters else ""
        now_us = self._clock.now_ns() // 1000 if options.now_us is None else options.now_us
        bounds = Bounds(
            now_us=now_us,
            rows=options.rows,
            result_bytes=options.result_bytes,
            string_bytes=self._limits.string_value_bytes,
            take=options.take,
        )
        facts = facts_of(
            request.caller if caller is None else caller,
            request.origin.partition("://")[2] or self._cluster,
        )
        is_forced = forces_row_level_security(request.options, script.settings)
        results = []
        hidden: list[str] = []
        cpu_seconds = 0.0
        for statement in script.statements:
            reaching = Reaching(
                self._clusters,
                request,
                script.settings,
                self._limits.query_result_bytes,
                is_forced=is_forced,
            )
            shaped = await reaching.shaped(statement.text, snapshot)
            discovered: tuple[Found, ...] = ()
            while True:
                prepared = await self._translations.of(
                    statement.text,
                    shaped,
                    prefix,
                    facts,
                    is_forced=is_forced,
                    discovered=discovered,
                )
                given = await reaching.filled(prepared.translation, shaped, now_us)
                if not prepared.translation.discovers:
                    break
                found, seconds = await self._runner.discover(
                    prepared, shaped, bounds, given, self._limits
                )
                discovered += (found,)
                cpu_seconds += seconds
            result, seconds = await self._runner.run(prepared, shaped, bounds, given)
            results.append(replace(result, name=statement.name) if statement.name else result)
            hidden += reaching.hidden
            cpu_seconds += seconds
        return Answer(tuple(results), "; ".join(dict.fromkeys(hidden))), cpu_seconds

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
