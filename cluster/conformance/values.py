"""Values that histories are made of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cluster.replication.position import Position


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything in a history: immutable, compared by value."""


class At(Value, frozen=True, kw_only=True):
    """A position: metadata version, and for each row store key (ordinal exclusive, checksum).

    Make it with :meth:`of`: keys are in order, so that equal positions are equal bytes.
    """

    version: tuple[int, int]
    keys: dict[int, tuple[int, int]] = {}

    @classmethod
    def of(cls, position: Position) -> At:
        """The position as it is written."""
        keys = {int(k): (at.ordinal, at.checksum) for k, at in sorted(position.keys.items())}
        return cls(version=(position.version.major, position.version.minor), keys=keys)

    def ordinal(self, key: int) -> int:
        """Rows of a key that are included."""
        return self.keys.get(key, (0, 0))[0]
