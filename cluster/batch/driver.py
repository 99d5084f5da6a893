"""Batch ingestion: rows of commands become extents in one metadata transaction.

Guarantees: a command stores all of its rows or none, derived rows of transactional update policies
included; they are durable and visible when it returns; a failed one leaves no file behind that the
next start would not sweep. ``ingestIfNotExists`` is decided inside the transaction.

Files are decoded and encoded as a stream in worker threads; only a table that update policies read
has a batch in memory, within ``limits.update_policy_source_bytes``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.batch.reporting import BatchReports
from cluster.batch.schema import NewTable, Target, plan_target
from cluster.batch.store import BatchStore, Rows
from cluster.catalog.changes import find_table
from cluster.errors import ConflictError, LimitExceededError, RemoraError
from cluster.extents.operations import has_ingested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Sequence

    from cluster.batch.download import Downloads, LocalSource
    from cluster.batch.ports import Decode, Request, Store, UpdatePolicies
    from cluster.batch.schema import Mode
    from cluster.batch.sources import Source
    from cluster.batch.store import TargetOf
    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Column, Database, Extent
    from cluster.clock import Clock
    from cluster.extents.writer import ExtentWriter
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.rowstore.times import IngestionTimes

_ATTEMPTS: Final = 5
"""So often rows of a query are written again because their table was made or changed meanwhile."""


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Ingestions under way; since the start those that ended well and not, and rows stored."""

    running: int
    ended: int
    failed: int
    rows: int


@dataclass(slots=True)
class _Work:
    """One ingestion under way. ``source`` is what of its source may be printed."""

    request: Request
    started: float
    source: str


class BatchIngestion:
    """Stores what ingestion commands bring. One a node.

    All its methods raise DatabaseNotFoundError, ReadOnlyError (a follower database),
    TableNotFoundError, CreationTimeError (longer ago than the table keeps data), ConflictError
    (the table was dropped and made again meanwhile), LimitExceededError (over
    ``limits.update_policy_source_bytes`` where update policies read the table), what a
    transactional update policy fails with, and what writing extents raises.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        writer: ExtentWriter,
        decode: Decode,
        update_policies: UpdatePolicies,
        downloads: Downloads,
        times: IngestionTimes,
        history: History,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._catalog = catalog
        self._store = BatchStore(
            catalog=catalog,
            store=store,
            writer=writer,
            update_policies=update_policies,
            times=times,
            clock=clock,
            limits=limits,
        )
        self._decode = decode
        self._downloads = downloads
        self._reports = BatchReports(history, clock)
        self._clock = clock
        self._limits = limits
        self._running = self._ended = self._failed = self._row_count = 0

    async def inline(self, request: Request, data: bytes) -> tuple[Extent, ...]:
        """Ingests the text of ``.ingest inline``; () without records, or if ingested before.

        Raises what decoding raises.
        """
        async with self._working(request, "inline") as work:
            return await self._ingest(work, [data], len(data))

    async def sources(
        self, request: Request, sources: Sequence[Source | LocalSource]
    ) -> tuple[tuple[Extent, ...], float]:
        """Ingests files and objects, all in one transaction; of local ones copies are deleted.

        Returns the extents and the seconds it took. Raises LimitExceededError over
        ``limits.ingest_sources``, and what reading and decoding raise.
        """
        async with self._working(request, f"{len(sources)} sources") as work:
            limit = self._limits.ingest_sources
            if len(sources) > limit:
                raise LimitExceededError(
                    f"{len(sources)} sources in one command, the limit is {limit}.",
                    metadata={"limit": "ingest_sources", "maximum": str(limit)},
                )
            local: list[LocalSource] = []
            try:
                for number, source in enumerate(sources):
                    work.source = source.shown
                    local.append(await self._downloads.get(source, number))
                work.source = ", ".join(item.shown for item in local)
                size = sum(item.size_bytes for item in local)
                extents = await self._ingest(work, local, size)
            finally:
                for item in local:
                    if item.is_copy:
                        item.path.unlink(missing_ok=True)
        return extents, self._clock.monotonic() - work.started

    async def result(
        self,
        request: Request,
        mode: Mode,
        columns: Sequence[Column],
        batches: Sequence[pa.RecordBatch],
    ) -> tuple[Extent, ...]:
        """Ingests the result of a query or command: rows in the storage types of ``columns``.

        Columns match by order and type, not by name. Raises as
        :func:`cluster.batch.schema.plan_target` does.
        """
        new = NewTable(self._catalog.new_id(), self._catalog.new_key())
        properties = request.properties
        size = sum(batch.nbytes for batch in batches)

        def target_in(database: Database) -> Target:
            return plan_target(database, request.table, mode, columns, properties, new)

        async with self._working(request, f".{mode.value}") as work:
            for attempt in range(1, _ATTEMPTS + 1):
                database = self._catalog.get(request.database)
                target = target_in(database)
                if self._was_ingested(database, request):
                    return ()
                names = [column.name for column in target.table.columns]
                renamed = [
                    pa.RecordBatch.from_arrays(batch.columns, names=names) for batch in batches
                ]
                try:
                    return await self._add(work, database, target_in, Rows(renamed, size))
                except ConflictError:
                    # Two commands that made the same table: the rows are still here.
                    if attempt == _ATTEMPTS:
                        raise
            raise AssertionError("the last attempt has returned or raised")

    def statistics(self) -> BatchStatistics:
        """Counts since construction."""
        return BatchStatistics(self._running, self._ended, self._failed, self._row_count)

    # Inside

    async def _ingest(
        self, work: _Work, sources: Sequence[LocalSource | bytes], size: int
    ) -> tuple[Extent, ...]:
        request = work.request
        database = self._catalog.get(request.database)
        table = find_table(database, request.table)
        self._decode.check(database, table, request.properties)
        if self._was_ingested(database, request):
            return ()

        def target_in(newest: Database) -> Target:
            return Target(find_table(newest, request.table))

        def batches() -> Generator[pa.RecordBatch]:
            for source in sources:
                yield from self._decode.batches(source, database, table, request.properties)

        rows = batches()
        try:
            return await self._add(work, database, target_in, Rows(rows, size))
        finally:
            rows.close()  # and with it the file it was reading

    def _was_ingested(self, database: Database, request: Request) -> bool:
        """A look before the work; the transaction looks again."""
        values = request.properties.ingest_if_not_exists
        table = database.tables.get(request.table)
        return table is not None and has_ingested(table, values)

    async def _add(
        self, work: _Work, database: Database, target_in: TargetOf, rows: Rows
    ) -> tuple[Extent, ...]:
        request = work.request
        stored = await self._store.add(request, database, target_in, rows)
        if stored is None:
            return ()
        self._row_count += sum(extent.row_count for found in stored.values() for extent in found)
        self._reports.stored(request, stored, self._clock.monotonic() - work.started)
        return tuple(stored[request.table])

    @asynccontextmanager
    async def _working(self, request: Request, source: str) -> AsyncIterator[_Work]:
        work = _Work(request, self._clock.monotonic(), source)
        self._running += 1
        try:
            # A follower database is refused before anything is read or written for it.
            await self._catalog.transact(request.database, lambda _: (), text="")
            yield work
        except BaseException as error:
            self._failed += 1
            if isinstance(error, RemoraError) and request.reports_failure:
                self._reports.failed(request, work.source, error)
            raise
        else:
            self._ended += 1
        finally:
            self._running -= 1
