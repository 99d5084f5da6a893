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
    from cluster.replication.position import Position


@dataclass(frozen=True, slots=True)
class _Flight:
    """A frame of rows that is not acknowledged yet."""

    size: int
    ends: tuple[tuple[RowStoreKey, int], ...]


class Shipping:
    """Cursor in the log, position sent, and the window of unacknowledged bytes.

    ``lsn`` None means the place in the log must be found again from the position sent. Each
    :meth:`restart` begins a new generation, and what was read for an older one is discarded.
    """

    __slots__ = (
        "_flights",
        "_frame_bytes",
        "_window_bytes",
        "bytes_sent",
        "chunk",
        "discarded",
        "generation",
        "keys",
        "lsn",
        "records_sent",
        "sent",
        "unacknowledged",
        "waits",
    )

    def __init__(self, limits: Limits) -> None:
        self._frame_bytes = limits.replication_frame_bytes
        self._window_bytes = limits.replication_window_bytes
        self._flights: deque[_Flight] = deque()
        self.keys: frozenset[RowStoreKey] = frozenset()
        self.sent: dict[RowStoreKey, KeyPosition] = {}
        self.lsn: int | None = None
        self.generation = 0
        self.chunk: RowsRead | None = None
        self.unacknowledged = 0
        self.bytes_sent = self.records_sent = self.waits = self.discarded = 0

    def restart(self, position: Mapping[RowStoreKey, KeyPosition]) -> None:
        """Begins again after ``position``, as if nothing else had been sent."""
        self.sent = {key: at for key, at in position.items() if key in self.keys}
        self.lsn = None
        self.generation += 1
        self.discard()
        self._flights.clear()
        self.unacknowledged = 0

    def set_keys(self, keys: frozenset[RowStoreKey]) -> None:
        """The tables changed: what was read for the old ones is discarded.

        The place in the log is found again: without the records of a dropped table, the log may
        begin only after it.
        """
        self.discard()
        self.lsn = None
        self.keys = keys
        self.sent = {key: at for key, at in self.sent.items() if key in keys}

    def discard(self) -> None:
        """Forgets what was read but not sent; it will be read again."""
        self.discarded += self.chunk is not None
        self.chunk = None

    def take(self, read: RowsRead) -> None:
        """Holds what was read, unless it was asked for before the last restart."""
        if read.generation == self.generation:
            self.chunk = read
        else:
            self.discarded += 1

    def check(self, position: Position) -> None:
        """Raises ProtocolError or DivergenceError unless ``position`` is part of what was sent."""
        for key in self.keys:
            asked, sent = position.keys.get(key, START), self.sent.get(key, START)
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

    def acknowledge(self, position: Position) -> None:
        """Frees the window of every frame that ``position`` includes."""
        while self._flights and self._is_applied(self._flights[0], position):
            self.unacknowledged -= self._flights.popleft().size

    def has_room(self) -> bool:
        """A whole frame fits, or nothing is in flight."""
        room = self._window_bytes - self.unacknowledged
        return not self.unacknowledged or room >= self._frame_bytes

    def fits(self, size: int) -> bool:
        """The frame fits. One larger than the whole window passes too, but alone."""
        return not self.unacknowledged or self.unacknowledged + size <= self._window_bytes

    def read_request(self) -> ReadRows:
        """What to read next."""
        cursors = {key: self.sent.get(key, START).ordinal for key in self.keys}
        return ReadRows(self.generation, self.lsn, cursors, self._frame_bytes)

    def launch(self, chunk: RowsRead) -> None:
        """Counts the chunk as sent. Raises InternalError if it is not what was asked for."""
        ends: dict[RowStoreKey, int] = {}
        for span in chunk.spans:
            expected = self.sent.get(span.key, START).ordinal
            if span.key not in self.keys or span.first_ordinal != expected:
                raise InternalError(
                    f"the log gave ordinal {span.first_ordinal} of key {span.key:016x} "
                    f"where {expected} was asked for"
                )
            self.sent[span.key] = KeyPosition(span.end, span.checksum)
            ends[span.key] = span.end
        size = len(chunk.records)
        self._flights.append(_Flight(size, tuple(ends.items())))
        self.unacknowledged += size
        self.records_sent += len(chunk.spans)
        self.bytes_sent += size

    def _is_applied(self, flight: _Flight, position: Position) -> bool:
        return all(
            key not in self.keys or position.keys.get(key, START).ordinal >= end
            for key, end in flight.ends
        )
