"""Uploaded blobs: one file each in a folder, an index in the file of queued ingestion.

A blob that was put is durable: its file is synced before the index names it. Files that nothing
names, as a crash leaves them, go when the folder is opened. Called in worker threads, one at a
time.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import LimitExceededError, StorageFullError, ThrottledError
from cluster.extents.disk import make_folder, sync_folder
from cluster.queued import blobs
from cluster.queued.blobs import Blob, Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cluster.limits import Limits
    from cluster.queued.store import QueuedStore

_NO_SPACE: Final = "The disk of the node's blob storage is full."
_COPY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UnknownBlockError(Exception):
    """A block list names a block that was not put."""

    block: str


class BlobFiles:
    """Blobs by container and name."""

    def __init__(self, folder: Path, store: QueuedStore, limits: Limits) -> None:
        """Opens the folder; what nothing names is removed."""
        make_folder(folder)
        self._folder = folder
        self._store = store
        self._limits = limits
        with store.transaction() as connection:
            known = blobs.files(connection)
        for path in folder.iterdir():
            if path.name not in known:
                path.unlink()

    def put(
        self,
        container: str,
        name: str,
        data: bytes,
        content_type: str,
        *,
        now_ns: int,
        only_new: bool = False,
    ) -> Blob | None:
        """Stores a blob; None: there is one and ``only_new`` forbids to replace it.

        Raises ThrottledError (over ``limits.storage_bytes``), StorageFullError.
        """
        self._make_room(len(data))
        file = self._write([data])
        blob = Blob(container, name, file, len(data), now_ns, content_type)
        return self._name(blob, only_new=only_new)

    def put_block(self, container: str, name: str, block: str, data: bytes, *, now_ns: int) -> None:
        """Stores a block. Raises LimitExceededError (``limits.storage_blocks``), and as put."""
        self._make_room(len(data))
        with self._store.transaction() as connection:
            if blobs.count_blocks(connection, container, name) >= self._limits.storage_blocks:
                raise LimitExceededError(
                    f"Blob '{name}' has {self._limits.storage_blocks} blocks already.",
                    metadata={"limit": "storage_blocks"},
                )
        file = self._write([data])
        with self._store.transaction() as connection:
            found = Block(block, file, len(data))
            freed = blobs.put_block(connection, container, name, found, now_ns)
        self._unlink(freed)

    def put_block_list(
        self,
        container: str,
        name: str,
        wanted: Sequence[str],
        content_type: str,
        *,
        now_ns: int,
        only_new: bool = False,
    ) -> Blob | None:
        """Makes a blob of blocks that were put; None as for :meth:`put`.

        Raises UnknownBlockError, and as :meth:`put`.
        """
        with self._store.transaction() as connection:
            known = {block.block: block for block in blobs.blocks(connection, container, name)}
        parts = []
        for block in wanted:
            if block not in known:
                raise UnknownBlockError(block)
            parts.append(known[block])
        size = sum(block.size for block in parts)
        self._make_room(size)
        file = self._write([self._folder / block.file for block in parts])
        blob = Blob(container, name, file, size, now_ns, content_type)
        return self._name(blob, only_new=only_new)

    def get(self, container: str, name: str) -> Blob | None:
        """What is known of a blob."""
        with self._store.transaction() as connection:
            return blobs.get(connection, container, name)

    def blocks(self, container: str, name: str) -> Sequence[Block]:
        """Blocks that are in no blob yet."""
        with self._store.transaction() as connection:
            return blobs.blocks(connection, container, name)

    def listed(self, container: str, prefix: str, count: int) -> Sequence[Blob]:
        """Blobs by name."""
        with self._store.transaction() as connection:
            return blobs.listed(connection, container, prefix, count)

    def path(self, blob: Blob) -> Path:
        """Its file."""
        return self._folder / blob.file

    def read(self, blob: Blob, first: int, count: int) -> bytes:
        """A part of it. Raises FileNotFoundError: it was deleted meanwhile."""
        with self.path(blob).open("rb") as file:
            file.seek(first)
            return file.read(count)

    def delete(self, container: str, name: str) -> bool:
        """False: there is none."""
        with self._store.transaction() as connection:
            freed = blobs.delete(connection, container, name)
        self._unlink(freed)
        return bool(freed)

    def use(self, container: str, name: str, *, is_used: bool = True) -> None:
        """All messages about it have ended: it goes first when room is needed. Or not any more."""
        with self._store.transaction() as connection:
            blobs.use(connection, container, name, is_used)

    def sweep(self, kept: Iterable[tuple[str, str]], *, now_ns: int) -> int:
        """Deletes what is older than ``limits.storage_blob_seconds``, but for those ``kept``."""
        before_ns = now_ns - int(self._limits.storage_blob_seconds * 1e9)
        with self._store.transaction() as connection:
            freed = blobs.expire(connection, before_ns, kept)
        self._unlink(freed)
        return len(freed)

    def size(self) -> int:
        """Bytes of all blobs and blocks."""
        with self._store.transaction() as connection:
            return blobs.size(connection)

    def _name(self, blob: Blob, *, only_new: bool) -> Blob | None:
        with self._store.transaction() as connection:
            if only_new and blobs.get(connection, blob.container, blob.name) is not None:
                freed, is_there = [blob.file], True
            else:
                freed, is_there = blobs.put(connection, blob), False
        self._unlink(freed)
        return None if is_there else blob

    def _make_room(self, size: int) -> None:
        limit = self._limits.storage_bytes
        with self._store.transaction() as connection:
            over = blobs.size(connection) + size - limit
            freed = blobs.make_room(connection, over) if over > 0 else []
            is_full = bool(over > 0 and blobs.size(connection) + size > limit)
        self._unlink(freed)
        if is_full:
            raise ThrottledError(
                f"The blobs that wait to be ingested come to {limit} bytes.",
                metadata={"limit": "storage_bytes", "maximum": str(limit)},
            )

    def _write(self, parts: Iterable[bytes | Path]) -> str:
        name = uuid.uuid4().hex
        path = self._folder / name
        try:
            with path.open("xb") as file:
                for part in parts:
                    if isinstance(part, bytes):
                        file.write(part)
                    else:
                        with part.open("rb") as source:
                            shutil.copyfileobj(source, file, _COPY_BYTES)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._folder)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageFullError(_NO_SPACE) from error
        return name

    def _unlink(self, files: Iterable[str]) -> None:
        for file in files:
            (self._folder / file).unlink(missing_ok=True)
