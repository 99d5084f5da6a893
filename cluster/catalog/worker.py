"""The one writer of a catalog's file: writes in a worker thread, then brings memory up to date.

Between a write that has succeeded and memory there is no point where cancellation can strike, so
what is durable is seen. After a failed write nobody knows what the disk holds: there is no further
one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

from cluster.catalog.following import FollowingSettings
from cluster.catalog.naming import fold_database_name
from cluster.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cluster.catalog.garbage import FileLedger, GarbageFile
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, FollowingSource
    from cluster.catalog.registry import Entry, Registry
    from cluster.catalog.store import CatalogStore
    from cluster.limits import Limits

T = TypeVar("T")

_NO_SETTINGS: Final = FollowingSettings()


class CatalogWriter:
    """Changes the file and the registry together. One transaction at a time may use it."""

    def __init__(
        self,
        store: CatalogStore,
        registry: Registry,
        garbage: Iterable[GarbageFile],
        limits: Limits,
    ) -> None:
        self._store = store
        self._registry = registry
        self._garbage = {_garbage_key(item): item for item in garbage}
        self._limits = limits
        self._failure: str | None = None
        self.journal_bytes = 0
        self.snapshot_bytes = 0
        self.snapshots = 0

    @property
    def is_writable(self) -> bool:
        """False after a failed write, and after closing."""
        return self._failure is None

    def garbage(self) -> tuple[GarbageFile, ...]:
        """Files recorded as garbage."""
        return tuple(self._garbage.values())

    def check_files(self, database: Database, ledger: FileLedger) -> None:
        """A file that is garbage may be deleted at any moment: nothing may name it again.

        Raises ConflictError.
        """
        folded = fold_database_name(database.name)
        for file in ledger.files():
            if (folded, file) in self._garbage:
                raise ConflictError(
                    f"File '{file}' of database '{database.name}' is being deleted.",
                    metadata={"database": database.name, "file": file},
                )

    async def append(
        self,
        entry: Entry,
        database: Database,
        delta: Delta,
        orphans: Sequence[GarbageFile] = (),
        ledger: FileLedger | None = None,
    ) -> None:
        """Gives an entry its next tree. ``orphans`` became garbage, as ``ledger`` counted."""
        allowed = max(self._limits.catalog_snapshot_bytes, entry.snapshot_bytes)
        written = await self._write(
            lambda: self._store.append(
                database,
                delta,
                room_bytes=allowed - entry.journal_bytes,
                oldest=entry.history.oldest_version,
                garbage=orphans,
            )
        )
        self._registry.advance(entry, database, delta, written.delta_bytes)
        if ledger is not None:
            ledger.settle(entry.files)
        self._garbage.update({_garbage_key(item): item for item in orphans})
        self.journal_bytes += written.delta_bytes
        if written.snapshot_bytes:
            self._count_snapshot(written.snapshot_bytes)
            entry.snapshot_bytes, entry.journal_bytes = written.snapshot_bytes, 0
        else:
            entry.journal_bytes += written.delta_bytes

    async def put(
        self,
        database: Database,
        source: FollowingSource | None = None,
        settings: FollowingSettings = _NO_SETTINGS,
    ) -> None:
        """Adds or replaces a database whole. Raises LimitExceededError, UnavailableError."""
        self._registry.check_room(database.name)
        size = await self._write(lambda: self._store.put_database(database, source, settings))
        self._registry.put(database, source, settings, snapshot_bytes=size)
        self._count_snapshot(size)

    async def set_following(self, entry: Entry, settings: FollowingSettings) -> None:
        """Gives a following database other settings. Raises UnavailableError."""
        name = entry.database.name
        await self._write(lambda: self._store.put_settings(name, settings))
        self._registry.set_following(entry, settings)

    async def remove(self, database: Database, orphans: Sequence[GarbageFile] = ()) -> None:
        """Removes a database; ``orphans`` became garbage."""
        await self._write(lambda: self._store.delete_database(database.name, orphans))
        self._registry.remove(database.name)
        self._garbage.update({_garbage_key(item): item for item in orphans})

    async def forget_garbage(self, files: Iterable[GarbageFile]) -> None:
        """Removes files from the list; those that are not on it are passed over."""
        known = [item for item in files if self._garbage.get(_garbage_key(item)) == item]
        if known:
            await self._write(lambda: self._store.forget_garbage(known))
        for item in known:
            self._garbage.pop(_garbage_key(item), None)

    async def aclose(self) -> None:
        """Closes the file."""
        self._failure = "The catalog is closed."
        await trio.to_thread.run_sync(self._store.close)

    async def _write(self, write: Callable[[], T]) -> T:
        if self._failure is not None:
            raise UnavailableError(self._failure)
        try:
            return await trio.to_thread.run_sync(write)
        except UnavailableError as error:
            self._failure = (
                "The catalog takes no more changes until the node restarts, because a write "
                f"failed: {error.message}"
            )
            raise

    def _count_snapshot(self, size: int) -> None:
        self.snapshots += 1
        self.snapshot_bytes += size


def _garbage_key(item: GarbageFile) -> tuple[str, str]:
    return fold_database_name(item.database), item.file
