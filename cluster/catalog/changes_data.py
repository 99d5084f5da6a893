"""Changes of where a table's rows are: references, floors and extents. Pure.

What these rules are for: at any version every row of a table is counted exactly once. It is either
at or above the floor of its key and read from a row store, or below it and in at most one extent.
So a floor only grows; a seal covers exactly the rows between the old floors and the new ones; an
extent is added once and is never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import immutables

from cluster.catalog.changes_tables import MAXIMUM_KEY, check_new_keys, check_row_store
from cluster.catalog.lookup import (
    entity_not_found,
    find_table,
    next_column_id,
    table_not_found,
    with_table,
)
from cluster.catalog.naming import check_text
from cluster.errors import EntityExistsError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.catalog.model import (
        Database,
        Extent,
        Provenance,
        RowStoreKey,
        RowStoreReference,
        Table,
    )
    from cluster.limits import Limits

MAXIMUM_REFERENCES: Final = 64
"""Row store references of one table, at most (``streamingingestionpolicy.md`` of 2019)."""

MAXIMUM_NUMBER: Final = 2**63 - 1
"""Of ordinals, sizes, counts and times."""

MINIMUM_TIME: Final = -(2**63)
"""Of creation times: ``creationTime`` may lie before 1970."""


@dataclass(frozen=True, slots=True)
class SetReferences:
    """All references of a table: those it has, enabled or disabled, and new ones behind them."""

    table: str
    references: tuple[RowStoreReference, ...]


@dataclass(frozen=True, slots=True)
class SealedRange:
    """The new floor of a key, and the key's rolling checksum there (a record boundary)."""

    key: RowStoreKey
    end_ordinal: int
    end_checksum: int


@dataclass(frozen=True, slots=True)
class SealRows:
    """Rows move from row stores into extents.

    The ``sources`` of the extents cover, for each range, exactly the ordinals from the present
    floor to the new one, each once, and the extents have as many rows. So a seal that was planned
    before another one of the same rows is refused.
    """

    table: str
    ranges: tuple[SealedRange, ...]
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class ReplaceExtents:
    """Extents are dropped and others added: ingestion, merge, retag, move, retention."""

    table: str
    dropped: tuple[str, ...] = ()
    added: tuple[Extent, ...] = ()


@dataclass(frozen=True, slots=True)
class ClearTable:
    """All extents are dropped, and rows below the new floors are gone."""

    table: str
    ranges: tuple[SealedRange, ...] = ()


def set_references(
    database: Database, changes: Iterable[SetReferences], limits: Limits
) -> Database:
    """Applies one :class:`SetReferences` after the other.

    All at once, since a policy of a database is for all its tables: looks at every table once, not
    once a change.
    """
    del limits
    tables = dict(database.tables)
    keys: list[RowStoreKey] = []
    for change in changes:
        table = tables.get(change.table)
        if table is None:
            raise table_not_found(change.table)
        keys += [reference.key for reference in _added_references(table, change)]
        tables[change.table] = replace(table, references=change.references)
    if keys:
        check_new_keys(database, keys)
    return replace(database, tables=tables)


def _added_references(table: Table, change: SetReferences) -> tuple[RowStoreReference, ...]:
    """The new references, if the change is one that may be. Raises InvalidRequestError."""
    present = table.references
    if len(change.references) > MAXIMUM_REFERENCES:
        raise InvalidRequestError(
            f"Table '{table.name}' would have {len(change.references)} row store references, "
            f"the most is {MAXIMUM_REFERENCES}."
        )
    if len(change.references) < len(present):
        raise InvalidRequestError(f"A row store reference of '{table.name}' cannot be removed.")
    for before, after in zip(present, change.references, strict=False):
        if replace(after, is_enabled=before.is_enabled) != before:
            raise InvalidRequestError(
                f"Row store reference {before.key} of table '{table.name}' cannot change."
            )
    added = change.references[len(present) :]
    for reference in added:
        check_row_store(reference.row_store)
        if (reference.sealed_ordinal, reference.sealed_checksum) != (0, 0):
            raise InvalidRequestError(f"The new row store key {reference.key} has rows already.")
    return added


def seal_rows(database: Database, change: SealRows, limits: Limits) -> Database:
    """Applies :class:`SealRows`."""
    del limits
    table = find_table(database, change.table)
    if not change.ranges:
        raise InvalidRequestError(f"Nothing to seal is named for table '{table.name}'.")
    references = _moved_floors(table, change.ranges)
    _check_coverage(table, change)
    extents = _changed_extents(table, (), change.extents)
    return with_table(database, replace(table, references=references, extents=extents))


def replace_extents(database: Database, change: ReplaceExtents, limits: Limits) -> Database:
    """Applies :class:`ReplaceExtents`."""
    del limits
    table = find_table(database, change.table)
    if not change.dropped and not change.added:
        raise InvalidRequestError(f"No extent to drop from or add to table '{table.name}'.")
    extents = _changed_extents(table, change.dropped, change.added)
    return with_table(database, replace(table, extents=extents))


def clear_table(database: Database, change: ClearTable, limits: Limits) -> Database:
    """Applies :class:`ClearTable`."""
    del limits
    table = find_table(database, change.table)
    references = _moved_floors(table, change.ranges)
    cleared = replace(table, references=references, extents=immutables.Map())
    return with_table(database, cleared)


def check_extent(extent: Extent) -> None:
    """Refuses an extent with a value out of its domain. Raises InvalidRequestError.

    A file name may not lead out of the storage root: it comes from a peer, and is opened here.
    """
    _check_extent_texts(extent)
    sizes = (extent.file_bytes, extent.row_count, extent.original_bytes)
    if not all(0 <= size <= MAXIMUM_NUMBER for size in sizes):
        raise _bad(extent, "a size or count out of range")
    if not 0 <= extent.file_checksum <= MAXIMUM_KEY:
        raise _bad(extent, "a checksum that is no 64-bit number")
    created = (extent.created_min_us, extent.created_max_us)
    if not MINIMUM_TIME <= created[0] <= created[1] <= MAXIMUM_NUMBER:
        raise _bad(extent, "creation times out of order")
    first, last = extent.ingested_min_us, extent.ingested_max_us
    if (first is None) is not (last is None):
        raise _bad(extent, "one ingestion time of two")
    if first is not None and last is not None and not 0 <= first <= last <= MAXIMUM_NUMBER:
        raise _bad(extent, "ingestion times out of order")
    ids = [identity for identity in extent.column_ids if identity != -1]
    if len(set(ids)) != len(ids) or any(identity < 0 for identity in ids):
        raise _bad(extent, "column ids that are negative or named twice")
    for source in extent.sources:
        if not 0 < source.key <= MAXIMUM_KEY:
            raise _bad(extent, "a row store key that is no non-zero 64-bit number")
        if not 0 <= source.first_ordinal < source.end_ordinal <= MAXIMUM_NUMBER:
            raise _bad(extent, "ordinals out of order")


def _check_extent_texts(extent: Extent) -> None:
    if not extent.extent_id:
        raise InvalidRequestError("An extent has no id.")
    for text in (extent.extent_id, extent.file, *extent.tags):
        check_text("Text of an extent", text)
    parts = extent.file.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(c in extent.file for c in "\\\0:"):
        raise _bad(extent, f"the file name {extent.file[:256]!r}, which is not a plain path")
    if len(set(extent.tags)) != len(extent.tags):
        raise _bad(extent, "a tag twice")


def _bad(extent: Extent, problem: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Extent {extent.extent_id} has {problem}.", metadata={"extent": extent.extent_id}
    )


def _moved_floors(table: Table, ranges: Iterable[SealedRange]) -> tuple[RowStoreReference, ...]:
    """The references with their new floors; a range may end at the present floor."""
    at = {reference.key: place for place, reference in enumerate(table.references)}
    moved = list(table.references)
    seen: set[int] = set()
    for item in ranges:
        place = at.get(item.key)
        if place is None:
            raise InvalidRequestError(
                f"Row store key {item.key} does not belong to table '{table.name}'."
            )
        if item.key in seen:
            raise InvalidRequestError(f"Row store key {item.key} is named twice.")
        seen.add(item.key)
        present = moved[place]
        same = (item.end_ordinal, item.end_checksum)
        is_same = same == (present.sealed_ordinal, present.sealed_checksum)
        if not is_same and not present.sealed_ordinal < item.end_ordinal <= MAXIMUM_NUMBER:
            raise InvalidRequestError(
                f"Row store key {item.key} is sealed to ordinal {present.sealed_ordinal}; "
                f"it cannot be sealed to {item.end_ordinal}."
            )
        if not 0 <= item.end_checksum <= MAXIMUM_KEY:
            raise InvalidRequestError(f"The checksum of key {item.key} is no 64-bit number.")
        moved[place] = replace(
            present, sealed_ordinal=item.end_ordinal, sealed_checksum=item.end_checksum
        )
    return tuple(moved)


def _check_coverage(table: Table, change: SealRows) -> None:
    floors = {reference.key: reference.sealed_ordinal for reference in table.references}
    ends = {item.key: item.end_ordinal for item in change.ranges}
    sources = sorted(
        (source for extent in change.extents for source in extent.sources), key=_source_order
    )
    for source in sources:
        if source.key not in ends or source.first_ordinal != floors[source.key]:
            raise InvalidRequestError(
                f"Extents of table '{table.name}' have rows {source.first_ordinal} to "
                f"{source.end_ordinal} of key {source.key}, "
                f"which is sealed to {floors.get(source.key)}.",
                metadata={"table": table.name, "key": str(source.key)},
            )
        floors[source.key] = source.end_ordinal
    for key, end in ends.items():
        if floors[key] != end:
            raise InvalidRequestError(
                f"Extents of table '{table.name}' end at row {floors[key]} of key {key}, "
                f"not at {end}.",
                metadata={"table": table.name, "key": str(key)},
            )
    rows = sum(source.end_ordinal - source.first_ordinal for source in sources)
    if rows != sum(extent.row_count for extent in change.extents):
        raise InvalidRequestError(
            f"Extents of table '{table.name}' do not have the {rows} rows that are sealed."
        )


def _source_order(source: Provenance) -> tuple[int, int]:
    return source.key, source.first_ordinal


def _changed_extents(
    table: Table, dropped: Iterable[str], added: Iterable[Extent]
) -> immutables.Map[str, Extent]:
    free = next_column_id(table)
    extents = table.extents.mutate()
    for extent_id in dropped:
        if extents.pop(extent_id, None) is None:
            raise entity_not_found("Extent", extent_id)
    for extent in added:
        check_extent(extent)
        # Also one that is dropped by this very change: what an id means never changes.
        if extent.extent_id in extents or extent.extent_id in table.extents:
            raise EntityExistsError(
                f"Entity ID '{extent.extent_id}' of kind 'Extent' already exists.",
                metadata={"table": table.name, "extent": extent.extent_id},
            )
        if any(identity >= free for identity in extent.column_ids):
            raise _bad(extent, f"a column that table '{table.name}' never had")
        extents[extent.extent_id] = extent
    return extents.finish()
