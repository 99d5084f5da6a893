"""The node's own storage, as the pipeline sees it (:class:`cluster.queued.ports.StoragePort`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.batch.download import LocalSource
from cluster.errors import SourceNotFoundError
from cluster.queued.resources import own_blob

if TYPE_CHECKING:
    from collections.abc import Collection

    from cluster.queued.files import QueuedFiles
    from cluster.queued.ports import InboxPort
    from cluster.queued.signatures import Signer
    from cluster.queued.values import OwnBlob


class BuiltInStorage:
    """Files and queues of the node. Its endpoints bring messages, and clients fetch outcomes."""

    def __init__(self, files: QueuedFiles, signer: Signer) -> None:
        self._blobs = files.blobs
        self._run = files.thread.run
        self._signer = signer

    async def run(
        self, inbox: InboxPort, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Nothing: the endpoints do it."""
        task_status.started()

    def poke(self) -> None:
        """Outcomes are where clients look as soon as they are written."""

    def own(self, address: str, arrived_ns: int) -> OwnBlob | None:
        """By its path and signature."""
        return own_blob(address, self._signer, arrived_ns / 1e9)

    async def needed(self, blob: OwnBlob, source_key: str) -> int:
        """It does not go when room is needed."""
        found = await self._run(self._blobs.get, *blob)
        if found is None:
            return 0
        if found.is_used:
            await self._run(self._blobs.use, *blob, is_used=False)
        return found.modified_ns

    async def size_of(self, blob: OwnBlob) -> int | None:
        """As uploaded."""
        found = await self._run(self._blobs.get, *blob)
        return None if found is None else found.size

    async def source(self, blob: OwnBlob, shown: str) -> LocalSource:
        """Its file, in place."""
        found = await self._run(self._blobs.get, *blob)
        if found is None:
            raise SourceNotFoundError(f"There is no blob {shown}.")
        name = found.name.rpartition("/")[2]
        return LocalSource(self._blobs.path(found), name, shown, found.size, is_copy=False)

    async def release(self, blob: OwnBlob, *, is_deleted: bool) -> None:
        """It goes now, or when room is needed."""
        if is_deleted:
            await self._run(self._blobs.delete, *blob)
        else:
            await self._run(self._blobs.use, *blob)

    async def sweep(self, kept: Collection[OwnBlob], *, now_ns: int) -> None:
        """Those of before ``limits.storage_blob_seconds``."""
        await self._run(self._blobs.sweep, tuple(kept), now_ns=now_ns)

    def trouble(self) -> str:
        """None: it is in this process."""
        return ""
