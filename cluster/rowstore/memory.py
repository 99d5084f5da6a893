"""Fresh rows of one key in memory: Arrow batches, compacted in tiers.

Queries cost time for every batch they scan, writers bring a batch for every group of requests. So
batches are joined 16 at a time, and the results again, until a batch is large enough to be left
alone (``reference/storage.md`` section 4: 5.8 us a batch, and a scan of 46 batches instead of
10,000). Large is 4 MiB: joining more would hold the node's only thread for milliseconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import pyarrow as pa

FAN_IN: Final = 16
SETTLED_BYTES: Final = 4 * 1024 * 1024


class _Piece(NamedTuple):
    batch: pa.RecordBatch
    byte_count: int

    def without_first(self, row_count: int) -> _Piece:
        """The rows after these; they keep the memory of all until they are joined."""
        left = self.batch.num_rows - row_count
        size = self.byte_count * left // self.batch.num_rows
        return _Piece(self.batch.slice(row_count), size)


class FreshRows:
    """Batches of one key in ordinal order. Not shared between threads."""

    def __init__(self) -> None:
        self._closed: deque[_Piece] = deque()
        self._closed_versions: deque[int] = deque()
        self._tiers: list[list[_Piece]] = [[]]
        self._version = -1
        self._snapshot: tuple[tuple[pa.RecordBatch, ...], tuple[int, ...]] | None = None
        self.byte_count = 0
        self.row_count = 0

    def append(self, batch: pa.RecordBatch, schema_version: int, byte_count: int) -> None:
        """Adds the next rows. ``byte_count`` is their size, roughly; it decides what is joined."""
        self._snapshot = None
        self.byte_count += byte_count
        self.row_count += batch.num_rows
        if schema_version != self._version:
            self._settle_from(0)
            self._version = schema_version
        if byte_count >= SETTLED_BYTES // 2:
            self._settle_from(0)
            self._close(_Piece(batch, byte_count))
            return
        tier = self._tiers[0]
        tier.append(_Piece(batch, byte_count))
        if len(tier) >= FAN_IN:
            self._compact()

    def snapshot(self) -> tuple[tuple[pa.RecordBatch, ...], tuple[int, ...]]:
        """All batches in ordinal order, and the schema version of each.

        Immutable: later appends do not show in it. Costs one step for each live batch, or
        nothing if there was no append since the last call.
        """
        if self._snapshot is None:
            batches = [piece.batch for piece in self._closed]
            for tier in reversed(self._tiers):
                batches.extend(piece.batch for piece in tier)
            versions = list(self._closed_versions)
            versions.extend([self._version] * (len(batches) - len(versions)))
            self._snapshot = (tuple(batches), tuple(versions))
        return self._snapshot

    def drop_first(self, row_count: int) -> list[pa.RecordBatch]:
        """Forgets the oldest rows. Returns their batches, for the caller to let go of.

        A batch of which some rows stay is sliced: its memory goes with its last row.
        """
        assert row_count <= self.row_count, "only rows that are here can be dropped"
        self._snapshot = None
        self.row_count -= row_count
        freed: list[_Piece] = []
        while self._closed and row_count:
            piece = self._closed[0]
            rows = piece.batch.num_rows
            if rows > row_count:
                self._closed[0] = piece.without_first(row_count)
                self.byte_count -= piece.byte_count - self._closed[0].byte_count
                row_count = 0
            else:
                freed.append(self._closed.popleft())
                self._closed_versions.popleft()
                row_count -= rows
        for tier in reversed(self._tiers):
            row_count = self._drop_from(tier, row_count, freed)
        self.byte_count -= sum(piece.byte_count for piece in freed)
        return [piece.batch for piece in freed]

    def _drop_from(self, tier: list[_Piece], row_count: int, freed: list[_Piece]) -> int:
        whole = 0
        for piece in tier:
            if piece.batch.num_rows > row_count:
                break
            row_count -= piece.batch.num_rows
            whole += 1
        freed += tier[:whole]
        del tier[:whole]
        if row_count and tier:
            size = tier[0].byte_count
            tier[0] = tier[0].without_first(row_count)
            self.byte_count -= size - tier[0].byte_count
            return 0
        return row_count

    @property
    def batch_count(self) -> int:
        """Number of live batches: at most 15 a tier, and one for each MiB that is settled."""
        return len(self._closed) + sum(map(len, self._tiers))

    def _compact(self) -> None:
        for level, tier in enumerate(self._tiers):
            if len(tier) < FAN_IN:
                return
            size = sum(piece.byte_count for piece in tier)
            if size >= SETTLED_BYTES:
                self._settle_from(level)
                return
            if level + 1 == len(self._tiers):
                self._tiers.append([])
            self._tiers[level + 1].append(_join(tier))
            tier.clear()

    def _settle_from(self, level: int) -> None:
        """Closes everything in ``level`` and the tiers above it, whose rows are older."""
        run: list[_Piece] = []
        size = 0
        for tier in reversed(self._tiers[level:]):
            for piece in tier:
                if run and size + piece.byte_count > SETTLED_BYTES:
                    self._close(_join(run))
                    run.clear()
                    size = 0
                run.append(piece)
                size += piece.byte_count
            tier.clear()
        if run:
            self._close(_join(run))

    def _close(self, piece: _Piece) -> None:
        self._closed.append(piece)
        self._closed_versions.append(self._version)


def _join(pieces: list[_Piece]) -> _Piece:
    if len(pieces) == 1:
        return pieces[0]
    joined = pa.concat_batches([piece.batch for piece in pieces])
    return _Piece(joined, sum(piece.byte_count for piece in pieces))
