"""Writes rows as extents: files first, durable in their storage root; the caller then names them.

Nothing is visible until a metadata transaction names the extents. A write that fails or is
cancelled takes its files back; what a crash leaves is found by listing the root.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import Extent, Provenance
from cluster.errors import ConflictError, RemoraError
from cluster.extents.checking import checksum_file, checksum_footer, extent_file_name
from cluster.extents.columns import INGESTION_TIME, NOT_A_COLUMN, batch_schema
from cluster.extents.disk import make_folder, storage_error
from cluster.extents.parquet import ExtentFileWriter
from cluster.extents.worker import Threads
from cluster.limits import LIMITS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import Database, Table
    from cluster.extents.root import StorageRoot
    from cluster.extents.stats import ExtentStatistics, StatisticsCache
    from cluster.limits import Limits

_WRITERS: Final = 4
"""Files written at once a node; the documented number of seals in parallel."""

_TAKE_BACK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ExtentWriterStatistics:
    """What a writer has done: extents and rows that were confirmed, calls that failed.

    ``left_behind`` counts files that a failed call could not take back from their root.
    """

    extents: int
    rows: int
    file_bytes: int
    failed_writes: int
    left_behind: int
    writing: int


@dataclass(frozen=True, slots=True)
class _Request:
    database: Database
    table: Table
    schema_version: int
    created_us: tuple[int, int]
    ingested_us: int | None
    tags: tuple[str, ...]
    max_rows: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _LocalFile:
    """A finished file in the work folder, and the extent it will be."""

    path: Path
    extent: Extent
    statistics: ExtentStatistics


@dataclass(slots=True)
class _Rows:
    """The caller's batches, cut where one extent ends; handed from one file to the next."""

    batches: Iterator[pa.RecordBatch]
    rest: pa.RecordBatch | None = None

    def next(self) -> pa.RecordBatch | None:
        """The next batch with rows, or None at the end."""
        if self.rest is not None:
            batch, self.rest = self.rest, None
            return batch
        return next((batch for batch in self.batches if batch.num_rows), None)


class ExtentWriter:
    """Makes extents of rows. ``work`` is a folder of this process alone; it is emptied at first.

    ``root_of`` gives the storage root of a database; ``statistics`` is where the statistics of new
    files are remembered.
    """

    def __init__(
        self,
        *,
        root_of: Callable[[Database], StorageRoot],
        work: Path,
        rng: random.Random,
        statistics: StatisticsCache | None = None,
        limits: Limits = LIMITS,
        blocks: bool = True,
        processors: tuple[int, ...] = (),
    ) -> None:
        self._root_of = root_of
        self._work = work
        self._rng = rng
        self._limits = limits
        self._known = statistics
        self._threads = Threads(blocks=blocks, count=_WRITERS, processors=processors)
        self._extents = self._row_count = self._file_bytes = 0
        self._failed = self._left_behind = self._writing = 0
        shutil.rmtree(work, ignore_errors=True)
        make_folder(work)

    async def write(
        self,
        database: Database,
        table: Table,
        schema_version: int,
        batches: Iterable[pa.RecordBatch],
        *,
        created_us: tuple[int, int],
        original_bytes: int,
        ingested_us: int | None = None,
        tags: Sequence[str] = (),
        sources: Sequence[Provenance] = (),
        max_rows: int | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Extent, ...]:
        """Writes rows as one or more extents; () if there are none.

        ``batches`` have the columns of ``table.schemas[schema_version]``. If the first one ends
        with a column ``$IngestionTime`` (timestamps, microseconds) all do, and that is when each
        row was ingested; else all were at ``ingested_us``. They are drawn one by one in a worker
        thread. ``created_us`` is (min, max). ``original_bytes`` is the size of all the rows as
        ingested; it is shared out by rows. ``sources`` tells where the rows came from, in their
        order; several extents share them out too, if they are of all the rows. A new extent
        begins after ``max_rows`` rows (ShardEngineMaxRowCount of the effective sharding policy;
        default ``limits.extent_rows``) or ``max_bytes`` bytes in memory.

        When it returns the files are durable and nothing names them. Raises the errors of
        StorageRoot.put_file, and ValueError if a batch is of another schema.
        """
        request = _Request(
            database,
            table,
            schema_version,
            created_us,
            ingested_us,
            tuple(tags),
            self._limits.extent_rows if max_rows is None else max_rows,
            self._limits.extent_original_bytes if max_bytes is None else max_bytes,
        )
        if min(request.max_rows, request.max_bytes) < 1:
            raise ValueError(
                f"an extent has a row, not {max_rows} rows or {max_bytes} bytes at most"
            )
        root = self._root_of(database)
        rows = _Rows(iter(batches))
        stored: list[_LocalFile] = []
        self._writing += 1
        try:
            while (local := await self._write_file(request, rows)) is not None:
                stored.append(local)
                await self._store(root, local)
            extents = _share_out([local.extent for local in stored], original_bytes, sources)
        except BaseException as error:
            self._failed += 1
            if isinstance(error, ConflictError):
                stored.pop()  # an object of that name was there before: not ours to remove
            await self._take_back(root, [local.extent.file for local in stored])
            raise
        finally:
            self._writing -= 1
        for local in stored:
            self._note(local)
        return extents

    async def _store(self, root: StorageRoot, local: _LocalFile) -> None:
        """Puts a finished file into the root, and removes it from the work folder."""
        try:
            await root.put_file(local.extent.file, local.path)
        finally:
            with trio.CancelScope(shield=True):
                await self._threads.run(lambda: local.path.unlink(missing_ok=True))

    def _note(self, local: _LocalFile) -> None:
        self._extents += 1
        self._row_count += local.extent.row_count
        self._file_bytes += local.extent.file_bytes
        if self._known is not None:
            self._known.put(local.extent.file, local.statistics)

    async def _write_file(self, request: _Request, rows: _Rows) -> _LocalFile | None:
        """The next file, in the work folder; None if there are no more rows."""
        extent_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        path = self._work / f"{extent_id}.parquet"
        try:
            return await self._threads.run(
                lambda: _write_local(request, rows, extent_id, path, self._limits, self._threads)
            )
        except OSError as error:
            raise storage_error(error, f"cannot write an extent in {self._work}") from error

    async def _take_back(self, root: StorageRoot, files: list[str]) -> None:
        """Removes what a failed write has stored, in bounded time even when cancelled.

        If that fails too the files stay, counted and named by nothing, until the root is listed.
        """
        if not files:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _TAKE_BACK_SECONDS):
            try:
                await root.delete(files)
            except RemoraError:
                self._left_behind += len(files)
            return
        self._left_behind += len(files)

    def statistics(self) -> ExtentWriterStatistics:
        """Counts since construction."""
        return ExtentWriterStatistics(
            extents=self._extents,
            rows=self._row_count,
            file_bytes=self._file_bytes,
            failed_writes=self._failed,
            left_behind=self._left_behind,
            writing=self._writing,
        )


def _write_local(
    request: _Request, rows: _Rows, extent_id: str, path: Path, limits: Limits, threads: Threads
) -> _LocalFile | None:
    """Fills one file from the rows left; runs in a worker thread. Raises OSError."""
    batch = rows.next()
    if batch is None:
        return None
    columns = request.table.schemas[request.schema_version]
    column_ids = request.table.column_ids[request.schema_version]
    hidden = batch.schema.names[-1] == INGESTION_TIME
    schema = batch_schema(columns, with_ingestion_time=hidden)
    writer = ExtentFileWriter(
        path,
        extent_id=extent_id,
        table_id=request.table.table_id,
        columns=columns,
        column_ids=column_ids,
        with_ingestion_time=hidden,
        limits=limits,
    )
    try:
        while batch is not None:
            threads.check_cancelled()
            _check_schema(batch, schema)
            taken = _room(request, writer, batch)
            writer.write(batch.slice(0, taken))
            if taken < batch.num_rows:
                rows.rest = batch.slice(taken)
                break
            batch = rows.next()
        written = writer.finish()
        file_bytes, file_checksum = checksum_file(path)
        footer_checksum = checksum_footer(path)
    except BaseException:
        writer.abandon()
        path.unlink(missing_ok=True)
        raise
    ingested = written.ingested if hidden else (request.ingested_us, request.ingested_us)
    extent = Extent(
        extent_id=extent_id,
        file=extent_file_name(
            request.database.database_id, request.table.table_id, extent_id, footer_checksum
        ),
        file_bytes=file_bytes,
        file_checksum=file_checksum,
        column_ids=(*column_ids, NOT_A_COLUMN) if hidden else column_ids,
        row_count=written.row_count,
        original_bytes=0,
        created_min_us=request.created_us[0],
        created_max_us=request.created_us[1],
        ingested_min_us=ingested[0] if ingested else None,
        ingested_max_us=ingested[1] if ingested else None,
        tags=request.tags,
    )
    return _LocalFile(path, extent, written.statistics)


def _check_schema(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    if not batch.schema.equals(schema):
        raise ValueError(f"rows of {schema.names} expected, not of {batch.schema.names}")


def _room(request: _Request, writer: ExtentFileWriter, batch: pa.RecordBatch) -> int:
    """How many rows of a batch still go into the present extent; at least one if it is empty."""
    by_rows = request.max_rows - writer.row_count
    left = request.max_bytes - writer.byte_count
    by_bytes = left * batch.num_rows // max(1, batch.nbytes)
    fitting = min(by_rows, int(by_bytes), int(batch.num_rows))
    return fitting if writer.row_count else max(1, fitting)


def _share_out(
    extents: Sequence[Extent], original_bytes: int, sources: Sequence[Provenance]
) -> tuple[Extent, ...]:
    """Gives each extent its part, by rows, of the bytes as ingested and of the sources.

    If not all rows have a source, it cannot be told which rows are where: each gets all sources.
    """
    total_rows = sum(extent.row_count for extent in extents)
    if len(extents) < 2:
        return tuple(
            replace(extent, original_bytes=original_bytes, sources=tuple(sources))
            for extent in extents
        )
    source_rows = sum(source.end_ordinal - source.first_ordinal for source in sources)
    divisible = source_rows == total_rows
    shared = []
    row = given_bytes = 0
    for extent in extents:
        end = row + extent.row_count
        end_bytes = original_bytes * end // total_rows
        shared.append(
            replace(
                extent,
                original_bytes=end_bytes - given_bytes,
                sources=_sources_between(sources, row, end) if divisible else tuple(sources),
            )
        )
        row, given_bytes = end, end_bytes
    return tuple(shared)


def _sources_between(
    sources: Sequence[Provenance], first_row: int, end_row: int
) -> tuple[Provenance, ...]:
    """The sources of rows ``first_row .. end_row - 1`` of all the rows of ``sources``."""
    found = []
    row = 0
    for source in sources:
        first = max(first_row - row, 0) + source.first_ordinal
        end = min(end_row - row + source.first_ordinal, source.end_ordinal)
        if first < end:
            found.append(Provenance(source.key, first, end))
        row += source.end_ordinal - source.first_ordinal
    return tuple(found)
