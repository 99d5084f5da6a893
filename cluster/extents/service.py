"""What commands and batch ingestion ask for: one transaction each, all or nothing.

Written files whose transaction is refused are removed, so that a refused request leaves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from cluster.catalog.changes import (
    Change,
    ClearTable,
    RestoreTable,
    SealRows,
    find_dropped,
    find_table,
)
from cluster.catalog.lookup import entity_not_found
from cluster.errors import ConflictError, InternalError, RemoraError
from cluster.extents.committing import commit_or_discard
from cluster.extents.keeping import CrashPoint, JobKind, reach
from cluster.extents.merge_job import Merger
from cluster.extents.merging import check_merge
from cluster.extents.operations import (
    Addition,
    ChangedExtent,
    DroppedExtent,
    Selection,
    TagChange,
    plan_add,
    plan_clear,
    plan_drop,
    plan_move,
    plan_replace,
    plan_retag,
    select_extents,
)
from cluster.replication.position import KeyPosition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, Extent, RowStoreKey, Table, Version
    from cluster.extents.collect_job import RootOf
    from cluster.extents.committing import Plan
    from cluster.extents.files import ExtentFiles
    from cluster.extents.keeping import At, UnsealedRows
    from cluster.extents.reporting import Reporter
    from cluster.extents.writer import ExtentWriter
    from cluster.limits import Limits

Result = TypeVar("Result", DroppedExtent, ChangedExtent)


class ExtentOperations:
    """Operations on extents. ``text`` of each is the command, for the journal.

    All raise DatabaseNotFoundError, ReadOnlyError (a follower database), UnavailableError (the
    catalog cannot write) besides what is named.
    """

    def __init__(
        self,
        catalog: Catalog,
        row_stores: UnsealedRows,
        writer: ExtentWriter,
        files: ExtentFiles,
        root_of: RootOf,
        *,
        limits: Limits,
        reporter: Reporter,
        at: At | None = None,
    ) -> None:
        self._catalog = catalog
        self._row_stores = row_stores
        self._root_of = root_of
        self._reporter = reporter
        self._at = at
        self._merge_slots = trio.CapacityLimiter(limits.merge_concurrency)
        self._merger = Merger(
            writer, files, commit=self._commit_now, discard=self._discard_files, at=at
        )

    async def add_extents(
        self, database: str, additions: Sequence[Addition], *, text: str = ""
    ) -> bool:
        """Adds written extents to tables, all in one transaction.

        False: an ``if_not_exists`` value was ingested before, nothing was added and the files are
        removed. Raises TableNotFoundError, ConflictError (a table was made anew meanwhile).
        """
        extents = [extent for addition in additions for extent in addition.extents]

        def plan(newest: Database) -> Sequence[Change]:
            return plan_add(newest, additions, self.positions)

        return await self.commit_extents(self._catalog.get(database), plan, extents, text=text)

    async def commit_extents(
        self, database: Database, plan: Plan, extents: Sequence[Extent], *, text: str = ""
    ) -> bool:
        """Commits a plan that names the files of ``extents``, or removes the files.

        False: the plan had no changes. See
        :func:`~cluster.extents.committing.commit_or_discard` for what it raises.
        """
        return await commit_or_discard(
            self._commit_now,
            self._discard_files,
            database,
            plan,
            extents,
            CrashPoint.CHANGE_COMMITTED,
            text,
        )

    async def drop_extents(
        self, database: str, selection: Selection, *, text: str = ""
    ) -> tuple[DroppedExtent, ...]:
        """Drops the extents selected; streamed rows stay.

        Raises TableNotFoundError, EntityNotFoundError (an id that is not there).
        """
        return await self._change(database, lambda newest: plan_drop(newest, selection), text)

    def preview_drop(self, database: str, selection: Selection) -> tuple[DroppedExtent, ...]:
        """What :meth:`drop_extents` would drop (``whatif``, ``.drop-pretend``)."""
        return plan_drop(self._catalog.get(database), selection)[1]

    async def move_extents(
        self,
        database: str,
        moves: Sequence[tuple[str, Sequence[str] | None]],
        target: str,
        *,
        ingested_us: int | None = None,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]:
        """Moves extents (of source tables; ids, None: all) to another table of the database.

        Raises TableNotFoundError, EntityNotFoundError, InvalidRequestError (columns do not match).
        """
        new_id = self._catalog.new_id
        return await self._change(
            database,
            lambda newest: plan_move(newest, moves, target, new_id, ingested_us=ingested_us),
            text,
        )

    async def replace_extents(
        self,
        database: str,
        target: str,
        drop_ids: Sequence[str],
        moves: Sequence[tuple[str, Sequence[str] | None]],
        *,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]:
        """Drops extents of a table and moves others in. Raises as :meth:`move_extents`."""
        new_id = self._catalog.new_id
        return await self._change(
            database, lambda newest: plan_replace(newest, target, drop_ids, moves, new_id), text
        )

    async def retag(
        self,
        database: str,
        table: str,
        extent_ids: Sequence[str],
        change: TagChange,
        tags: Sequence[str],
        *,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]:
        """Changes tags of extents, which get new ids; those it would not change are not named.

        Raises TableNotFoundError, EntityNotFoundError.
        """
        new_id = self._catalog.new_id
        return await self._change(
            database,
            lambda newest: plan_retag(newest, table, extent_ids, change, tags, new_id),
            text,
        )

    async def clear_table(self, database: str, table: str, *, text: str = "") -> None:
        """Removes every extent and every visible streamed row. Raises TableNotFoundError."""

        def plan(newest: Database) -> Sequence[Change]:
            return plan_clear(newest, table, self.positions)

        await self._commit_now(database, plan, text, CrashPoint.CHANGE_COMMITTED)

    async def merge_extents(
        self, database: str, table: str, extent_ids: Sequence[str], *, text: str = ""
    ) -> tuple[Extent, ...]:
        """Merges exactly these extents.

        Raises TableNotFoundError, EntityNotFoundError, InvalidRequestError (see
        :func:`~cluster.extents.merging.check_merge`), ConflictError if one of them was dropped or
        changed meanwhile, and what reading and writing files raise; nothing is changed then.
        """
        tree = self._catalog.get(database)
        found = find_table(tree, table)
        extents = check_merge(found, extent_ids)
        merged = await self._merge_one(tree, found, extents, text=text)
        if not merged:
            raise ConflictError(
                f"Extents of table '{table}' changed while they were merged.",
                remedy="Look at .show table T extents and merge those that are there.",
            )
        return merged

    async def undo_drop(
        self,
        database: str,
        table: str,
        version: Version,
        *,
        new_name: str = "",
        row_store: int = 0,
        text: str = "",
    ) -> Table:
        """Brings back a dropped table with its extents; returns it.

        ``version`` is the database's just before the drop. Raises EntityNotFoundError (no such
        drop, or it is too long ago), EntityExistsError (the name is taken).
        """
        key = self._catalog.new_key()

        def plan(newest: Database) -> Sequence[Change]:
            find_dropped(newest, table, version)
            return (RestoreTable(version, table, key, row_store, new_name),)

        await self._commit_now(database, plan, text, CrashPoint.CHANGE_COMMITTED)
        restored = self._catalog.get(database).tables.get(new_name or table)
        if restored is None or restored.key != key:
            raise entity_not_found("Table", new_name or table)  # dropped again meanwhile
        return restored

    def select(self, database: str, selection: Selection) -> list[tuple[Table, Extent]]:
        """The extents a selection means, with their tables, oldest first."""
        return select_extents(self._catalog.get(database), selection)

    def positions(self, table: Table) -> Mapping[RowStoreKey, KeyPosition]:
        """The visible position of each of its keys."""
        return self._row_stores.position_of(table.keys)

    async def _change(
        self,
        database: str,
        planner: Callable[[Database], tuple[list[Change], tuple[Result, ...]]],
        text: str,
    ) -> tuple[Result, ...]:
        found: list[tuple[Result, ...]] = []

        def plan(newest: Database) -> Sequence[Change]:
            changes, results = planner(newest)
            found.append(results)
            return changes

        await self._commit_now(database, plan, text, CrashPoint.CHANGE_COMMITTED)
        return found[0]

    async def _merge_one(
        self, tree: Database, table: Table, extents: tuple[Extent, ...], *, text: str = ""
    ) -> tuple[Extent, ...]:
        """One merge, reported; () if its extents changed meanwhile. Waits for its turn."""
        async with self._merge_slots:
            with self._reporter.work(JobKind.MERGE, tree.name, table.name) as work:
                merged = await self._merger.merge(tree, table, extents, text=text)
                work.is_abandoned = not merged
                work.wrote(merged)
                if merged:
                    work.details = {"Extents": len(extents)}
        return merged

    async def _commit_now(self, name: str, plan: Plan, text: str, point: CrashPoint) -> bool:
        """See :data:`cluster.extents.committing.Commit`."""
        with trio.CancelScope(shield=True):
            _, delta = await self._catalog.transact(name, plan, text=text)
            if delta is None:
                return False
            await reach(self._at, point)
            self._advance(delta)
        return True

    def _advance(self, delta: Delta) -> None:
        """Frees what is below the new floors.

        Raises InternalError: nobody may take a failure here for a refusal of the transaction.
        """
        for change in delta.changes:
            if isinstance(change, SealRows | ClearTable):
                for item in change.ranges:
                    position = KeyPosition(item.end_ordinal, item.end_checksum)
                    try:
                        self._row_stores.advance(item.key, position)
                    except RemoraError as error:
                        raise InternalError(
                            f"Rows of table '{change.table}' are sealed, but the row store cannot "
                            f"free them: {error.message}"
                        ) from error

    async def _discard_files(self, database: Database, extents: Sequence[Extent]) -> None:
        """See :data:`cluster.extents.committing.Discard`."""
        files = sorted({extent.file for extent in extents})
        if not files:
            return
        with trio.CancelScope(shield=True):
            try:
                await self._root_of(database.storage_root).delete(files)
            except RemoraError as error:
                self._reporter.left_behind(len(files), error)
