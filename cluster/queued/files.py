"""What queued ingestion keeps in a node's folder."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.extents.disk import make_folder
from cluster.queued.disk import BlobFiles
from cluster.queued.store import FILE_NAME, QueuedStore
from cluster.queued.worker import FilesThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cluster.limits import Limits

_BLOBS: Final = "blobs"


@dataclass(frozen=True, slots=True)
class QueuedFiles:
    """What queued ingestion keeps on disk, and the thread that uses it."""

    store: QueuedStore
    blobs: BlobFiles
    thread: FilesThread


@asynccontextmanager
async def open_files(folder: Path, *, secret: bytes, limits: Limits) -> AsyncIterator[QueuedFiles]:
    """Opens the files of a folder; they are closed when the context ends.

    ``secret`` is for a new folder: signatures are made with it. Raises CorruptionError,
    ConflictError (in use), UnavailableError.
    """
    make_folder(folder)
    store = QueuedStore.open(folder / FILE_NAME, secret=secret, limits=limits)
    try:
        yield QueuedFiles(store, BlobFiles(folder / _BLOBS, store, limits), FilesThread())
    finally:
        store.close()
