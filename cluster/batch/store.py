"""From rows to extents that a transaction names: of a table and of all that follow from it.

Either everything is committed in one transaction or nothing is, and the files written are removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import trio

from cluster.catalog.changes import AS_DECIDED, apply, find_table
from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import ingestiontime_of, retention_of, sharding_of
from cluster.errors import ConflictError, CreationTimeError, LimitExceededError, ZeroRetentionError
from cluster.extents.operations import Addition, has_ingested, plan_add

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from cluster.batch.ports import Derived, Request, Store, UpdatePolicies
    from cluster.batch.properties import IngestionProperties
    from cluster.batch.schema import Target
    from cluster.catalog.changes import Change
    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent, Table
    from cluster.clock import Clock
    from cluster.extents.writer import ExtentWriter
    from cluster.limits import Limits
    from cluster.rowstore.times import IngestionTimes

    TargetOf = Callable[[Database], Target]


@dataclass(slots=True)
class Rows:
    """Rows on their way to their table; ``size`` bytes as they came.

    ``batches`` are drawn in a worker thread. ``kept``: those that update policies read.
    """

    batches: Iterable[pa.RecordBatch]
    size: int
    kept: list[pa.RecordBatch] = field(default_factory=list)


class BatchStore:
    """Writes and commits. See :class:`cluster.batch.driver.BatchIngestion` for what it raises."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        writer: ExtentWriter,
        update_policies: UpdatePolicies,
        times: IngestionTimes,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._writer = writer
        self._update_policies = update_policies
        self._times = times
        self._clock = clock
        self._limits = limits

    async def add(
        self, request: Request, database: Database, target_in: TargetOf, rows: Rows
    ) -> Mapping[str, Sequence[Extent]] | None:
        """Adds rows; returns the new extents by table, those of the request's table first.

        None: the transaction found that they were ingested before (``ingestIfNotExists``).
        ``target_in(tree)`` is where they go; what it raises in the transaction refuses it.
        """
        written: list[Extent] = []
        target = target_in(database)
        created_us = self._created_us(database, target.table, request.properties)
        try:
            main = await self._main(request, database, target, rows, created_us, written)
            stored: dict[str, Sequence[Extent]] = {target.table.name: main}
            additions = [_addition(request, target, main)]
            for derived in await self._derived(database, target, rows.kept):
                table = find_table(database, derived.table)
                extents = await self._written(
                    request, database, table, derived, created_us, written
                )
                stored[table.name] = extents
                additions.append(
                    Addition(table.name, derived.key, extents, replace_all=target.replaces)
                )
        except BaseException:
            await self._discard(database, written)
            raise
        committed = await self._commit(request, database, target, target_in, additions, written)
        return stored if committed else None

    async def _main(
        self,
        request: Request,
        database: Database,
        target: Target,
        rows: Rows,
        created_us: int,
        written: list[Extent],
    ) -> tuple[Extent, ...]:
        """Writes the rows for their own table, and keeps those that update policies read."""
        batches = rows.batches
        has_targets = self._update_policies.has_targets(database, target.table)
        if has_targets:
            batches = self._keeping(batches, rows.kept)
        if not retention_of(database, target.table).soft_delete_us:
            # retention-policy.md: such a table only hands on what comes to the tables behind it.
            if not has_targets:
                raise ZeroRetentionError(
                    f"Table '{target.table.name}' keeps no rows and no update policy reads it.",
                    metadata={"table": target.table.name},
                )
            await trio.to_thread.run_sync(_exhaust, batches)
            return ()
        tags = request.properties.tags
        extents = await self._write(database, target.table, batches, created_us, rows.size, tags)
        written.extend(extents)
        return extents

    async def _derived(
        self, database: Database, target: Target, kept: list[pa.RecordBatch]
    ) -> Sequence[Derived]:
        """What update policies make of the rows, one entry a table.

        Tables without new rows are only in it if they are to be replaced.
        """
        found: Sequence[Derived] = ()
        if kept:
            batch = pa.concat_batches(kept)
            kept.clear()  # it is a copy, and may be large
            found = await self._update_policies.derive(database, target.table, batch)
        elif target.replaces:
            found = self._update_policies.targets(database, target.table)
        by_table: dict[str, Derived] = {}
        for item in found:
            known = by_table.setdefault(item.table, item)
            if known is not item:
                by_table[item.table] = replace(
                    known,
                    batches=known.batches + item.batches,
                    propagates=known.propagates or item.propagates,
                )
        return [item for item in by_table.values() if item.batches or target.replaces]

    async def _written(
        self,
        request: Request,
        database: Database,
        table: Table,
        derived: Derived,
        created_us: int,
        written: list[Extent],
    ) -> tuple[Extent, ...]:
        tags = request.properties.tags if derived.propagates else ()
        if not derived.propagates:
            created_us = self._now_us()
        size = sum(batch.nbytes for batch in derived.batches)
        extents = await self._write(database, table, derived.batches, created_us, size, tags)
        written.extend(extents)
        return extents

    async def _write(
        self,
        database: Database,
        table: Table,
        batches: Iterable[pa.RecordBatch],
        created_us: int,
        size: int,
        tags: Sequence[str],
    ) -> tuple[Extent, ...]:
        sharding = sharding_of(database, table, self._catalog.get(DEFAULT_DATABASE))
        return await self._writer.write(
            database,
            table,
            table.schema_version,
            batches,
            created_us=(created_us, created_us),
            original_bytes=size,
            tags=tags,
            max_rows=sharding.row_count,
            max_bytes=sharding.original_bytes,
        )

    def _keeping(
        self, batches: Iterable[pa.RecordBatch], kept: list[pa.RecordBatch]
    ) -> Generator[pa.RecordBatch]:
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
            if batch.num_rows:
                kept.append(batch)
            yield batch

    # Committing

    async def _commit(
        self,
        request: Request,
        database: Database,
        target: Target,
        target_in: TargetOf,
        additions: Sequence[Addition],
        written: Sequence[Extent],
    ) -> bool:
        """One transaction, and one ingestion time for all of it, from just before."""
        with self._times.stamp() as ingested_us:

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
                timed = [_at(addition, tree, ingested_us) for addition in additions]
                return [*now.changes, *plan_add(tree, timed, self._store.positions)]

            return await self._store.commit_extents(database, plan, written, text=request.text)

    def _created_us(self, database: Database, table: Table, properties: IngestionProperties) -> int:
        now_us = self._now_us()
        if properties.created_us is None:
            return now_us
        kept_us = retention_of(database, table).soft_delete_us
        if properties.created_us < now_us - kept_us:
            raise CreationTimeError(
                f"creationTime is longer ago than table '{table.name}' keeps data.",
                metadata={"table": table.name},
            )
        return properties.created_us

    def _now_us(self) -> int:
        return self._clock.now_ns() // 1000

    async def _discard(self, database: Database, extents: Sequence[Extent]) -> None:
        """Removes files of extents nothing names: the plan that names none is committed."""
        if extents:
            with trio.CancelScope(shield=True):
                await self._store.commit_extents(database, lambda _: (), extents)


def _addition(request: Request, target: Target, extents: tuple[Extent, ...]) -> Addition:
    return Addition(
        target.table.name,
        target.table.key,
        extents,
        if_not_exists=request.properties.ingest_if_not_exists,
        replace_all=target.replaces,
    )


def _at(addition: Addition, tree: Database, ingested_us: int) -> Addition:
    """The addition with the ingestion time of its rows, if the table keeps one."""
    table = tree.tables.get(addition.table)
    if table is None or not ingestiontime_of(table):
        return addition
    extents = tuple(
        replace(extent, ingested_min_us=ingested_us, ingested_max_us=ingested_us)
        for extent in addition.extents
    )
    return replace(addition, extents=extents)


def _exhaust(batches: Iterable[pa.RecordBatch]) -> None:
    for _ in batches:
        pass
