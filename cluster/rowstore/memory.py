"""Fresh rows of one key in memory: Arrow batches, compacted in tiers.

Queries cost time for every batch they scan, writers bring a batch for every group of requests. So
batches are joined 16 at a time, and the results again, until a batch is large enough to be left
alone (``reference/storage.md`` section 4: 5.8 us a batch, and a scan of 46 batches instead of
10,000). Large is 4 MiB: joining more would hold the node's only thread for milliseconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pyarrow as pa

FAN_IN: Final = 16
SETTLED_BYTES: Final = 4 * 1024 * 1024


class _Piece(NamedTuple):
    batch: pa.RecordBatch
    byte_count: int


class FreshRows:
    """Batches of one key in ordinal order. Not shared between threads."""

    def __init__(self) -> None:
        self._closed: list[pa.RecordBatch] = []
        self._closed_versions: list[int] = []
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
            self._close(batch)
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
            batches = list(self._closed)
            for tier in reversed(self._tiers):
                batches.extend(piece.batch for piece in tier)
            versions = list(self._closed_versions)
            versions.extend([self._version] * (len(batches) - len(versions)))
            self._snapshot = (tuple(batches), tuple(versions))
        return self._snapshot

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
                    self._close(_join(run).batch)
                    run.clear()
                    size = 0
                run.append(piece)
                size += piece.byte_count
            tier.clear()
        if run:
            self._close(_join(run).batch)

    def _close(self, batch: pa.RecordBatch) -> None:
        self._closed.append(batch)
        self._closed_versions.append(self._version)


def _join(pieces: list[_Piece]) -> _Piece:
    if len(pieces) == 1:
        return pieces[0]
    joined = pa.concat_batches([piece.batch for piece in pieces])
    return _Piece(joined, sum(piece.byte_count for piece in pieces))
