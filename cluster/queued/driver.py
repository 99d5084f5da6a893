"""One batch of queued ingestion: attempts, retries, halves, outcomes.

Every blob is ingested exactly once, at whatever point the process is killed::

    enqueue     message and source id are durable before the client hears 201
    begin       the attempt is durable, with the id its journal entry will have
    ingest      one metadata transaction (cluster/batch) stores all rows of the batch, or none
    finish      one transaction: messages and attempt go, status rows and queues are told

Killed before *ingest* has committed: the messages are there and are ingested again. Killed between
*ingest* and *finish*: the next start finds the attempt's id in the journal, and only finishes.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeGuard

import trio

from cluster.batch.download import LocalSource
from cluster.batch.ports import Request
from cluster.batch.properties import IngestionProperties, described
from cluster.batch.sources import FileSource, parse_source
from cluster.catalog.naming import quote_name
from cluster.errors import (
    BlobAddressError,
    BlobUnreadableError,
    ConflictError,
    DatabaseNotFoundError,
    InternalError,
    PeerError,
    RemoraError,
    RequestError,
    RetryAttemptsError,
    StateError,
    TransientError,
)
from cluster.history.records import IngestionFailure
from cluster.queued.ends import ended_of
from cluster.queued.statuses import Event, Outcome, State
from cluster.queued.values import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cluster.batch.sources import Source
    from cluster.catalog.model import Database
    from cluster.clock import Clock
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.queued.accepting import Waiting
    from cluster.queued.ports import CatalogPort, IngestionPort, StoragePort
    from cluster.queued.store import QueuedStore
    from cluster.queued.worker import FilesThread
    from cluster.request import Caller

logger = logging.getLogger(__name__)

KIND: Final = "DataIngestPull"
"""The type of the command in logs: the same as that of ``.ingest into``."""

_LONGEST_DELAY_SECONDS: Final = 60.0
_FINISH_SECONDS: Final = 1.0


class BatchDriver:
    """Brings batches to their end. ``on_end`` hears of every message that has ended.

    ``is_needed`` tells of a blob, container and name, whether other messages wait for it.
    """

    def __init__(
        self,
        *,
        store: QueuedStore,
        thread: FilesThread,
        storage: StoragePort,
        catalog: CatalogPort,
        ingestion: IngestionPort,
        history: History,
        authorize: Callable[[Caller, str, str], None],
        on_end: Callable[[int], None],
        is_needed: Callable[[tuple[str, str]], bool],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._run = thread.run
        self._storage = storage
        self._catalog = catalog
        self._ingestion = ingestion
        self._history = history
        self._authorize = authorize
        self._on_end = on_end
        self._is_needed = is_needed
        self._clock = clock
        self._limits = limits
        self._slots = trio.CapacityLimiter(limits.queued_batches)
        self.ended: Counter[Event] = Counter()
        self.retries = 0

    async def ingest(self, items: Sequence[Waiting]) -> None:
        """Ingests messages of one group, or refuses them; returns when all have ended."""
        delay = self._limits.queued_retry_first_seconds
        error: RemoraError | None = None
        while items := await self._without_exhausted(items, error):
            async with self._slots:
                items, error = await self._attempt(items)
            if error is None:
                return
            self.retries += 1
            logger.warning("queued ingestion is tried again in %s s: %s", delay, error)
            await trio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)

    async def refuse(self, items: Sequence[Waiting], error: RemoraError) -> None:
        """Messages are not ingested."""
        await self.finish(items, Outcome(Event.REFUSED, error), str(uuid.uuid4()))

    async def recover(self, items: Sequence[Waiting]) -> list[Waiting]:
        """Finishes what an earlier process had committed; returns what is still to be ingested."""
        by_number = {item.number: item for item in items}
        attempts = [(self._was_committed(a), a) for a in await self._run(self._store.attempts)]
        # What one has committed is certain, whatever is not known of another one before it.
        for committed, attempt in sorted(attempts, key=lambda pair: pair[0] is None):
            about = [by_number[number] for number in attempt.numbers if number in by_number]
            if not about or committed is False:
                await self._run(self._store.abandon, attempt.attempt_id)
                continue
            if committed:
                outcome = Outcome(Event.STORED)
            else:
                text = "The journal does not go back to when this was ingested, if it was."
                outcome = Outcome(Event.GIVEN_UP, InternalError(text))
            await self.finish(about, outcome, attempt.attempt_id)
            for item in about:
                del by_number[item.number]
        return list(by_number.values())

    # Attempts

    async def _attempt(
        self, items: Sequence[Waiting]
    ) -> tuple[Sequence[Waiting], RemoraError | None]:
        """One attempt; returns what is to be tried again and why, if anything is."""
        group = items[0].group
        try:
            database = self._catalog.get(group.database)
            self._authorize(items[0].caller, database.name, group.table)
        except (RequestError, StateError) as error:
            await self.refuse(items, error)
            return (), None
        sources: list[Source | LocalSource] = []
        try:
            found, waiting, missing = await self._located(items, sources, database)
            if not found:
                return waiting, missing
            rest, failure = await self._attempt_with(found, sources, database)
            return [*waiting, *rest], failure or missing
        finally:
            if copies := [item.path for item in sources if _is_copy(item)]:
                await self._run(_remove, copies)

    async def _attempt_with(
        self, items: Sequence[Waiting], sources: Sequence[Source | LocalSource], database: Database
    ) -> tuple[Sequence[Waiting], RemoraError | None]:
        """One attempt with blobs that were found."""
        group = items[0].group
        try:
            attempt, items = await self._begun(items, database)
        except TransientError as error:
            return items, error
        try:
            extents = await self._ingested(attempt, group.table, group.properties, sources)
        except RemoraError as error:
            return await self._failed(attempt, items, error)
        stored = extents or self._was_committed(attempt)
        await self.finish(
            items, Outcome(Event.STORED if stored else Event.EMPTY), attempt.attempt_id
        )
        return (), None

    async def _begun(
        self, items: Sequence[Waiting], database: Database
    ) -> tuple[Attempt, Sequence[Waiting]]:
        """A new attempt, and its messages with how many each has had."""
        numbers = tuple(item.number for item in items)
        attempt = Attempt(str(uuid.uuid4()), database.name, database.version, numbers)
        counts = await self._run(self._store.begin, attempt, now_ns=self._clock.now_ns())
        return attempt, [replace(item, dequeued=counts[item.number]) for item in items]

    async def _ingested(
        self,
        attempt: Attempt,
        table: str,
        properties: IngestionProperties,
        sources: Sequence[Source | LocalSource],
    ) -> bool:
        """Whether it made extents. The journal entry gets the attempt's id."""
        text = f".ingest into table {quote_name(table)} (queued {attempt.attempt_id})"
        request = Request(
            attempt.database,
            table,
            properties,
            KIND,
            text,
            attempt.attempt_id,
            reports_failure=False,
        )
        try:
            extents, _ = await self._ingestion.sources(request, sources)
        except RemoraError:
            raise
        except Exception as error:
            logger.exception("queued ingestion into %s failed", table)
            raise InternalError(f"Queued ingestion failed: {error!r}") from error
        return bool(extents)

    async def _failed(
        self, attempt: Attempt, items: Sequence[Waiting], error: RemoraError
    ) -> tuple[Sequence[Waiting], RemoraError | None]:
        """The attempt raised: it is over, to be halved, or to be repeated."""
        if self._was_committed(attempt):
            await self.finish(items, Outcome(Event.STORED), attempt.attempt_id)
            return (), None
        is_final = isinstance(error, (RequestError, StateError))
        if not is_final or isinstance(error, ConflictError):
            # The attempt stays: whether it is in the catalog's file is not certain in every case.
            return items, error
        try:
            await self._run(self._store.abandon, attempt.attempt_id, uncounted=attempt.numbers)
        except TransientError as away:
            return items, away
        if len(items) == 1:
            await self.finish(items, Outcome(Event.REFUSED, error), attempt.attempt_id)
            return (), None
        # One bad blob must not hurt its neighbours.
        again: list[Waiting] = []
        cause: RemoraError | None = None
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            uncounted = [replace(item, dequeued=item.dequeued - 1) for item in half]
            rest, failure = await self._attempt(uncounted)
            again.extend(rest)
            cause = failure or cause
        return again, cause

    async def _without_exhausted(
        self, items: Sequence[Waiting], error: RemoraError | None
    ) -> list[Waiting]:
        """Gives up those that were tried often enough, by this process or an earlier one."""
        most = self._limits.queued_attempts
        exhausted = [item for item in items if item.dequeued >= most]
        if exhausted:
            last = f", the last time: {error}" if error else ""
            cause = RetryAttemptsError(
                f"Tried {most} times{last}", metadata={"limit": "queued_attempts"}
            )
            outcome = Outcome(Event.GIVEN_UP, cause)
            await self.finish(exhausted, outcome, str(uuid.uuid4()))
        return [item for item in items if item.dequeued < most]

    async def _located(
        self, items: Sequence[Waiting], sources: list[Source | LocalSource], database: Database
    ) -> tuple[Sequence[Waiting], Sequence[Waiting], RemoraError | None]:
        """Adds the sources of messages; those that name none that can be read are refused.

        Returns whose sources were added, who waits, and for what. While the storage is away all
        wait, and that is no attempt; who waits for one blob does not keep the others, and it is.
        """
        found: list[Waiting] = []
        unread: list[Waiting] = []
        cause: RemoraError | None = None
        for number, item in enumerate(items):
            try:
                sources.append(await self._source(item))
            except (RequestError, StateError) as error:
                await self.refuse([item], error)
            except BlobUnreadableError as error:
                unread.append(item)
                cause = error
            except (TransientError, PeerError) as error:
                return (), [*found, *unread, *items[number:]], error
            except Exception as defect:
                # It is this message that brings it out: its neighbours do not wait for a mend.
                # Its text may hold an address with credentials.
                where = "".join(traceback.format_tb(defect.__traceback__))
                what = f"{type(defect).__name__} at\n{where}"
                logger.error("no source of a message: %s", what)  # noqa: TRY400
                failure = InternalError(f"The blob cannot be had: {type(defect).__name__}.")
                await self.finish([item], Outcome(Event.GIVEN_UP, failure), str(uuid.uuid4()))
            else:
                found.append(item)
        if unread:
            try:
                attempt, unread[:] = await self._begun(unread, database)
                await self._run(self._store.abandon, attempt.attempt_id)
            except TransientError as error:
                cause = error
        return found, unread, cause

    async def _source(self, item: Waiting) -> Source | LocalSource:
        message = item.message
        if message is None:
            raise BlobAddressError("The message could not be read.")
        own = self._storage.own(message.address, item.arrived_ns)
        if own is None:
            source = parse_source(message.address)
            if isinstance(source, FileSource):
                raise BlobAddressError(f"{message.shown} is not the address of a blob.")
            return source
        return await self._storage.source(own, message.shown)

    def _was_committed(self, attempt: Attempt) -> bool | None:
        """Whether the journal has the attempt; None: it does not go back that far."""
        try:
            database = self._catalog.get(attempt.database)
            history = self._catalog.history(attempt.database)
        except DatabaseNotFoundError:
            return False
        if any(attempt.attempt_id in delta.text for delta in history):
            return True
        first = history[0].from_version if history else database.version
        before, after = attempt.version, first
        return False if (before.major, before.minor) >= (after.major, after.minor) else None

    # Ends

    async def finish(self, items: Sequence[Waiting], outcome: Outcome, operation_id: str) -> None:
        """Messages have ended. Returns when that is durable, however long it takes."""
        now_ns = self._clock.now_ns()
        ended = [ended_of(item, outcome, operation_id, now_ns) for item in items]
        while True:
            try:
                await self._run(self._store.finish, ended, now_ns=now_ns)
                break
            except RemoraError as error:
                # To go on without would be to ingest again after a restart.
                logger.warning("the end of queued messages cannot be written: %s", error)
                await trio.sleep(_FINISH_SECONDS)
        for item in items:
            self.ended[outcome.event] += 1
            self._on_end(item.number)
            if outcome.error is not None:
                self._report(item, outcome, operation_id)
        await self._release(items, outcome)

    async def _release(self, items: Sequence[Waiting], outcome: Outcome) -> None:
        """Blobs that are not needed any more go, now or when room is needed."""
        for item in items:
            message = item.message
            if message is None:
                continue
            own = self._storage.own(message.address, item.arrived_ns)
            if own is None:
                continue
            try:
                if outcome.state is State.SUCCEEDED and not message.is_retained:
                    await self._storage.release(own, is_deleted=True)
                elif not self._is_needed(own):
                    await self._storage.release(own, is_deleted=False)
            except RemoraError as error:
                logger.warning("a blob that is not needed stays: %s", error)

    def _report(self, item: Waiting, outcome: Outcome, operation_id: str) -> None:
        """``.show ingestion failures``."""
        message = item.message
        properties = {} if item.properties is None else dict(described(item.properties))
        self._history.ingestion_failure(
            IngestionFailure(
                operation_id=operation_id,
                database="" if message is None else message.database,
                table="" if message is None else message.table,
                failed_ns=self._clock.now_ns(),
                source="" if message is None else message.shown,
                details=outcome.details,
                is_permanent=not outcome.should_retry,
                error_code=outcome.error_code,
                operation_kind=KIND,
                from_update_policy=outcome.error_code.startswith("UpdatePolicy_"),
                principal=item.caller.principal,
                properties=str(properties),
            )
        )


def _is_copy(source: Source | LocalSource) -> TypeGuard[LocalSource]:
    return isinstance(source, LocalSource) and source.is_copy


def _remove(paths: Sequence[Path]) -> None:
    """Ingestion removes what it has come to; an attempt that ends early leaves the rest."""
    for path in paths:
        path.unlink(missing_ok=True)
