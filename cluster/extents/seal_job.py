"""One seal: the visible rows of a table become extents, in one metadata transaction.

The order is what makes a crash harmless at any point. The files are durable before the transaction
names them; the transaction adds the extents and moves the floors at once; only then do the row
stores free the rows. Until the transaction the rows are read from the row store, from it on from
the extents; what a crash leaves over is a file nobody names, or rows below their floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from cluster.catalog.changes import Change, SealRows
from cluster.catalog.model import Database, Extent, Provenance, RowStoreKey, Table
from cluster.extents.committing import Commit, Discard, commit_or_discard, find_incarnation
from cluster.extents.keeping import At, CrashPoint, UnsealedRows, reach
from cluster.extents.operations import sealed_ranges
from cluster.extents.sealing import slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.clock import Clock
    from cluster.extents.rules import Rules
    from cluster.extents.writer import ExtentWriter
    from cluster.rowstore.model import Rows


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did. ``is_outdated``: written, then found that the table was dropped or cleared
    meanwhile; nothing was committed."""

    extents: tuple[Extent, ...] = ()
    is_outdated: bool = False

    @property
    def row_count(self) -> int:
        """Rows of all its extents."""
        return sum(extent.row_count for extent in self.extents)


class Sealer:
    """Seals one table at a time for each call; calls for different tables may overlap."""

    def __init__(
        self,
        catalog: Catalog,
        row_stores: UnsealedRows,
        writer: ExtentWriter,
        *,
        clock: Clock,
        commit: Commit,
        discard: Discard,
        rules: Rules,
        at: At | None = None,
    ) -> None:
        self._catalog = catalog
        self._row_stores = row_stores
        self._writer = writer
        self._clock = clock
        self._commit = commit
        self._discard = discard
        self._rules = rules
        self._at = at

    async def seal(self, database_name: str, key: RowStoreKey, name: str = "") -> Sealed:
        """Seals every row of the table that is visible now; no extents if there is none.

        ``name`` is where the table is looked for first.

        Raises what the writer, the storage root and the catalog raise; then every row is still in
        the row store, or (catalog) in doubt until a restart has read what was committed.
        """
        database = self._catalog.get(database_name)
        table = find_incarnation(database, key, name)
        if table is None:
            return Sealed()
        # One moment without a checkpoint: tree, rows and floors belong together.
        pinned = {
            reference.key: self._row_stores.rows(reference.key, reference.sealed_ordinal)
            for reference in table.references
        }
        pinned = {owner: rows for owner, rows in pinned.items() if rows.batches}
        if not pinned:
            return Sealed()
        unsealed = self._row_stores.unsealed(pinned)
        original_bytes = sum(item.bytes for item in unsealed.values())
        await reach(self._at, CrashPoint.SEAL_PINNED)
        extents = await self._write(database, table, pinned, original_bytes)
        await reach(self._at, CrashPoint.SEAL_WRITTEN)
        if await self._commit_or_discard(database, table, pinned, extents):
            await reach(self._at, CrashPoint.SEAL_ADVANCED)
            return Sealed(extents)
        return Sealed(is_outdated=True)

    async def _write(
        self,
        database: Database,
        table: Table,
        pinned: Mapping[RowStoreKey, Rows],
        original_bytes: int,
    ) -> tuple[Extent, ...]:
        with_times = self._rules.records_times(table)
        batches = chain.from_iterable(
            slices(rows, table, with_times=with_times) for rows in pinned.values()
        )
        now_us = self._clock.now_ns() // 1000
        sharding = self._rules.sharding(database, table)
        return await self._writer.write(
            database,
            table,
            table.schema_version,
            batches,
            created_us=(now_us, now_us),
            original_bytes=original_bytes,
            sources=[
                Provenance(key, rows.first_ordinal, rows.position.ordinal)
                for key, rows in pinned.items()
            ],
            max_rows=sharding.row_count,
            max_bytes=sharding.original_bytes,
        )

    async def _commit_or_discard(
        self,
        database: Database,
        table: Table,
        pinned: Mapping[RowStoreKey, Rows],
        extents: tuple[Extent, ...],
    ) -> bool:
        floors = {reference.key: reference.sealed_ordinal for reference in table.references}
        positions = {key: rows.position for key, rows in pinned.items()}

        def plan(newest: Database) -> Sequence[Change]:
            present = find_incarnation(newest, table.key, table.name)
            if present is None or any(
                reference.sealed_ordinal != floors[reference.key]
                for reference in present.references
                if reference.key in positions
            ):
                return ()  # dropped, or cleared: these rows are not there any more
            return (SealRows(present.name, sealed_ranges(present, positions), extents),)

        point = CrashPoint.SEAL_COMMITTED
        return await commit_or_discard(self._commit, self._discard, database, plan, extents, point)
