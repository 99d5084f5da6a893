"""One merge: several extents of a table become one, in one metadata transaction.

All rows are rewritten (a *rebuild* in Kusto's words), so that columns that were dropped leave the
file and those that came are in it. Queries that pinned the old tree go on with the old files, which
are garbage from the transaction on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import Change, ReplaceExtents
from cluster.extents.committing import Commit, Discard, commit_or_discard, find_incarnation
from cluster.extents.keeping import At, CrashPoint, reach
from cluster.extents.merging import merged_sources, merged_tags
from cluster.extents.parquet import read_extent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import Database, Extent, Table
    from cluster.extents.files import ExtentFiles
    from cluster.extents.writer import ExtentWriter

ANY_BYTES: Final = 2**62


class Merger:
    """Merges extents; calls with different extents may overlap."""

    def __init__(
        self,
        writer: ExtentWriter,
        files: ExtentFiles,
        *,
        commit: Commit,
        discard: Discard,
        at: At | None = None,
    ) -> None:
        self._writer = writer
        self._files = files
        self._commit = commit
        self._discard = discard
        self._at = at

    async def merge(
        self, database: Database, table: Table, extents: Sequence[Extent], *, text: str = ""
    ) -> tuple[Extent, ...]:
        """Replaces ``extents`` of the tree's table by what they are together.

        Returns the new extents, or none if one of the old ones went meanwhile (dropped, retagged,
        merged by a command): nothing is changed then. Raises what reading, the writer, the
        storage root and the catalog raise, CorruptionError among them; nothing is changed either.
        """
        await reach(self._at, CrashPoint.MERGE_PINNED)
        async with self._files.acquire(database, extents) as paths:
            merged = await self._write(database, table, extents, paths)
        await reach(self._at, CrashPoint.MERGE_WRITTEN)
        gone = tuple(extent.extent_id for extent in extents)

        def plan(newest: Database) -> Sequence[Change]:
            present = find_incarnation(newest, table.key, table.name)
            if present is None or any(extent_id not in present.extents for extent_id in gone):
                return ()
            return (ReplaceExtents(present.name, gone, merged),)

        point = CrashPoint.MERGE_COMMITTED
        committed = await commit_or_discard(
            self._commit, self._discard, database, plan, merged, point, text
        )
        return merged if committed else ()

    async def _write(
        self,
        database: Database,
        table: Table,
        extents: Sequence[Extent],
        paths: Mapping[str, Path],
    ) -> tuple[Extent, ...]:
        with_times = any(extent.ingested_min_us is not None for extent in extents)
        written = await self._writer.write(
            database,
            table,
            table.schema_version,
            _rows_of(table, extents, paths, with_times=with_times),
            created_us=(
                min(extent.created_min_us for extent in extents),
                max(extent.created_max_us for extent in extents),
            ),
            original_bytes=sum(extent.original_bytes for extent in extents),
            tags=merged_tags(extents),
            # One extent, however large: the sharding policy bounds ingestion, not merging.
            max_rows=max(1, sum(extent.row_count for extent in extents)),
            max_bytes=ANY_BYTES,
        )
        sources = merged_sources(extents)
        return tuple(replace(extent, sources=sources) for extent in written)


def _rows_of(
    table: Table, extents: Sequence[Extent], paths: Mapping[str, Path], *, with_times: bool
) -> Iterator[pa.RecordBatch]:
    """All rows in the table's schema in force. Lazy: read while the writer writes."""
    for extent in extents:
        yield from read_extent(paths[extent.file], extent, table, with_ingestion_time=with_times)
