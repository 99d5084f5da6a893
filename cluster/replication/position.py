"""Positions: how far a copy of a database has come. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from cluster.catalog.model import RowStoreKey, Version


@dataclass(frozen=True, slots=True)
class KeyPosition:
    """How far one row store key has come.

    ``ordinal`` is exclusive: rows 0 .. ordinal-1 are included. ``checksum`` is the rolling
    checksum of their records' bodies; it is 0 for ordinal 0.
    """

    ordinal: int = 0
    checksum: int = 0


START = KeyPosition()
"""Position of a key without rows."""


@dataclass(frozen=True, slots=True)
class Position:
    """A point in one leader database's history, as in LiteFS: (version, checksummed offsets)."""

    version: Version
    keys: Mapping[RowStoreKey, KeyPosition] = field(default_factory=dict)

    def includes(self, other: Position, tables: Container[RowStoreKey]) -> bool:
        """True if everything up to ``other`` is included in this position.

        ``tables`` are the keys of all tables at :attr:`version`, with rows or without. A table
        that is not there any more was dropped since: its rows will never come, and nothing of
        ``other`` is missing without them.
        """
        return self.version >= other.version and all(
            self.keys.get(key, START).ordinal >= wanted.ordinal
            for key, wanted in other.keys.items()
            if key in tables
        )
