"""Which extents to merge into one. Pure.

The bounds are those of the merge policy (``merge-policy.md``): how many extents, rows and bytes,
how far apart their creation times are, how far back it looks. Extents merge only with extents that
have the same set of ``drop-by:`` tags, and only if the union of all tags stays within 1 M
characters (``extent-tags.md``).

Beyond the documented rules, merging is tiered: extents of like size merge, a fan-in at a time, and
never if one of them holds more than half of the result. So each rewrite at least doubles the extent
a row is in: a row is rewritten O(log n) times, and few small extents are ever left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import Extent, Provenance, RowStoreKey
from cluster.errors import EntityNotFoundError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cluster.catalog.model import Table

FAN_IN: Final = 8
"""Extents of like size that make a merge worth its rewriting."""

TAG_CHARACTERS: Final = 1_000_000
DROP_BY: Final = "drop-by:"


@dataclass(frozen=True, slots=True)
class MergeRule:
    """Bounds of one merge. ``oldest_us``: extents created before it are left alone."""

    rows_max: int
    original_bytes_max: int
    file_bytes_max: int
    extents_max: int
    range_us: int
    oldest_us: int = 0
    fan_in: int = FAN_IN


def plan_merges(extents: Iterable[Extent], rule: MergeRule) -> list[tuple[Extent, ...]]:
    """Groups to merge now, each into one extent; no extent is in two of them.

    Sorting is all it costs: O(n log n) for n extents.
    """
    groups: dict[frozenset[str], list[Extent]] = {}
    for extent in extents:
        if extent.created_max_us < rule.oldest_us or 2 * extent.row_count > rule.rows_max:
            continue  # too old, or too large to have a partner of like size
        groups.setdefault(drop_by_tags(extent), []).append(extent)
    found: list[tuple[Extent, ...]] = []
    for members in groups.values():
        for window in _windows(members, rule.range_us):
            found.extend(_runs(window, rule))
    found.sort(key=lambda run: sum(extent.row_count for extent in run))
    return found


def drop_by_tags(extent: Extent) -> frozenset[str]:
    """Its ``drop-by:`` tags: what must be equal in extents that merge."""
    return frozenset(tag for tag in extent.tags if tag.startswith(DROP_BY))


def _windows(members: list[Extent], range_us: int) -> Iterator[list[Extent]]:
    """Runs in order of creation, none of which spans more than the range."""
    members.sort(key=lambda extent: (extent.created_min_us, extent.extent_id))
    window: list[Extent] = []
    newest_us = 0
    for extent in members:
        newest = max(newest_us, extent.created_max_us)
        if window and newest - window[0].created_min_us > range_us:
            yield window
            window = []
            newest = extent.created_max_us
        window.append(extent)
        newest_us = newest
    if window:
        yield window


def _runs(window: list[Extent], rule: MergeRule) -> Iterator[tuple[Extent, ...]]:
    """Groups of like size within a window, the smallest first."""
    window.sort(key=lambda extent: (extent.row_count, extent.created_min_us, extent.extent_id))
    run: list[Extent] = []
    total = _Total()
    for extent in window:
        if run and not _fits(run, total, extent, rule):
            yield from _closed(run, rule)
            run, total = [], _Total()
        run.append(extent)
        total.add(extent)
    yield from _closed(run, rule)


class _Total:
    """Sums over a run that is being gathered."""

    __slots__ = ("file_bytes", "original_bytes", "row_count", "tag_characters", "tags")

    def __init__(self) -> None:
        self.row_count = 0
        self.original_bytes = 0
        self.file_bytes = 0
        self.tags: set[str] = set()
        self.tag_characters = 0

    def add(self, extent: Extent) -> None:
        self.row_count += extent.row_count
        self.original_bytes += extent.original_bytes
        self.file_bytes += extent.file_bytes
        self.tag_characters += self.characters_of(extent)
        self.tags.update(extent.tags)

    def characters_of(self, extent: Extent) -> int:
        """Characters its tags would add."""
        return sum(len(tag) for tag in set(extent.tags) - self.tags)


def _fits(run: Sequence[Extent], total: _Total, extent: Extent, rule: MergeRule) -> bool:
    alike = max(total.row_count, max(1, run[0].row_count) * rule.fan_in)
    return (
        len(run) < rule.extents_max
        and extent.row_count <= alike
        and total.row_count + extent.row_count <= rule.rows_max
        and total.original_bytes + extent.original_bytes <= rule.original_bytes_max
        and total.file_bytes + extent.file_bytes <= rule.file_bytes_max
        and total.tag_characters + total.characters_of(extent) <= TAG_CHARACTERS
    )


def _closed(run: list[Extent], rule: MergeRule) -> Iterator[tuple[Extent, ...]]:
    """The run without extents that hold more than half of it, if it is still worth it."""
    rows = sum(extent.row_count for extent in run)
    while run and 2 * run[-1].row_count > rows:
        rows -= run.pop().row_count
    if len(run) >= max(2, min(rule.fan_in, rule.extents_max)):
        yield tuple(run)


def merged_tags(extents: Iterable[Extent]) -> tuple[str, ...]:
    """The union of their tags, each once, in order of first appearance."""
    return tuple(dict.fromkeys(tag for extent in extents for tag in extent.tags))


def merged_sources(extents: Iterable[Extent]) -> tuple[Provenance, ...]:
    """Where their rows came from, adjacent ranges of a key joined."""
    ranges: dict[RowStoreKey, list[Provenance]] = {}
    for extent in extents:
        for source in extent.sources:
            ranges.setdefault(source.key, []).append(source)
    joined: list[Provenance] = []
    for key, parts in ranges.items():
        parts.sort(key=lambda part: part.first_ordinal)
        first, end = parts[0].first_ordinal, parts[0].end_ordinal
        for part in parts[1:]:
            if part.first_ordinal > end:
                joined.append(Provenance(key, first, end))
                first = part.first_ordinal
            end = max(end, part.end_ordinal)
        joined.append(Provenance(key, first, end))
    return tuple(joined)


def check_merge(table: Table, extent_ids: Collection[str]) -> tuple[Extent, ...]:
    """The extents of an explicit ``.merge``, in the order given.

    The command may go beyond the policy's bounds, not beyond what keeps tags right: raises
    EntityNotFoundError for an extent the table has not, InvalidRequestError for fewer than two,
    one named twice, different ``drop-by:`` tags, or too many tags together.
    """
    extents = find_extents(table, extent_ids)
    if len(extents) < 2:
        raise InvalidRequestError("A merge needs at least two extents.")
    if len({drop_by_tags(extent) for extent in extents}) > 1:
        raise InvalidRequestError(
            f"Extents of table '{table.name}' with different 'drop-by:' tags cannot be merged."
        )
    if sum(map(len, merged_tags(extents))) > TAG_CHARACTERS:
        raise InvalidRequestError(
            f"The tags of these extents of table '{table.name}' have more than "
            f"{TAG_CHARACTERS} characters together."
        )
    return extents


def find_extents(table: Table, extent_ids: Iterable[str]) -> tuple[Extent, ...]:
    """The extents of these ids. Raises EntityNotFoundError, InvalidRequestError (named twice)."""
    found: dict[str, Extent] = {}
    for extent_id in extent_ids:
        extent = table.extents.get(extent_id)
        if extent is None:
            raise EntityNotFoundError(
                f"Extent '{extent_id}' was not found in table '{table.name}'.",
                remedy="Look at .show table T extents; merged extents have new ids.",
                metadata={"table": table.name, "extent": extent_id},
            )
        if extent_id in found:
            raise InvalidRequestError(f"Extent '{extent_id}' is named twice.")
        found[extent_id] = extent
    return tuple(found.values())
