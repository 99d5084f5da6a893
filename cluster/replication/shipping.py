"""Rows on their way to one follower: what was sent, what is acknowledged, what fits. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import DivergenceError, InternalError, ProtocolError
from cluster.replication.exchange import ReadRows
from cluster.replication.position import START, KeyPosition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import RowStoreKey
    from cluster.limits import Limits
    from cluster.replication.exchange import RowsRead
    from cluster.replication.floors import KeyChanges


@dataclass(frozen=True, slots=True)
class _Flight:
    """A frame of rows that is not acknowledged yet."""

    size: int
    ends: tuple[tuple[RowStoreKey, int], ...]


class Shipping:
    """Cursor in the log, position sent, and the window of unacknowledged bytes.

    ``cursors`` has the ordinal to send next of every key there is; it is the mapping that reads
    are given, and changes only while none is under way, or by being replaced. ``lsn`` None means
    the place in the log must be found again from the position sent. Each :meth:`restart` and
    :meth:`learn` begins a new generation, and what was read for an older one is discarded.
    """

    __slots__ = (
        "_acknowledged",
        "_flights",
        "_floors",
        "_frame_bytes",
        "_moved",
        "_window_bytes",
        "_window_frames",
        "bytes_sent",
        "chunk",
        "cursors",
        "discarded",
        "generation",
        "lsn",
        "records_sent",
        "sent",
        "unacknowledged",
        "waits",
    )

    def __init__(self, limits: Limits) -> None:
        self._frame_bytes = limits.replication_frame_bytes
        self._window_bytes = limits.replication_window_bytes
        self._window_frames = limits.replication_window_frames
        self._flights: deque[_Flight] = deque()
        self._floors: dict[RowStoreKey, KeyPosition] = {}
        self._acknowledged: dict[RowStoreKey, KeyPosition] = {}
        self._moved: set[RowStoreKey] = set()  # since the last bookmark
        self.cursors: dict[RowStoreKey, int] = {}
        self.sent: dict[RowStoreKey, KeyPosition] = {}
        self.lsn: int | None = None
        self.generation = 0
        self.chunk: RowsRead | None = None
        self.unacknowledged = 0
        self.bytes_sent = self.records_sent = self.waits = self.discarded = 0

    def restart(self, position: Mapping[RowStoreKey, KeyPosition]) -> None:
        """Begins again after ``position``, as if nothing else had been sent.

        A key below its floor begins there: the metadata that says so was handed over before.
        """
        self.cursors = dict.fromkeys(self.cursors, 0)
        self.sent = {key: at for key, at in position.items() if key in self.cursors}
        self.cursors.update((key, at.ordinal) for key, at in self.sent.items())
        self._acknowledged = dict(self.sent)
        self._moved.clear()
        for key, floor in self._floors.items():
            self._raise(key, floor)
        self._look_again()
        self._flights.clear()
        self.unacknowledged = 0

    def learn(self, changes: KeyChanges) -> None:
        """Metadata is being handed over: takes its keys, and moves to its floors.

        What was read before is discarded, and the place in the log is found again: a table made
        meanwhile may have rows in that stretch, and without the records of a dropped table, or
        those that were sealed, the log may begin only after it.
        """
        for key in changes.removed:
            self.cursors.pop(key, None)
            self.sent.pop(key, None)
            self._floors.pop(key, None)
            self._acknowledged.pop(key, None)
            self._moved.discard(key)
        for key, floor in changes.floors.items():
            self.cursors.setdefault(key, 0)
            if floor.ordinal:
                self._floors[key] = floor
                self._raise(key, floor)
        self._look_again()

    def discard(self) -> None:
        """Forgets what was read but not sent; it will be read again."""
        self.discarded += self.chunk is not None
        self.chunk = None

    def take(self, read: RowsRead) -> None:
        """Holds what was read, unless it was asked for in an older generation."""
        if read.generation == self.generation:
            self.chunk = read
        else:
            self.discarded += 1

    def check(self, claimed: Mapping[RowStoreKey, KeyPosition]) -> None:
        """Raises ProtocolError or DivergenceError unless it is part of what was sent."""
        for key, asked in claimed.items():
            if key not in self.cursors:
                continue  # of a table dropped since
            sent = self.sent.get(key, START)
            if asked.ordinal > sent.ordinal:
                raise ProtocolError(
                    f"key {key:016x}: the follower claims ordinal {asked.ordinal}, "
                    f"only {sent.ordinal} was sent"
                )
            if asked.ordinal == sent.ordinal and asked.checksum != sent.checksum:
                raise DivergenceError(
                    f"key {key:016x}: checksums differ at ordinal {asked.ordinal}",
                    metadata={"key": f"{key:016x}", "ordinal": str(asked.ordinal)},
                )

    def acknowledge(self, moved: Mapping[RowStoreKey, KeyPosition]) -> None:
        """Takes keys that moved at the follower; frees the window of every frame applied."""
        self._acknowledged.update((k, at) for k, at in moved.items() if k in self.cursors)
        while self._flights and self._is_applied(self._flights[0]):
            self.unacknowledged -= self._flights.popleft().size

    def acknowledged(self) -> dict[RowStoreKey, KeyPosition]:
        """How far each key has come at the follower, as far as it has said."""
        return dict(self._acknowledged)

    def bookmark(self) -> dict[RowStoreKey, KeyPosition]:
        """The keys that moved since the last bookmark or restart, and where they are."""
        moved, self._moved = self._moved, set()
        return {key: self.sent[key] for key in moved}

    def has_room(self) -> bool:
        """A whole frame fits, or nothing is in flight."""
        if len(self._flights) >= self._window_frames:
            return False
        room = self._window_bytes - self.unacknowledged
        return not self.unacknowledged or room >= self._frame_bytes

    def fits(self, size: int) -> bool:
        """The frame fits. One larger than the whole window passes too, but alone."""
        return not self.unacknowledged or self.unacknowledged + size <= self._window_bytes

    def read_request(self) -> ReadRows:
        """What to read next."""
        return ReadRows(self.generation, self.lsn, self.cursors, self._frame_bytes)

    def launch(self, chunk: RowsRead) -> None:
        """Counts the chunk as sent. Raises InternalError if it is not what was asked for."""
        ends: dict[RowStoreKey, int] = {}
        for span in chunk.spans:
            expected = self.cursors.get(span.key)
            if span.first_ordinal != expected:
                raise InternalError(
                    f"the log gave ordinal {span.first_ordinal} of key {span.key:016x} "
                    f"where {expected} was asked for"
                )
            self._move(span.key, KeyPosition(span.end, span.checksum))
            ends[span.key] = span.end
        size = len(chunk.records)
        self._flights.append(_Flight(size, tuple(ends.items())))
        self.unacknowledged += size
        self.records_sent += len(chunk.spans)
        self.bytes_sent += size

    def _raise(self, key: RowStoreKey, floor: KeyPosition) -> None:
        if self.cursors[key] < floor.ordinal:
            self._move(key, floor)

    def _move(self, key: RowStoreKey, to: KeyPosition) -> None:
        self.sent[key] = to
        self.cursors[key] = to.ordinal
        self._moved.add(key)

    def _look_again(self) -> None:
        self.lsn = None
        self.generation += 1
        self.discard()

    def _is_applied(self, flight: _Flight) -> bool:
        return all(
            key not in self.cursors or self._acknowledged.get(key, START).ordinal >= end
            for key, end in flight.ends
        )
