"""What commands and batch ingestion do with extents: from the newest tree to changes. Pure.

Each function is the plan of one transaction: it looks at the tree that is in force, so what it
finds is still so when the changes are applied; what it raises refuses the whole transaction.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cluster.catalog.changes import (
    Change,
    ClearTable,
    ReplaceExtents,
    SealedRange,
    find_table,
)
from cluster.errors import ConflictError, EntityNotFoundError, InvalidRequestError
from cluster.extents.merging import find_extents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.catalog.model import Database, Extent, RowStoreKey, Table
    from cluster.replication.position import KeyPosition

INGEST_BY = "ingest-by:"


@dataclass(frozen=True, slots=True)
class Addition:
    """Extents for one table. ``key`` is the incarnation they were written for.

    ``if_not_exists``: values (without ``ingest-by:``); if an extent of the table has the tag of
    one of them, nothing of the whole transaction is done. ``replace_all``: every other row of the
    table goes, streamed ones too (``.set-or-replace``).
    """

    table: str
    key: RowStoreKey
    extents: tuple[Extent, ...]
    if_not_exists: tuple[str, ...] = ()
    replace_all: bool = False


@dataclass(frozen=True, slots=True)
class DroppedExtent:
    """One row of the result of ``.drop extents``."""

    extent_id: str
    table: str
    created_us: int


@dataclass(frozen=True, slots=True)
class ChangedExtent:
    """An extent that got a new id; ``result`` is None if it was dropped."""

    original_id: str
    result: Extent | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which extents ``.drop extents`` is about.

    ``table`` None: of every table. ``extent_ids`` None: all. ``created_before_us``: only older
    ones. ``keep_bytes``: the oldest, until what stays is at most so many bytes, counted in
    ``original_bytes`` if ``keep_original`` (``trim by datasize``) else in file bytes.
    ``limit``: at most so many, the oldest.
    """

    table: str | None = None
    extent_ids: tuple[str, ...] | None = None
    created_before_us: int | None = None
    keep_bytes: int | None = None
    keep_original: bool = False
    limit: int | None = None


class TagChange(enum.Enum):
    """How ``retag`` treats the tags an extent has."""

    SET = "alter"
    MERGE = "alter-merge"
    DROP = "drop"


def plan_add(
    database: Database,
    additions: Sequence[Addition],
    positions: Callable[[Table], Mapping[RowStoreKey, KeyPosition]],
) -> list[Change]:
    """Adds extents to one or several tables; empty if ``if_not_exists`` says so.

    Raises TableNotFoundError, ConflictError (the table was dropped and made again meanwhile).
    """
    changes: list[Change] = []
    for addition in additions:
        table = find_table(database, addition.table)
        if table.key != addition.key:
            raise ConflictError(
                f"Table '{table.name}' was dropped and created again while data was ingested.",
                metadata={"table": table.name},
            )
        if has_ingested(table, addition.if_not_exists):
            return []
        if addition.replace_all:
            changes.extend(plan_clear(database, table.name, positions))
        if addition.extents:
            changes.append(ReplaceExtents(table.name, (), addition.extents))
    return changes


def has_ingested(table: Table, values: Iterable[str]) -> bool:
    """True if an extent of the table has the tag ``ingest-by:`` of one of the values."""
    wanted = {INGEST_BY + value for value in values}
    return bool(wanted) and any(
        not wanted.isdisjoint(extent.tags) for extent in table.extents.values() if extent.tags
    )


def select_extents(database: Database, selection: Selection) -> list[tuple[Table, Extent]]:
    """The extents a selection means, oldest first.

    Raises TableNotFoundError; EntityNotFoundError for an id that is nowhere it may be.
    """
    if selection.table is None:
        tables: Iterable[Table] = database.tables.values()
    else:
        tables = (find_table(database, selection.table),)
    found = [(table, extent) for table in tables for extent in table.extents.values()]
    if selection.extent_ids is not None:
        found = _named(found, selection.extent_ids)
    found.sort(key=lambda pair: (pair[1].created_max_us, pair[1].extent_id))
    if selection.created_before_us is not None:
        bound = selection.created_before_us
        found = [pair for pair in found if pair[1].created_max_us < bound]
    if selection.keep_bytes is not None:
        found = _trimmed(found, selection)
    return found if selection.limit is None else found[: selection.limit]


def _named(
    found: Iterable[tuple[Table, Extent]], extent_ids: Sequence[str]
) -> list[tuple[Table, Extent]]:
    places = {pair[1].extent_id: pair for pair in found}
    for extent_id in extent_ids:
        if extent_id not in places:
            raise EntityNotFoundError(
                f"Extent '{extent_id}' was not found.",
                remedy="Look at .show table T extents; merged extents have new ids.",
                metadata={"extent": extent_id},
            )
    return [places[extent_id] for extent_id in dict.fromkeys(extent_ids)]


def _trimmed(found: list[tuple[Table, Extent]], selection: Selection) -> list[tuple[Table, Extent]]:
    """The oldest ones of each table, until what stays of that table is within the size."""
    assert selection.keep_bytes is not None
    left: dict[str, int] = {}

    def size(extent: Extent) -> int:
        return extent.original_bytes if selection.keep_original else extent.file_bytes

    for table, extent in found:
        left[table.name] = left.get(table.name, 0) + size(extent)
    taken = []
    for table, extent in found:
        if left[table.name] > selection.keep_bytes:
            left[table.name] -= size(extent)
            taken.append((table, extent))
    return taken


def plan_drop(
    database: Database, selection: Selection
) -> tuple[list[Change], tuple[DroppedExtent, ...]]:
    """Drops the extents selected; rows in the row stores stay (``drop-extents.md``)."""
    found = select_extents(database, selection)
    by_table: dict[str, list[str]] = {}
    for table, extent in found:
        by_table.setdefault(table.name, []).append(extent.extent_id)
    changes: list[Change] = [
        ReplaceExtents(name, tuple(extent_ids), ()) for name, extent_ids in by_table.items()
    ]
    dropped = tuple(
        DroppedExtent(extent.extent_id, table.name, extent.created_max_us)
        for table, extent in found
    )
    return changes, dropped


def plan_move(
    database: Database,
    moves: Sequence[tuple[str, Sequence[str] | None]],
    target_name: str,
    new_id: Callable[[], str],
    *,
    ingested_us: int | None = None,
) -> tuple[list[Change], tuple[ChangedExtent, ...]]:
    """Moves extents to another table of the database: new ids, the same files.

    ``moves``: source tables and ids of their extents, None for all. ``ingested_us``: their new
    ingestion time, if it is to be set. Raises TableNotFoundError, EntityNotFoundError,
    InvalidRequestError (source is target, or a column of the source that the target has not with
    the same type: ``move-extents.md``).
    """
    target = find_table(database, target_name)
    changes: list[Change] = []
    added: list[Extent] = []
    results: list[ChangedExtent] = []
    for source_name, extent_ids in moves:
        source = find_table(database, source_name)
        if source.name == target.name:
            raise InvalidRequestError(f"Extents of table '{target.name}' are in it already.")
        ids = target_ids(source, target)
        moved = find_extents(source, tuple(source.extents) if extent_ids is None else extent_ids)
        for extent in moved:
            copy = replace(
                extent,
                extent_id=new_id(),
                column_ids=tuple(ids.get(column, -1) for column in extent.column_ids),
            )
            if ingested_us is not None:
                copy = replace(copy, ingested_min_us=ingested_us, ingested_max_us=ingested_us)
            added.append(copy)
            results.append(ChangedExtent(extent.extent_id, copy))
        if moved:
            gone = tuple(extent.extent_id for extent in moved)
            changes.append(ReplaceExtents(source.name, gone, ()))
    if added:
        changes.append(ReplaceExtents(target.name, (), tuple(added)))
    return changes, tuple(results)


def target_ids(source: Table, target: Table) -> dict[int, int]:
    """Column ids of the source and what they are in the target, by name and type.

    Raises InvalidRequestError if the target lacks a column of the source.
    """
    places = {column.name: at for at, column in enumerate(target.columns)}
    ids: dict[int, int] = {}
    for column, identity in zip(source.columns, source.column_ids[-1], strict=True):
        at = places.get(column.name)
        if at is None or target.columns[at].type is not column.type:
            raise InvalidRequestError(
                f"Extents of table '{source.name}' cannot move to table '{target.name}': it has "
                f"no column '{column.name}' of type {column.type.value}.",
                metadata={"source": source.name, "target": target.name, "column": column.name},
            )
        ids[identity] = target.column_ids[-1][at]
    return ids


def plan_replace(
    database: Database,
    target_name: str,
    drop_ids: Sequence[str],
    moves: Sequence[tuple[str, Sequence[str] | None]],
    new_id: Callable[[], str],
) -> tuple[list[Change], tuple[ChangedExtent, ...]]:
    """``.replace extents``: drops extents of a table and moves others in, in one transaction.

    Raises as :func:`plan_move`; EntityNotFoundError if one to drop is not there (any more).
    """
    dropped = find_extents(find_table(database, target_name), drop_ids)
    changes, moved = plan_move(database, moves, target_name, new_id)
    gone = tuple(extent.extent_id for extent in dropped)
    if gone:
        changes.insert(0, ReplaceExtents(target_name, gone, ()))
    return changes, (*(ChangedExtent(extent_id, None) for extent_id in gone), *moved)


def plan_retag(
    database: Database,
    table_name: str,
    extent_ids: Sequence[str],
    change: TagChange,
    tags: Sequence[str],
    new_id: Callable[[], str],
) -> tuple[list[Change], tuple[ChangedExtent, ...]]:
    """Changes tags: new ids, the same files; extents whose tags stay the same are left alone."""
    table = find_table(database, table_name)
    wanted = {
        extent.extent_id: _retagged(extent.tags, change, tags)
        for extent in find_extents(table, extent_ids)
    }
    return plan_tags(table, wanted, new_id)


def plan_tags(
    table: Table, wanted: Mapping[str, tuple[str, ...]], new_id: Callable[[], str]
) -> tuple[list[Change], tuple[ChangedExtent, ...]]:
    """Gives extents of a table these tags, by id; those that have them already stay."""
    results = [
        ChangedExtent(extent_id, replace(extent, extent_id=new_id(), tags=tags))
        for extent_id, tags in wanted.items()
        if (extent := table.extents[extent_id]).tags != tags
    ]
    if not results:
        return [], ()
    gone = tuple(result.original_id for result in results)
    added = tuple(result.result for result in results if result.result is not None)
    return [ReplaceExtents(table.name, gone, added)], tuple(results)


def _retagged(old: tuple[str, ...], change: TagChange, tags: Sequence[str]) -> tuple[str, ...]:
    if change is TagChange.SET:
        return tuple(dict.fromkeys(tags))
    if change is TagChange.MERGE:
        return tuple(dict.fromkeys((*old, *tags)))
    return tuple(tag for tag in old if tag not in tags)


def plan_clear(
    database: Database,
    table_name: str,
    positions: Callable[[Table], Mapping[RowStoreKey, KeyPosition]],
) -> list[Change]:
    """``.clear table T data``: every extent and every visible streamed row.

    Rows that are on their way at this moment and not visible yet come after the command.
    """
    table = find_table(database, table_name)
    ranges = sealed_ranges(table, positions(table))
    return [ClearTable(table.name, ranges)] if ranges or table.extents else []


def sealed_ranges(
    table: Table, positions: Mapping[RowStoreKey, KeyPosition]
) -> tuple[SealedRange, ...]:
    """Floors to move: of the keys that have rows above theirs."""
    return tuple(
        SealedRange(reference.key, position.ordinal, position.checksum)
        for reference in table.references
        if (position := positions.get(reference.key)) is not None
        and position.ordinal > reference.sealed_ordinal
    )
