"""Opening a log: check every byte, cut a torn tail, bring the rows back into memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptionError
from cluster.rowstore.decode import decode_body, join
from cluster.rowstore.keys import KeyState
from cluster.rowstore.memory import SETTLED_BYTES
from cluster.rowstore.model import RecoveryReport
from cluster.rowstore.record import (
    FLAG_RESET,
    RecordDamageError,
    next_checksum,
    parse_record,
)
from cluster.rowstore.segment import (
    FORMAT_VERSION,
    SEGMENT_HEADER_BYTES,
    SegmentInfo,
    corruption,
    is_torn,
    parse_segment_header,
    segment_name,
    start_lsns,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.keys import SchemaOf
    from cluster.rowstore.record import Record, RequestSpan

_RUN_BATCHES: Final = 256


@dataclass(slots=True)
class Recovered:
    """The state a log left behind. ``outcomes`` are (key, first ordinal, requests), oldest first.

    ``orphans`` are keys with void records in the log: of dropped tables, or of databases no longer
    followed. The log must say so (a reset mark) before such a key is used again.
    """

    store_id: int
    segments: tuple[SegmentInfo, ...] = ()
    keys: dict[RowStoreKey, KeyState] = field(default_factory=dict)
    orphans: set[RowStoreKey] = field(default_factory=set)
    outcomes: deque[tuple[RowStoreKey, int, tuple[RequestSpan, ...]]] = field(default_factory=deque)
    report: RecoveryReport = field(default_factory=RecoveryReport)


@dataclass(slots=True)
class _Run:
    """Batches of one key and schema version that will be joined."""

    schema_version: int
    batches: list[pa.RecordBatch] = field(default_factory=list)
    byte_count: int = 0


class _RowLoader:
    """Feeds records, in log order, into key states."""

    def __init__(self, schema_of: SchemaOf, outcome_limit: int) -> None:
        self._schema_of = schema_of
        self._runs: dict[RowStoreKey, _Run] = {}
        self._beheaded: dict[RowStoreKey, CorruptionError] = {}
        self.keys: dict[RowStoreKey, KeyState] = {}
        self.orphans: set[RowStoreKey] = set()
        # Each record has at least one request, so as many records hold the window.
        self.outcomes: deque[tuple[RowStoreKey, int, tuple[RequestSpan, ...]]] = deque(
            maxlen=outcome_limit
        )
        self.records = 0
        self.skipped = 0

    def add(self, record: Record, lsn: int, path: str) -> None:
        """Takes the record at ``lsn``, found in a file. Raises :class:`CorruptionError`."""
        header = record.header
        key = header.key
        self.records += 1
        if header.flags & FLAG_RESET:
            for held in (self.keys, self._runs, self._beheaded):
                held.pop(key, None)
            self.orphans.discard(key)
            return
        state = self.keys.get(key)
        if state is None:
            if self._schema_of(key, 0) is None:
                self.orphans.add(key)
                self.skipped += 1
                return
            state = self.keys[key] = KeyState(key)
        if key in self._beheaded:
            return
        if header.first_ordinal != state.staged_ordinal:
            error = corruption(
                path,
                record.start,
                f"key {key:016x} continues at ordinal {header.first_ordinal}, "
                f"expected {state.staged_ordinal}",
            )
            if state.staged_ordinal:
                raise error
            # Its beginning is gone. Right if the key is void here and a reset mark follows.
            self._beheaded[key] = error
            return
        self._take(state, record, lsn, path)

    def _take(self, state: KeyState, record: Record, lsn: int, path: str) -> None:
        header = record.header
        if next_checksum(state.staged_checksum, record.body) != header.checksum:
            raise corruption(
                path, record.start, f"the rolling checksum of key {header.key:016x} is broken"
            )
        schema = state.schema(header.schema_version, self._schema_of)
        if schema is None:
            raise corruption(
                path,
                record.start,
                f"schema version {header.schema_version} of key {header.key:016x} is unknown",
            )
        try:
            batch = decode_body(record.body, schema, header.row_count)
        except ValueError as error:
            raise corruption(path, record.start, f"the rows cannot be decoded: {error}") from error
        state.stage(header.end_ordinal, header.checksum, header.length)
        state.index((header.first_ordinal,), (lsn,))
        self._extend_run(state, batch, header.schema_version, header.length)
        self.outcomes.append((header.key, header.first_ordinal, record.spans))

    def _extend_run(
        self, state: KeyState, batch: pa.RecordBatch, schema_version: int, byte_count: int
    ) -> None:
        run = self._runs.get(state.key)
        if run is not None and run.schema_version != schema_version:
            self._end_run(state, run)
            run = None
        if run is None:
            run = self._runs[state.key] = _Run(schema_version)
        run.batches.append(batch)
        run.byte_count += byte_count
        if len(run.batches) >= _RUN_BATCHES or run.byte_count >= SETTLED_BYTES:
            self._end_run(state, run)
            del self._runs[state.key]

    def _end_run(self, state: KeyState, run: _Run) -> None:
        state.rows.append(join(run.batches), run.schema_version, run.byte_count)

    def end_segment(self) -> None:
        """Joins what is pending, so that the segment's bytes can be freed."""
        for key, run in self._runs.items():
            self._end_run(self.keys[key], run)
        self._runs.clear()

    def finish(self, *, copy: bool) -> None:
        """The end of the log: what is staged is visible.

        A key whose beginning is missing is corrupt; in a copy it is void and will be sent again.
        """
        self.end_segment()
        for key, error in self._beheaded.items():
            if not copy:
                raise error
            del self.keys[key]
            self.orphans.add(key)
        for state in self.keys.values():
            state.show(state.staged_ordinal, state.staged_checksum)


class _Recovery:
    def __init__(
        self, disk: Disk, folder: Path, *, sync: bool, loader: _RowLoader, new_store_id: int
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._sync = sync
        self._loader = loader
        self._store_id = new_store_id
        self._segments: list[SegmentInfo] = []
        self._cut: tuple[int, str, int] = (0, "", 0)

    def run(self) -> Recovered:
        lsns = start_lsns(self._disk.list_names(self._folder))
        for index, lsn in enumerate(lsns):
            if not self._segment(lsn, is_last=index == len(lsns) - 1):
                self._drop(lsns[index + 1 :])
                break
        if self._sync and self._segments:
            # What a killed process wrote but did not sync becomes visible now, so sync it now: the
            # bytes, and the file's name, which that process may have made a moment before.
            self._disk.sync_folder(self._folder)
            file = self._disk.open(self._folder / self._segments[-1].name)
            try:
                file.datasync()
            finally:
                file.close()
        self._loader.finish(copy=not self._sync)
        loader = self._loader
        cut_bytes, cut_file, cut_offset = self._cut
        return Recovered(
            store_id=self._store_id,
            segments=tuple(self._segments),
            keys=loader.keys,
            orphans=loader.orphans,
            outcomes=loader.outcomes,
            report=RecoveryReport(
                segments=len(self._segments),
                records=loader.records,
                rows=sum(state.staged_ordinal for state in loader.keys.values()),
                skipped_records=loader.skipped,
                cut_bytes=cut_bytes,
                cut_file=cut_file,
                cut_offset=cut_offset,
            ),
        )

    def _segment(self, lsn: int, *, is_last: bool) -> bool:
        """Loads one segment. False: the log was cut in it and ends there."""
        path = self._folder / segment_name(lsn)
        data = self._disk.read_all(path, from_device=is_last and self._sync)
        view = memoryview(data)
        end = 0
        whole = True
        self._check_version(str(path), view)
        try:
            self._check_header(str(path), view, lsn)
            end = SEGMENT_HEADER_BYTES
            while end < len(view):
                record = parse_record(view, end)
                self._loader.add(record, lsn + end - SEGMENT_HEADER_BYTES, str(path))
                end += record.header.length
        except RecordDamageError as damage:
            if self._sync and not (is_last and is_torn(data, damage, lsn)):
                raise corruption(str(path), damage.offset, damage.detail) from None
            whole = False
        except CorruptionError:
            if self._sync:
                raise
            whole = False
        self._loader.end_segment()
        if not whole:
            self._cut_at(path, end, len(data))
        if end:
            self._segments.append(SegmentInfo(path.name, lsn, lsn + end - SEGMENT_HEADER_BYTES))
        return whole

    def _check_version(self, path: str, view: memoryview) -> None:
        # Not damage: a copy must not be cut because an older build was started on it.
        try:
            version = parse_segment_header(view).version
        except RecordDamageError:
            return  # judged with the rest of the segment
        if version != FORMAT_VERSION:
            raise CorruptionError(
                f"{path} has format version {version}, this build reads {FORMAT_VERSION}",
                remedy="Start the build of Remora that wrote it.",
                metadata={"file": path, "offset": "0"},
            )

    def _check_header(self, path: str, view: memoryview, lsn: int) -> None:
        header = parse_segment_header(view)
        expected = self._segments[-1].end_lsn if self._segments else lsn
        if header.start_lsn != lsn or lsn != expected:
            raise corruption(
                path, 0, f"it starts at LSN {header.start_lsn}, the log continues at {expected}"
            )
        if self._segments and header.store_id != self._store_id:
            raise corruption(path, 0, "it belongs to another row store")
        self._store_id = header.store_id

    def _cut_at(self, path: Path, offset: int, size: int) -> None:
        self._cut = (size - offset, str(path), offset)
        if offset:
            self._disk.truncate(path, offset)
        else:
            self._remove(path)

    def _drop(self, lsns: list[int]) -> None:
        # Newest first: a crash in between leaves a log without a gap.
        for lsn in reversed(lsns):
            self._remove(self._folder / segment_name(lsn))

    def _remove(self, path: Path) -> None:
        self._disk.remove(path)
        self._disk.sync_folder(self._folder)


def recover(
    disk: Disk,
    folder: Path,
    *,
    sync: bool,
    schema_of: SchemaOf,
    outcome_limit: int,
    new_store_id: int,
) -> Recovered:
    """Reads a log, cuts a torn tail, and returns what it holds.

    Without ``sync`` the log is a copy: it is cut at the first bad byte, whatever the cause.
    Raises :class:`CorruptionError` with file and offset, before anything is changed on disk
    except a torn tail; OSError if the disk fails.
    """
    loader = _RowLoader(schema_of, outcome_limit if sync else 0)
    return _Recovery(disk, folder, sync=sync, loader=loader, new_store_id=new_store_id).run()
