"""Which extents, tags and dropped tables are over their time. Pure.

Removal is lazy, never early (``retention-policy.md``): an extent goes when its *newest* row, hence
its ``created_max_us``, is older than the soft-delete period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.catalog.model import Database, DroppedTable, Extent, Table, Version

DAY_US: Final = 24 * 3600 * 1_000_000
RECOVERABLE_US: Final = 14 * DAY_US
"""A dropped table can be brought back for so long, if its retention policy says so (fixed)."""


def expired_extents(
    extents: Iterable[Extent], soft_delete_us: int, now_us: int
) -> tuple[Extent, ...]:
    """Those whose newest creation time is the soft-delete period ago or longer."""
    newest = now_us - soft_delete_us
    return tuple(extent for extent in extents if extent.created_max_us <= newest)


def expired_tags(
    extents: Iterable[Extent], rules: Iterable[tuple[str, int]], now_us: int
) -> dict[str, tuple[str, ...]]:
    """Extents that lose tags, by id, with the tags they keep.

    ``rules``: prefix, and microseconds such tags stay (``extent_tags_retention`` policy).
    """
    prefixes = tuple(rules)
    changed: dict[str, tuple[str, ...]] = {}
    for extent in extents:
        if not extent.tags:
            continue
        gone = tuple(p for p, kept_us in prefixes if extent.created_max_us + kept_us <= now_us)
        kept = (
            tuple(tag for tag in extent.tags if not tag.startswith(gone)) if gone else extent.tags
        )
        if kept != extent.tags:
            changed[extent.extent_id] = kept
    return changed


def forgotten_tables(
    database: Database, is_recoverable: Callable[[Database, DroppedTable], bool], now_us: int
) -> tuple[Version, ...]:
    """Versions of drops that cannot be undone any more.

    Tables dropped in one transaction are forgotten together, when the last of them may be.
    """
    forgotten: dict[Version, bool] = {}
    for dropped in database.dropped_tables:
        is_over = (
            not is_recoverable(database, dropped) or dropped.dropped_us + RECOVERABLE_US <= now_us
        )
        forgotten[dropped.version] = forgotten.get(dropped.version, True) and is_over
    return tuple(version for version, is_over in forgotten.items() if is_over)


def expired_tables(
    database: Database,
    expiry_of: Callable[[Table], tuple[int, bool] | None],
    streamed_rows: Callable[[Table], int],
    now_us: int,
) -> tuple[str, ...]:
    """Tables whose ``auto_delete`` policy has come: (expiry time, delete even if not empty)."""
    names = []
    for name, table in database.tables.items():
        rule = expiry_of(table)
        if rule is None or now_us < rule[0]:
            continue
        if rule[1] or not (table.extents or streamed_rows(table)):
            names.append(name)
    return tuple(names)
