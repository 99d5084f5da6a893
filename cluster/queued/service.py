"""Queued ingestion of a node: takes messages, waits as policies say, has batches ingested."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import ingestionbatching_of
from cluster.errors import DatabaseNotFoundError, RemoraError, ThrottledError
from cluster.extents.disk import make_folder
from cluster.queued.accepting import Waiting, accepted, source_of
from cluster.queued.batching import Aggregator, Item
from cluster.queued.disk import BlobFiles
from cluster.queued.driver import BatchDriver
from cluster.queued.resources import own_blob
from cluster.queued.signatures import Signer
from cluster.queued.statuses import Event
from cluster.queued.store import FILE_NAME, QueuedStore
from cluster.queued.worker import FilesThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from cluster.catalog.policies import IngestionBatchingPolicy
    from cluster.clock import Clock
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.queued.batching import Batch, GroupKey
    from cluster.queued.ports import CatalogPort, IngestionPort
    from cluster.queued.values import Source, StoredMessage
    from cluster.request import Caller

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""So often policies are looked at while messages wait."""

_SWEEP_SECONDS: Final = 60.0

_COMPRESSION: Final = 11
"""How many times larger data is than its archive where nobody says: the SDKs' own estimate."""

_MICROSECOND_NS: Final = 1000
_BLOBS: Final = "blobs"


@dataclass(frozen=True, slots=True)
class QueuedStatistics:
    """``waiting`` messages, those being ingested included; the others since the start.

    ``batches`` were sealed; ``stored``, ``skipped`` (nothing to ingest, or ingested before) and
    ``failed`` count messages; ``duplicates`` came again with a known source id; ``retries`` are
    attempts that failed and were repeated.
    """

    waiting: int
    batches: int
    stored: int
    skipped: int
    failed: int
    duplicates: int
    retries: int


@dataclass(frozen=True, slots=True)
class QueuedFiles:
    """What queued ingestion keeps on disk, and the thread that uses it."""

    store: QueuedStore
    blobs: BlobFiles
    thread: FilesThread


class QueuedIngestion:
    """Queued ingestion. One a node; :meth:`run` is its life.

    ``authorize`` raises AccessDeniedError unless the caller may ingest into the database and table.
    """

    def __init__(
        self,
        files: QueuedFiles,
        *,
        catalog: CatalogPort,
        ingestion: IngestionPort,
        history: History,
        authorize: Callable[[Caller, str, str], None],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.store = files.store
        self.files = files.blobs
        self.thread = files.thread
        self.signer = Signer(files.store.secret)
        self._catalog = catalog
        self._clock = clock
        self._limits = limits
        flush_us = int(limits.queued_flush_seconds * 1_000_000)
        self._aggregator = Aggregator(self._policy_of, flush_us=flush_us)
        self._waiting: dict[int, Waiting] = {}
        self._needed: Counter[tuple[str, str]] = Counter()
        self._refused: list[Waiting] = []
        self._news = trio.Event()
        self._batches = self._duplicates = 0
        self._driver = BatchDriver(
            store=self.store,
            files=self.files,
            thread=self.thread,
            signer=self.signer,
            catalog=catalog,
            ingestion=ingestion,
            history=history,
            authorize=authorize,
            on_end=self._ended,
            is_needed=self._needed.__contains__,
            clock=clock,
            limits=limits,
        )

    async def enqueue(self, text: str) -> StoredMessage:
        """Takes a message; it is durable when this returns.

        One that comes again, waits or was stored before, and is about the same content, is not
        queued again. Raises ThrottledError (``limits.storage_messages`` wait), and what writing
        raises.
        """
        most = self._limits.storage_messages
        if len(self._waiting) >= most:
            raise ThrottledError(
                f"{most} messages wait to be ingested.",
                metadata={"limit": "storage_messages", "maximum": str(most)},
            )
        now_ns = self._clock.now_ns()
        # Shielded: a message that is written is one that is known.
        with trio.CancelScope(shield=True):
            stored, is_new = await self.thread.run(self._enqueue, text, now_ns)
            if is_new:
                item = accepted(stored, self.signer)
                self._take(item)
                await self._accept(item)
        if not is_new:
            self._duplicates += 1
        return stored

    async def operation(self, operation_id: str) -> tuple[Source, ...]:
        """What has become of the blobs of an operation; () if there is no such operation."""
        return tuple(await self.thread.run(self.store.sources_of, operation_id))

    def own_blob(self, address: str) -> tuple[str, str] | None:
        """Container and name of a blob of this node's storage; None: it is elsewhere."""
        return own_blob(address, self.signer, self._clock.now_ns() / 1e9)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Finishes what an earlier process had begun, then ingests until cancelled.

        Nothing may be enqueued before it has started.
        """
        stored = await self.thread.run(self.store.waiting)
        found = [accepted(message, self.signer) for message in stored]
        for item in found:
            self._take(item)
        for item in await self._driver.recover(found):
            await self._accept(item)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            task_status.started()
            while True:
                await self._turn(nursery)

    def statistics(self) -> QueuedStatistics:
        """Counts of this moment."""
        ended = self._driver.ended
        return QueuedStatistics(
            waiting=len(self._waiting),
            batches=self._batches,
            stored=ended[Event.STORED],
            skipped=ended[Event.EMPTY],
            failed=ended[Event.REFUSED] + ended[Event.GIVEN_UP],
            duplicates=self._duplicates,
            retries=self._driver.retries,
        )

    # Inside

    def _enqueue(self, text: str, now_ns: int) -> tuple[StoredMessage, bool]:
        """In the thread of files. A blob that was put again since is another one."""
        found = source_of(text)
        if found is None:
            return self.store.enqueue(text, None, now_ns=now_ns)
        source, address = found
        own = own_blob(address, self.signer, now_ns / 1e9)
        blob = None if own is None else self.files.get(*own)
        if own is not None and blob is not None and blob.is_used:
            self.files.use(*own, is_used=False)
        changed_ns = 0 if blob is None else blob.modified_ns
        return self.store.enqueue(text, source, now_ns=now_ns, changed_ns=changed_ns)

    def _take(self, item: Waiting) -> None:
        """It waits from now on, and its blob is needed."""
        self._waiting[item.number] = item
        if (own := self._blob_of(item)) is not None:
            self._needed[own] += 1

    def _blob_of(self, item: Waiting) -> tuple[str, str] | None:
        if item.message is None:
            return None
        return own_blob(item.message.address, self.signer, item.arrived_ns / 1e9)

    async def _accept(self, item: Waiting) -> None:
        if item.error is not None:
            self._refused.append(item)
        else:
            self._aggregator.add(await self._item(item))
        self._news.set()

    async def _item(self, item: Waiting) -> Item:
        message = item.message
        if message is None:
            raise ValueError(f"message {item.number} was not read")
        raw_bytes = message.raw_bytes
        if not raw_bytes and (own := self.own_blob(message.address)) is not None:
            try:
                blob = await self.thread.run(self.files.get, *own)
            except RemoraError:
                blob = None  # the message is stored: it must wait here, and its size is a guess
            factor = _COMPRESSION if message.is_compressed else 1
            raw_bytes = 0 if blob is None else blob.size * factor
        arrived_us = item.arrived_ns // _MICROSECOND_NS
        return Item(item.number, item.group, arrived_us, raw_bytes, message.is_flush)

    async def _turn(self, nursery: trio.Nursery) -> None:
        """Starts what is due, then waits until something may be."""
        self._news = trio.Event()
        refused, self._refused = self._refused, []
        for item in refused:
            if item.error is not None:
                nursery.start_soon(self._contained, self._driver.refuse([item], item.error))
        now_us = self._clock.now_ns() // _MICROSECOND_NS
        for batch in self._aggregator.due(now_us):
            self._batches += 1
            nursery.start_soon(self._contained, self._driver.ingest(self._items(batch)))
        due_us = self._aggregator.next_due_us()
        if due_us is None:
            await self._news.wait()
            return
        seconds = (due_us - self._clock.now_ns() // _MICROSECOND_NS) / 1_000_000
        with trio.move_on_after(min(max(0.0, seconds), _LOOK_SECONDS)):
            await self._news.wait()

    async def _contained(self, work: Awaitable[None]) -> None:
        """A defect that some messages bring out must not end the node, nor its next start."""
        try:
            await work
        except Exception:
            logger.exception("queued messages stay until the next start of the node")

    def _items(self, batch: Batch) -> list[Waiting]:
        return [self._waiting[number] for number in batch.numbers]

    def _ended(self, number: int) -> None:
        item = self._waiting.pop(number, None)
        own = None if item is None else self._blob_of(item)
        if own is not None:
            self._needed[own] -= 1
            if not self._needed[own]:
                del self._needed[own]

    def _policy_of(self, key: GroupKey) -> IngestionBatchingPolicy | None:
        try:
            database = self._catalog.get(key.database)
        except DatabaseNotFoundError:
            return None
        table = database.tables.get(key.table)
        if table is None:
            return None
        return ingestionbatching_of(database, table, self._catalog.get(DEFAULT_DATABASE))

    async def _sweep(self) -> None:
        """Deletes what is too old, but for blobs that messages wait for."""
        while True:
            now_ns = self._clock.now_ns()
            kept = tuple(self._needed)
            await self.thread.run(self.store.sweep, now_ns=now_ns)
            await self.thread.run(self.files.sweep, kept, now_ns=now_ns)
            await trio.sleep(_SWEEP_SECONDS)


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
