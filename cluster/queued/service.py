"""Queued ingestion of a node: takes messages, waits as policies say, has batches ingested."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import ingestionbatching_of
from cluster.errors import DatabaseNotFoundError, RemoraError, ThrottledError
from cluster.queued.accepting import Waiting, accepted, source_of
from cluster.queued.batching import Aggregator, Item
from cluster.queued.builtin import BuiltInStorage
from cluster.queued.driver import BatchDriver
from cluster.queued.signatures import Signer
from cluster.queued.statuses import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cluster.catalog.policies import IngestionBatchingPolicy
    from cluster.clock import Clock
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.queued.batching import Batch, GroupKey
    from cluster.queued.files import QueuedFiles
    from cluster.queued.ports import CatalogPort, IngestionPort, StoragePort
    from cluster.queued.values import Arrival, OwnBlob, Source, StoredMessage
    from cluster.request import Caller

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""So often policies are looked at while messages wait."""

_SWEEP_SECONDS: Final = 60.0

_COMPRESSION: Final = 11
"""How many times larger data is than its archive where nobody says: the SDKs' own estimate."""

_MICROSECOND_NS: Final = 1000


@dataclass(frozen=True, slots=True)
class QueuedStatistics:
    """``waiting`` messages, those being ingested included; the others since the start.

    ``batches`` were sealed; ``stored``, ``skipped`` (nothing to ingest, or ingested before) and
    ``failed`` count messages; ``duplicates`` came again with a known source id; ``retries`` are
    attempts that failed and were repeated. ``trouble`` says why nothing can be uploaded, empty: it
    can.
    """

    waiting: int
    batches: int
    stored: int
    skipped: int
    failed: int
    duplicates: int
    retries: int
    trouble: str


class QueuedIngestion:
    """Queued ingestion. One a node; :meth:`run` is its life.

    ``authorize`` raises AccessDeniedError unless the caller may ingest into the database and table.
    ``storage`` is where clients upload; None: the node's own.
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
        storage: StoragePort | None = None,
    ) -> None:
        self.store = files.store
        self.files = files.blobs
        self.thread = files.thread
        self.signer = Signer(files.store.secret)
        self.storage: StoragePort = storage or BuiltInStorage(files, self.signer)
        self._catalog = catalog
        self._clock = clock
        self._limits = limits
        flush_us = int(limits.queued_flush_seconds * 1_000_000)
        self._aggregator = Aggregator(self._policy_of, flush_us=flush_us)
        self._waiting: dict[int, Waiting] = {}
        self._needed: Counter[OwnBlob] = Counter()
        self._refused: list[Waiting] = []
        self._news = trio.Event()
        self._batches = self._duplicates = 0
        self._driver = BatchDriver(
            store=self.store,
            thread=self.thread,
            storage=self.storage,
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
        source, changed_ns = await self._about(text, now_ns)
        # Shielded: a message that is written is one that is known.
        with trio.CancelScope(shield=True):
            stored, is_new = await self.thread.run(
                self.store.enqueue, text, source, now_ns=now_ns, changed_ns=changed_ns
            )
        if is_new:
            await self._accept(self._taken([stored]))
        else:
            self._duplicates += 1
        return stored

    async def operation(self, operation_id: str) -> tuple[Source, ...]:
        """What has become of the blobs of an operation; () if there is no such operation."""
        return tuple(await self.thread.run(self.store.sources_of, operation_id))

    def room(self) -> int:
        """So many more messages may wait."""
        return max(0, self._limits.storage_messages - len(self._waiting))

    async def receive(self, origin: str, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Takes messages of a queue elsewhere (:class:`cluster.queued.ports.InboxPort`)."""
        now_ns = self._clock.now_ns()
        unseen = await self.thread.run(self.store.unseen, origin, arrivals)
        about: list[tuple[Arrival, Source | None]] = []
        for arrival in arrivals:
            source, changed_ns = None, 0
            if arrival.message_id in unseen:
                source, changed_ns = await self._about(arrival.text, arrival.inserted_ns)
            about.append((replace(arrival, changed_ns=changed_ns), source))
        with trio.CancelScope(shield=True):
            new, waiting, duplicates = await self.thread.run(
                self.store.receive, origin, about, now_ns=now_ns
            )
        self._duplicates += duplicates
        await self._accept(self._taken(new))
        return waiting

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Finishes what an earlier process had begun, then ingests until cancelled.

        Nothing may be enqueued before it has started.
        """
        found = self._taken(await self.thread.run(self.store.waiting))
        await self._accept(await self._driver.recover(found))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            await nursery.start(self.storage.run, self)
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
            trouble=self.storage.trouble(),
        )

    # Inside

    async def _about(self, text: str, arrived_ns: int) -> tuple[Source | None, int]:
        """What a message is about, and when its blob was last put: put again it is another one."""
        found = source_of(text)
        if found is None:
            return None, 0
        source, address = found
        own = self.storage.own(address, arrived_ns)
        return source, 0 if own is None else await self.storage.needed(own, source.key)

    def _taken(self, messages: Sequence[StoredMessage]) -> list[Waiting]:
        """They wait from now on, and their blobs are needed."""
        items = [accepted(message, self.signer) for message in messages]
        for item in items:
            self._waiting[item.number] = item
            if (own := self._blob_of(item)) is not None:
                self._needed[own] += 1
        return items

    def _blob_of(self, item: Waiting) -> OwnBlob | None:
        if item.message is None:
            return None
        return self.storage.own(item.message.address, item.arrived_ns)

    async def _accept(self, items: Sequence[Waiting]) -> None:
        """They go on to be ingested or refused, even if this is cancelled: they are stored.

        Asking how large a blob is may take as long as a storage account likes.
        """
        left = deque(items)
        try:
            while left:
                raw_bytes = await self._raw_bytes(left[0])
                self._add(left.popleft(), raw_bytes)
        finally:
            for item in left:
                self._add(item, 0)

    def _add(self, item: Waiting, raw_bytes: int) -> None:
        if item.error is not None or item.message is None:
            self._refused.append(item)
        else:
            arrived_us, is_flush = item.arrived_ns // _MICROSECOND_NS, item.message.is_flush
            self._aggregator.add(Item(item.number, item.group, arrived_us, raw_bytes, is_flush))
        self._news.set()

    async def _raw_bytes(self, item: Waiting) -> int:
        """Bytes of a blob as far as they are told, 0: nobody does."""
        message, own = item.message, self._blob_of(item)
        if item.error is not None or message is None:
            return 0
        if message.raw_bytes or own is None:
            return message.raw_bytes
        try:
            size = await self.storage.size_of(own)
        except RemoraError:
            return 0
        return (size or 0) * (_COMPRESSION if message.is_compressed else 1)

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
        self.storage.poke()
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
            try:
                await self.thread.run(self.store.sweep, now_ns=now_ns)
                await self.storage.sweep(tuple(self._needed), now_ns=now_ns)
            except (RemoraError, OSError) as error:
                logger.warning("what is too old stays for now: %s", error)
            await trio.sleep(_SWEEP_SECONDS)
