"""What the row store knows of one key."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from cluster.replication.position import KeyPosition
from cluster.rowstore.memory import FreshRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey

    SchemaOf = Callable[[RowStoreKey, int], pa.Schema | None]


class KeyState:
    """One key: what is staged, what is visible, and where its records lie in the log.

    Two positions: ``staged_*`` includes what is not durable yet, ``visible_*`` does not. The
    index takes 16 bytes a record.
    """

    __slots__ = (
        "_lsns",
        "_ordinals",
        "_schemas",
        "byte_count",
        "key",
        "rows",
        "staged_checksum",
        "staged_ordinal",
        "visible_checksum",
        "visible_ordinal",
    )

    def __init__(self, key: RowStoreKey) -> None:
        self.key = key
        self.staged_ordinal = 0
        self.staged_checksum = 0
        self.visible_ordinal = 0
        self.visible_checksum = 0
        self.byte_count = 0
        self.rows = FreshRows()
        self._ordinals = array("Q")
        self._lsns = array("Q")
        self._schemas: dict[int, pa.Schema] = {}

    def schema(self, version: int, schema_of: SchemaOf) -> pa.Schema | None:
        """The schema of a version, remembered; None if the catalog does not know it."""
        schema = self._schemas.get(version)
        if schema is None:
            schema = schema_of(self.key, version)
            if schema is not None:
                self._schemas[version] = schema
        return schema

    def stage(self, end_ordinal: int, checksum: int, byte_count: int) -> None:
        """Rows up to ``end_ordinal`` are on their way to the log."""
        self.staged_ordinal = end_ordinal
        self.staged_checksum = checksum
        self.byte_count += byte_count

    def show(self, end_ordinal: int, checksum: int) -> None:
        """Rows up to ``end_ordinal`` are durable; they are visible from now on."""
        assert end_ordinal <= self.staged_ordinal, "only staged rows can become visible"
        self.visible_ordinal = end_ordinal
        self.visible_checksum = checksum

    def index(self, ordinals: Sequence[int], lsns: Sequence[int]) -> None:
        """Remembers where records lie: first ordinals, and LSNs, both ascending."""
        self._ordinals.extend(ordinals)
        self._lsns.extend(lsns)

    @property
    def position(self) -> KeyPosition:
        """The visible position."""
        return KeyPosition(self.visible_ordinal, self.visible_checksum)

    @property
    def first_lsn(self) -> int | None:
        """LSN of the oldest committed record; None without one."""
        return self._lsns[0] if self._lsns else None

    def lsn_of(self, ordinal: int) -> int | None:
        """LSN of the committed record that holds an ordinal; None if it is beyond the last."""
        if ordinal >= self.visible_ordinal:
            return None
        return self._lsns[bisect_right(self._ordinals, ordinal) - 1]
