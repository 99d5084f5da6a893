"""The log on a disk: segments in a folder, appended to, read and trimmed.

Plain blocking calls; the driver decides in which thread they run. One caller appends at a time, and
one trims. What others look at is replaced, never changed in place, so that readers in other threads
see one state or the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.rowstore.model import Chunk
from cluster.rowstore.record import (
    FLAG_WITH_NEXT,
    FLAGS_AT,
    HEADER_BYTES,
    DamageKind,
    RecordDamageError,
    mark_durable_before,
    parse_header,
    parse_record,
)
from cluster.rowstore.segment import (
    FORMAT_VERSION,
    SegmentHeader,
    SegmentInfo,
    corruption,
    encode_segment_header,
    segment_name,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from pathlib import Path

    from cluster.catalog.model import RowStoreKey
    from cluster.errors import CorruptionError
    from cluster.rowstore.disk import Buffer, Disk, LogFile

READ_BYTES: Final = 1024 * 1024
"""Bytes one step of reading takes from the disk, unless one record is larger."""


def _chains(records: Sequence[Buffer]) -> Iterator[Sequence[Buffer]]:
    """Records that must lie in one segment, because they are recovered together."""
    chain: list[Buffer] = []
    for record in records:
        chain.append(record)
        if not record[FLAGS_AT] & FLAG_WITH_NEXT:
            yield chain
            chain = []
    if chain:
        yield chain


class SegmentedLog:
    """The files of one row store.

    With ``sync``, :meth:`append` returns when the bytes are durable, and a segment is begun only
    when everything before it is. Without, nothing is ever synced.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        *,
        store_id: int,
        segments: tuple[SegmentInfo, ...],
        segment_bytes: int,
        sync: bool,
    ) -> None:
        self._disk = disk
        self.folder = folder
        self.store_id = store_id
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._file: LogFile | None = None
        self._all = segments
        self._detached_lsn = segments[0].start_lsn if segments else 0
        self._detached: list[SegmentInfo] = []

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments that are needed, oldest first."""
        start = self._detached_lsn
        return tuple([segment for segment in self._all if segment.start_lsn >= start])

    @property
    def end_lsn(self) -> int:
        """LSN after the last record written."""
        return self._all[-1].end_lsn if self._all else 0

    @property
    def first_lsn(self) -> int:
        """LSN of the oldest record kept."""
        return self._detached_lsn

    def append(self, records: Sequence[Buffer]) -> None:
        """Writes whole records, beginning new segments where the limit says so.

        Raises OSError; then nothing is known about these records, and nothing may be appended
        to this log again before it has been recovered.
        """
        batch: list[Buffer] = []
        fill = self._fill()
        for chain in _chains(records):
            size = sum(map(len, chain))
            # Records larger than a segment have one to themselves.
            if fill is None or (fill and fill + size > self._segment_bytes):
                self._write(batch)
                self._begin_segment()
                batch = []
                fill = 0
            batch += chain
            fill += size
        self._write(batch)

    def _fill(self) -> int | None:
        """Bytes in the segment that is written to; None if a new one is needed anyway."""
        if not self._all:
            return None
        last = self._all[-1]
        if last.version != FORMAT_VERSION:
            return None
        return last.end_lsn - last.start_lsn

    def _write(self, records: Sequence[Buffer]) -> None:
        if not records:
            return
        last = self._all[-1]
        if self._file is None:
            self._file = self._disk.open(self.folder / last.name)
        self._put(self._file, records)
        end_lsn = last.end_lsn + sum(map(len, records))
        self._all = (*self._all[:-1], last._replace(end_lsn=end_lsn))

    def _begin_segment(self) -> None:
        self.close()
        start = self.end_lsn
        name = segment_name(start)
        file = self._disk.create(self.folder / name)
        self._file = file
        header = encode_segment_header(SegmentHeader(self.store_id, start))
        if self._sync:
            file.append_and_sync([header])
            self._disk.sync_folder(self.folder)
        else:
            file.append([header])
        self._all = (*self.segments, SegmentInfo(name, start, start))

    def _put(self, file: LogFile, buffers: Sequence[Buffer]) -> None:
        if self._sync:
            mark_durable_before(buffers[0])
            file.append_and_sync(buffers)
        else:
            file.append(buffers)

    def removable_end(self, lsn: int) -> int | None:
        """Where the log begins once :meth:`detach_before` was called with ``lsn``.

        None: it would detach nothing.
        """
        end = None
        for segment in self.segments[:-1]:
            if segment.end_lsn > lsn:
                break
            end = segment.end_lsn
        return end

    def detach_before(self, lsn: int) -> None:
        """Leaves the segments all of whose records lie before ``lsn``; never the last one.

        Their files are still there. Others may append meanwhile.
        """
        end = self.removable_end(lsn)
        if end is not None:
            self._detached += [segment for segment in self.segments if segment.end_lsn <= end]
            self._detached_lsn = end

    def remove_detached(self) -> None:
        """Removes the files of detached segments. Raises OSError; then the rest is kept for later.

        Each removal is durable before the next, so that a crash leaves no gap.
        """
        while self._detached:
            self._disk.remove(self.folder / self._detached[0].name)
            self._disk.sync_folder(self.folder)
            del self._detached[0]

    def close(self) -> None:
        """Closes the file being written. Reading still works."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(
        self,
        lsn: int,
        end_lsn: int,
        keys: Container[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """Records from ``lsn`` on, below ``end_lsn``; see ``RowStore.read``.

        May be empty before the end. Records are checked before they are given out. Raises
        :class:`cluster.errors.CorruptionError`.
        """
        lsn = max(lsn, self.first_lsn)
        if lsn >= end_lsn:
            return Chunk(b"", 0, lsn)
        segment = next(s for s in reversed(self.segments) if s.start_lsn <= lsn)
        limit = min(segment.end_lsn, end_lsn)
        try:
            data = self._read_at(segment, lsn, min(limit - lsn, max(READ_BYTES, max_bytes)))
            if len(data) >= HEADER_BYTES:
                length = self._first_length(segment, lsn, data)
                if len(data) < length <= limit - lsn:
                    data = self._read_at(segment, lsn, length)
        except FileNotFoundError:
            return Chunk(b"", 0, self.first_lsn)
        return self._select(segment, lsn, limit, data, keys, cursors, max_bytes)

    def _read_at(self, segment: SegmentInfo, lsn: int, length: int) -> bytes:
        offset = segment.offset_of(lsn)
        try:
            return self._disk.read(self.folder / segment.name, offset, length)
        except FileNotFoundError:
            if lsn < self.first_lsn:
                raise  # trimmed while it was being read
            raise self._corruption(segment, lsn, "the file is missing") from None
        except OSError as error:
            raise self._corruption(segment, lsn, f"reading it failed: {error}") from error

    def _first_length(self, segment: SegmentInfo, lsn: int, data: bytes) -> int:
        try:
            return parse_header(memoryview(data), 0)[0].length
        except RecordDamageError as damage:
            raise self._corruption(segment, lsn, damage.detail) from None

    def _select(
        self,
        segment: SegmentInfo,
        lsn: int,
        limit: int,
        data: bytes,
        keys: Container[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        view = memoryview(data)
        parts: list[memoryview] = []
        at = size = 0
        while at < len(view):
            try:
                record = parse_record(view, at)
            except RecordDamageError as damage:
                cut_by_window = damage.kind is DamageKind.INCOMPLETE and lsn + len(view) < limit
                if cut_by_window and at:
                    break
                raise self._corruption(segment, lsn + at, damage.detail) from None
            header = record.header
            if (
                header.row_count
                and header.key in keys
                and header.end_ordinal > cursors.get(header.key, 0)
            ):
                if parts and size + header.length > max_bytes:
                    break
                parts.append(record.raw)
                size += header.length
            at += header.length
        if not at:
            raise self._corruption(segment, lsn, "the file is too short")
        return Chunk(b"".join(parts), len(parts), lsn + at)

    def _corruption(self, segment: SegmentInfo, lsn: int, detail: str) -> CorruptionError:
        return corruption(str(self.folder / segment.name), segment.offset_of(lsn), detail)
