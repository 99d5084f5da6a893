"""Batch ingestion: rows of commands become extents in one metadata transaction.

Guarantees: a command stores all of its rows or none, derived rows of transactional update policies
included; they are durable and visible when it returns; a failed one leaves no file behind that the
next start would not sweep. ``ingestIfNotExists`` is decided inside the transaction.

Files are decoded and encoded as a stream in worker threads; only a table that update policies read
has a batch in memory, within ``limits.update_policy_source_bytes``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import trio

from cluster.batch.properties import described
from cluster.batch.schema import Mode, NewTable, Target, plan_target
from cluster.catalog.changes import AS_DECIDED, apply, find_table
from cluster.catalog.policies import ingestiontime_of, retention_of
from cluster.errors import ConflictError, CreationTimeError, LimitExceededError, RemoraError
from cluster.extents.operations import Addition, has_ingested, plan_add
from cluster.history.records import DataOperation, DataOperationKind, IngestionFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from cluster.batch.download import Downloads, LocalSource
    from cluster.batch.ports import Decode, Request, Store, UpdatePolicies
    from cluster.batch.properties import IngestionProperties
    from cluster.batch.sources import Source
    from cluster.catalog.changes import Change
    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Column, Database, Extent, Table
    from cluster.clock import Clock
    from cluster.extents.committing import Plan
    from cluster.extents.writer import ExtentWriter
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.rowstore.times import IngestionTimes


@dataclass(slots=True)
class _Work:
    """One ingestion under way."""

    request: Request
    started: float
    source: str = ""
    written: list[Extent] = field(default_factory=list)


class BatchIngestion:
    """Stores what ingestion commands bring."""

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
        self._store = store
        self._writer = writer
        self._decode = decode
        self._update_policies = update_policies
        self._downloads = downloads
        self._times = times
        self._history = history
        self._clock = clock
        self._limits = limits

    async def inline(self, request: Request, data: bytes) -> tuple[Extent, ...]:
        """Ingests the text of ``.ingest inline``; () without records, or if ingested before."""
        async with self._working(request) as work:
            work.source = "inline"
            return await self._ingest(work, [data], len(data))

    async def sources(
        self, request: Request, sources: Sequence[Source]
    ) -> tuple[tuple[Extent, ...], float]:
        """Ingests files and objects, all in one transaction.

        Returns the extents and the seconds it took. Raises LimitExceededError over
        ``limits.ingest_sources``, and what reading and decoding raise.
        """
        limit = self._limits.ingest_sources
        if len(sources) > limit:
            raise LimitExceededError(
                f"{len(sources)} sources in one command, the limit is {limit}.",
                metadata={"limit": "ingest_sources", "maximum": str(limit)},
            )
        async with self._working(request) as work:
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
        self, request: Request, mode: Mode, columns: Sequence[Column], rows: pa.Table
    ) -> tuple[Extent, ...]:
        """Ingests the result of a query or command; ``rows`` are in the storage types of columns.

        Raises as :func:`cluster.batch.schema.plan_target` does.
        """
        new = NewTable(self._catalog.new_id(), self._catalog.new_key())
        properties = request.properties

        def target_in(database: Database) -> Target:
            return plan_target(database, request.table, mode, columns, properties, new)

        async with self._working(request) as work:
            work.source = mode.value
            database = self._catalog.get(request.database)
            target = target_in(database)
            if self._was_ingested(database, request):
                return ()
            schema_names = [column.name for column in target.table.columns]
            batches = [
                pa.RecordBatch.from_arrays(batch.columns, names=schema_names)
                for batch in rows.to_batches()
            ]
            return await self._store_rows(work, database, target_in, batches, rows.nbytes)

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

        def batches() -> Iterator[pa.RecordBatch]:
            for source in sources:
                yield from self._decode.batches(source, database, table, request.properties)

        return await self._store_rows(work, database, target_in, batches(), size)

    def _was_ingested(self, database: Database, request: Request) -> bool:
        """A look before the work; the transaction looks again."""
        values = request.properties.ingest_if_not_exists
        table = database.tables.get(request.table)
        return table is not None and has_ingested(table, values)

    async def _store_rows(
        self,
        work: _Work,
        database: Database,
        target_in: Callable[[Database], Target],
        batches: Iterable[pa.RecordBatch],
        size: int,
    ) -> tuple[Extent, ...]:
        properties = work.request.properties
        target = target_in(database)
        created_us = self._created_us(database, target.table, properties)
        kept: list[pa.RecordBatch] = []
        if self._update_policies.has_targets(database, target.table):
            batches = self._keeping(batches, kept)
        with self._times.stamp() as ingested_us:
            try:
                main = await self._write(
                    database, target.table, batches, created_us, ingested_us, size, properties.tags
                )
                work.written.extend(main)
                additions = [self._addition(work.request, target, main)]
                additions += await self._derived(
                    work, database, target, kept, created_us, ingested_us
                )
            except BaseException:
                await self._discard(database, work.written)
                raise
            plan = self._plan(work.request, target, target_in, additions)
            if not await self._store.commit_extents(
                database, plan, work.written, text=work.request.text
            ):
                return ()
        self._report(work, main)
        return main

    async def _write(
        self,
        database: Database,
        table: Table,
        batches: Iterable[pa.RecordBatch],
        created_us: int,
        ingested_us: int,
        size: int,
        tags: Sequence[str] = (),
    ) -> tuple[Extent, ...]:
        return await self._writer.write(
            database,
            table,
            table.schema_version,
            batches,
            created_us=(created_us, created_us),
            original_bytes=size,
            ingested_us=ingested_us if ingestiontime_of(table) else None,
            tags=tags,
        )

    async def _derived(
        self,
        work: _Work,
        database: Database,
        target: Target,
        kept: Sequence[pa.RecordBatch],
        created_us: int,
        ingested_us: int,
    ) -> list[Addition]:
        """Writes what update policies make of the rows."""
        if not kept:
            return []
        batch = pa.concat_batches(kept)
        additions = []
        for derived in await self._update_policies.derive(database, target.table, batch):
            table = find_table(database, derived.table)
            size = sum(item.nbytes for item in derived.batches)
            extents = await self._write(
                database, table, derived.batches, created_us, ingested_us, size
            )
            work.written.extend(extents)
            additions.append(
                Addition(derived.table, derived.key, extents, replace_all=target.replaces)
            )
        return additions

    def _keeping(
        self, batches: Iterable[pa.RecordBatch], kept: list[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        limit = self._limits.update_policy_source_bytes
        size = 0
        for batch in batches:
            size += batch.nbytes
            if size > limit:
                raise LimitExceededError(
                    f"Update policies read this table, and the data is over {limit} bytes.",
                    remedy="Ingest it in smaller parts.",
                    metadata={"limit": "update_policy_source_bytes", "maximum": str(limit)},
                )
            kept.append(batch)
            yield batch

    @staticmethod
    def _addition(request: Request, target: Target, extents: tuple[Extent, ...]) -> Addition:
        return Addition(
            target.table.name,
            target.table.key,
            extents,
            if_not_exists=request.properties.ingest_if_not_exists,
            replace_all=target.replaces,
        )

    def _plan(
        self,
        request: Request,
        target: Target,
        target_in: Callable[[Database], Target],
        additions: Sequence[Addition],
    ) -> Plan:
        def plan(newest: Database) -> Sequence[Change]:
            now = target_in(newest)
            if now.table.key != target.table.key or now.changes != target.changes:
                raise ConflictError(
                    f"Table '{request.table}' was changed while data was ingested into it.",
                    remedy="Ingest again.",
                    metadata={"table": request.table},
                )
            tree = apply(newest, now.changes, AS_DECIDED) if now.changes else newest
            if has_ingested(now.table, request.properties.ingest_if_not_exists):
                return []
            return [*now.changes, *plan_add(tree, additions, self._store.positions)]

        return plan

    def _created_us(self, database: Database, table: Table, properties: IngestionProperties) -> int:
        now_us = self._clock.now_ns() // 1000
        if properties.created_us is None:
            return now_us
        kept_us = retention_of(database, table).soft_delete_us
        if properties.created_us < now_us - kept_us:
            raise CreationTimeError(
                f"creationTime is longer ago than table '{table.name}' keeps data.",
                metadata={"table": table.name},
            )
        return properties.created_us

    async def _discard(self, database: Database, extents: Sequence[Extent]) -> None:
        """Removes files of extents nothing names: the plan that names none is committed."""
        if extents:
            with trio.CancelScope(shield=True):
                await self._store.commit_extents(database, lambda _: (), extents)

    # Reports

    @asynccontextmanager
    async def _working(self, request: Request) -> AsyncIterator[_Work]:
        work = _Work(request, self._clock.monotonic())
        try:
            yield work
        except RemoraError as error:
            self._history.ingestion_failure(
                IngestionFailure(
                    operation_id=request.operation_id,
                    database=request.database,
                    table=request.table,
                    failed_ns=self._clock.now_ns(),
                    source=work.source,
                    details=error.message,
                    is_permanent=error.permanent,
                    error_code=error.code,
                    operation_kind=request.kind,
                    properties=str(dict(described(request.properties))),
                )
            )
            raise

    def _report(self, work: _Work, main: Sequence[Extent]) -> None:
        request = work.request
        by_query = request.kind.startswith("Table")
        kind = DataOperationKind.SET_OR_APPEND if by_query else DataOperationKind.BATCH_INGEST
        entry = DataOperation(
            kind=kind,
            database=request.database,
            table=request.table,
            ended_ns=self._clock.now_ns(),
            duration_seconds=self._clock.monotonic() - work.started,
            row_count=sum(extent.row_count for extent in main),
            extent_count=len(main),
            original_bytes=sum(extent.original_bytes for extent in main),
            extent_bytes=sum(extent.file_bytes for extent in main),
            properties=described(request.properties),
        )
        self._history.data_operation(entry)
        derived = work.written[len(main) :]
        if derived:
            self._history.data_operation(
                replace(
                    entry,
                    kind=DataOperationKind.UPDATE_POLICY,
                    row_count=sum(extent.row_count for extent in derived),
                    extent_count=len(derived),
                    original_bytes=sum(extent.original_bytes for extent in derived),
                    extent_bytes=sum(extent.file_bytes for extent in derived),
                    properties={"SourceTable": request.table},
                )
            )
