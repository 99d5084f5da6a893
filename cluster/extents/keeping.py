"""What the life of an extent is made of: reasons, reports, counts, named crash points. Pure values.

Times are microseconds since 1970 UTC unless the name says otherwise.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.catalog.model import Extent, RowStoreKey
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.model import Rows, Unsealed


class SealReason(enum.Enum):
    """Why rows of a table leave the row store. The value is what ``Properties`` shows."""

    SIZE = "Size"
    AGE = "Age"
    PRESSURE = "RowStorePressure"
    LOG = "WriteAheadDistance"
    POLICY = "StreamingPolicyRemoved"
    DRAIN = "Drain"
    COMMAND = "Command"


class JobKind(enum.Enum):
    """What the keeper does. The value is the operation name of ``.show operations``."""

    SEAL = "RowStoreSeal"
    MERGE = "ExtentsMerge"
    RETAIN = "ExtentsDrop"
    FORGET_TABLES = "DroppedTablesForget"
    COLLECT = "ExtentFilesDelete"
    SWEEP = "OrphanFilesDelete"


class CrashPoint(enum.StrEnum):
    """Places where a test may kill the process; between any two of them a step became durable.

    Whatever the point, a restart finds every row exactly once: in the row store or in an extent.
    """

    SEAL_PINNED = "seal.pinned"
    SEAL_WRITTEN = "seal.written"
    SEAL_COMMITTED = "seal.committed"
    SEAL_ADVANCED = "seal.advanced"
    MERGE_PINNED = "merge.pinned"
    MERGE_WRITTEN = "merge.written"
    MERGE_COMMITTED = "merge.committed"
    RETAIN_COMMITTED = "retain.committed"
    GARBAGE_PLANNED = "garbage.planned"
    GARBAGE_DELETED = "garbage.deleted"
    GARBAGE_FORGOTTEN = "garbage.forgotten"
    SWEEP_LISTED = "sweep.listed"
    SWEEP_DELETED = "sweep.deleted"
    CHANGE_COMMITTED = "change.committed"
    """An operation of a command is durable; floors are not in the row stores yet."""


At = Callable[[CrashPoint], Awaitable[None] | None]
"""Called at each point. Production passes none."""


async def reach(at: At | None, point: CrashPoint) -> None:
    """Tells the hook, if there is one, that a point is reached."""
    if at is not None:
        waiting = at(point)
        if inspect.isawaitable(waiting):
            await waiting


class UnsealedRows(Protocol):
    """What sealing needs of the row stores of a node."""

    def rows(self, key: RowStoreKey, from_ordinal: int = 0) -> Rows:
        """The visible rows of a key from an ordinal on: an immutable snapshot."""

    def unsealed(self, keys: Iterable[RowStoreKey]) -> Mapping[RowStoreKey, Unsealed]:
        """Rows, bytes and oldest time of each key's rows that are not sealed."""

    def end_lsn(self) -> int:
        """Grows by the bytes of every record that becomes visible."""

    def position_of(self, keys: Iterable[RowStoreKey]) -> Mapping[RowStoreKey, KeyPosition]:
        """The visible position of each key."""

    def advance(self, key: RowStoreKey, position: KeyPosition) -> None:
        """Rows below ``position`` are in extents, or were cleared: frees them. Idempotent."""


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job has ended. ``failure`` is empty if it did what it was for.

    ``database`` and ``table`` are empty where a job is about several. ``details`` holds the
    reason of a seal, the extents of a merge, and the like. Bytes and rows are of what it wrote
    (seal, merge), else of what it took away.
    """

    kind: JobKind
    database: str
    table: str
    ended_ns: int
    duration_seconds: float
    row_count: int = 0
    extent_count: int = 0
    original_bytes: int = 0
    extent_bytes: int = 0
    cpu_seconds: float = 0.0
    failure: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drained:
    """What draining did. ``is_empty``: no row of these tables is in a row store any more.

    If it is not, rows came while it worked: stop ingestion first.
    """

    extents: tuple[Extent, ...]
    is_empty: bool


@dataclass(frozen=True, slots=True)
class KeeperStatistics:
    """Counts since the keeper was made.

    ``seals``, ``merges``: that committed; ``sealed_rows``, ``merged_rows``: rows they wrote;
    ``*_failures``: attempts that failed and will be repeated; ``*_abandoned``: written, then found
    outdated (table dropped or cleared, extents replaced) and removed. ``*_running``: under way
    now. ``dropped_extents`` by retention. ``deleted_files`` as garbage, ``swept_files`` as
    orphans; ``left_behind_files`` could not be removed when their transaction was refused, and are
    left to the sweep. ``retry_tables``: tables whose last seal failed. ``last_failure``: words of
    the latest one, empty if there was none.
    """

    seals: int
    sealed_rows: int
    sealed_bytes: int
    seals_running: int
    seal_failures: int
    seals_abandoned: int
    merges: int
    merged_rows: int
    merges_running: int
    merge_failures: int
    merges_abandoned: int
    dropped_extents: int
    deleted_files: int
    swept_files: int
    left_behind_files: int
    upkeep_failures: int
    retry_tables: int
    last_failure: str
