"""What goes: extents, tags and tables over their time, then files that nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import Change, DropTable, ForgetDroppedTables, ReplaceExtents
from cluster.errors import RemoraError
from cluster.extents.garbage import (
    GarbageRule,
    plan_garbage,
    plan_orphans,
    referenced_files,
)
from cluster.extents.keeping import At, CrashPoint, reach
from cluster.extents.operations import plan_tags
from cluster.extents.retention import (
    expired_extents,
    expired_tables,
    expired_tags,
    forgotten_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.catalog.garbage import GarbageFile
    from cluster.catalog.model import Database, Table, Version
    from cluster.clock import Clock
    from cluster.extents.committing import Commit
    from cluster.extents.keeping import UnsealedRows
    from cluster.extents.root import StorageRoot
    from cluster.extents.rules import Rules

RootOf = Callable[[str], "StorageRoot"]
"""The storage root of a URL as a database names it; the empty one is the node's default."""

DELETE_FILES: Final = 1000
"""Files deleted in one call: what S3 takes in one request."""


def no_followers(database: str) -> Version | None:
    """For a node without followers: there is no version to wait for."""
    del database
    return None


class Collector:
    """Retention, then garbage. One call of each method at a time."""

    def __init__(
        self,
        catalog: Catalog,
        row_stores: UnsealedRows,
        root_of: RootOf,
        rules: Rules,
        *,
        clock: Clock,
        commit: Commit,
        is_pinned: Callable[[str], bool],
        forget: Callable[[list[str]], None],
        acknowledged: Callable[[str], Version | None],
        garbage_rule: GarbageRule,
        at: At | None = None,
    ) -> None:
        self._catalog = catalog
        self._row_stores = row_stores
        self._root_of = root_of
        self._rules = rules
        self._clock = clock
        self._commit = commit
        self._is_pinned = is_pinned
        self._forget = forget
        self._acknowledged = acknowledged
        self._garbage_rule = garbage_rule
        self._at = at
        self._free_since_us: Mapping[str, int] = {}
        self._seen_since_us: dict[str, Mapping[str, int]] = {}

    async def retain(self, database_name: str) -> tuple[int, int]:
        """Drops what is over its time, in one transaction; returns extents and tables dropped.

        Tables that cannot be brought back any more are forgotten, so that their files are garbage.
        """
        counts = [0, 0]

        def plan(database: Database) -> Sequence[Change]:
            now_us = self._clock.now_ns() // 1000
            changes = list(self._expiry(database, now_us))
            counts[0] = sum(
                len(change.dropped) - len(change.added)
                for change in changes
                if isinstance(change, ReplaceExtents)
            )
            counts[1] = sum(isinstance(change, DropTable) for change in changes)
            return changes

        committed = await self._commit(database_name, plan, "", CrashPoint.RETAIN_COMMITTED)
        return (counts[0], counts[1]) if committed else (0, 0)

    def _expiry(self, database: Database, now_us: int) -> Iterator[Change]:
        gone = expired_tables(database, self._rules.auto_delete, self._streamed_rows, now_us)
        for name in gone:
            yield DropTable(name, now_us)
        for name, table in database.tables.items():
            if name not in gone and table.extents:
                yield from self._expiry_of(database, table, now_us)
        versions = forgotten_tables(database, self._rules.is_recoverable, now_us)
        if versions:
            yield ForgetDroppedTables(versions)

    def _expiry_of(self, database: Database, table: Table, now_us: int) -> Iterator[Change]:
        soft_delete_us = self._rules.soft_delete_us(database, table)
        # A default of 1,000 years needs no look at 10,000 extents.
        extents = table.extents.values() if soft_delete_us <= now_us else ()
        expired = expired_extents(extents, soft_delete_us, now_us)
        gone = tuple(extent.extent_id for extent in expired)
        if gone:
            yield ReplaceExtents(table.name, gone, ())
        tag_rules = self._rules.tag_periods_us(database, table)
        if tag_rules:
            tags = expired_tags(table.extents.values(), tag_rules, now_us)
            for extent_id in gone:
                tags.pop(extent_id, None)
            yield from plan_tags(table, tags, self._catalog.new_id)[0]

    def _streamed_rows(self, table: Table) -> int:
        return sum(item.rows for item in self._row_stores.unsealed(table.keys).values())

    async def collect(self) -> int:
        """Deletes garbage files that nothing needs any more; returns how many.

        Raises what the storage root raises; what was deleted by then is forgotten first, and the
        rest is tried again the next time.
        """
        garbage = self._catalog.garbage()
        if not garbage:
            self._free_since_us = {}
            return 0
        referenced = {name: self._files_of(name) for name in {item.database for item in garbage}}
        plan = plan_garbage(
            garbage,
            is_referenced=lambda item: item.file in referenced[item.database],
            is_pinned=self._is_pinned,
            acknowledged=self._acknowledged,
            free_since_us=self._free_since_us,
            rule=self._garbage_rule,
            now_us=self._clock.now_ns() // 1000,
        )
        self._free_since_us = plan.free_since_us
        await reach(self._at, CrashPoint.GARBAGE_PLANNED)
        by_root: dict[str, list[GarbageFile]] = {}
        for item in plan.delete:
            by_root.setdefault(item.root, []).append(item)
        failure: RemoraError | None = None
        count = 0
        for root, items in by_root.items():
            for first in range(0, len(items), DELETE_FILES):
                part = items[first : first + DELETE_FILES]
                try:
                    await self._root_of(root).delete([item.file for item in part])
                except RemoraError as error:
                    failure = error  # another root may work
                    break
                self._forget([item.file for item in part])
                await reach(self._at, CrashPoint.GARBAGE_DELETED)
                await self._catalog.forget_garbage(part)
                await reach(self._at, CrashPoint.GARBAGE_FORGOTTEN)
                count += len(part)
        if failure is not None:
            raise failure
        return count

    def _files_of(self, database_name: str) -> set[str]:
        owned = (item for item in self._catalog.databases() if item.name == database_name)
        return {file for database in owned for file in referenced_files(database)}

    async def sweep(self, *, grace_us: int) -> int:
        """Deletes orphan files of the databases this node owns; returns how many.

        Only files below ``<database id>/`` are looked at, so that nothing of others in the same
        root is touched. ``grace_us`` 0 only while no job and no ingestion of this process has
        begun: a file that was put and is not committed yet looks like an orphan.
        """
        count = 0
        for database in self._catalog.databases():
            if self._catalog.is_following(database.name):
                continue
            root = self._root_of(database.storage_root)
            listed = [item.name for item in await root.list(f"{database.database_id}/")]
            await reach(self._at, CrashPoint.SWEEP_LISTED)
            # After the listing: a file committed meanwhile is known, a newer one is not listed.
            known = referenced_files(self._catalog.get(database.name))
            known.update(
                item.file for item in self._catalog.garbage() if item.database == database.name
            )
            plan = plan_orphans(
                listed,
                known,
                seen_since_us=self._seen_since_us.get(database.database_id, {}),
                grace_us=grace_us,
                now_us=self._clock.now_ns() // 1000,
            )
            self._seen_since_us[database.database_id] = plan.seen_since_us
            for first in range(0, len(plan.delete), DELETE_FILES):
                await root.delete(plan.delete[first : first + DELETE_FILES])
            await reach(self._at, CrashPoint.SWEEP_DELETED)
            count += len(plan.delete)
        return count
