"""The catalog of a node: every database it owns or follows, and the door to change them.

Guarantees:

- *Durable before visible.* A change is in the file and synced before :meth:`Catalog.get` shows it.
- *Atomic and ordered.* Transactions of the node run one after the other, each validated against
  the newest tree; a refused one leaves no trace in memory, file or journal.
- *Pinned reads.* A tree is immutable: who holds one keeps seeing that version.
- *Read-only followers.* Local transactions on a follower database are refused; only
  :meth:`Catalog.install_snapshot` and :meth:`Catalog.apply_delta` change it.
- *Cancellation is harmless.* A transaction that has reached the disk is always published.

Not guaranteed: after a failed write nobody knows what the disk holds, so the catalog takes no
further transaction (UnavailableError) until the node is restarted; reads go on.

All methods run on the trio thread; only the file is touched in a worker thread, one at a time.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import trio

from cluster.catalog.changes import apply, touched_tables
from cluster.catalog.following import FollowingSettings
from cluster.catalog.garbage import FileLedger, GarbageFile, count_files
from cluster.catalog.journal import Delta, advance
from cluster.catalog.model import DEFAULT_DATABASE, Database, FollowingSource, RowStoreKey
from cluster.catalog.naming import check_entity_name, check_text, fold_database_name
from cluster.catalog.reading import CatalogReader
from cluster.catalog.references import plan_references
from cluster.catalog.registry import Entry, Registry
from cluster.catalog.statistics import CatalogStatistics
from cluster.catalog.store import CatalogStore
from cluster.catalog.worker import CatalogWriter
from cluster.errors import EntityExistsError, NotSupportedError
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from cluster.catalog.changes import Change
    from cluster.catalog.following import ModificationKind, Sharing
    from cluster.catalog.stored import StoredDatabase
    from cluster.clock import Clock

__all__ = ["Catalog", "CatalogStatistics", "GarbageFile"]


class Catalog(CatalogReader):
    """See the module. Made by :meth:`open`; close with :meth:`aclose` or ``async with``."""

    def __init__(
        self,
        store: CatalogStore,
        stored: Sequence[StoredDatabase],
        garbage: Iterable[GarbageFile],
        *,
        clock: Clock,
        mint: Callable[[], int],
        limits: Limits,
    ) -> None:
        self._clock = clock
        self._mint = mint
        self._limits = limits
        super().__init__(Registry(limits))
        for item in stored:
            self._registry.put(
                item.database,
                item.source,
                item.settings,
                snapshot_bytes=item.snapshot_bytes,
                journal_bytes=item.journal_bytes,
                history=item.history,
            )
        self._writer = CatalogWriter(store, self._registry, garbage, limits)
        self._lock = trio.Lock()
        self._committed = 0
        self._refused = 0

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock, mint: Callable[[], int], limits: Limits = LIMITS
    ) -> Self:
        """Opens the catalog file ``path``, making it with ``NetDefaultDB`` if there is none.

        A file of an older format is migrated. Tables that need more row store references than they
        have get them now, each database in one transaction (a migrated file, or another number of
        row stores than before).

        ``mint`` gives uniformly random 64-bit numbers, of which row store keys and ids are made.
        Raises CorruptionError, UnavailableError.
        """

        def load() -> tuple[CatalogStore, list[StoredDatabase], list[GarbageFile]]:
            store = CatalogStore.open(path)
            try:
                return store, store.load(), store.garbage()
            except BaseException:
                store.close()
                raise

        store, stored, garbage = await trio.to_thread.run_sync(load)
        catalog = cls(store, stored, garbage, clock=clock, mint=mint, limits=limits)
        try:
            for item in stored:
                if item.source is None:
                    await catalog.transact(item.database.name, catalog._references, text="")
            await catalog.create_database(DEFAULT_DATABASE, if_not_exists=True)
        except BaseException:
            store.close()
            raise
        return catalog

    async def aclose(self) -> None:
        """Waits for the transaction under way, then closes the file."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                await self._writer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def garbage(self) -> tuple[GarbageFile, ...]:
        """Files of our own databases that no tree names any more, until they are forgotten.

        They may be deleted when nobody who holds an older tree needs them; then
        :meth:`forget_garbage`.
        """
        return self._writer.garbage()

    def statistics(self) -> CatalogStatistics:
        """Counts of this moment."""
        entries = tuple(self._registry)
        return CatalogStatistics(
            databases=len(entries),
            following=sum(entry.source is not None for entry in entries),
            tables=sum(len(entry.shown.tables) for entry in entries),
            revision=self._revision,
            deltas_kept=sum(len(entry.history) for entry in entries),
            committed=self._committed,
            refused=self._refused,
            snapshots=self._writer.snapshots,
            journal_bytes=self._writer.journal_bytes,
            snapshot_bytes=self._writer.snapshot_bytes,
            garbage_files=len(self._writer.garbage()),
            writable=self._writer.is_writable,
        )

    # Names of new things

    def new_key(self) -> RowStoreKey:
        """A row store key no table of this node has."""
        while True:
            key = RowStoreKey(self._mint() & (2**64 - 1))
            if key and key not in self.tables_by_key():
                return key

    def new_id(self) -> str:
        """A random guid, lower case."""
        return str(uuid.UUID(int=(self._mint() << 64 | self._mint()) & (2**128 - 1), version=4))

    # Changing what we own

    async def commit(self, name: str, changes: Sequence[Change], *, text: str) -> Delta:
        """Commits one transaction; it is durable and visible when this returns.

        ``text`` is the command behind it, for the journal. Raises DatabaseNotFoundError,
        ReadOnlyError (a follower database), UnavailableError (an earlier or this write failed)
        and whatever :func:`cluster.catalog.changes.apply` raises.
        """
        async with self._lock:
            return await self._commit(self._owned(name), changes, text, "")

    async def forget_garbage(self, files: Iterable[GarbageFile]) -> None:
        """Forgets files that are deleted. Those that are not on the list are passed over."""
        async with self._lock:
            await self._writer.forget_garbage(files)

    async def transact(
        self, name: str, plan: Callable[[Database], Sequence[Change]], *, text: str, user: str = ""
    ) -> tuple[Database, Delta | None]:
        """Like :meth:`commit`, with the changes planned from the newest tree on behalf of ``user``.

        ``plan`` runs when no other transaction can come between; what it raises is raised here.
        No changes: nothing is committed and the delta is None. Returns the tree that is in force.
        """
        async with self._lock:
            entry = self._owned(name)
            try:
                changes = plan(entry.database)
            except BaseException:
                self._refused += 1
                raise
            delta = await self._commit(entry, changes, text, user) if changes else None
            return entry.database, delta

    async def create_database(
        self, name: str, *, if_not_exists: bool = False, storage_root: str = ""
    ) -> tuple[Database, bool]:
        """Makes an empty database; returns it and whether it was made now.

        ``storage_root``: URL of where its extents go, for good; empty: the node's default.

        Raises EntityExistsError (unless ``if_not_exists``), EntityNameError, LimitExceededError,
        UnavailableError.
        """
        async with self._lock:
            present = self._registry.find(name)
            if present is not None and if_not_exists:
                return present.database, False
            check_entity_name("Database", name, self._limits)
            if present is not None:
                raise EntityExistsError(
                    f"Entity ID '{name}' of kind 'Database' already exists.",
                    metadata={"database": name},
                )
            check_text("Storage root", storage_root)
            database = Database(name, self.new_id(), storage_root=storage_root)
            await self._writer.put(database)
            self._publish()
            return database, True

    async def drop_database(self, name: str) -> Database:
        """Removes a database of our own with everything in it; returns its last tree.

        Its files become garbage in the same transaction. Raises DatabaseNotFoundError,
        ReadOnlyError (it follows a leader), NotSupportedError (every node has the default
        database), UnavailableError.
        """
        async with self._lock:
            entry = self._owned(name)
            database = entry.database
            if fold_database_name(database.name) == fold_database_name(DEFAULT_DATABASE):
                raise NotSupportedError(
                    f"Database '{database.name}' cannot be dropped: every cluster has it.",
                    metadata={"database": database.name},
                )
            now_us, after = self._clock.now_ns() // 1000, database.version.next()
            orphans = [
                GarbageFile(database.name, database.storage_root, file, after, now_us)
                for file in count_files(database)
            ]
            await self._writer.remove(database, orphans)
            self._publish()
            return database

    # Following

    async def install_snapshot(
        self,
        name: str,
        leader_cluster: str,
        leader_database: str,
        database: Database,
        *,
        sharing: Sharing | None = None,
        principals_kind: ModificationKind | None = None,
    ) -> Database:
        """Makes or replaces follower database ``name`` with the leader's tree; returns it as shown.

        Its settings stay, but for what the attachment says: ``sharing`` and the default
        ``principals_kind``; None: as before. Raises ConflictError if ``name`` is taken by a
        database of our own or by one that follows something else (``follower.md``: never followed
        twice), EntityNameError, LimitExceededError, UnavailableError.
        """
        source = FollowingSource(leader_cluster, leader_database)
        async with self._lock:
            check_entity_name("Database", name, self._limits)
            self._registry.check_may_follow(name, source)
            present = self._registry.find(name)
            settings = FollowingSettings()
            if present is not None and present.followed is not None:
                settings = present.followed.settings
            settings = replace(
                settings,
                sharing=settings.sharing if sharing is None else sharing,
                default_principals_kind=principals_kind or settings.default_principals_kind,
            )
            await self._writer.put(replace(database, name=name), source, settings)
            self._publish()
            return self.get(name)

    async def set_following(
        self, name: str, plan: Callable[[FollowingSettings], FollowingSettings]
    ) -> FollowingSettings:
        """Changes the settings of a following database; durable and in force when this returns.

        ``plan`` gets the present ones, when no other change can come between; what it raises is
        raised here. Raises DatabaseNotFoundError, ConflictError (it follows nothing),
        UnavailableError.
        """
        async with self._lock:
            entry, followed = self._registry.following(name)
            settings = plan(followed.settings)
            if settings != followed.settings:
                await self._writer.set_following(entry, settings)
                self._publish()
            return settings

    def limit_sharing(self, name: str, sharing: Sharing) -> None:
        """From now on nothing is served that ``sharing`` leaves out, stored or not.

        It ends when :meth:`set_following` stores this sharing. Raises DatabaseNotFoundError,
        ConflictError (it follows nothing).
        """
        entry, followed = self._registry.following(name)
        if self._registry.limit_sharing(entry, followed, sharing):
            self._reveal()

    async def apply_delta(self, name: str, delta: Delta) -> Database:
        """Applies one transaction of the leader; returns the tree after it, as shown.

        ``event_time_ns`` is replaced by our own clock. Raises DatabaseNotFoundError,
        ConflictError (not a follower database), ProtocolError (does not continue our version or
        does not apply), UnavailableError.
        """
        async with self._lock:
            entry, _ = self._registry.following(name)
            database = advance(entry.database, delta)
            received = replace(delta, event_time_ns=self._clock.now_ns())
            await self._writer.append(entry, database, received)
            self._publish()
            return entry.shown

    async def remove_following(self, name: str) -> None:
        """Removes a follower database (detach). Raises DatabaseNotFoundError, ConflictError."""
        async with self._lock:
            entry, _ = self._registry.following(name)
            await self._writer.remove(entry.database)
            self._publish()

    # Inside

    def _owned(self, name: str) -> Entry:
        try:
            return self._registry.owned(name)
        except BaseException:
            self._refused += 1
            raise

    def _references(self, database: Database) -> Sequence[Change]:
        return plan_references(database, database.tables, self._limits.row_stores, self.new_key)

    async def _commit(self, entry: Entry, changes: Sequence[Change], text: str, user: str) -> Delta:
        before = entry.database
        ledger = FileLedger()
        try:
            database = apply(before, changes, self._limits, ledger.note)
            self._writer.check_files(before, ledger)
            assigned = self._assigned(before, database, changes)
        except BaseException:
            self._refused += 1
            raise
        if assigned:
            changes = (*changes, *assigned)
            more = apply(database, assigned, self._limits)
            database = replace(more, version=database.version)
        now_ns = self._clock.now_ns()
        delta = Delta(before.version, database.version, tuple(changes), now_ns, text, user)
        orphans = [
            GarbageFile(
                database.name, database.storage_root, file, database.version, now_ns // 1000
            )
            for file in ledger.orphans(entry.files)
        ]
        await self._writer.append(entry, database, delta, orphans, ledger)
        self._publish()
        return delta

    def _assigned(
        self, before: Database, after: Database, changes: Sequence[Change]
    ) -> Sequence[Change]:
        """The references that a transaction makes necessary, to be made in it."""
        if before.streaming_policy != after.streaming_policy:
            return self._references(after)
        names = dict.fromkeys(name for change in changes for name in touched_tables(change))
        return plan_references(after, names, self._limits.row_stores, self.new_key)

    def _publish(self) -> None:
        self._committed += 1
        self._reveal()
