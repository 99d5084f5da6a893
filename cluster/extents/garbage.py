"""Which files may be deleted. Pure.

A file is deleted when nothing can need it any more:

1. no tree names it, and no dropped table that can be undone;
2. no query holds it (a pin), and the grace is over: whoever had an older tree in hand when the file
   became garbage, and had not opened the file yet, is done by now;
3. every follower has acknowledged the version that dropped it, or has been waited for as long as
   the cap says. A follower past the cap reads a newer tree, and other files.

An **orphan** is a file that nothing ever named: a seal that crashed before its transaction, or a
transaction that was refused. It goes after a grace that is longer than any job takes from put to
commit; at the start, when no job of this process has begun, at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cluster.catalog.garbage import GarbageFile
    from cluster.catalog.model import Database, Version


@dataclass(frozen=True, slots=True)
class GarbageRule:
    """``grace_us``: from the moment a file is needed by no tree and no follower until it goes.
    ``follower_us``: a follower that has not acknowledged for so long is not waited for."""

    grace_us: int
    follower_us: int


@dataclass(frozen=True, slots=True)
class GarbagePlan:
    """``delete`` now; ``free_since_us``: free files, and since when, for the next plan."""

    delete: tuple[GarbageFile, ...]
    free_since_us: Mapping[str, int]


def plan_garbage(
    garbage: Iterable[GarbageFile],
    *,
    is_referenced: Callable[[GarbageFile], bool],
    is_pinned: Callable[[str], bool],
    acknowledged: Callable[[str], Version | None],
    free_since_us: Mapping[str, int],
    rule: GarbageRule,
    now_us: int,
) -> GarbagePlan:
    """Looks at the garbage list once more.

    ``acknowledged(database)``: the oldest version among its followers, None without any. A file
    that was free and is not any more (a table was restored) starts anew.
    """
    oldest: dict[str, Version | None] = {}
    free: dict[str, int] = {}
    delete = []
    for item in garbage:
        if is_referenced(item):
            continue
        if item.database not in oldest:
            oldest[item.database] = acknowledged(item.database)
        version = oldest[item.database]
        is_awaited = version is not None and version < item.version
        if is_awaited and now_us - item.dropped_us < rule.follower_us:
            continue
        since = free_since_us.get(item.file, now_us)
        free[item.file] = since
        if now_us - since >= rule.grace_us and not is_pinned(item.file):
            delete.append(item)
    return GarbagePlan(tuple(delete), free)


def referenced_files(database: Database) -> set[str]:
    """Every file its tree names, dropped tables that can be undone included."""
    files = {extent.file for table in database.tables.values() for extent in table.extents.values()}
    for dropped in database.dropped_tables:
        files.update(extent.file for extent in dropped.table.extents.values())
    return files


@dataclass(frozen=True, slots=True)
class OrphanPlan:
    """``delete`` now; ``seen_since_us``: orphans seen, and since when, for the next plan."""

    delete: tuple[str, ...]
    seen_since_us: Mapping[str, int]


def plan_orphans(
    listed: Iterable[str],
    known: Collection[str],
    *,
    seen_since_us: Mapping[str, int],
    grace_us: int,
    now_us: int,
) -> OrphanPlan:
    """Files below the folders of our databases that nothing names.

    ``known``: what trees, dropped tables and the garbage list name, and what jobs that are under
    way have written. ``grace_us`` 0: at once.
    """
    seen = {name: seen_since_us.get(name, now_us) for name in listed if name not in known}
    delete = tuple(sorted(name for name, since in seen.items() if now_us - since >= grace_us))
    return OrphanPlan(delete, seen)
