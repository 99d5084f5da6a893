"""What commands about data and history need of the node's parts. Protocols and values, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from cluster.batch.ports import Request
    from cluster.batch.schema import Mode
    from cluster.batch.sources import Source
    from cluster.catalog.model import Column, Extent, RowStoreKey, Table, Version
    from cluster.commands.results import CommandResult
    from cluster.extents.keeping import KeeperStatistics
    from cluster.extents.operations import (
        ChangedExtent,
        DroppedExtent,
        Selection,
        TagChange,
    )
    from cluster.query.binding import QuerySnapshot
    from cluster.request import ClientRequest
    from cluster.rowstore.model import KeyStatistics, Rows, RowStoreStatistics, Unsealed


class ExtentsDoor(Protocol):
    """What commands need of :class:`cluster.extents.driver.ExtentKeeper`, which has the words."""

    async def seal(self, database: str, table: str | None = None) -> tuple[Extent, ...]: ...

    async def drop_extents(
        self, database: str, selection: Selection, *, text: str = ""
    ) -> tuple[DroppedExtent, ...]: ...

    def preview_drop(self, database: str, selection: Selection) -> tuple[DroppedExtent, ...]: ...

    async def move_extents(
        self,
        database: str,
        moves: Sequence[tuple[str, Sequence[str] | None]],
        target: str,
        *,
        ingested_us: int | None = None,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]: ...

    async def replace_extents(
        self,
        database: str,
        target: str,
        drop_ids: Sequence[str],
        moves: Sequence[tuple[str, Sequence[str] | None]],
        *,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]: ...

    async def retag(
        self,
        database: str,
        table: str,
        extent_ids: Sequence[str],
        change: TagChange,
        tags: Sequence[str],
        *,
        text: str = "",
    ) -> tuple[ChangedExtent, ...]: ...

    async def clear_table(self, database: str, table: str, *, text: str = "") -> None: ...

    async def merge_extents(
        self, database: str, table: str, extent_ids: Sequence[str], *, text: str = ""
    ) -> tuple[Extent, ...]: ...

    def statistics(self) -> KeeperStatistics: ...


class IngestionDoor(Protocol):
    """What commands need of :class:`cluster.batch.driver.BatchIngestion`; it says what it raises.

    Each returns the new extents; none if there was nothing to ingest.
    """

    async def inline(self, request: Request, data: bytes) -> tuple[Extent, ...]: ...

    async def sources(
        self, request: Request, sources: Sequence[Source]
    ) -> tuple[tuple[Extent, ...], float]: ...

    async def result(
        self,
        request: Request,
        mode: Mode,
        columns: Sequence[Column],
        batches: Sequence[pa.RecordBatch],
    ) -> tuple[Extent, ...]: ...


class TimesDoor(Protocol):
    """What commands need of :class:`cluster.rowstore.times.IngestionTimes`."""

    def stamp(self) -> AbstractContextManager[int]:
        """A new ingestion time, pending until the context ends."""


class RowStoresCounters(Protocol):
    """What commands need of :class:`cluster.rowstore.stores.RowStoresStatistics`."""

    @property
    def stores(self) -> tuple[RowStoreStatistics, ...]:
        """Of each row store, RowStore-0 first."""


class RowStoresDoor(Protocol):
    """What commands need of :class:`cluster.rowstore.stores.RowStores`."""

    @property
    def times(self) -> TimesDoor:
        """Mints ingestion times."""

    def unsealed(self, keys: Iterable[RowStoreKey]) -> Mapping[RowStoreKey, Unsealed]:
        """What each key holds that is not sealed."""

    def key_statistics(self, number: int) -> tuple[KeyStatistics, ...]:
        """What a row store holds of each key, in no order."""

    def statistics(self) -> RowStoresCounters:
        """Counters as of now."""


class DatabasesDoor(Protocol):
    """What commands need of :class:`cluster.node.databases.NodeDatabases`."""

    def snapshot(self, database: str, text: str) -> QuerySnapshot:
        """What a query may see now. Raises DatabaseNotFoundError."""

    def streamed(self, database: str) -> Mapping[RowStoreKey, Rows]:
        """The rows above the floors of a database that queries see; DatabaseNotFoundError."""


@dataclass(frozen=True, slots=True)
class FollowingState:
    """Where a following database stands, now.

    ``configuration`` and ``origin`` are the attachment's, empty while it is not known. ``gate`` is
    ``open`` or ``closed``, ``reason`` why it is closed. ``ordinals``: how far each key has come
    here. ``lag_seconds`` is never too small, None while it is not known; the lag of applying is
    that of the last rows, None before there were any. ``trouble`` is why the last call to the
    leader ended; empty while one is healthy.
    """

    leader_cluster: str
    leader_database: str
    configuration: str
    origin: str
    epoch: int
    gate: str
    reason: str
    is_connected: bool
    version: Version
    ordinals: Mapping[RowStoreKey, int]
    rows_visible: int
    lag_seconds: float | None
    apply_lag_p50_seconds: float | None
    apply_lag_p99_seconds: float | None
    trouble: str


class FollowersDoor(Protocol):
    """What commands need of :class:`follower.driver.FollowerManager`."""

    def state(self, database: str) -> FollowingState:
        """Where it stands. Raises DatabaseNotFoundError if nothing of that name is followed."""


class AttachmentsDoor(Protocol):
    """What commands need of :class:`cluster.node.attachments.NodeAttachments`."""

    async def detach(self, leader_cluster: str, leader_database: str) -> None:
        """Ends an attachment; nothing of it is visible here when this returns."""

    async def followers_of(self, database: str) -> tuple[str, ...]:
        """The clusters that follow a database of this one now. UnavailableError if in doubt."""


class OperationsDoor(Protocol):
    """What commands need of :class:`cluster.history.driver.OperationRunner`."""

    def start(
        self,
        kind: str,
        database: str,
        text: str,
        work: Callable[[], Awaitable[CommandResult]],
        *,
        operation_id: str = "",
        principal: str = "",
    ) -> str:
        """Starts an operation in the background; returns its id."""

    async def execute(
        self,
        kind: str,
        database: str,
        text: str,
        work: Callable[[], Awaitable[CommandResult]],
        *,
        operation_id: str = "",
        principal: str = "",
    ) -> EndedOperation:
        """Runs an operation to its end."""

    def cancel(self, operation_id: str) -> bool:
        """False if it is not running."""

    def result(self, operation_id: str) -> CommandResult | None:
        """What it gave, while it is remembered."""


class ResourcesDoor(Protocol):
    """What commands need of whatever serves storage for queued ingestion.

    URIs are such as the caller can reach: made of ``request.origin``, the scheme and host it used.
    """

    async def ingestion_resources(self, request: ClientRequest) -> Sequence[tuple[str, str]]:
        """Kind (``ResourceTypeName``) and URI of each resource; at least one of each kind.

        Raises NotSupportedError if the node serves none.
        """

    async def identity_token(self, request: ClientRequest) -> str:
        """What the caller puts into its messages, so that they are known to be its own."""

    async def export_containers(self, request: ClientRequest) -> Sequence[str]:
        """URIs of containers for exports."""

    async def temporary_storage(self, request: ClientRequest) -> Sequence[str]:
        """URIs of containers for files that need not last."""

    async def refresh_batching(self, database: str, table: str) -> None:
        """The next batch obeys the policies as they are now; ``table`` empty: of every table."""


class EndedOperation(Protocol):
    """An operation that was waited for."""

    @property
    def operation_id(self) -> str: ...

    @property
    def result(self) -> CommandResult: ...


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """What the node is busy with and what it keeps at hand, now. Sizes in bytes.

    ``hot``: extents in memory; ``copies``: extent files of other nodes in the cache folder, and
    the uses and misses of them since the start. Disk sizes are of the data folder's file system.
    """

    queries_running: int
    queries_most: int
    operations_running: int
    hot_bytes: int
    hot_extents: int
    hot_rows: int
    hot_failures: int
    copies_bytes: int
    copies_files: int
    copies_hits: int
    copies_misses: int
    disk_bytes: int
    disk_free_bytes: int


def tables_of_keys(tables: Iterable[Table]) -> dict[RowStoreKey, Table]:
    """Which table each key is of."""
    return {key: table for table in tables for key in table.keys}
