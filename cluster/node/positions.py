"""How far the databases of a node have come: kept, and brought up to date by what changed. Pure.

A position names every key that has come anywhere, up to 640,000 in a database of 10,000 tables.
Every query is given one and every heartbeat tells one of each database, so the row stores are asked
only for keys that moved, and for those of tables that changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cluster.replication.floors import key_changes
from cluster.replication.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.catalog.model import Database, RowStoreKey
    from cluster.replication.position import KeyPosition


class MovingKeys(Protocol):
    """Keys and how far they have come: :class:`cluster.rowstore.stores.RowStores`."""

    def position_of(self, keys: Iterable[RowStoreKey]) -> Mapping[RowStoreKey, KeyPosition]:
        """Visible positions."""

    def take_moved(self) -> set[RowStoreKey]:
        """Keys that came further since this was called last."""


@dataclass(slots=True)
class _Known:
    """What is known of one database. ``ends`` is given away: replaced, never changed."""

    tree: Database | None = None
    floors: dict[RowStoreKey, int] = field(default_factory=dict)
    ends: dict[RowStoreKey, KeyPosition] = field(default_factory=dict)
    unsealed: set[RowStoreKey] = field(default_factory=set)
    moved: set[RowStoreKey] = field(default_factory=set)


class OwnedPositions:
    """Positions of databases a node owns. Nobody else may take what moved from ``source``."""

    def __init__(self, source: MovingKeys) -> None:
        self._source = source
        self._known: dict[str, _Known] = {}
        self._owners: dict[RowStoreKey, _Known] = {}

    def of(self, tree: Database) -> Position:
        """The visible position of a database, of which ``tree`` is the newest tree."""
        return Position(tree.version, self._updated(tree).ends)

    def has_unsealed_rows(self, tree: Database) -> bool:
        """Whether any row of it is in a row store only."""
        return bool(self._updated(tree).unsealed)

    def _updated(self, tree: Database) -> _Known:
        for key in self._source.take_moved():
            owner = self._owners.get(key)
            if owner is not None:  # else of a table not looked at yet, or dropped
                owner.moved.add(key)
        known = self._known.setdefault(tree.database_id, _Known())
        touched = set() if known.tree is tree else self._follow(known, tree)
        touched |= known.moved & known.floors.keys()
        known.moved.clear()
        if touched:
            ends = dict(known.ends)
            for key, at in self._source.position_of(touched).items():
                if at.ordinal:
                    ends[key] = at
                if at.ordinal > known.floors[key]:
                    known.unsealed.add(key)
                else:
                    known.unsealed.discard(key)
            known.ends = ends
        return known

    def _follow(self, known: _Known, tree: Database) -> set[RowStoreKey]:
        """Takes another tree; returns the keys to ask for."""
        changes = key_changes(known.tree, tree)
        known.tree = tree
        if changes.removed:
            known.ends = {k: at for k, at in known.ends.items() if k not in changes.removed}
        for key in changes.removed:
            self._owners.pop(key, None)
            known.floors.pop(key, None)
            known.unsealed.discard(key)
        for key, floor in changes.floors.items():
            self._owners[key] = known
            known.floors[key] = floor.ordinal
        return set(changes.floors)
