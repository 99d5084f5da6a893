"""What queued ingestion needs of the node's parts. Protocols, pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trio import TaskStatus

    from cluster.batch.download import LocalSource
    from cluster.batch.ports import Request
    from cluster.batch.sources import Source
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, Extent
    from cluster.queued.values import Arrival, OwnBlob


class CatalogPort(Protocol):
    """What is needed of :class:`cluster.catalog.driver.Catalog`."""

    def get(self, name: str) -> Database:
        """The newest tree. Raises DatabaseNotFoundError."""

    def history(self, name: str) -> Sequence[Delta]:
        """The newest committed transactions, oldest first. Raises DatabaseNotFoundError."""


class IngestionPort(Protocol):
    """What is needed of :class:`cluster.batch.driver.BatchIngestion`, which says what it raises."""

    async def sources(
        self, request: Request, sources: Sequence[Source | LocalSource]
    ) -> tuple[tuple[Extent, ...], float]:
        """Ingests all of them in one transaction."""


class InboxPort(Protocol):
    """What takes messages that came by another way than the node's own endpoints."""

    def room(self) -> int:
        """So many more messages may wait."""

    async def receive(self, origin: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Takes messages of the queue ``origin``; they are durable when this returns.

        Returns those that were taken before and have not ended yet. Raises what reading their
        blobs raises, and what writing raises: then none was taken.
        """


class StoragePort(Protocol):
    """Where clients upload, and hear of outcomes: what the pipeline needs of it.

    There are two: the node's own (:mod:`cluster.queued.builtin`) and a storage account
    (:mod:`cluster.queued.account.storage`). What must be remembered for every message to be
    ingested once is in the node's folder with either, and so are outcomes until they are told.
    """

    async def run(self, inbox: InboxPort, *, task_status: TaskStatus[None]) -> None:
        """Its life: brings messages into the inbox, and outcomes to clients.

        Started when it is known whether it can be used.
        """

    def poke(self) -> None:
        """Messages have ended."""

    def own(self, address: str, arrived_ns: int) -> OwnBlob | None:
        """The blob of this storage that an address is of, as signed by us; None: elsewhere."""

    async def needed(self, blob: OwnBlob, source_key: str) -> int:
        """A message about a blob has come. Returns when the blob was last put, ns; 0: unknown.

        Raises what reading it raises.
        """

    async def size_of(self, blob: OwnBlob) -> int | None:
        """Bytes of a blob; None: unknown. Raises what reading it raises."""

    async def source(self, blob: OwnBlob, shown: str) -> LocalSource:
        """A blob as a file. ``shown`` is what may be printed of its address.

        Raises SourceNotFoundError, LimitExceededError, and TransientError: the storage is away,
        which is no attempt to ingest, but for BlobUnreadableError: only this blob is not given.
        """

    async def release(self, blob: OwnBlob, *, is_deleted: bool) -> None:
        """No message is about a blob any more, or ``is_deleted`` is asked for."""

    async def sweep(self, kept: Collection[OwnBlob], *, now_ns: int) -> None:
        """Deletes blobs that are too old, but for those ``kept``."""

    def trouble(self) -> str:
        """Why nothing can be uploaded at the moment; empty: it can."""
