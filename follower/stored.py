"""What is stored of one followed database, as its session knows it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.errors import ProtocolError
from cluster.replication.floors import floors_of, key_changes, raised
from cluster.replication.position import START, KeyPosition, Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import Database, RowStoreKey
    from cluster.replication.protocol import RowRecords


class Stored:
    """The tree, and how far each key has come; rows about to be stored count already.

    A key is never below its floor: what a copy holds below it is dropped, what it lacks below it
    is in extents. So ``positions`` is what the leader counts as sent, key by key.

    Two sets remember which keys moved: since the last acknowledgement, and since the last bookmark
    of the leader or the base it counts from.
    """

    __slots__ = (
        "_moved",
        "_schemas",
        "_unbookmarked",
        "_version_acknowledged",
        "database",
        "positions",
    )

    def __init__(self) -> None:
        self.database: Database | None = None
        self.positions: dict[RowStoreKey, KeyPosition] = {}
        self._schemas: dict[RowStoreKey, int] = {}
        self._moved: set[RowStoreKey] = set()
        self._unbookmarked: set[RowStoreKey] = set()
        self._version_acknowledged: object = None

    def begin(self, database: Database | None, keys: Mapping[RowStoreKey, KeyPosition]) -> None:
        """A call begins: takes what the driver has found."""
        self.database = None
        self._schemas = {}
        self.positions = raised(keys, floors_of(database)) if database else {}
        if database is not None:
            self.learn(database)
        self.rebase()
        self._unbookmarked.clear()

    def reset(self, database: Database) -> None:
        """A tree replaced everything, and every row was dropped."""
        self.positions = {}
        self.database = None
        self._moved.clear()
        self._unbookmarked.clear()
        self.learn(database)

    def learn(self, database: Database) -> None:
        """A newer tree is stored: takes its keys and schemas, and moves to its floors."""
        changes = key_changes(self.database, database)
        for key in changes.removed:
            self._schemas.pop(key, None)
            self.positions.pop(key, None)
            self._moved.discard(key)
            self._unbookmarked.discard(key)
        for table in changes.tables:
            self._schemas.update(dict.fromkeys(table.keys, len(table.schemas)))
        for key, floor in changes.floors.items():
            if self.positions.get(key, START).ordinal < floor.ordinal:
                self._move(key, floor)
        self.database = database

    def take(self, frame: RowRecords) -> None:
        """Rows are about to be stored.

        Raises ProtocolError unless they follow on what is stored, of tables and schemas it knows;
        then nothing of them counts.
        """
        after: dict[RowStoreKey, KeyPosition] = {}
        for span in frame.spans:
            schemas = self._schemas.get(span.key)
            if schemas is None:
                raise ProtocolError(f"a row of key {span.key:016x}, which belongs to no table")
            if not 0 <= span.schema_version < schemas:
                raise ProtocolError(
                    f"a row of key {span.key:016x} has schema {span.schema_version}; "
                    f"{schemas} are known"
                )
            stored = after.get(span.key) or self.positions.get(span.key, START)
            if span.first_ordinal != stored.ordinal or span.row_count <= 0:
                raise ProtocolError(
                    f"key {span.key:016x}: rows {span.first_ordinal} to {span.end}; "
                    f"expected was {stored.ordinal}"
                )
            after[span.key] = KeyPosition(span.end, span.checksum)
        for key, at in after.items():
            self._move(key, at)

    def position(self) -> Position | None:
        """The whole position; None before the first snapshot."""
        if self.database is None:
            return None
        return Position(self.database.version, dict(self.positions))

    def rebase(self) -> None:
        """The whole position was told to the leader: both sides count on from it."""
        self._moved.clear()
        self._unbookmarked.clear()
        self._version_acknowledged = self.database.version if self.database else None

    @property
    def has_moved(self) -> bool:
        """Something is there to acknowledge."""
        version = self.database.version if self.database else None
        return bool(self._moved) or version != self._version_acknowledged

    def acknowledge(self) -> Position:
        """What to acknowledge: the version, and the keys that moved since the last time."""
        assert self.database is not None, "nothing is stored"
        self._version_acknowledged = self.database.version
        moved, self._moved = self._moved, set()
        return Position(self.database.version, {key: self.positions[key] for key in moved})

    def agrees(self, told: Mapping[RowStoreKey, KeyPosition]) -> bool:
        """Whether a bookmark names exactly the keys that moved since the last, where they are.

        After this the next one is awaited.
        """
        moved, self._unbookmarked = self._unbookmarked, set()
        return told == {key: self.positions[key] for key in moved}

    def _move(self, key: RowStoreKey, to: KeyPosition) -> None:
        self.positions[key] = to
        self._moved.add(key)
        self._unbookmarked.add(key)
