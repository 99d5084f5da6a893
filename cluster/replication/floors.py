"""Floors: below which rows of a key are not streamed any more. Pure.

The floor of a row store key is ``RowStoreReference.sealed_ordinal`` with its checksum. Rows below
it are in extents, or were cleared: no copy needs their records, and a position below it counts as
if it were there. Floors only rise while their key lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.replication.position import START, KeyPosition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import Database, RowStoreKey, RowStoreReference, Table


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What a newer tree says of row store keys.

    ``tables`` are those that are new or another value than before; ``floors`` has each of their
    keys, whether its floor rose or not. ``removed`` belong to no table any more.
    """

    tables: tuple[Table, ...]
    removed: frozenset[RowStoreKey]
    floors: Mapping[RowStoreKey, KeyPosition]


def floor_of(reference: RowStoreReference) -> KeyPosition:
    """Where the rows of a reference begin that are still streamed."""
    return KeyPosition(reference.sealed_ordinal, reference.sealed_checksum)


def floors_of(database: Database) -> dict[RowStoreKey, KeyPosition]:
    """The floor of every key of a tree; START for keys of which nothing was sealed."""
    return {
        reference.key: floor_of(reference)
        for table in database.tables.values()
        for reference in table.references
    }


def has_rows_above(database: Database, ends: Mapping[RowStoreKey, KeyPosition]) -> bool:
    """Whether any row is still in a row store, so that only streaming can show it.

    ``ends`` is how far each key has come.
    """
    return any(
        ends.get(key, START).ordinal > floor.ordinal for key, floor in floors_of(database).items()
    )


def is_prefix(
    theirs: Mapping[RowStoreKey, KeyPosition],
    ends: Mapping[RowStoreKey, KeyPosition],
    database: Database,
) -> bool:
    """Whether a follower's position can be a point of this history. ``ends``: how far it has come.

    Checksums are compared where both are known: at the leader's newest ordinal of a key and at its
    floor. A different one elsewhere cannot be seen here: below the floor it does not matter,
    because those rows are dropped; above it the follower sees it at its next record, and asks for
    a snapshot.
    """
    for key, floor in floors_of(database).items():
        at, end = theirs.get(key, START), ends.get(key, START)
        known = (floor, end) if end.ordinal > floor.ordinal else (floor,)
        if at.ordinal > known[-1].ordinal:
            return False
        if any(at.ordinal == it.ordinal and at.checksum != it.checksum for it in known):
            return False
    return True


def key_changes(before: Database | None, after: Database) -> KeyChanges:
    """What changed from one tree to a newer one; ``before`` None: everything is new.

    A table that is the same object in both is skipped, so a transaction costs what it changes.
    """
    old = before.tables if before is not None else {}
    removed: set[RowStoreKey] = set()
    for name, table in old.items():
        if after.tables.get(name) is not table:
            removed.update(table.keys)
    tables = tuple(table for name, table in after.tables.items() if old.get(name) is not table)
    floors = {
        reference.key: floor_of(reference) for table in tables for reference in table.references
    }
    return KeyChanges(tables, frozenset(removed.difference(floors)), floors)


def raised(
    positions: Mapping[RowStoreKey, KeyPosition], floors: Mapping[RowStoreKey, KeyPosition]
) -> dict[RowStoreKey, KeyPosition]:
    """Positions of the keys of ``floors``, none below its floor; START is left out."""
    found = {}
    for key, floor in floors.items():
        at = positions.get(key, START)
        if at.ordinal < floor.ordinal:
            at = floor
        if at.ordinal:
            found[key] = at
    return found
