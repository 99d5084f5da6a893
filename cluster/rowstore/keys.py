"""What the row store knows of one key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.replication.position import START, KeyPosition
from cluster.rowstore.index import RecordIndex
from cluster.rowstore.memory import FreshRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey

    SchemaOf = Callable[[RowStoreKey, int], pa.Schema | None]
    SealedOf = Callable[[RowStoreKey], KeyPosition]


class KeyState:
    """One key: what is staged, what is visible, and where its records lie in the log.

    Three positions: the ``floor``, below which rows are not held any more; ``visible_*``;
    ``staged_*``, which includes what is not durable yet. ``byte_count`` counts the records from
    the floor on. ``is_logged``: the log may hold records of the key, needed or not.
    """

    __slots__ = (
        "_schemas",
        "byte_count",
        "floor",
        "index",
        "is_logged",
        "key",
        "rows",
        "staged_checksum",
        "staged_ordinal",
        "visible_checksum",
        "visible_ordinal",
    )

    def __init__(self, key: RowStoreKey, floor: KeyPosition = START) -> None:
        self.key = key
        self.floor = floor
        self.staged_ordinal = self.visible_ordinal = floor.ordinal
        self.staged_checksum = self.visible_checksum = floor.checksum
        self.byte_count = 0
        self.is_logged = False
        self.rows = FreshRows()
        self.index = RecordIndex()
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
        self.is_logged = True

    def unstage(self, end_ordinal: int, checksum: int, byte_count: int) -> None:
        """Rows from ``end_ordinal`` on will not get to the log after all."""
        self.staged_ordinal = end_ordinal
        self.staged_checksum = checksum
        self.byte_count -= byte_count

    def show(self, end_ordinal: int, checksum: int) -> None:
        """Rows up to ``end_ordinal`` are durable; they are visible from now on."""
        assert end_ordinal <= self.staged_ordinal, "only staged rows can become visible"
        self.visible_ordinal = end_ordinal
        self.visible_checksum = checksum

    def is_boundary(self, position: KeyPosition) -> bool:
        """Whether a visible record ends at this position (its checksum: if it is the last)."""
        if position.ordinal == self.visible_ordinal:
            return position.checksum == self.visible_checksum
        return self.index.starts_at(position.ordinal)

    def trim(self) -> tuple[int, Sequence[pa.RecordBatch]]:
        """Forgets what is visible below the floor; returns the bytes of its records, its batches.

        The caller lets go of the batches, which takes time if they are many.
        """
        end = min(self.floor.ordinal, self.visible_ordinal)
        first = self.visible_ordinal - self.rows.row_count
        if end <= first:
            return 0, ()
        freed = self.index.trim(end)
        self.byte_count -= freed
        return freed, self.rows.drop_first(end - first)

    @property
    def position(self) -> KeyPosition:
        """The visible position."""
        return KeyPosition(self.visible_ordinal, self.visible_checksum)

    @property
    def first_ordinal(self) -> int:
        """Ordinal of the first visible row held."""
        return self.visible_ordinal - self.rows.row_count

    @property
    def first_lsn(self) -> int | None:
        """LSN of the oldest committed record held; None without one."""
        return self.index.first_lsn

    def lsn_of(self, ordinal: int) -> int | None:
        """LSN of the committed record that holds an ordinal; None if it is beyond the last.

        The oldest record held for ordinals below the floor: their rows are not in the log. None if
        everything is below it.
        """
        if ordinal >= self.visible_ordinal or not len(self.index):
            return None
        return self.index.lsn_of(ordinal)
