"""What is stored here of one followed database: its tree in the catalog, its rows in a row store.

Order on disk: metadata is durable before rows that need it are written, and rows are never synced,
because the leader can send them again. So after any crash the rows are those of a metadata version
the catalog has. If they are not (somebody restored one of the two files, or an unsynced write was
lost in the middle), the row store refuses to open; then the copy of the rows is dropped and filled
again from the leader. Nothing is guessed.

The tree says where the rows of each key begin (its floor): rows below are in extents, or were
cleared. Metadata that raises a floor is durable first, then the row store is told; a crash in
between is mended when the copy is opened, because the stored tree has the floor.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.following import EVERYTHING, ModificationKind, Sharing, shared
from cluster.catalog.journal import Delta
from cluster.errors import CorruptionError, DatabaseNotFoundError, DivergenceError
from cluster.replication.floors import key_changes, raised
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.driver import RowStore
from follower.prefetch import brought_by, brought_by_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Extent, FollowingSource, RowStoreKey
    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.replication.protocol import MetadataDelta
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.model import Rows
    from cluster.rowstore.record import RecordHeader
    from follower.prefetch import Prefetch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attached:
    """What an attachment says of the copy; the coordinator decides it."""

    sharing: Sharing = EVERYTHING
    principals_kind: ModificationKind = ModificationKind.UNION


def folder_name(leader_cluster: str, leader_database: str) -> str:
    """Name of the folder of a copy's rows: readable, unique, short and safe on any file system."""
    whole = f"{leader_cluster}/{leader_database.lower()}"
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", whole)[:40]
    return f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


class FollowedCopy:
    """The copy of one followed database. :meth:`open` before anything else."""

    def __init__(
        self,
        name: str,
        source: FollowingSource,
        *,
        folder: Path,
        catalog: Catalog,
        disk: Disk,
        clock: Clock,
        limits: Limits,
        prefetch: Prefetch | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.drops = 0  # times the copy of the rows was dropped because it could not be read
        self._folder = folder
        self._catalog = catalog
        self._disk = disk
        self._prefetch = prefetch
        self._clock = clock
        # One row store here holds what all those of the leader's node may hold.
        self._limits = replace(limits, row_store_bytes=limits.row_store_bytes * limits.row_stores)
        # Both change only while no row store is being opened: its worker thread reads them.
        self._schemas: dict[RowStoreKey, tuple[pa.Schema, ...]] = {}
        self._floors: dict[RowStoreKey, KeyPosition] = {}
        # Of each key that has come anywhere, at that end of the log; -1: to be asked for again.
        self._positions: dict[RowStoreKey, KeyPosition] = {}
        self._positions_lsn = -1
        self._learned: Database | None = None
        self._heard: Attached | None = None
        self._attached: Attached | None = None  # what the first tree is to be stored with
        self._rows: RowStore | None = None
        self._run_scope = trio.CancelScope()
        self._run_ended = trio.Event()

    @property
    def is_stored(self) -> bool:
        """There is a tree: a snapshot has come, and the name here does not belong to another."""
        try:
            return self._catalog.following_source(self.name) == self.source
        except DatabaseNotFoundError:
            return False

    @property
    def database(self) -> Database | None:
        """The part of the leader's tree that is followed; None if there is no tree."""
        return self._catalog.shared_tree(self.name) if self.is_stored else None

    @property
    def shown(self) -> Database | None:
        """The same with the follower's overrides: what is to be seen here."""
        return self._catalog.get(self.name) if self.is_stored else None

    def hear(self, attached: Attached) -> None:
        """What the attachment says from now on; what it does not share is hidden on return."""
        self._heard = attached
        if self.is_stored:
            self._catalog.limit_sharing(self.name, attached.sharing)

    @property
    def attached(self) -> Attached | None:
        """What is stored of the attachment; without a tree, what is to be; None: not known."""
        if not self.is_stored:
            return self._attached
        settings = self._catalog.following_settings(self.name)
        return Attached(settings.sharing, settings.default_principals_kind)

    async def attach(self, attached: Attached) -> None:
        """Stores what was heard. Rows of tables that are not shared any more are gone.

        Tables that are shared from now on are as any new table: their rows begin at the floors.
        Raises UnavailableError.
        """
        self._attached = attached
        if not self.is_stored:
            return
        await self._catalog.set_following(
            self.name,
            lambda now: replace(
                now,
                sharing=attached.sharing,
                default_principals_kind=attached.principals_kind,
            ),
        )
        self._learn(self._catalog.shared_tree(self.name))

    @property
    def is_open(self) -> bool:
        """Rows can be read."""
        return self._rows is not None

    async def open(self, nursery: trio.Nursery) -> None:
        """Opens the rows, dropping them if they cannot be read, and starts their row store.

        Raises ConflictError if another process has them open, OSError if the disk fails.
        """
        if (database := self.database) is not None:
            self._learn(database)
        try:
            rows = await self._open()
        except CorruptionError as error:
            logger.warning("rows of followed database %r are dropped: %s", self.name, error)
            self.drops += 1
            await self._remove_files()
            rows = await self._open()
        self._run_scope, self._run_ended = trio.CancelScope(), trio.Event()
        await nursery.start(self._run, rows, self._run_scope, self._run_ended)
        self._rows = rows
        self._positions_lsn = -1

    async def stop(self) -> None:
        """Stops the row store, so that it can be opened again. What it holds can still be read."""
        self._run_scope.cancel()
        await self._run_ended.wait()

    @staticmethod
    async def _run(
        rows: RowStore,
        scope: trio.CancelScope,
        ended: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            with scope:
                await rows.run(task_status=task_status)
        finally:
            ended.set()

    async def _open(self) -> RowStore:
        return await RowStore.open(
            self._folder,
            disk=self._disk,
            clock=self._clock,
            limits=self._limits,
            sync=False,
            schema_of=self._schema_of,
            sealed_of=lambda key: self._floors.get(key, START),
        )

    def keys(self) -> Collection[RowStoreKey]:
        """The row store keys of the tables there are."""
        return self._floors.keys()

    def floors(self) -> dict[RowStoreKey, KeyPosition]:
        """Where the rows of each key begin; keys without a floor are left out."""
        return {key: at for key, at in self._floors.items() if at.ordinal}

    def positions(self) -> dict[RowStoreKey, KeyPosition]:
        """How far each key has come, never below its floor; keys without rows are left out."""
        return dict(self._known_positions())

    def _known_positions(self) -> dict[RowStoreKey, KeyPosition]:
        store = self._store
        if self._positions_lsn != store.end_lsn():
            self._positions = raised(store.position_of(self._floors), self._floors)
            self._positions_lsn = store.end_lsn()
        return self._positions

    def row_count(self) -> int:
        """Rows at or above the floors, whether they may be seen or not."""
        below = sum(at.ordinal for at in self._floors.values())
        return sum(at.ordinal for at in self._known_positions().values()) - below

    def rows(self) -> dict[RowStoreKey, Rows]:
        """The rows of every key that has some at or above its floor, seen or not.

        With the extents of :attr:`database` they are all rows, each once. Costs a step a key that
        has come anywhere, and what ``RowStore.rows`` costs for those that have rows.
        """
        floors = self._floors
        return {
            key: self._store.rows(key, floors[key].ordinal)
            for key, at in self._known_positions().items()
            if at.ordinal > floors[key].ordinal
        }

    async def install(self, database: Database, *, reset_rows: bool) -> None:
        """Replaces the tree. Rows of missing tables are gone; with ``reset_rows`` all are, first.

        Raises ConflictError if the name belongs to another database.
        """
        if (now := self.database) is not None and self._fetches_first:
            sharing = self._catalog.following_settings(self.name).sharing
            named = replace(database, name=self.name)
            await self._fetch(named, brought_by_tree(now, shared(named, sharing)))
        if reset_rows:
            if now is not None:
                logger.warning(
                    "rows of followed database %r are not those of its leader: they are dropped, "
                    "and come again",
                    self.name,
                )
            self._positions_lsn = -1
            for key in self._floors:
                self._store.reset(key)
        attached = self._attached
        await self._catalog.install_snapshot(
            self.name,
            self.source.leader_cluster,
            self.source.leader_database,
            database,
            sharing=attached.sharing if attached else None,
            principals_kind=attached.principals_kind if attached else None,
        )
        if self._heard is not None:
            self.hear(self._heard)  # it may have been heard meanwhile
        self._learn(self._catalog.shared_tree(self.name), begins_anew=reset_rows)

    async def apply_delta(self, delta: MetadataDelta) -> None:
        """Applies one metadata transaction; rows of tables it drops, or below floors, are gone.

        Raises DivergenceError if the copy turns out not to be the leader's.
        """
        if (now := self.database) is not None and self._fetches_first:
            sharing = self._catalog.following_settings(self.name).sharing
            await self._fetch(now, brought_by(delta.changes, sharing))
        await self._catalog.apply_delta(
            self.name, Delta(delta.from_version, delta.to_version, delta.changes)
        )
        self._learn(self._catalog.shared_tree(self.name))

    @property
    def _fetches_first(self) -> bool:
        return self._catalog.following_settings(self.name).prefetch_extents

    async def _fetch(self, database: Database, extents: Sequence[Extent]) -> None:
        if self._prefetch is not None and extents:
            await self._prefetch(database, extents)

    async def apply_rows(self, records: bytes) -> tuple[RecordHeader, ...]:
        """Stores records; their rows can be read when this returns. See ``RowStore.apply``."""
        store = self._store
        before = store.end_lsn()
        headers = await store.apply(records)
        after = before + sum(header.length for header in headers)
        # Unless anything else came to the log, such as records of a call that was cancelled.
        if self._positions_lsn == before and store.end_lsn() == after:
            self._positions_lsn = after
            for header in headers:
                self._positions[header.key] = KeyPosition(header.end_ordinal, header.checksum)
        return headers

    async def remove(self) -> None:
        """Removes tree and rows. The row store must have stopped."""
        self._rows = None
        if self.is_stored:
            await self._catalog.remove_following(self.name)
        await self._remove_files()

    @property
    def _store(self) -> RowStore:
        assert self._rows is not None, "open() comes first"
        return self._rows

    def _learn(self, database: Database, *, begins_anew: bool = False) -> None:
        """Takes keys, schemas and floors of a newer tree; costs what it changes.

        All of them would take 0.2 s of the node's thread a delta, with 10,000 tables of 20 columns.
        ``begins_anew``: every row was dropped, so rows begin at the floors, moved or not. Raises
        DivergenceError if a record here reaches across a floor, after its rows were dropped.
        """
        changes = key_changes(self._learned, database)
        self._learned = database
        for key in changes.removed:
            self._schemas.pop(key, None)
            self._floors.pop(key, None)
            self._positions.pop(key, None)
            if self._rows is not None:
                self._rows.forget(key)
        for table in changes.tables:
            known = self._schemas.get(table.key, ())
            schemas = (*known, *map(arrow_schema, table.schemas[len(known) :]))
            self._schemas.update(dict.fromkeys(table.keys, schemas))
        diverged: DivergenceError | None = None
        for key, floor in changes.floors.items():
            moved = begins_anew or self._floors.get(key, START) != floor
            self._floors[key] = floor
            if moved and self._rows is not None:
                if self._positions.get(key, START).ordinal < floor.ordinal:
                    self._positions[key] = floor
                try:
                    self._rows.advance(key, floor)
                except DivergenceError as error:
                    # No record of ours ends where the leader's do: nothing of it may be seen.
                    self._rows.reset(key)
                    self._positions_lsn = -1
                    diverged = error
        if begins_anew:
            self._positions_lsn = -1
        if diverged is not None:
            raise diverged

    def _schema_of(self, key: RowStoreKey, version: int) -> pa.Schema | None:
        # Also called in a worker thread while the row store opens; the mapping is never changed.
        schemas = self._schemas.get(key, ())
        return schemas[version] if version < len(schemas) else None

    async def _remove_files(self) -> None:
        def remove() -> None:
            self._disk.make_folder(self._folder)
            for name in self._disk.list_names(self._folder):
                self._disk.remove(self._folder / name)
            self._disk.sync_folder(self._folder)

        if self._disk.blocks:
            await trio.to_thread.run_sync(remove)
        else:
            remove()
