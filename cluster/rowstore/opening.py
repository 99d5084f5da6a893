"""Opening a row store's folder: claimed, and recovered in a worker thread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from cluster.rowstore.recovery import Recovered, recover
from cluster.rowstore.writer import call_disk

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.rowstore.disk import Disk, FolderLock
    from cluster.rowstore.keys import SchemaOf, SealedOf


async def claim_and_recover(
    folder: Path,
    *,
    disk: Disk,
    clock: Clock,
    limits: Limits,
    sync: bool,
    schema_of: SchemaOf,
    sealed_of: SealedOf,
) -> tuple[FolderLock, Recovered]:
    """Makes and locks a folder and reads its log. See ``RowStore.open``; raises what that does."""

    def load() -> tuple[FolderLock, Recovered]:
        disk.make_folder(folder)
        lock = disk.lock_folder(folder)
        try:
            recovered = recover(
                disk,
                folder,
                sync=sync,
                schema_of=schema_of,
                sealed_of=sealed_of,
                outcome_limit=limits.source_id_window,
                new_store_id=xxh3_64_intdigest(f"{folder}|{clock.now_ns()}".encode()),
            )
        except BaseException:
            lock.release()
            raise
        return lock, recovered

    started = clock.monotonic()
    lock, recovered = await call_disk(disk, load)
    seconds = clock.monotonic() - started
    recovered.report = replace(recovered.report, seconds=seconds)
    return lock, recovered
