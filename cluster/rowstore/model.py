"""Values the row store gives out. Immutable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.worker import Staged


@dataclass(frozen=True, slots=True)
class Rows:
    """The visible rows of one key at one moment.

    ``batches`` are in ordinal order and hold ``position.ordinal`` rows in all;
    ``schema_versions[i]`` is the schema version of ``batches[i]``.
    """

    batches: tuple[pa.RecordBatch, ...]
    schema_versions: tuple[int, ...]
    position: KeyPosition


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request whose source id is remembered.

    ``staged`` is set while the request is not durable yet: await ``staged.committed()`` before
    answering. It is None once the rows are durable and visible.
    """

    key: RowStoreKey
    first_ordinal: int
    row_count: int
    staged: Staged | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Committed records, whole and in log order, as read for a follower.

    Reading goes on at ``next_lsn``. No records and ``next_lsn`` at the end of the log: there is
    nothing more yet.
    """

    records: bytes
    count: int
    next_lsn: int


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What opening the row store found.

    ``cut_bytes`` were removed from the end of the log as a torn write, starting in ``cut_file``
    at ``cut_offset``; the file is empty when nothing was cut. ``skipped_records`` belong to
    dropped tables.
    """

    segments: int = 0
    records: int = 0
    rows: int = 0
    skipped_records: int = 0
    cut_bytes: int = 0
    cut_file: str = ""
    cut_offset: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RowStoreStatistics:
    """A snapshot of counters; bytes unless the name says otherwise.

    ``live_bytes`` is what ``limits.row_store_bytes`` bounds: records of existing tables,
    staged ones included. ``log_bytes`` is what the files hold. Commit counters are since opening;
    ``group_requests_max`` is the most requests one sync made durable. ``read_only_reason`` is
    empty while the store takes writes.
    """

    keys: int
    segments: int
    log_bytes: int
    live_bytes: int
    visible_rows: int
    live_batches: int
    tail_bytes: int
    end_lsn: int
    commits: int
    committed_records: int
    committed_requests: int
    group_requests_max: int
    commit_seconds_total: float
    commit_seconds_max: float
    source_ids: int
    disk_reads: int
    trim_failures: int
    read_only_reason: str
    recovery: RecoveryReport
