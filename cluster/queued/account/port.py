"""What is needed of a storage account. A protocol, so that tests have one in memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.batch.download import LocalSource
    from cluster.queued.received import Received
    from cluster.queued.values import Arrival, Entity, OwnBlob


class AccountPort(Protocol):
    """A storage account with one node's resources, by the names of the node's own storage.

    Blobs have the account's names. Every method raises UnavailableError: the account is away,
    refuses the key, or lacks what :meth:`prepare` has made; and ProtocolError.
    """

    async def prepare(self) -> None:
        """Makes what is missing: containers, queues, tables."""

    async def take(self, queue: str, count: int, hidden_seconds: int) -> Sequence[Arrival]:
        """Takes up to ``count`` messages, hidden from now on."""

    async def hide(self, queue: str, message: Arrival, hidden_seconds: int) -> str | None:
        """Hides a taken message for longer; its new receipt, None: it was taken again, or ended."""

    async def remove(self, queue: str, message: Received) -> bool:
        """Deletes a taken message; False: it has another receipt by now."""

    async def report(self, queue: str, text: str) -> None:
        """Adds a message. Raises AccountRefusedError."""

    async def merge(self, entity: Entity) -> None:
        """Merges a row into its table, or adds it. Raises AccountRefusedError."""

    async def count(self, queue: str) -> int:
        """Messages of a queue, hidden ones included; never fewer than there are."""

    async def look(self, blob: OwnBlob) -> tuple[int, int] | None:
        """Bytes of a blob and when it was put, ns; None: there is none."""

    async def delete(self, blob: OwnBlob) -> None:
        """Deletes a blob, if it is there."""

    async def older(self, container: str, before_ns: int) -> Sequence[OwnBlob]:
        """Blobs of a container that were last put before that."""

    async def download(self, blob: OwnBlob, shown: str) -> LocalSource:
        """A copy of a blob, for the caller to delete.

        Raises SourceNotFoundError, LimitExceededError, StorageFullError.
        """
