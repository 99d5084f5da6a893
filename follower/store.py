"""What is stored here of one followed database: its tree in the catalog, its rows in a row store.

Order on disk: metadata is durable before rows that need it are written, and rows are never synced,
because the leader can send them again. So after any crash the rows are those of a metadata version
the catalog has. If they are not (somebody restored one of the two files, or an unsynced write was
lost in the middle), the row store refuses to open; then the copy of the rows is dropped and filled
again from the leader. Nothing is guessed.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING

import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.journal import Delta
from cluster.errors import CorruptionError, DatabaseNotFoundError
from cluster.rowstore.driver import RowStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, FollowingSource, RowStoreKey
    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.replication.position import KeyPosition
    from cluster.replication.protocol import MetadataDelta
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.model import Rows
    from cluster.rowstore.record import RecordHeader

logger = logging.getLogger(__name__)


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
    ) -> None:
        self.name = name
        self.source = source
        self.drops = 0  # times the copy of the rows was dropped because it could not be read
        self._folder = folder
        self._catalog = catalog
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._schemas: Mapping[RowStoreKey, tuple[pa.Schema, ...]] = {}
        self._rows: RowStore | None = None

    @property
    def database(self) -> Database | None:
        """The tree; None before the first snapshot, or if the name here belongs to another."""
        try:
            if self._catalog.following_source(self.name) != self.source:
                return None
            return self._catalog.get(self.name)
        except DatabaseNotFoundError:
            return None

    @property
    def is_open(self) -> bool:
        """Rows can be read."""
        return self._rows is not None

    async def open(self, nursery: trio.Nursery) -> None:
        """Opens the rows, dropping them if they cannot be read, and starts their row store.

        Raises ConflictError if another process has them open, OSError if the disk fails.
        """
        self._learn(self.database)
        try:
            rows = await self._open()
        except CorruptionError as error:
            logger.warning("rows of followed database %r are dropped: %s", self.name, error)
            self.drops += 1
            await self._remove_files()
            rows = await self._open()
        await nursery.start(rows.run)
        self._rows = rows

    async def _open(self) -> RowStore:
        return await RowStore.open(
            self._folder,
            disk=self._disk,
            clock=self._clock,
            limits=self._limits,
            sync=False,
            schema_of=self._schema_of,
        )

    def keys(self) -> Collection[RowStoreKey]:
        """The row store keys of the tables there are."""
        return self._schemas.keys()

    def positions(self) -> dict[RowStoreKey, KeyPosition]:
        """How far each table's rows have come."""
        return self._store.position_of(self._schemas)

    def rows(self, key: RowStoreKey) -> Rows:
        """The rows of a table, whether they may be seen or not."""
        return self._store.rows(key)

    async def install(self, database: Database, *, reset_rows: bool) -> None:
        """Replaces the tree. Rows of missing tables are gone; with ``reset_rows`` all are, first.

        Raises ConflictError if the name belongs to another database.
        """
        before = tuple(self._schemas)
        if reset_rows:
            for key in before:
                self._store.reset(key)
        installed = await self._catalog.install_snapshot(
            self.name, self.source.leader_cluster, self.source.leader_database, database
        )
        self._learn(installed)

    async def apply_delta(self, delta: MetadataDelta) -> None:
        """Applies one metadata transaction; the rows of tables it drops are gone."""
        self._learn(
            await self._catalog.apply_delta(
                self.name, Delta(delta.from_version, delta.to_version, delta.changes)
            ),
            continues=True,
        )

    async def apply_rows(self, records: bytes) -> tuple[RecordHeader, ...]:
        """Stores records; their rows can be read when this returns. See ``RowStore.apply``."""
        return await self._store.apply(records)

    async def remove(self) -> None:
        """Removes tree and rows. The row store must have stopped."""
        self._rows = None
        if self.database is not None:
            await self._catalog.remove_following(self.name)
        await self._remove_files()

    @property
    def _store(self) -> RowStore:
        assert self._rows is not None, "open() comes first"
        return self._rows

    def _learn(self, database: Database | None, *, continues: bool = False) -> None:
        """Takes the schemas of a tree; of one that ``continues`` the last, only those added.

        All of them would take 0.2 s of the node's thread a delta, with 10,000 tables of 20 columns.
        """
        tables = database.tables.values() if database else ()
        before = self._schemas
        schemas = {}
        for table in tables:
            known = before.get(table.key, ()) if continues else ()
            schemas[table.key] = (*known, *map(arrow_schema, table.schemas[len(known) :]))
        self._schemas = schemas
        for key in before.keys() - self._schemas.keys():
            self._store.forget(key)

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
