"""Values the row store gives out. Immutable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.rowstore.index import NO_RUNS

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.index import IngestionRuns
    from cluster.rowstore.ticket import Staged


@dataclass(frozen=True, slots=True)
class Rows:
    """The visible rows of one key at one moment, from some ordinal on.

    ``batches`` are in ordinal order and hold rows ``first_ordinal .. position.ordinal - 1``;
    ``schema_versions[i]`` is the schema version of ``batches[i]``.
    """

    batches: tuple[pa.RecordBatch, ...]
    schema_versions: tuple[int, ...]
    position: KeyPosition
    first_ordinal: int = 0
    runs: IngestionRuns = NO_RUNS

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return self.position.ordinal - self.first_ordinal

    def ingestion_times(
        self, first_ordinal: int | None = None, count: int | None = None
    ) -> pa.Array:
        """When rows came, one ``timestamp[us]`` each: of all, or of some from an ordinal on.

        Raises ValueError for rows that are not among these.
        """
        first = self.first_ordinal if first_ordinal is None else first_ordinal
        return self.runs.times(first, self.position.ordinal - first if count is None else count)

    def since(self, ordinal: int) -> Rows:
        """The rows from ``ordinal`` on; nothing is copied. All of them if it is below the first."""
        skipped = min(ordinal, self.position.ordinal) - self.first_ordinal
        if skipped <= 0:
            return self
        left = skipped
        for at, batch in enumerate(self.batches):
            if left < batch.num_rows:
                first = batch.slice(left) if left else batch
                batches = (first, *self.batches[at + 1 :])
                break
            left -= batch.num_rows
        else:
            batches, at = (), len(self.batches)
        versions = self.schema_versions[at:]
        return Rows(batches, versions, self.position, self.first_ordinal + skipped, self.runs)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The visible rows of one key that are not sealed; there is at least one.

    ``bytes`` is the size of their records in the log, ``oldest_ingest_us`` when the oldest came.
    ``position`` is where they end: a record ends there, so a seal may. ``log_distance_bytes``:
    so many bytes of the log cannot go before the oldest of them.
    """

    rows: int
    bytes: int
    oldest_ingest_us: int
    position: KeyPosition
    log_distance_bytes: int


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """One key of a row store; see ``.show rowstore``.

    Rows ``first_ordinal .. end_ordinal - 1`` are held, in ``bytes`` of records. ``first_lsn`` is
    of the oldest one; None without rows. ``latest_ingest_us``: None without rows.
    """

    key: RowStoreKey
    first_ordinal: int
    end_ordinal: int
    bytes: int
    first_lsn: int | None
    latest_ingest_us: int | None


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
    dropped tables; ``sealed_records`` lie below the floor of their key.
    """

    segments: int = 0
    records: int = 0
    rows: int = 0
    skipped_records: int = 0
    sealed_records: int = 0
    cut_bytes: int = 0
    cut_file: str = ""
    cut_offset: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RowStoreStatistics:
    """A snapshot of counters; bytes unless the name says otherwise.

    ``store_id`` is the random id of the log, ``folder`` where it is; it holds LSNs ``first_lsn`` to
    ``end_lsn``. ``waiting_bytes`` are staged and not durable yet. ``visible_rows`` are held here.
    ``live_bytes`` is what ``limits.row_store_bytes`` bounds: records of existing tables,
    staged ones included. ``log_bytes`` is what the files hold. Commit counters are since opening;
    ``group_requests_max`` is the most requests one sync made durable. ``read_only_reason`` is
    empty while the store takes writes.
    """

    store_id: int
    folder: str
    keys: int
    segments: int
    first_lsn: int
    log_bytes: int
    live_bytes: int
    waiting_bytes: int
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
