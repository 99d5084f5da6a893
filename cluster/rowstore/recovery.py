"""Opening a log: check every byte, cut a torn tail, bring the rows back into memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.errors import CorruptionError
from cluster.rowstore.filememory import FileMemory
from cluster.rowstore.loader import RowLoader
from cluster.rowstore.model import RecoveryReport
from cluster.rowstore.record import RecordDamageError, parse_record
from cluster.rowstore.segment import (
    FORMAT_VERSION,
    OLDEST_VERSION,
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

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.checkpoint import OutcomeCheckpoint
    from cluster.rowstore.disk import Disk
    from cluster.rowstore.keys import KeyState, SchemaOf, SealedOf
from cluster.rowstore.loader import RecoveredRequests


@dataclass(slots=True)
class Recovered:
    """The state a log left behind.

    ``outcomes`` are remembered requests, oldest first, and ``checkpoint`` those before them.
    ``latest_us`` is the newest ingestion time in the log. ``orphans`` are keys with void records
    in the log: of dropped tables, or of databases no longer followed. The log must say so (a
    reset mark) before such a key is used again.
    """

    store_id: int
    segments: tuple[SegmentInfo, ...] = ()
    keys: dict[RowStoreKey, KeyState] = field(default_factory=dict)
    orphans: set[RowStoreKey] = field(default_factory=set)
    outcomes: deque[RecoveredRequests] = field(default_factory=deque)
    checkpoint: OutcomeCheckpoint | None = None
    latest_us: int = 0
    report: RecoveryReport = field(default_factory=RecoveryReport)


class _Recovery:
    def __init__(
        self, disk: Disk, folder: Path, *, sync: bool, loader: RowLoader, new_store_id: int
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._sync = sync
        self._loader = loader
        self._memory = FileMemory()
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
        self._loader.finish()
        loader = self._loader
        cut_bytes, cut_file, cut_offset = self._cut
        return Recovered(
            store_id=self._store_id,
            segments=tuple(self._segments),
            keys=loader.keys,
            orphans=loader.orphans,
            outcomes=loader.outcomes,
            checkpoint=loader.checkpoint,
            latest_us=loader.latest_us,
            report=RecoveryReport(
                segments=len(self._segments),
                records=loader.records,
                rows=sum(state.rows.row_count for state in loader.keys.values()),
                skipped_records=loader.skipped,
                sealed_records=loader.sealed,
                cut_bytes=cut_bytes,
                cut_file=cut_file,
                cut_offset=cut_offset,
            ),
        )

    def _segment(self, lsn: int, *, is_last: bool) -> bool:
        """Loads one segment. False: the log was cut in it and ends there."""
        path = self._folder / segment_name(lsn)
        view = self._disk.read_all(path, self._memory, from_device=is_last and self._sync)
        end = 0
        whole = True
        version = self._check_version(str(path), view)
        try:
            self._check_header(str(path), view, lsn)
            end = SEGMENT_HEADER_BYTES
            while end < len(view):
                record = parse_record(view, end)
                self._loader.add(record, lsn + end - SEGMENT_HEADER_BYTES, str(path))
                end += record.header.length
        except RecordDamageError as damage:
            if self._sync and not (is_last and is_torn(bytes(view), damage, lsn)):
                raise corruption(str(path), damage.offset, damage.detail) from None
            whole = False
        except CorruptionError:
            if self._sync:
                raise
            whole = False
        chain_start = self._loader.chain_start
        if chain_start is not None:
            if not is_last:
                raise corruption(str(path), chain_start, "the record after it is missing")
            end = chain_start  # neither record was acknowledged
            whole = False
        self._loader.end_segment()
        if whole and version < FORMAT_VERSION and end == SEGMENT_HEADER_BYTES:
            end = 0  # nothing in it, and a segment of this version must have its name
            whole = False
        if not whole:
            self._cut_at(path, end, len(view))
        if end:
            segment = SegmentInfo(path.name, lsn, lsn + end - SEGMENT_HEADER_BYTES, version)
            self._segments.append(segment)
        return whole

    def _check_version(self, path: str, view: memoryview) -> int:
        # Not damage: a copy must not be cut because an older build was started on it.
        try:
            version = parse_segment_header(view).version
        except RecordDamageError:
            return FORMAT_VERSION  # judged with the rest of the segment
        if not OLDEST_VERSION <= version <= FORMAT_VERSION:
            raise CorruptionError(
                f"{path} has format version {version}, this build reads "
                f"{OLDEST_VERSION} to {FORMAT_VERSION}",
                remedy="Start the build of Remora that wrote it.",
                metadata={"file": path, "offset": "0"},
            )
        return version

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
    sealed_of: SealedOf,
    outcome_limit: int,
    new_store_id: int,
) -> Recovered:
    """Reads a log, cuts a torn tail, and returns what it holds from the keys' floors on.

    Without ``sync`` the log is a copy: it is cut at the first bad byte, whatever the cause.
    Raises :class:`CorruptionError` with file and offset, before anything is changed on disk
    except a torn tail; OSError if the disk fails.
    """
    loader = RowLoader(
        schema_of, sealed_of, outcome_limit=outcome_limit if sync else 0, copy=not sync
    )
    return _Recovery(disk, folder, sync=sync, loader=loader, new_store_id=new_store_id).run()
