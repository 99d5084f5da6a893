"""Files of extents that no tree names any more. Pure.

A file belongs to as many extents as name it, in tables and in dropped tables that can be brought
back. When a transaction takes the last of them away, the file is garbage from that version on:
recorded in the same durable transaction, so that a crash never leaks it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.changes import (
    ClearTable,
    ForgetDroppedTables,
    ReplaceExtents,
    SealRows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database, Extent, Table, Version


@dataclass(frozen=True, slots=True)
class GarbageFile:
    """A file below a storage root that trees before ``version`` named, and no later one does.

    ``root`` is the database's ``storage_root``; ``dropped_us`` when it became garbage, by the
    clock of the node, microseconds since 1970.
    """

    database: str
    root: str
    file: str
    version: Version
    dropped_us: int


def count_files(database: Database) -> Counter[str]:
    """How many extents name each file."""
    tables: list[Table] = [*database.tables.values()]
    tables += (dropped.table for dropped in database.dropped_tables)
    return Counter(extent.file for table in tables for extent in table.extents.values())


class FileLedger:
    """What one transaction does to the counts. Feed it as ``watch`` of ``apply``."""

    __slots__ = ("_difference",)

    def __init__(self) -> None:
        self._difference: dict[str, int] = {}

    def note(self, before: Database, change: Change) -> None:
        """Counts one change; ``before`` is the tree it was applied to."""
        if isinstance(change, SealRows):
            self._count(change.extents, 1)
        elif isinstance(change, ReplaceExtents):
            extents = before.tables[change.table].extents
            self._count((extents[extent_id] for extent_id in change.dropped), -1)
            self._count(change.added, 1)
        elif isinstance(change, ClearTable):
            self._count(before.tables[change.table].extents.values(), -1)
        elif isinstance(change, ForgetDroppedTables):
            for dropped in before.dropped_tables:
                if dropped.version in change.versions:
                    self._count(dropped.table.extents.values(), -1)

    def orphans(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Files that nothing names after the transaction, sorted; ``counts`` are those before."""
        return tuple(
            sorted(
                file
                for file, difference in self._difference.items()
                if counts.get(file, 0) + difference == 0
            )
        )

    def files(self) -> Iterable[str]:
        """Every file the transaction has to do with."""
        return self._difference

    def settle(self, counts: Counter[str]) -> None:
        """Brings the counts up to date."""
        for file, difference in self._difference.items():
            left = counts[file] + difference
            if left:
                counts[file] = left
            else:
                del counts[file]

    def _count(self, extents: Iterable[Extent], step: int) -> None:
        for extent in extents:
            self._difference[extent.file] = self._difference.get(extent.file, 0) + step
